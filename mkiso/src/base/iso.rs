//! Writes the base ISO with xorriso: bootable by BIOS through isolinux, from a CD or a stick. Whole or not at all, and
//! the same files make the same bytes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use tce_mirror::tree::{Kind, Tree};

use crate::output;
use tce_mirror::tool::{XORRISO, tail};

/// Label of the volume.
const VOLUME: &str = "Razor MK base";

/// Writes `files` as an ISO to `path`; every time in it is `epoch`, seconds since 1970.
///
/// # Errors
/// xorriso is missing or fails, or the disk is full.
pub fn write(files: &Tree, path: &Path, epoch: u32) -> Result<()> {
    let temp = output::temp_beside(path)?;
    let folder = temp.path().parent().unwrap_or(Path::new("."));
    let stage = output::temp_folder_in(folder)?;
    lay_out(files, stage.path(), epoch)?;
    let mbr = stage.path().join("boot/isolinux/isohdpfx.bin");
    let epoch_text = epoch.to_string();
    let args: [&OsStr; 22] = [
        "-as".as_ref(),
        "mkisofs".as_ref(),
        "-quiet".as_ref(),
        "-volid".as_ref(),
        VOLUME.as_ref(),
        "-rational-rock".as_ref(),
        "-joliet".as_ref(),
        "--set_all_file_dates".as_ref(),
        "set_to_mtime".as_ref(),
        "-eltorito-boot".as_ref(),
        "boot/isolinux/isolinux.bin".as_ref(),
        "-eltorito-catalog".as_ref(),
        "boot/isolinux/boot.cat".as_ref(),
        "-no-emul-boot".as_ref(),
        "-boot-load-size".as_ref(),
        "4".as_ref(),
        "-boot-info-table".as_ref(),
        "-isohybrid-mbr".as_ref(),
        mbr.as_os_str(),
        "-output".as_ref(),
        temp.path().as_os_str(),
        stage.path().as_os_str(),
    ];
    let said = XORRISO.output(&args, &[("SOURCE_DATE_EPOCH", epoch_text.as_ref())])?;
    if !said.status.success() {
        bail!("cannot write {}: xorriso failed ({}): {}", path.display(), said.status, tail(&said.stderr));
    }
    output::publish(temp, path)
}

/// Writes the tree to disk with one time everywhere; folders last, since writing into them changes theirs.
fn lay_out(files: &Tree, stage: &Path, epoch: u32) -> Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(epoch.into());
    let mut folders = vec![stage.to_path_buf()];
    for (path, node) in files.iter() {
        let target = stage.join(path);
        match &node.kind {
            Kind::Dir => {
                fs::create_dir(&target).map_err(|e| output::full_or(e, &target))?;
                folders.push(target);
            }
            Kind::File(bytes) => {
                fs::write(&target, bytes).map_err(|e| output::full_or(e, &target))?;
                set_time(&target, time)?;
            }
            Kind::Link(_) => bail!("{path} is a link, which the ISO has none of"),
        }
    }
    folders.iter().rev().try_for_each(|folder| set_time(folder, time))
}

fn set_time(path: &Path, time: SystemTime) -> Result<()> {
    File::open(path)
        .and_then(|file| file.set_modified(time))
        .with_context(|| format!("cannot set the time of {}", path.display()))
}
