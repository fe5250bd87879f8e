//! The kernel's `ifreq`, by which ports are asked and changed, and the changes that several need: to bring one up or down.

use std::ffi::{c_char, c_int, c_short};
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::Context as _;
use nix::libc;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType};

mod raw {
    use nix::libc;

    nix::ioctl_readwrite_bad!(get_flags, libc::SIOCGIFFLAGS, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);
}

/// A request about the port of this name, all else zero.
///
/// # Errors
/// The name is too long for a port.
pub(crate) fn request(name: &str) -> anyhow::Result<libc::ifreq> {
    // SAFETY: all fields are numbers or unions of numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays NUL.
    anyhow::ensure!(name.len() < request.ifr_name.len(), "{name} is too long for the name of a port");
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

/// Any socket: requests need one, whichever it is. It is bound to no address, so that nothing can be sent to it.
///
/// # Errors
/// The kernel's reason.
pub(crate) fn socket() -> anyhow::Result<OwnedFd> {
    let open = socket::socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    open.context("cannot open a socket to configure ports with")
}

/// Brings a port up. Drivers load their firmware here, so that this may take seconds.
///
/// # Errors
/// Names the port and the kernel's reason.
pub(crate) fn up(name: &str) -> anyhow::Result<()> {
    switch(name, |flags| flags | libc::IFF_UP)?
        .with_context(|| format!("cannot bring {name} up: its driver may miss its firmware"))
}

/// Takes a port down, as it must be to become part of a bond.
///
/// # Errors
/// Names the port and the kernel's reason.
pub(crate) fn down(name: &str) -> anyhow::Result<()> {
    switch(name, |flags| flags & !libc::IFF_UP)?.with_context(|| format!("cannot take {name} down"))
}

/// Changes a port's flags; the inner result is that of the change.
fn switch(name: &str, change: impl Fn(c_int) -> c_int) -> anyhow::Result<nix::Result<()>> {
    let socket = socket()?;
    let mut request = request(name)?;
    // SAFETY: `request` is a whole `ifreq` with a terminated name; the kernel fills in the flags.
    unsafe { raw::get_flags(socket.as_raw_fd(), &raw mut request) }
        .with_context(|| format!("cannot look at {name}"))?;
    // SAFETY: the kernel has just filled in this field of the union.
    let flags = c_int::from(unsafe { request.ifr_ifru.ifru_flags });
    if change(flags) == flags {
        return Ok(Ok(()));
    }
    // The kernel's flags have sixteen bits here, of which the highest is no sign.
    request.ifr_ifru.ifru_flags = c_short::from_ne_bytes(low_half(change(flags)));
    // SAFETY: as above; the kernel only reads.
    Ok(unsafe { raw::set_flags(socket.as_raw_fd(), &raw const request) }.map(drop))
}

fn low_half(flags: c_int) -> [u8; 2] {
    let [low, high, ..] = flags.to_le_bytes();
    u16::from_le_bytes([low, high]).to_ne_bytes()
}

/// A port's number.
///
/// # Errors
/// Names the port and the kernel's reason.
pub(crate) fn index(name: &str) -> anyhow::Result<u32> {
    nix::net::if_::if_nametoindex(name).with_context(|| format!("there is no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_port() {
        let error = format!("{:#}", up("no-such-port").unwrap_err());
        assert!(error.contains("no-such-port") && error.contains("No such device"), "{error}");
        assert!(format!("{:#}", up("a-name-that-is-too-long").unwrap_err()).contains("too long"));
    }
}
