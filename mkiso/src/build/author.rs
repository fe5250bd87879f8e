//! Writes the ISO: xorriso, with isolinux for BIOS and an EFI system partition, readable as CD and as USB disk.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Result, bail};
use time::OffsetDateTime;
use time::macros::format_description;

use tce_mirror::tool::{XORRISO, tail};

/// Folder of isolinux in the ISO.
pub const ISOLINUX: &str = "boot/isolinux";
/// The EFI system partition in the ISO.
pub const ESP: &str = "boot/efi.img";
/// Characters of the version that fit into the volume's name.
const VERSION_IN_VOLUME: usize = 22;

/// Writes the tree at `tree` as an ISO to `out`; `mbr` is isolinux' hybrid boot sector, `epoch` the date of all that
/// the ISO has, in seconds since 1970.
///
/// # Errors
/// xorriso is not installed, or fails; its own words are in the message.
pub fn write(tree: &Path, mbr: &Path, out: &Path, version: &str, epoch: u32) -> Result<()> {
    let (binary, catalog) = (format!("{ISOLINUX}/isolinux.bin"), format!("{ISOLINUX}/boot.cat"));
    let (volume, date) = (volume(version), date(epoch)?);
    let words = [
        // xorriso looks whether its writing thread has ended whenever it might print progress: by default twice a second.
        &["-pacifier", "interval=0.1"][..],
        &["-as", "mkisofs", "-quiet", "-volid", &volume, "-appid", "Razor Microkernel"],
        &["-rational-rock", "-joliet", "-joliet-long", "--set_all_file_dates", &date],
        &["-eltorito-boot", &binary, "-eltorito-catalog", &catalog],
        // What is synced on the way is synced again with the other files.
        &["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "--stdio_sync", "off"],
        &["-eltorito-alt-boot", "-e", ESP, "-no-emul-boot", "-isohybrid-gpt-basdat"],
    ];
    let mut args: Vec<&OsStr> = words.concat().into_iter().map(OsStr::new).collect();
    args.extend(["-isohybrid-mbr".as_ref(), mbr.as_os_str(), "-output".as_ref(), out.as_os_str(), tree.as_os_str()]);
    let said = XORRISO.output(&args, &[("SOURCE_DATE_EPOCH", epoch.to_string().as_ref()), ("TZ", "UTC".as_ref())])?;
    if !said.status.success() {
        let words = tail(&said.stderr);
        let full = ["No space left", "File too large"].iter().any(|sign| words.contains(sign));
        let remedy = if full { "; free some space or name another folder. Nothing was left behind" } else { "" };
        bail!("cannot write the ISO: xorriso failed ({}){remedy}: {words}", said.status);
    }
    Ok(())
}

/// A date as xorriso takes it.
fn date(epoch: u32) -> Result<String> {
    let time = OffsetDateTime::from_unix_timestamp(i64::from(epoch))?;
    Ok(time.format(format_description!("[year][month][day][hour][minute][second]00"))?)
}

/// The volume's name, as the ancestor had it.
fn volume(version: &str) -> String {
    format!("Razor MK {}", version.chars().take(VERSION_IN_VOLUME).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_universal_time() {
        assert_eq!(date(1_700_000_000).unwrap(), "2023111422132000");
    }

    #[test]
    fn the_volumes_name_fits_iso_9660() {
        assert_eq!(volume("0.1.0"), "Razor MK 0.1.0");
        let long = volume("0.1.0+123-g1a2b3c4d-dirty");
        assert_eq!(long, "Razor MK 0.1.0+123-g1a2b3c4d-di");
        assert!(long.len() <= 32);
    }
}
