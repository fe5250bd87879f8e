//! Sockets of the unit: packets of DHCP over one port, and the kernel's word that something changed. Steps that other packet
//! sockets need too are here as well.

use std::ffi::c_int;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrLike as _, bind, recv,
    sendto, setsockopt, socket, sockopt::BindToDevice,
};
use tokio::io::unix::AsyncFd;

use super::dhcp::{CLIENT_PORT, Mac, wrap};

/// Largest packet that is taken.
const LARGEST_PACKET: usize = 2048;
/// Groups of the kernel's route messages: links, IPv4 addresses, IPv4 routes, IPv6 addresses.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100;

/// DHCP packets over one port, whether it has an address or not.
pub(crate) struct PacketSocket {
    fd: AsyncFd<OwnedFd>,
    everybody: LinkAddr,
}

impl PacketSocket {
    /// Opens the socket for the port with this index.
    ///
    /// # Errors
    /// Names the step that the kernel refused.
    pub(crate) fn open(index: u32) -> anyhow::Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        // Without a protocol nothing is received until the filter is in place and the port is chosen.
        let fd = socket(AddressFamily::Packet, SockType::Datagram, flags, None)
            .context("cannot open a packet socket: is the kernel's module af_packet there?")?;
        attach_filter(&fd).context("cannot attach a filter to a packet socket")?;
        let everybody = link_address(index, libc::ETH_P_IP, [0xff; 6])?;
        bind(fd.as_raw_fd(), &everybody).context("cannot bind a packet socket to its port")?;
        Ok(Self { fd: register(fd)?, everybody })
    }

    /// Sends a message of ours to all servers on the link. A full queue drops it: it is repeated anyway.
    ///
    /// # Errors
    /// The kernel's reason.
    pub(crate) fn send(&self, message: &[u8], source: Ipv4Addr) -> anyhow::Result<()> {
        let packet = wrap(message, source);
        match sendto(self.fd.as_raw_fd(), &packet, &self.everybody, MsgFlags::empty()) {
            Ok(_) | Err(Errno::EAGAIN | Errno::ENOBUFS) => Ok(()),
            Err(why) => Err(why).context("cannot send a DHCP request"),
        }
    }

    /// Waits for a packet.
    ///
    /// # Errors
    /// The kernel's reason, such as that the port went down; the socket stays usable.
    pub(crate) async fn receive(&self) -> io::Result<Vec<u8>> {
        let mut packet = vec![0; LARGEST_PACKET];
        let length = self.fd.async_io(tokio::io::Interest::READABLE, |fd| receive_now(fd, &mut packet)).await?;
        packet.truncate(length);
        Ok(packet)
    }
}

/// A socket from which one server is asked, by its address, to extend a lease. The answer is read from the packet
/// socket; this one only keeps the kernel from refusing it.
///
/// # Errors
/// Names the port and the address.
pub(crate) fn unicast(name: &str, source: Ipv4Addr) -> anyhow::Result<UdpSocket> {
    let open = || -> anyhow::Result<UdpSocket> {
        let socket = UdpSocket::bind((source, CLIENT_PORT))?;
        setsockopt(&socket, BindToDevice, &name.into())?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    open().with_context(|| format!("cannot send from {source} on {name}"))
}

/// Hands a socket to the runtime.
///
/// # Errors
/// The kernel's reason.
pub(super) fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stands for one open descriptor until it is dropped, which `AsyncFd` does after deregistering.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

fn receive_now(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    recv(fd.as_raw_fd(), buffer, MsgFlags::empty()).map_err(io::Error::from)
}

/// Lets only whole UDP packets to port 68 through, so that other traffic does not wake the unit.
fn attach_filter(fd: &OwnedFd) -> nix::Result<()> {
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HALF: u16 = 0x28;
    const LOAD_HALF_AFTER_HEADER: u16 = 0x48;
    const HEADER_LENGTH: u16 = 0xb1;
    const EQUAL: u16 = 0x15;
    const ANY_BIT: u16 = 0x45;
    const RETURN: u16 = 0x06;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        step(LOAD_BYTE, 0, 0, 9),
        step(EQUAL, 0, 6, 17),
        step(LOAD_HALF, 0, 0, 6),
        step(ANY_BIT, 4, 0, 0x3fff),
        step(HEADER_LENGTH, 0, 0, 0),
        step(LOAD_HALF_AFTER_HEADER, 0, 0, 2),
        step(EQUAL, 0, 1, 68),
        step(RETURN, 0, 0, u32::MAX),
        step(RETURN, 0, 0, 0),
    ];
    attach(fd, &mut program)
}

/// Attaches a filter of these steps.
///
/// # Errors
/// The kernel's reason, such as that the filter is none.
pub(super) fn attach(fd: &OwnedFd, program: &mut [libc::sock_filter]) -> nix::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    // The kernel copies the steps before the call returns.
    set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &libc::sock_fprog { len, filter: program.as_mut_ptr() })
}

/// Sets an option of a socket that takes a `T`.
///
/// # Errors
/// The kernel's reason.
pub(super) fn set_option<T>(fd: &OwnedFd, level: c_int, name: c_int, value: &T) -> nix::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `value` has this length and lives until the call returns; the kernel only reads it.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const *value).cast(), length) };
    Errno::result(result).map(drop)
}

/// The port with this index as the address of a packet socket for this Ethernet protocol.
///
/// # Errors
/// A number is out of range.
pub(super) fn link_address(index: u32, protocol: c_int, mac: Mac) -> anyhow::Result<LinkAddr> {
    let mut address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET)?,
        sll_protocol: u16::try_from(protocol)?.to_be(),
        sll_ifindex: i32::try_from(index)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    address.sll_addr[..6].copy_from_slice(&mac);
    // SAFETY: `address` is a whole `sockaddr_ll` of the family that `LinkAddr` asks for.
    unsafe { LinkAddr::from_raw((&raw const address).cast(), None) }.context("a link address is not understood")
}

/// The kernel's word that a link, an address or a route changed. What changed is looked up where it is needed, so that a lost
/// message does no harm.
pub(crate) struct Changes {
    fd: AsyncFd<OwnedFd>,
}

impl Changes {
    /// Listens from now on.
    ///
    /// # Errors
    /// Names the step that the kernel refused.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)
            .context("cannot open a netlink socket")?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS)).context("cannot listen for changes of links")?;
        Ok(Self { fd: register(fd)? })
    }

    /// Waits for a change.
    ///
    /// # Errors
    /// The kernel's reason.
    pub(crate) async fn next(&self) -> io::Result<()> {
        let mut buffer = [0; LARGEST_PACKET];
        let drain = |fd: &OwnedFd| {
            receive_now(fd, &mut buffer)?;
            while receive_now(fd, &mut buffer).is_ok() {}
            Ok(())
        };
        match self.fd.async_io(tokio::io::Interest::READABLE, drain).await {
            // Messages were lost: something changed.
            Err(why) if why.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
            other => other,
        }
    }
}
