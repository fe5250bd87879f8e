//! The EFI system partition: a FAT image with the signed boot loaders and GRUB's first configuration.

use anyhow::{Result, anyhow};
use hadris_fat::{FatOptions, VolumeLabel};
use hadris_fs::{Content, DateTime, Node, Tree};
use hadris_storage::{BlockSize, MemDevice};

/// Folder of the boot loaders, where firmware looks on removable media.
const FOLDER: &str = "EFI/BOOT";
/// Room for FAT, folders and rounding, in bytes.
const OVERHEAD: usize = 256 * 1024;
/// The image's size is a multiple of this.
const GRAIN: usize = 64 * 1024;
/// Bytes in a sector.
const SECTOR: u32 = 512;

/// Makes the image from files by name; all of them go into `EFI/BOOT`.
///
/// # Errors
/// The file system cannot be made.
pub fn image(files: &[(&str, &[u8])], epoch: u32) -> Result<Vec<u8>> {
    let content: usize = files.iter().map(|(_, bytes)| bytes.len().next_multiple_of(GRAIN)).sum();
    let size = (content + OVERHEAD).next_multiple_of(GRAIN);
    let mut tree = Tree::new();
    for (name, bytes) in files {
        tree.insert(format!("{FOLDER}/{name}"), Node::file(Content::bytes(*bytes)))
            .map_err(|error| anyhow!("cannot put {name} into the EFI system partition: {error}"))?;
    }
    let sector = BlockSize::new(SECTOR).ok_or_else(|| anyhow!("{SECTOR} is no sector size"))?;
    let mut image = vec![0; size];
    let label = VolumeLabel::new("RAZOR-MK").map_err(|error| anyhow!("volume label: {error}"))?;
    let time = DateTime::new(i64::from(epoch), 0).map_err(|error| anyhow!("date: {error}"))?;
    let options = FatOptions::new().with_label(label).with_time(time).with_serial(epoch);
    hadris_fat::sync::write(MemDevice::new(&mut image[..], sector), &tree, &options)
        .map_err(|error| anyhow!("cannot make the EFI system partition: {error}"))?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_same_files_make_the_same_image_and_mtools_reads_it() {
        let big = vec![7; 3 << 20];
        let files: [(&str, &[u8]); 2] = [("BOOTX64.EFI", &big), ("grub.cfg", b"hello")];
        let bytes = image(&files, 1_700_000_000).unwrap();
        assert_eq!(bytes, image(&files, 1_700_000_000).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("esp.img");
        std::fs::write(&path, bytes).unwrap();
        let run = Command::new("mtype").arg("-i").arg(&path).arg("::/EFI/BOOT/grub.cfg").output();
        let Ok(run) = run else {
            return mk_tests::skip("there is no mtools");
        };
        assert_eq!(run.stdout, b"hello", "{}", String::from_utf8_lossy(&run.stderr));
    }
}
