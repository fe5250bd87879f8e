//! The kernel's IPMI device: a request goes in, its answer comes out, before a deadline.

use std::ffi::{c_int, c_long, c_short};
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::message::{OUT_OF_TIME, Request};
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

    /// Sends a request and waits for its answer. One that takes too long by itself is answered by [`OUT_OF_TIME`], as the
    /// kernel does after a longer time.
    ///
    /// # Errors
    /// The kernel does not take it, or the time for all answers is over.
    pub(super) fn ask(&mut self, request: &Request) -> anyhow::Result<Vec<u8>> {
        let end = Instant::now() + BMC_ANSWER;
        self.number += 1;
        self.send(request).with_context(|| format!("cannot send {} to the BMC", request.name()))?;
        loop {
            if !is_readable(self.file.as_fd(), end.min(self.deadline)).context("cannot wait for the BMC")? {
                ensure!(end < self.deadline, "the BMC has not answered {} in time", request.name());
                return Ok(vec![OUT_OF_TIME]);
            }
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

/// Waits until there is something to read, and tells whether there was before `end`.
fn is_readable(file: BorrowedFd, end: Instant) -> nix::Result<bool> {
    let mut polled = [PollFd::new(file, PollFlags::POLLIN)];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match poll(&mut polled, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
            // A signal says nothing of the file.
            Err(nix::Error::EINTR) => {}
            count => return Ok(count? > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

    use super::*;

    #[test]
    fn the_kernels_layouts() {
        assert_eq!((size_of::<Address>(), size_of::<Message>()), (8, 16));
        assert_eq!((size_of::<Outgoing>(), size_of::<Incoming>()), (40, 48));
    }

    extern "C" fn ignore(_: c_int) {}

    #[test]
    fn a_signal_is_no_answer() {
        let action = SigAction::new(SigHandler::Handler(ignore), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing.
        unsafe { sigaction(Signal::SIGUSR2, &action) }.unwrap();
        let (read, _write) = nix::unistd::pipe().unwrap();
        // SAFETY: takes no argument and always succeeds.
        let waiter = unsafe { libc::pthread_self() };
        let sender = thread::spawn(move || {
            for _ in 0..20 {
                thread::sleep(Duration::from_millis(10));
                // SAFETY: the waiting thread joins this one before it ends.
                unsafe { libc::pthread_kill(waiter, libc::SIGUSR2) };
            }
        });
        assert!(!is_readable(read.as_fd(), Instant::now() + Duration::from_millis(300)).unwrap());
        sender.join().unwrap();
    }
}
