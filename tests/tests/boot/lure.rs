//! A disk that Tiny Core's own init would use if it were let: a swap partition, and an ext4 file system with what it looks
//! for there, extensions to load and a backup to unpack over the running system.

use std::fs;
use std::path::{Path, PathBuf};

use duct::cmd;

/// What the backup would put into the running system.
pub(crate) const TRACE: &str = "/tmp/came-from-the-disk";
/// Bytes of a sector.
const SECTOR: u32 = 512;
/// First sector and sectors of the swap partition.
const SWAP: (u32, u32) = (2048, 16384);
/// The same of the file system's.
const FILES: (u32, u32) = (SWAP.0 + SWAP.1, 32768);
/// Types of the two in a partition table.
const TYPES: [u8; 2] = [0x82, 0x83];

/// Writes the disk's first bytes to a file in a folder.
pub(crate) fn disk(dir: &Path) -> PathBuf {
    let (disk, swap, tree) = (dir.join("lure.img"), dir.join("lure.swap"), dir.join("lure"));
    let size = u64::from(FILES.0 + FILES.1) * u64::from(SECTOR);
    fs::File::create(&disk).unwrap().set_len(size).unwrap();
    fs::create_dir_all(tree.join("tce/optional")).unwrap();
    fs::write(tree.join("tce/onboot.lst"), "").unwrap();
    let trace = TRACE.trim_start_matches('/');
    fs::create_dir_all(tree.join("backup").join(trace).parent().unwrap()).unwrap();
    fs::write(tree.join("backup").join(trace), "").unwrap();
    cmd!("tar", "-C", tree.join("backup"), "-czf", tree.join("tce/mydata.tgz"), trace).run().unwrap();
    // The tools are where only root looks for them.
    let offset = format!("offset={}", u64::from(FILES.0) * u64::from(SECTOR));
    let blocks = format!("{}k", u64::from(FILES.1) * u64::from(SECTOR) / 1024);
    cmd!("/sbin/mke2fs", "-q", "-t", "ext4", "-F", "-d", &tree, "-E", offset, &disk, blocks).run().unwrap();
    fs::File::create(&swap).unwrap().set_len(u64::from(SWAP.1) * u64::from(SECTOR)).unwrap();
    cmd!("/sbin/mkswap", "--quiet", &swap).run().unwrap();
    let mut bytes = fs::read(&disk).unwrap();
    let start = usize::try_from(SWAP.0 * SECTOR).unwrap();
    let content = fs::read(&swap).unwrap();
    bytes[start..start + content.len()].copy_from_slice(&content);
    bytes[..512].copy_from_slice(&table());
    fs::write(&disk, bytes).unwrap();
    disk
}

/// A partition table of the old form.
fn table() -> [u8; SECTOR as usize] {
    let mut sector = [0; SECTOR as usize];
    for (index, (kind, (first, count))) in TYPES.into_iter().zip([SWAP, FILES]).enumerate() {
        let entry = &mut sector[446 + 16 * index..][..16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..16].copy_from_slice(&count.to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}
