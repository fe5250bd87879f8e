//! What the kernel says of devices that come and go: netlink datagrams of the group `kernel`, and their parser.
//! A datagram is `ACTION@PATH` and then `KEY=VALUE` strings, each ended by a zero byte.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt, socket, sockopt,
};

use crate::limits::{UEVENT_BUFFER, UEVENT_MAX};

/// Multicast group of the kernel's own messages; udev's are another one.
const KERNEL_GROUP: u32 = 1;

/// A device came, went or changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Uevent {
    /// `add`, `remove`, `change`, `bind`, …
    pub(crate) action: String,
    /// Place below `/sys`.
    pub(crate) path: String,
    /// What names the drivers for it.
    pub(crate) modalias: Option<String>,
}

/// Reads a datagram; `None` if it is none of the kernel's.
pub(crate) fn parse(datagram: &[u8]) -> Option<Uevent> {
    let mut strings = datagram.split(|&b| b == 0).map(|s| String::from_utf8_lossy(s));
    let head = strings.next()?;
    let (action, path) = head.split_once('@')?;
    if action.is_empty() || !path.starts_with('/') {
        return None;
    }
    let modalias = strings.find_map(|s| Some(s.strip_prefix("MODALIAS=")?.to_owned())).filter(|m| !m.is_empty());
    Some(Uevent { action: action.to_owned(), path: path.to_owned(), modalias })
}

/// An open subscription.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
}

/// What a wait for an event ended with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// An event.
    Event(Uevent),
    /// The kernel had more to say than the socket holds: only a new look at all devices tells what was missed.
    Overflow,
}

impl Listener {
    /// Subscribes.
    ///
    /// # Errors
    /// When the kernel has no such socket or forbids it.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let protocol = SockProtocol::NetlinkKObjectUEvent;
        let socket = socket(AddressFamily::Netlink, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)
            .context("cannot open a socket for kernel device events")?;
        // Forced beyond the system's limit if we may: thousands of events come at once when a large bus appears.
        if setsockopt(&socket, sockopt::RcvBufForce, &UEVENT_BUFFER).is_err() {
            _ = setsockopt(&socket, sockopt::RcvBuf, &UEVENT_BUFFER);
        }
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))
            .context("cannot subscribe to kernel device events")?;
        Ok(Self { socket })
    }

    /// Waits for the next event. What others than the kernel send is skipped.
    ///
    /// # Errors
    /// When the socket fails for good.
    pub(crate) fn next(&self) -> anyhow::Result<Heard> {
        let mut buffer = vec![0; UEVENT_MAX];
        loop {
            match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, from)) if from.is_some_and(|f| f.pid() == 0) => {
                    if let Some(event) = parse(&buffer[..length]) {
                        return Ok(Heard::Event(event));
                    }
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => return Ok(Heard::Overflow),
                Err(errno) => return Err(errno).context("cannot read kernel device events"),
            }
        }
    }
}

/// For the fuzzer.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let found = parse(bytes);
    assert!(found.is_none_or(|found| !found.action.is_empty() && found.path.starts_with('/')));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_device_that_came() {
        let bytes = b"add@/devices/pci0000:00/0000:00:03.0/virtio0\0ACTION=add\0DEVPATH=/devices/x\0SUBSYSTEM=virtio\0MODALIAS=virtio:d00000001v00001AF4\0SEQNUM=1234\0";
        let event = parse(bytes).unwrap();
        assert_eq!((event.action.as_str(), event.path.as_str()), ("add", "/devices/pci0000:00/0000:00:03.0/virtio0"));
        assert_eq!(event.modalias.as_deref(), Some("virtio:d00000001v00001AF4"));
        assert_eq!(parse(b"remove@/devices/x\0MODALIAS=\0").unwrap().modalias, None);
    }

    #[test]
    fn other_datagrams_are_none() {
        for bytes in [&b"libudev\0\xfe\xed\xca\xfe"[..], b"", b"\0\0", b"add@relative\0", b"@/x\0", b"add"] {
            assert_eq!(parse(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn subscribing_needs_no_rights() {
        Listener::open().unwrap();
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_alias_is_kept(action in "[a-z]{1,8}", path in "/[a-z0-9/:.]{0,30}", alias in "[ -~]{1,60}") {
            let bytes = format!("{action}@{path}\0SUBSYSTEM=x\0MODALIAS={alias}\0SEQNUM=1\0");
            let expected = Uevent { action, path, modalias: Some(alias) };
            prop_assert_eq!(parse(bytes.as_bytes()), Some(expected));
        }
    }
}
