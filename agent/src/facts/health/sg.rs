//! SCSI commands to a disk by the kernel's SG_IO. Only commands that ask: the caller gives them.

use std::ffi::{c_int, c_uchar, c_uint, c_ushort, c_void};
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use anyhow::Context as _;

use crate::limits::DISK_COMMAND;

/// Mark of the structure's version.
const VERSION_3: c_int = 'S' as c_int;
const NO_DATA: c_int = -1;
const FROM_DEVICE: c_int = -3;
/// Room for sense data.
const SENSE: usize = 64;

/// `struct sg_io_hdr`.
#[repr(C)]
struct Header {
    interface: c_int,
    direction: c_int,
    command_length: c_uchar,
    sense_room: c_uchar,
    pieces: c_ushort,
    data_length: c_uint,
    data: *mut c_void,
    command: *const c_uchar,
    sense: *mut c_uchar,
    timeout_ms: c_uint,
    flags: c_uint,
    pack: c_int,
    user: *mut c_void,
    status: c_uchar,
    masked_status: c_uchar,
    message_status: c_uchar,
    sense_length: c_uchar,
    host_status: c_ushort,
    driver_status: c_ushort,
    missing: c_int,
    took_ms: c_uint,
    info: c_uint,
}

nix::ioctl_readwrite_bad!(sg_io, 0x2285, Header);

/// What came back.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// The command was done without a complaint.
    pub(super) good: bool,
    /// Data as far as it came.
    pub(super) data: Vec<u8>,
    /// Sense data.
    pub(super) sense: Vec<u8>,
}

/// An open disk.
pub(super) struct Disk(File);

impl Disk {
    /// Opens the disk for reading.
    ///
    /// # Errors
    /// Names the device and the kernel's reason.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        File::open(path).map(Self).with_context(|| format!("cannot open {}", path.display()))
    }

    /// Sends a command that gives at most `length` bytes.
    ///
    /// # Errors
    /// The kernel does not pass commands to this disk, or the disk did not answer at all.
    pub(super) fn ask(&self, command: &[u8], length: usize) -> anyhow::Result<Reply> {
        let (mut data, mut sense) = (vec![0_u8; length], [0_u8; SENSE]);
        let mut header = Header {
            interface: VERSION_3,
            direction: if length == 0 { NO_DATA } else { FROM_DEVICE },
            command_length: u8::try_from(command.len())?,
            sense_room: u8::try_from(SENSE)?,
            pieces: 0,
            data_length: u32::try_from(length)?,
            data: data.as_mut_ptr().cast(),
            command: command.as_ptr(),
            sense: sense.as_mut_ptr(),
            timeout_ms: u32::try_from(DISK_COMMAND.as_millis())?,
            flags: 0,
            pack: 0,
            user: std::ptr::null_mut(),
            status: 0,
            masked_status: 0,
            message_status: 0,
            sense_length: 0,
            host_status: 0,
            driver_status: 0,
            missing: 0,
            took_ms: 0,
            info: 0,
        };
        // SAFETY: the structure has the kernel's layout; command, data and sense have the lengths that are given and
        // outlive the call.
        unsafe { sg_io(self.0.as_raw_fd(), &raw mut header) }.context("the kernel passes no command to the disk")?;
        anyhow::ensure!(header.host_status == 0, "the disk does not answer (host status {:#x})", header.host_status);
        data.truncate(length.saturating_sub(usize::try_from(header.missing).unwrap_or(0)));
        let sense = sense.get(..usize::from(header.sense_length)).unwrap_or_default().to_vec();
        Ok(Reply { good: header.status == 0, data, sense })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_layout() {
        assert_eq!(size_of::<Header>(), 88);
    }
}
