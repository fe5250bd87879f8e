//! DHCP messages inside IPv4 and UDP headers, for a packet socket: a port without an address can use no other. Pure.
//!
//! UDP checksums of what is received are not looked at: between virtual machines they are often not filled in.

use std::net::Ipv4Addr;

/// Port on which servers listen.
pub(crate) const SERVER_PORT: u16 = 67;
/// Port on which clients listen.
pub(crate) const CLIENT_PORT: u16 = 68;
const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const UDP: u8 = 17;
const TTL: u8 = 64;
/// More-fragments flag and fragment offset.
const FRAGMENT: u16 = 0x3fff;

/// The packet that carries `message` to all servers on the link.
pub(crate) fn wrap(message: &[u8], source: Ipv4Addr) -> Vec<u8> {
    let destination = Ipv4Addr::BROADCAST;
    // Our own messages are a few hundred bytes long.
    let length = |headers: usize| u16::try_from(message.len() + headers).unwrap_or(u16::MAX).to_be_bytes();

    let mut ip = [0; IP_HEADER];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&length(IP_HEADER + UDP_HEADER));
    ip[8] = TTL;
    ip[9] = UDP;
    ip[12..16].copy_from_slice(&source.octets());
    ip[16..20].copy_from_slice(&destination.octets());
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());

    let mut udp = [0; UDP_HEADER];
    udp[..2].copy_from_slice(&CLIENT_PORT.to_be_bytes());
    udp[2..4].copy_from_slice(&SERVER_PORT.to_be_bytes());
    udp[4..6].copy_from_slice(&length(UDP_HEADER));
    let pseudo = [&[0, UDP][..], &length(UDP_HEADER)].concat();
    let sum = match checksum(&[&source.octets(), &destination.octets(), &pseudo, &udp, message]) {
        0 => u16::MAX,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    [&ip[..], &udp, message].concat()
}

/// The DHCP message in a packet to a client; `None` if it is something else.
pub(crate) fn unwrap(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let header = usize::from(first & 15) * 4;
    let total = usize::from(number(packet, 2)?);
    if first >> 4 != 4 || header < IP_HEADER || packet.get(9) != Some(&UDP) || number(packet, 6)? & FRAGMENT != 0 {
        return None;
    }
    // A short frame is padded by the hardware: the IP header tells where the packet ends.
    let udp = packet.get(header..total)?;
    if number(udp, 0)? != SERVER_PORT || number(udp, 2)? != CLIENT_PORT {
        return None;
    }
    udp.get(UDP_HEADER..usize::from(number(udp, 4)?))
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The internet checksum over parts that, but for the last, have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words =
        parts.iter().flat_map(|part| part.chunks(2)).map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// For the fuzzer: what is found in a packet lies in it, and what is packed is found.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Some(message) = unwrap(bytes) {
        assert!(message.len() < bytes.len());
    }
    let mut packet = wrap(bytes, Ipv4Addr::LOCALHOST);
    // What a client sends has the ports the other way round.
    packet[IP_HEADER..IP_HEADER + 4].rotate_left(2);
    assert_eq!(unwrap(&packet), Some(bytes));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same packet as a server would send it back.
    fn reversed(mut packet: Vec<u8>) -> Vec<u8> {
        packet[20..24].rotate_left(2);
        packet
    }

    #[test]
    fn a_known_packet_has_the_right_checksums() {
        let packet = wrap(&[1, 2, 3], Ipv4Addr::UNSPECIFIED);
        assert_eq!(checksum(&[&packet[..20]]), 0, "a header with its checksum sums to nothing");
        let pseudo = [&packet[12..20], &[0, UDP, 0, 11]].concat();
        assert_eq!(checksum(&[&pseudo, &packet[20..]]), 0);
        assert_eq!(packet.len(), 31);
    }

    #[test]
    fn other_packets_are_dropped() {
        let good = reversed(wrap(&[9; 10], Ipv4Addr::LOCALHOST));
        assert_eq!(unwrap(&good), Some(&[9; 10][..]));
        for (at, to, why) in [
            (0, 0x65, "IPv6"),
            (0, 0x44, "short header"),
            (6, 0x20, "fragment"),
            (9, 6, "TCP"),
            (3, 90, "longer than received"),
            (21, 68, "from a client"),
            (23, 69, "to another port"),
            (25, 200, "UDP longer than IP"),
        ] {
            let mut bad = good.clone();
            bad[at] = to;
            assert_eq!(unwrap(&bad), None, "{why}");
        }
    }

    proptest! {
        #[test]
        fn messages_come_back_without_padding(message in proptest::collection::vec(any::<u8>(), 0..600), padding in 0usize..50) {
            let mut packet = reversed(wrap(&message, Ipv4Addr::UNSPECIFIED));
            packet.resize(packet.len() + padding, 0);
            prop_assert_eq!(unwrap(&packet), Some(&message[..]));
        }

        #[test]
        fn any_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = unwrap(&bytes);
        }
    }
}
