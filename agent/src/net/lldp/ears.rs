//! The socket on which one port's LLDP frames come in.
//!
//! It hears all of the port's traffic, since only such a socket is told the VLAN tag, and a filter in the kernel lets LLDP
//! through. The port takes all frames meanwhile: those for LLDP's groups, and those under VLANs that are not its own, which
//! switches send on trunks and network cards drop otherwise.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::Context as _;
use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::{AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, bind, recvmsg, socket};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::super::Event;
use super::super::socket::{attach, link_address, register, set_option};
use super::{frame, unit};
use crate::limits::{LLDP_FRAME, LLDP_PAUSE};

/// Listens until it is dropped.
pub(crate) struct Ears {
    reader: AbortHandle,
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Ears {
    /// Listens to the port with this index and reports whom it hears. It may go down and come up again meanwhile.
    ///
    /// # Errors
    /// Names the step that the kernel refused.
    pub(crate) fn open(index: u32, events: UnboundedSender<Event>) -> anyhow::Result<Self> {
        let fd = listen(index)?;
        let reader = tokio::spawn(async move {
            loop {
                // An error is that the port went down, once.
                if let Ok(Some(heard)) = receive(&fd).await
                    && events.send(Event::Heard(index, Box::new(heard))).is_err()
                {
                    return;
                }
                // A flood of frames waits in the kernel, which keeps some and drops the rest.
                tokio::time::sleep(LLDP_PAUSE).await;
            }
        });
        Ok(Self { reader: reader.abort_handle() })
    }
}

fn listen(index: u32) -> anyhow::Result<AsyncFd<OwnedFd>> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    // Without a protocol nothing is received until the filter is in place and the port is chosen.
    let fd = socket(AddressFamily::Packet, SockType::Raw, flags, None)
        .context("cannot open a packet socket: is the kernel's module af_packet there?")?;
    attach_filter(&fd).context("cannot attach a filter to a packet socket")?;
    set_option(&fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1).context("cannot ask for VLAN tags")?;
    // What we send is not what we want to hear. Kernels before 4.20 cannot leave it out, and none of it is LLDP.
    if let Err(why) = set_option(&fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1) {
        tracing::debug!("our own frames are looked at, too: {why}");
    }
    let address = link_address(index, libc::ETH_P_ALL, [0; 6])?;
    bind(fd.as_raw_fd(), &address).context("cannot bind a packet socket to its port")?;
    for (kind, name) in [(libc::PACKET_MR_PROMISC, "promiscuous"), (libc::PACKET_MR_ALLMULTI, "all-multicast")] {
        let membership = libc::packet_mreq {
            mr_ifindex: i32::try_from(index)?,
            mr_type: u16::try_from(kind)?,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        // Most ports hear the usual frames without it, too.
        if let Err(why) = set_option(&fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership) {
            tracing::warn!("port {index} refuses to be {name}: LLDP under VLAN tags may stay unheard ({why})");
        }
    }
    Ok(register(fd)?)
}

/// Lets only LLDP through, and frames with a second VLAN tag before it: the first one is not in the frame any more.
fn attach_filter(fd: &OwnedFd) -> nix::Result<()> {
    const LOAD_WORD: u16 = 0x20;
    const LOAD_HALF: u16 = 0x28;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ETHERTYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PROTOCOL).cast_unsigned();
    const AFTER_TAG: u32 = 16;
    const LLDP: u32 = 0x88cc;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    attach(
        fd,
        &mut [
            step(LOAD_WORD, 0, 0, ETHERTYPE),
            step(EQUAL, 4, 0, LLDP),
            step(EQUAL, 1, 0, 0x8100),
            step(EQUAL, 0, 3, 0x88a8),
            step(LOAD_HALF, 0, 0, AFTER_TAG),
            step(EQUAL, 0, 1, LLDP),
            step(RETURN, 0, 0, u32::MAX),
            step(RETURN, 0, 0, 0),
        ],
    )
}

/// Waits for a frame; `None` if it is none that says who speaks.
async fn receive(fd: &AsyncFd<OwnedFd>) -> io::Result<Option<unit::Heard>> {
    let mut buffer = vec![0; LLDP_FRAME];
    let (length, tag) = fd.async_io(Interest::READABLE, |fd| receive_now(fd, &mut buffer)).await?;
    let found = frame::unwrap(&buffer[..length], tag);
    Ok(found.and_then(|(tagged, data)| unit::decode(data, tagged)))
}

/// Length of a frame and the VLAN tag that the kernel took off it.
fn receive_now(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Option<u16>)> {
    let mut beside = cmsg_space!(libc::tpacket_auxdata);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(fd.as_raw_fd(), &mut parts, Some(&mut beside), MsgFlags::empty())?;
    let tag = message.cmsgs()?.find_map(|told| match told {
        ControlMessageOwned::Unknown(told) => frame::tag(&told.data_bytes),
        _ => None,
    });
    Ok((message.bytes, tag))
}
