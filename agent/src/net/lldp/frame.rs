//! Ethernet frames that carry LLDP, with or without VLAN tags. Pure.
//!
//! The kernel takes the outer tag off a frame and hands it over beside it, as [`tag`] reads it; further ones are still
//! in the frame.

use nix::libc;

/// Ethertype of LLDP.
const LLDP: u16 = 0x88cc;
/// Ethertypes of VLAN tags: IEEE 802.1Q, 802.1ad, and what came before the latter.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// Both addresses, before the first ethertype.
const ADDRESSES: usize = 12;
/// Length of a tag, its ethertype included.
const TAG: usize = 4;
/// Bits of a tag that are the VLAN; the others are its priority.
const VLAN: u16 = 0x0fff;

/// The VLAN under which an LLDP frame came, and its data unit; `None` if it is no LLDP. Of several tags the first that is
/// not 0 counts: 0 only carries a priority.
pub(super) fn unwrap(frame: &[u8], outer: Option<u16>) -> Option<(Option<u16>, &[u8])> {
    let mut tagged = outer.map(|tag| tag & VLAN);
    let mut at = ADDRESSES;
    let number = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    while TAGS.contains(&number(at)?) {
        tagged = tagged.filter(|vlan| *vlan != 0).or(Some(number(at + 2)? & VLAN));
        at += TAG;
    }
    (number(at)? == LLDP).then(|| (tagged, frame.get(at + 2..).unwrap_or_default()))
}

/// The tag in what the kernel tells beside a frame, a `tpacket_auxdata`; `None` if the frame had none.
pub(super) fn tag(beside: &[u8]) -> Option<u16> {
    let status = u32::from_ne_bytes(beside.get(..4)?.try_into().ok()?);
    let tag = u16::from_ne_bytes(beside.get(16..18)?.try_into().ok()?);
    (status & libc::TP_STATUS_VLAN_VALID != 0).then_some(tag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame with these bytes after its addresses.
    fn frame(rest: &[u8]) -> Vec<u8> {
        [&[0; ADDRESSES][..], rest].concat()
    }

    #[test]
    fn tags_are_taken_off_and_told() {
        for (rest, outer, expected) in [
            (&[0x88, 0xcc, 7][..], None, Some((None, &[7][..]))),
            (&[0x88, 0xcc, 7], Some(0x6001), Some((Some(1), &[7]))),
            (&[0x88, 0xcc], Some(0xe000), Some((Some(0), &[]))),
            (&[0x81, 0, 0x60, 12, 0x88, 0xcc, 7], None, Some((Some(12), &[7]))),
            (&[0x81, 0, 0x60, 12, 0x88, 0xcc, 7], Some(0), Some((Some(12), &[7]))),
            (&[0x88, 0xa8, 0, 9, 0x81, 0, 0, 12, 0x88, 0xcc, 7], None, Some((Some(9), &[7]))),
            (&[0x81, 0, 0x60, 12, 0x08, 0x00, 7], None, None),
            (&[0x08, 0x00, 0x88, 0xcc], None, None),
            (&[0x81, 0, 0x60], None, None),
            (&[], None, None),
        ] {
            assert_eq!(unwrap(&frame(rest), outer), expected, "{rest:02x?}");
        }
    }

    #[test]
    fn a_tag_counts_where_the_kernel_says_that_there_is_one() {
        let mut beside = [0; 20];
        beside[16..18].copy_from_slice(&0x2005_u16.to_ne_bytes());
        assert_eq!(tag(&beside), None);
        beside[..4].copy_from_slice(&(1 | libc::TP_STATUS_VLAN_VALID).to_ne_bytes());
        assert_eq!(tag(&beside), Some(0x2005));
        assert_eq!(tag(&beside[..17]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..64), outer in any::<Option<u16>>()) {
            if let Some((_, unit)) = unwrap(&frame(&bytes), outer) {
                prop_assert!(unit.len() + 2 <= bytes.len());
            }
            unwrap(&bytes, outer);
            tag(&bytes);
        }
    }
}
