//! Interfaces on top of ports, made by the kernel's route netlink: a bond, a VLAN, and a port that becomes part of a bond.
//! Messages and the kernel's answer are pure functions over bytes; a refusal comes with the kernel's own words where it
//! has any. Four messages need no library.

use std::os::fd::AsRawFd as _;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use super::dhcp::Mac;
use super::socket::set_option;

/// `nlmsghdr` and `ifinfomsg` are of this length each.
const HEADER: usize = 16;
/// `nlmsghdr`, the error number, and the header of the refused message; attributes follow.
const REFUSAL: usize = HEADER + 4 + HEADER;
/// The kernel's words in a refusal.
const REFUSAL_TEXT: u16 = 1;
/// Attribute of a VLAN's data: its id.
const VLAN_ID: u16 = 1;
/// Attributes of a bond's data: its mode, and how often it looks whether its ports have a link.
const BOND_MODE: u16 = 1;
const BOND_MIIMON: u16 = 3;
/// A bond looks so often, in milliseconds: what the kernel's documentation takes.
const MIIMON_MS: u32 = 100;

/// A message that the kernel carries out or refuses whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Makes a bond, or changes one without ports: the kernel's module makes one by itself as it is loaded.
    pub(super) fn bond(name: &str, mode: u8, mac: Mac) -> Self {
        let data = [attribute(BOND_MODE, &[mode]), attribute(BOND_MIIMON, &MIIMON_MS.to_ne_bytes())].concat();
        let attributes = [named(name), attribute(libc::IFLA_ADDRESS, &mac), kind("bond", &data)].concat();
        Self::link(0, libc::NLM_F_CREATE, &attributes)
    }

    /// Makes a VLAN on top of an interface.
    pub(super) fn vlan(name: &str, lower: u32, id: u16) -> Self {
        let data = attribute(VLAN_ID, &id.to_ne_bytes());
        let attributes = [named(name), attribute(libc::IFLA_LINK, &lower.to_ne_bytes()), kind("vlan", &data)].concat();
        Self::link(0, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &attributes)
    }

    /// Makes a port part of a bond. It must be down.
    pub(super) fn join(port: u32, bond: u32) -> Self {
        Self::link(port, 0, &attribute(libc::IFLA_MASTER, &bond.to_ne_bytes()))
    }

    fn link(index: u32, flags: i32, attributes: &[u8]) -> Self {
        let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags).unwrap_or(0);
        let length = u32::try_from(2 * HEADER + attributes.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(libc::RTM_NEWLINK.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        // Number and sender, then family and type of the interface: one message on a socket of its own needs none.
        bytes.extend([0; 8 + 4]);
        bytes.extend(index.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(attributes);
        Self(bytes)
    }

    /// Has the kernel carry it out.
    ///
    /// # Errors
    /// The kernel's reason, by its number and in its words.
    pub(super) fn carry_out(&self) -> anyhow::Result<()> {
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
            .context("cannot open a netlink socket")?;
        // Old kernels have no words.
        for option in [libc::NETLINK_CAP_ACK, libc::NETLINK_EXT_ACK] {
            let _: nix::Result<()> = set_option(&socket, libc::SOL_NETLINK, option, &1_i32);
        }
        send(socket.as_raw_fd(), &self.0, MsgFlags::empty()).context("cannot send to the kernel")?;
        let mut answer = [0; 1024];
        let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).context("the kernel does not answer")?;
        match result(answer.get(..length).unwrap_or_default()).context("the kernel's answer is not understood")? {
            (0, _) => Ok(()),
            (number, None) => Err(Errno::from_raw(number).into()),
            (number, Some(words)) => Err(anyhow::Error::new(Errno::from_raw(number)).context(words)),
        }
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn named(name: &str) -> Vec<u8> {
    attribute(libc::IFLA_IFNAME, &[name.as_bytes(), &[0]].concat())
}

fn kind(kind: &str, data: &[u8]) -> Vec<u8> {
    let info = [attribute(libc::IFLA_INFO_KIND, kind.as_bytes()), attribute(libc::IFLA_INFO_DATA, data)].concat();
    attribute(libc::IFLA_LINKINFO, &info)
}

/// What the kernel's answer says: the number of an error, 0 where all is well, and its words.
fn result(answer: &[u8]) -> Option<(i32, Option<String>)> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if i32::from(kind) != libc::NLMSG_ERROR {
        return None;
    }
    let error = i32::from_ne_bytes(answer.get(HEADER..HEADER + 4)?.try_into().ok()?);
    Some((error.checked_neg()?, answer.get(REFUSAL..).and_then(words)))
}

/// The kernel's words among the attributes of a refusal.
fn words(mut attributes: &[u8]) -> Option<String> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        let value = attributes.get(4..length)?;
        if kind == REFUSAL_TEXT {
            return Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// For the fuzzer.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let words = result(bytes).and_then(|(_, words)| words).unwrap_or_default();
    assert!(words.len() <= bytes.len() * char::REPLACEMENT_CHARACTER.len_utf8());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `ip link add link eth0 name eth0.5 type vlan id 5` sends, for the interface with number 2.
    #[test]
    fn a_vlan_is_asked_for_as_others_do() {
        let Message(bytes) = Message::vlan("eth0.5", 2, 5);
        assert_eq!(usize::try_from(u32::from_ne_bytes(bytes[..4].try_into().unwrap())).unwrap(), bytes.len());
        assert_eq!(bytes[4..8], [16, 0, 5, 6], "a new link, an answer asked for, created, and only if it is not there");
        let name = [11, 0, 3, 0, b'e', b't', b'h', b'0', b'.', b'5', 0, 0];
        let link = [8, 0, 5, 0, 2, 0, 0, 0];
        let info = [24, 0, 18, 0, 8, 0, 1, 0, b'v', b'l', b'a', b'n', 12, 0, 2, 0, 6, 0, 1, 0, 5, 0, 0, 0];
        assert_eq!(bytes[32..], [&name[..], &link, &info].concat());
    }

    #[test]
    fn a_port_joins_by_its_number() {
        let Message(bytes) = Message::join(7, 9);
        assert_eq!((bytes[20], &bytes[32..]), (7, &[8, 0, 10, 0, 9, 0, 0, 0][..]));
        let Message(bytes) = Message::bond("bond0", 4, [2; 6]);
        assert_eq!(bytes[6..8], [5, 4], "one that is there already is changed");
    }

    #[test]
    fn the_kernel_refuses_in_its_own_words() {
        let header = |error: i32| {
            let mut bytes = vec![0; REFUSAL];
            bytes[4] = 2;
            bytes[16..20].copy_from_slice(&error.to_ne_bytes());
            bytes
        };
        assert_eq!(result(&header(0)), Some((0, None)));
        assert_eq!(result(&header(-17)), Some((17, None)));
        let text = [header(-22), attribute(2, &[1; 4]), attribute(1, b"Invalid mode\0")].concat();
        assert_eq!(result(&text), Some((22, Some("Invalid mode".to_owned()))));
        assert!(Message::join(u32::MAX >> 1, 1).carry_out().is_err());
    }

    proptest! {
        #[test]
        fn any_answer_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = result(&bytes);
            let _ = words(&bytes);
        }
    }
}
