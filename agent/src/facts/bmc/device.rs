//! The kernel's IPMI device: a request goes in, its answer comes out, before a deadline.

use std::ffi::{c_int, c_long, c_short};
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::message::Request;
use crate::limits::{BMC_ANSWER, BMC_MESSAGE};

/// Address type and channel of the BMC that the kernel talks to directly.
const SYSTEM_INTERFACE: c_int = 0x0c;
const BMC_CHANNEL: c_short = 0x0f;
/// Room for any address that the kernel may give with an answer.
const ADDRESS: usize = 40;

/// `struct ipmi_system_interface_addr`.
#[repr(C)]
struct Address {
    kind: c_int,
    channel: c_short,
    lun: u8,
}

/// `struct ipmi_msg`.
#[repr(C)]
struct Message {
    function: u8,
    command: u8,
    length: u16,
    data: *mut u8,
}

/// `struct ipmi_req`.
#[repr(C)]
struct Outgoing {
    address: *const Address,
    address_length: u32,
    number: c_long,
    message: Message,
}

/// `struct ipmi_recv`.
#[repr(C)]
struct Incoming {
    kind: c_int,
    address: *mut u8,
    address_length: u32,
    number: c_long,
    message: Message,
}

mod raw {
    nix::ioctl_read!(send, b'i', 13, super::Outgoing);
    nix::ioctl_readwrite!(receive, b'i', 11, super::Incoming);
}

/// An open device.
pub(super) struct Device {
    file: File,
    /// Number of the last request.
    number: c_long,
    /// No answer is waited for after this time.
    deadline: Instant,
}

impl Device {
    /// Opens the device; all requests together may take until `deadline`.
    ///
    /// # Errors
    /// Names the device and the kernel's reason.
    pub(super) fn open(path: &Path, deadline: Instant) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { file, number: 0, deadline })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The kernel does not take it, or there is no answer in time.
    pub(super) fn ask(&mut self, request: &Request) -> anyhow::Result<Vec<u8>> {
        let what = || format!("command {:#04x} of function {:#04x}", request.command, request.function);
        let end = self.deadline.min(Instant::now() + BMC_ANSWER);
        self.number += 1;
        self.send(request).with_context(|| format!("cannot send {} to the BMC", what()))?;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            ensure!(self.is_readable(left)?, "the BMC has not answered {} in time", what());
            let (number, answer) = self.receive().context("cannot read the BMC's answer")?;
            // One to an earlier request that came late is passed over.
            if number == self.number {
                return Ok(answer);
            }
        }
    }

    fn send(&self, request: &Request) -> anyhow::Result<()> {
        let address = Address { kind: SYSTEM_INTERFACE, channel: BMC_CHANNEL, lun: 0 };
        let mut data = request.data.clone();
        let mut outgoing = Outgoing {
            address: &raw const address,
            address_length: u32::try_from(size_of::<Address>())?,
            number: self.number,
            message: Message {
                function: request.function,
                command: request.command,
                length: u16::try_from(data.len())?,
                data: data.as_mut_ptr(),
            },
        };
        // SAFETY: the structure has the kernel's layout; address and data outlive the call, which copies both.
        unsafe { raw::send(self.file.as_raw_fd(), &raw mut outgoing) }?;
        Ok(())
    }

    fn is_readable(&self, patience: Duration) -> anyhow::Result<bool> {
        let mut polled = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
        match poll(&mut polled, patience) {
            // A signal: the caller looks again.
            Err(nix::Error::EINTR) => Ok(true),
            count => Ok(count.context("cannot wait for the BMC")? > 0),
        }
    }

    fn receive(&self) -> anyhow::Result<(c_long, Vec<u8>)> {
        let (mut address, mut data) = ([0; ADDRESS], vec![0; BMC_MESSAGE]);
        let mut incoming = Incoming {
            kind: 0,
            address: address.as_mut_ptr(),
            address_length: u32::try_from(ADDRESS)?,
            number: 0,
            message: Message { function: 0, command: 0, length: u16::try_from(BMC_MESSAGE)?, data: data.as_mut_ptr() },
        };
        // SAFETY: the structure has the kernel's layout; the kernel writes at most the given lengths into both buffers.
        match unsafe { raw::receive(self.file.as_raw_fd(), &raw mut incoming) } {
            // A longer answer than any that is asked for here was cut; its start is what counts.
            Ok(_) | Err(nix::Error::EMSGSIZE) => {}
            Err(error) => return Err(error.into()),
        }
        data.truncate(usize::from(incoming.message.length));
        Ok((incoming.number, data))
    }
}
