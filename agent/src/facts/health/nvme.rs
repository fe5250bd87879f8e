//! NVMe: the SMART / health information log page of a controller, which stands for all its namespaces.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use wire::inventory::Health;

use crate::limits::DISK_COMMAND;

/// Admin command Get Log Page.
const GET_LOG_PAGE: u8 = 0x02;
/// Log page of health.
const HEALTH: u32 = 0x02;
/// The controller as a whole, not one of its namespaces.
const ALL_NAMESPACES: u32 = u32::MAX;
/// Length of the page in bytes.
const PAGE: usize = 512;
/// From kelvin to degrees Celsius.
const KELVIN: i32 = 273;

/// `struct nvme_passthru_cmd`.
#[repr(C)]
#[derive(Default)]
struct Command {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    words_2_3: [u32; 2],
    metadata: u64,
    data: u64,
    metadata_length: u32,
    data_length: u32,
    words_10_15: [u32; 6],
    timeout_ms: u32,
    result: u32,
}

nix::ioctl_readwrite!(admin_command, b'N', 0x41, Command);

/// Health of the controller at this character device.
///
/// # Errors
/// The device cannot be opened or the controller refuses the page, which all have to know.
pub(super) fn read(path: &Path) -> anyhow::Result<Health> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut page = [0_u8; PAGE];
    // The number of 32-bit words is given as one less.
    let words = u32::try_from(PAGE / 4 - 1)?;
    let mut command = Command {
        opcode: GET_LOG_PAGE,
        namespace: ALL_NAMESPACES,
        // The kernel takes the address as a number.
        data: page.as_mut_ptr().expose_provenance() as u64,
        data_length: u32::try_from(PAGE)?,
        words_10_15: [words << 16 | HEALTH, 0, 0, 0, 0, 0],
        timeout_ms: u32::try_from(DISK_COMMAND.as_millis())?,
        ..Command::default()
    };
    // SAFETY: the structure has the kernel's layout, and `page` has the length that is given and outlives the call.
    let status = unsafe { admin_command(file.as_raw_fd(), &raw mut command) }
        .with_context(|| format!("cannot ask {} for its health", path.display()))?;
    ensure!(status == 0, "{} refuses to tell its health (status {status:#x})", path.display());
    Ok(parse(&page))
}

/// What the page says.
fn parse(page: &[u8; PAGE]) -> Health {
    // The counters have 128 bits; no disk lives to see more than 64 of them.
    let counter = |at: usize| page.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let kelvin = i32::from(u16::from_le_bytes([page[1], page[2]]));
    Health {
        // Any bit is a warning: spare space, temperature, reliability, read-only, backup of the cache.
        passed: Some(page[0] == 0),
        hours: counter(128),
        temperature_c: (kelvin > 0).then_some(kelvin - KELVIN),
        used_percent: Some(u32::from(page[5])),
        media_errors: counter(160),
    }
}

/// For the fuzzer.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let _ = bytes.first_chunk().map(parse);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_layout() {
        assert_eq!(size_of::<Command>(), 72);
    }

    #[test]
    fn a_worn_disk() {
        let mut page = [0; PAGE];
        page[..6].copy_from_slice(&[0x04, 0x38, 0x01, 3, 10, 104]);
        page[128..132].copy_from_slice(&[0x23, 0x47, 0, 0]);
        page[160] = 7;
        let expected = Health {
            passed: Some(false),
            hours: Some(0x4723),
            temperature_c: Some(39),
            used_percent: Some(104),
            media_errors: Some(7),
        };
        assert_eq!(parse(&page), expected);
    }

    #[test]
    fn a_new_disk_without_a_sensor() {
        let found = parse(&[0; PAGE]);
        assert_eq!((found.passed, found.hours, found.temperature_c), (Some(true), Some(0), None));
    }
}
