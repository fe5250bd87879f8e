//! The frames of a scan: what is asked, and what is said to it. Pure: bytes and what they mean.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// Bytes before the packet.
const ETHERNET: usize = 14;
/// Destination unreachable: type and code of a port in ICMP, and in ICMPv6.
const CLOSED: [(u8, u8, u8); 2] = [(ICMP, 3, 3), (ICMP6, 1, 4)];
/// ICMPv6: who has this address, and the answer.
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// The port that is asked from.
pub(super) const OURS: u16 = 40_000;
/// What a UDP port is asked: nothing in particular, with a line's end for those who wait for one.
const QUESTION: &[u8] = b"?\r\n";

/// Somebody on the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Station {
    pub(super) mac: [u8; 6],
    pub(super) address: IpAddr,
}

/// What a station said to another one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// This TCP port refuses.
    Refused(u16),
    /// This TCP port said something else: it is open.
    Open(u16),
    /// Something came from this UDP port.
    Datagram(u16),
    /// This UDP port is closed.
    Unreachable(u16),
    /// It asks for the other one's MAC; this frame is the answer.
    Asked(Vec<u8>),
}

/// A question to a UDP port.
pub(super) fn datagram(us: &Station, them: &Station, port: u16) -> Vec<u8> {
    let length = u16::try_from(8 + QUESTION.len()).unwrap();
    let head = [OURS, port, length, 0].map(u16::to_be_bytes).concat();
    packet(us, them, UDP, &[&head, QUESTION].concat(), 6)
}

/// The first frame of a connection to a TCP port.
pub(super) fn knock(us: &Station, them: &Station, port: u16) -> Vec<u8> {
    segment(us, them, port, 0, SYN)
}

/// The end of a connection that the knock has opened.
pub(super) fn hang_up(us: &Station, them: &Station, port: u16) -> Vec<u8> {
    segment(us, them, port, 1, RST)
}

fn segment(us: &Station, them: &Station, port: u16, sequence: u16, flags: u8) -> Vec<u8> {
    let ports = [OURS, port, 0, sequence, 0, 0].map(u16::to_be_bytes).concat();
    packet(us, them, TCP, &[&ports[..], &[0x50, flags, 0x10, 0, 0, 0, 0, 0]].concat(), 16)
}

/// A packet in its frame; the checksum of what it carries goes to a place there.
fn packet(us: &Station, them: &Station, protocol: u8, payload: &[u8], checksum: usize) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let (kind, mut head, addresses) = match (us.address, them.address) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let head = [&[0x45, 0][..], &(20 + length).to_be_bytes(), &[0, 0, 0x40, 0, 64, protocol, 0, 0]].concat();
            ([0x08, 0x00], head, [from.octets(), to.octets()].concat())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let head = [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[protocol, 255]].concat();
            ([0x86, 0xdd], head, [from.octets(), to.octets()].concat())
        }
        _ => panic!("{us:?} and {them:?} do not speak the same language"),
    };
    head.extend(&addresses);
    if us.address.is_ipv4() {
        let sum = sum(&head);
        head[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let mut payload = payload.to_vec();
    let length = length.to_be_bytes();
    let sum = sum(&[&addresses[..], &[0, protocol], &length, &payload].concat());
    payload[checksum..checksum + 2].copy_from_slice(&sum.to_be_bytes());
    [&them.mac[..], &us.mac, &kind, &head, &payload].concat()
}

/// The checksum of the internet's protocols.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// What one station said to another one in this frame.
pub(super) fn said(frame: &[u8], them: &Station, us: &Station) -> Option<Said> {
    if frame.get(6..12)? != them.mac {
        return None;
    }
    match (frame.get(12..14)?, us.address) {
        ([0x08, 0x06], IpAddr::V4(our)) => asked_by_arp(frame, our, us),
        ([0x08, 0x00], IpAddr::V4(our)) => {
            let (head, payload) = frame[ETHERNET..].split_at_checked(20)?;
            let them_to_us = IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&head[12..16]).unwrap())) == them.address;
            (them_to_us && head[16..20] == our.octets()).then(|| carried(head[9], payload, 20))?
        }
        ([0x86, 0xdd], IpAddr::V6(our)) => {
            let (head, payload) = frame[ETHERNET..].split_at_checked(40)?;
            if head[6] == ICMP6 && *payload.first()? == SOLICITATION {
                return (payload.get(8..24)? == our.octets()).then(|| advertisement(us, them));
            }
            let them_to_us = IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&head[8..24]).unwrap())) == them.address;
            (them_to_us && head[24..40] == our.octets()).then(|| carried(head[6], payload, 40))?
        }
        _ => None,
    }
}

/// What a packet's payload means; heads of packets have so many bytes.
fn carried(protocol: u8, payload: &[u8], head: usize) -> Option<Said> {
    let port = |at: usize| Some(u16::from_be_bytes(payload.get(at..at + 2)?.try_into().ok()?));
    let kind = (protocol, *payload.first()?, *payload.get(1)?);
    match protocol {
        TCP if payload.get(13)? & RST != 0 => Some(Said::Refused(port(0)?)),
        TCP => Some(Said::Open(port(0)?)),
        UDP => Some(Said::Datagram(port(0)?)),
        // Behind its own eight bytes stands the packet that nobody took.
        _ if CLOSED.contains(&kind) => Some(Said::Unreachable(port(8 + head + 2)?)),
        _ => None,
    }
}

fn asked_by_arp(frame: &[u8], our: Ipv4Addr, us: &Station) -> Option<Said> {
    let arp = frame.get(ETHERNET..ETHERNET + 28)?;
    if arp[6..8] != [0, 1] || arp[24..28] != our.octets() {
        return None;
    }
    let (mac, address) = (&arp[8..14], &arp[14..18]);
    Some(Said::Asked([mac, &us.mac, &[8, 6], &arp[..6], &[0, 2], &us.mac, &our.octets(), mac, address].concat()))
}

fn advertisement(us: &Station, them: &Station) -> Said {
    let IpAddr::V6(our) = us.address else { panic!("{us:?} has no such address") };
    // Asked for and to be believed; then our MAC.
    let flags = [ADVERTISEMENT, 0, 0, 0, 0x60, 0, 0, 0];
    Said::Asked(packet(us, them, ICMP6, &[&flags[..], &our.octets(), &[2, 1], &us.mac].concat(), 2))
}

#[test]
fn what_is_sent_has_right_checksums_and_answers_are_told_apart() {
    for (us, them) in [("10.0.2.77", "10.0.2.15"), ("fe80::77", "fe80::15")] {
        let us = Station { mac: [2, 0, 0, 0, 0, 1], address: us.parse().unwrap() };
        let them = Station { mac: [2, 0, 0, 0, 0, 2], address: them.parse().unwrap() };
        // A sum over what holds its own checksum is nothing.
        let whole = |frame: &[u8], protocol: u8| {
            let (addresses, payload) = if us.address.is_ipv4() { (26, 34) } else { (22, 54) };
            let length = u16::try_from(frame.len() - payload).unwrap().to_be_bytes();
            sum(&[&frame[addresses..payload], &[0, protocol], &length, &frame[payload..]].concat())
        };
        assert_eq!((whole(&knock(&us, &them, 80), TCP), whole(&datagram(&us, &them, 53), UDP)), (0, 0));
        let answer = |flags| said(&segment(&them, &us, 9, 0, flags), &them, &us);
        // The port that it comes from is this one's own.
        assert_eq!(answer(SYN | ACK), Some(Said::Open(OURS)));
        assert_eq!(answer(RST | ACK), Some(Said::Refused(OURS)));
        assert_eq!(said(&datagram(&them, &us, 9), &them, &us), Some(Said::Datagram(OURS)));
        assert_eq!(said(&datagram(&us, &them, 9), &them, &us), None, "it is ours");
        let head = if us.address.is_ipv4() { 20 } else { 40 };
        let (protocol, kind, code) = CLOSED[usize::from(us.address.is_ipv6())];
        let returned = datagram(&us, &them, 161);
        let report = [&[kind, code, 0, 0, 0, 0, 0, 0], &returned[ETHERNET..ETHERNET + head + 8]].concat();
        assert_eq!(said(&packet(&them, &us, protocol, &report, 2), &them, &us), Some(Said::Unreachable(161)));
    }
}
