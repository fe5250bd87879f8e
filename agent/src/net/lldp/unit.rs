//! LLDP data units: bytes to a [`Neighbour`] and how long it holds. Pure, and never panics.
//!
//! Tolerant: TLVs may come in any order, twice (the first counts) or cut off (what is whole before them counts), with no
//! end and with padding after it. Only who it is, chassis and port, must be there. What is not understood is in `raw`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use wire::inventory::Neighbour;

use crate::limits::{LLDP_ADDRESSES, LLDP_DEFAULT_TTL, LLDP_RAW};
use crate::text::plain;

/// TLV types.
const END: u8 = 0;
const CHASSIS: u8 = 1;
const PORT: u8 = 2;
const TTL: u8 = 3;
const PORT_DESCRIPTION: u8 = 4;
const SYSTEM_NAME: u8 = 5;
const SYSTEM_DESCRIPTION: u8 = 6;
const CAPABILITIES: u8 = 7;
const MANAGEMENT: u8 = 8;
const ORGANISATION: u8 = 127;
/// Begin of an organisation's TLV, its subtype included: IEEE 802.1 port VLAN id.
const PORT_VLAN: [u8; 4] = [0x00, 0x80, 0xc2, 1];
/// IEEE 802.3 maximum frame size.
const FRAME_SIZE: [u8; 4] = [0x00, 0x12, 0x0f, 4];
/// Subtypes of a chassis id: a MAC, a network address.
const CHASSIS_FORMS: Forms = Forms { mac: 4, network: 5 };
/// Subtypes of a port id: a MAC, a network address.
const PORT_FORMS: Forms = Forms { mac: 3, network: 4 };
/// Address families: IPv4, IPv6, MAC.
const V4: u8 = 1;
const V6: u8 = 2;
const MAC: u8 = 6;
/// Capabilities of what passes frames on: repeater, bridge, router.
const PASSES_ON: u16 = 0x0002 | 0x0004 | 0x0010;
/// Largest VLAN id.
const MOST_VLAN: u16 = 4094;

/// Who spoke, what it says that it is, and for how long that holds: zero when the neighbour takes its leave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heard {
    pub(crate) neighbour: Neighbour,
    pub(crate) role: Role,
    pub(crate) ttl: Duration,
}

/// What a neighbour does with frames by its own word, what matters least first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// It passes none on.
    Host,
    /// It does not say.
    #[default]
    Unknown,
    /// It passes them on: a switch.
    Switch,
}

/// Which subtypes of an id are no text.
struct Forms {
    mac: u8,
    network: u8,
}

/// Reads a data unit that came under this VLAN tag; `None` if it does not say who speaks.
pub(crate) fn decode(unit: &[u8], tagged: Option<u16>) -> Option<Heard> {
    let mut neighbour = Neighbour { tagged, ..Neighbour::default() };
    let (mut chassis, mut port, mut ttl, mut role) = (None, None, None, None);
    let mut at = 0;
    let end = loop {
        match tlv(&unit[at..]) {
            Some((END, _)) => break at,
            None => break unit.len(),
            Some((kind, value)) => {
                at += 2 + value.len();
                match kind {
                    CHASSIS => first(&mut chassis, || id(value, &CHASSIS_FORMS)),
                    PORT => first(&mut port, || id(value, &PORT_FORMS)),
                    TTL => first(&mut ttl, || number(value)),
                    CAPABILITIES => first(&mut role, || value.get(2..).and_then(number).and_then(role_of)),
                    _ => describe(&mut neighbour, kind, value),
                }
            }
        }
    };
    let ttl = ttl.map_or(LLDP_DEFAULT_TTL, |seconds| Duration::from_secs(u64::from(seconds)));
    let raw = unit[..end.min(LLDP_RAW)].iter().map(|b| format!("{b:02x}")).collect();
    let neighbour = Neighbour { chassis: chassis?, port: port?, raw, ..neighbour };
    Some(Heard { neighbour, role: role.unwrap_or_default(), ttl })
}

/// The role of what has these capabilities switched on; `None` where it names none.
fn role_of(enabled: u16) -> Option<Role> {
    match enabled {
        0 => None,
        some if some & PASSES_ON == 0 => Some(Role::Host),
        _ => Some(Role::Switch),
    }
}

/// Type and value of the first TLV; `None` where it is cut off.
fn tlv(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low] = *bytes.first_chunk()?;
    let length = usize::from(high & 1) << 8 | usize::from(low);
    Some((high >> 1, bytes.get(2..2 + length)?))
}

/// Of what comes twice the first counts.
fn first<T>(place: &mut Option<T>, value: impl FnOnce() -> Option<T>) {
    if place.is_none() {
        *place = value();
    }
}

fn describe(neighbour: &mut Neighbour, kind: u8, value: &[u8]) {
    match kind {
        PORT_DESCRIPTION => first(&mut neighbour.port_description, || text(value)),
        SYSTEM_NAME => first(&mut neighbour.system_name, || text(value)),
        SYSTEM_DESCRIPTION => first(&mut neighbour.system_description, || text(value)),
        MANAGEMENT => {
            let known = &mut neighbour.management;
            if let Some(address) = management(value).filter(|a| known.len() < LLDP_ADDRESSES && !known.contains(a)) {
                known.push(address);
            }
        }
        ORGANISATION => match value.split_first_chunk() {
            Some((&PORT_VLAN, rest)) => {
                first(&mut neighbour.vlan, || number(rest).filter(|vlan| (1..=MOST_VLAN).contains(vlan)));
            }
            Some((&FRAME_SIZE, rest)) => {
                first(&mut neighbour.mtu, || number(rest).filter(|size| *size > 0).map(u32::from));
            }
            _ => {}
        },
        _ => {}
    }
}

fn number(value: &[u8]) -> Option<u16> {
    value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// A text for people, on one line; `None` if nothing is in it.
fn text(value: &[u8]) -> Option<String> {
    let text = plain(&String::from_utf8_lossy(value)).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The id in a chassis or port TLV in its usual text form; `None` if nothing is in it.
fn id(value: &[u8], forms: &Forms) -> Option<String> {
    let (subtype, id) = value.split_first()?;
    let address = match *subtype {
        subtype if subtype == forms.mac => mac(id),
        subtype if subtype == forms.network => id.split_first().and_then(|(family, bytes)| address(*family, bytes)),
        _ => None,
    };
    address.or_else(|| label(id))
}

/// Text where it is one, else the bytes as those of a MAC: vendors put all sorts of things under all subtypes.
fn label(id: &[u8]) -> Option<String> {
    let end = id.iter().rposition(|b| *b != 0)? + 1;
    match std::str::from_utf8(&id[..end]) {
        Ok(text) if plain(text) == text => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        _ => Some(octets(id)),
    }
}

fn mac(bytes: &[u8]) -> Option<String> {
    (bytes.len() == 6).then(|| octets(bytes))
}

fn octets(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

fn address(family: u8, bytes: &[u8]) -> Option<String> {
    match family {
        V4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string()),
        V6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
        MAC => mac(bytes),
        _ => None,
    }
}

/// The address in a management TLV; those of other kinds are in `raw` only.
fn management(value: &[u8]) -> Option<String> {
    let (length, rest) = value.split_first()?;
    let (family, bytes) = rest.get(..usize::from(*length))?.split_first()?;
    address(*family, bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples::{LLDPD, LLDPD_LEAVES, bytes, tlvs};
    use super::*;

    /// A chassis and a port that nothing is wrong with, and further TLVs.
    fn with(more: &[(u8, &[u8])]) -> Heard {
        let who: [(u8, &[u8]); 2] = [(1, b"\x07switch"), (2, b"\x05ge-0/0/7")];
        decode(&tlvs(&[&who, more].concat()), None).unwrap()
    }

    #[test]
    fn a_real_frame() {
        let heard = decode(&bytes(LLDPD)[14..], None).unwrap();
        let Neighbour { raw, .. } = heard.neighbour.clone();
        let expected = Neighbour {
            chassis: "44:38:39:00:00:17".to_owned(),
            port: "Ethernet1/7".to_owned(),
            port_description: Some("rack 12 server 3".to_owned()),
            system_name: Some("leaf-12a.dc1.example".to_owned()),
            system_description: Some("Cumulus-like test switch".to_owned()),
            management: vec!["10.0.0.2".to_owned()],
            raw: raw.clone(),
            ..Neighbour::default()
        };
        assert_eq!((heard.neighbour, heard.ttl), (expected, Duration::from_secs(8)));
        assert!(raw.starts_with("0207044438390000") && raw.ends_with("fe0900120f010080000036"), "{raw}");
        let leaves = decode(&bytes(LLDPD_LEAVES)[14..], Some(1)).unwrap();
        assert_eq!((leaves.ttl, leaves.neighbour.tagged), (Duration::ZERO, Some(1)));
    }

    #[test]
    fn ids_in_their_usual_form() {
        let v6 = b"\x05\x02\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
        for (value, chassis) in [
            (&b"\x04\x00\x1c\x73\x0a\x0b\x0c"[..], "00:1c:73:0a:0b:0c"),
            (b"\x05\x01\x0a\0\0\x02", "10.0.0.2"),
            (v6, "2001:db8::1"),
            (b"\x07SN12345 \0\0", "SN12345"),
            (b"\x06\xc3\xa4th0", "äth0"),
            // Against the standard, and seen: a MAC as text, a MAC under another subtype, an address of no known family.
            (b"\x0400:1c:73:0a:0b:0c", "00:1c:73:0a:0b:0c"),
            (b"\x07\x00\x1c\x73\x0a\x0b\x0c", "00:1c:73:0a:0b:0c"),
            (b"\x05\x01\x0a\0", "01:0a:00"),
            (b"\x07a\x1b[2J", "61:1b:5b:32:4a"),
        ] {
            let heard = decode(&tlvs(&[(1, value), (2, b"\x05e1")]), None).unwrap();
            assert_eq!(heard.neighbour.chassis, chassis);
        }
        let circuit = decode(&tlvs(&[(1, b"\x07s"), (2, b"\x06\x00\x04\x00\x0c\x01\x07")]), None).unwrap();
        assert_eq!(circuit.neighbour.port, "00:04:00:0c:01:07");
        let mac = decode(&tlvs(&[(1, b"\x07s"), (2, b"\x03\x00\x1c\x73\x0a\x0b\x0c")]), None).unwrap();
        assert_eq!(mac.neighbour.port, "00:1c:73:0a:0b:0c");
    }

    #[test]
    fn what_else_is_understood() {
        let heard = with(&[
            (3, &[0, 120]),
            (6, b"Cisco IOS Software\r\nCopyright\0"),
            (8, b"\x05\x01\x0a\0\0\x02\x02\0\0\0\x03\0"),
            (8, b"\x07\x06\x00\x1c\x73\x0a\x0b\x0c\x02\0\0\0\x01\0"),
            (8, b"\x05\x01\x0a\0\0\x02\x02\0\0\0\x09\0"),
            (127, b"\x00\x80\xc2\x01\x00\x0c"),
            (127, b"\x00\x12\x0f\x04\x24\x00"),
        ]);
        let Neighbour { management, vlan, mtu, system_description, .. } = heard.neighbour;
        assert_eq!(management, ["10.0.0.2", "00:1c:73:0a:0b:0c"]);
        assert_eq!((vlan, mtu, heard.ttl), (Some(12), Some(9216), Duration::from_secs(120)));
        assert_eq!(system_description.unwrap(), "Cisco IOS Software  Copyright");
        assert_eq!(with(&[(127, b"\x00\x80\xc2\x01\x00\x00")]).neighbour.vlan, None, "0 says that there is none");
    }

    #[test]
    fn what_it_is_by_its_own_word() {
        for (capabilities, role) in [
            (&[(7, &b"\x00\x14\x00\x14"[..])][..], Role::Switch),
            (&[(7, b"\x00\x14\x00\x10")], Role::Switch),
            (&[(7, b"\x00\x9c\x00\x80")], Role::Host),
            (&[(7, b"\x00\x14\x00\x00")], Role::Unknown),
            (&[(7, b"\x00\x14\x00")], Role::Unknown),
            (&[], Role::Unknown),
        ] {
            assert_eq!(with(capabilities).role, role, "{capabilities:?}");
        }
    }

    #[test]
    fn what_is_wrong_costs_only_itself() {
        let heard =
            with(&[(3, &[7]), (8, &[]), (8, b"\xff\x01"), (127, &[0]), (5, b"first"), (5, b"second"), (99, b"x")]);
        assert_eq!((heard.ttl, heard.neighbour.system_name.as_deref()), (LLDP_DEFAULT_TTL, Some("first")));
        assert!(heard.neighbour.raw.ends_with("c60178"), "{}", heard.neighbour.raw);
        let whole = tlvs(&[(5, b"name"), (2, b"\x05e1"), (1, b"\x07s")]);
        let cut = decode(&[&whole[..whole.len() - 2], &[0x0c, 0xff, 1, 2]].concat(), None).unwrap();
        assert_eq!((cut.neighbour.port.as_str(), cut.neighbour.chassis.as_str()), ("e1", "s"));
        assert!(cut.neighbour.raw.ends_with("0cff0102"), "what is cut off is kept");
        let padded = decode(&[&whole[..], &[0; 30]].concat(), None).unwrap();
        assert!(padded.neighbour.raw.ends_with("0773"), "padding is not: {}", padded.neighbour.raw);
    }

    #[test]
    fn without_chassis_or_port_nobody_spoke() {
        let chassis: (u8, &[u8]) = (1, b"\x07s");
        let port: (u8, &[u8]) = (2, b"\x05e1");
        for list in
            [&[][..], &[chassis], &[port], &[(1, b"\x07"), port], &[chassis, (2, b"\x05\0")], &[chassis, (2, b"")]]
        {
            assert_eq!(decode(&tlvs(list), None), None, "{list:?}");
        }
        assert!(decode(&tlvs(&[chassis, port]), None).is_some());
    }

    fn any_unit() -> impl Strategy<Value = Vec<u8>> {
        let kind = prop_oneof![0..10_u8, Just(127_u8), any::<u8>().prop_map(|kind| kind >> 1)];
        let value = prop::collection::vec(any::<u8>(), 0..40);
        prop::collection::vec((kind, value), 0..12).prop_map(|list| {
            let list: Vec<(u8, &[u8])> = list.iter().map(|(kind, value)| (*kind, value.as_slice())).collect();
            tlvs(&list)
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            decode(&bytes, None);
        }

        #[test]
        fn any_tlvs_are_read_and_what_is_told_is_short_and_plain(unit in any_unit(), cut in any::<prop::sample::Index>()) {
            decode(&unit[..cut.index(unit.len() + 1)], None);
            if let Some(Heard { neighbour, .. }) = decode(&unit, None) {
                let id = [&neighbour.chassis, &neighbour.port];
                prop_assert!(id.iter().all(|id| !id.is_empty() && plain(id) == **id));
                prop_assert!(neighbour.raw.len() <= 2 * LLDP_RAW && neighbour.management.len() <= LLDP_ADDRESSES);
            }
        }
    }
}
