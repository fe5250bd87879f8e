//! Pluggable modules in the cages of network ports: what the module's own memory says, by ethtool. Its layout depends on
//! the kind of module: SFF-8472 for SFP, SFF-8636 for QSFP, CMIS for QSFP-DD and OSFP; the numbers of the kinds are those
//! of SFF-8024. What the driver does not read is absent. Modules that only answer by pages over netlink (CMIS behind some
//! drivers) are not seen.

use std::collections::BTreeMap;

use wire::inventory::{Stable, Transceiver};

use super::collector::Found;
use super::ethtool::Ethtool;
use crate::nic::ports;
use crate::tree::Tree;

/// Bytes that are read in one go: from the kind of module to the end of its serial number in each layout.
const WINDOW: usize = 96;
/// Where the upper page starts, in which QSFP and CMIS modules have their names.
const UPPER_PAGE: u32 = 128;
/// Types that a driver gives to a module's memory: SFF-8079, SFF-8472 (both SFP); all others have an upper page.
const SFP_MEMORY: [u32; 2] = [1, 2];

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let mut found = BTreeMap::new();
    if let Some(ethtool) = tree.is_live().then(Ethtool::open).transpose()? {
        found.extend(ports(tree).into_iter().filter_map(|port| Some((port.key, read(&ethtool, &port.name)?))));
    }
    Ok(Found::new(move |stable: &mut Stable, _| {
        for nic in &mut stable.nics {
            nic.transceiver = found.remove(&nic.key);
        }
    }))
}

fn read(ethtool: &Ethtool, interface: &str) -> Option<Transceiver> {
    let memory = ethtool.module_memory(interface)?;
    let sfp = SFP_MEMORY.contains(&memory);
    let bytes = ethtool.module_bytes(interface, if sfp { 0 } else { UPPER_PAGE }, WINDOW)?;
    parse(&bytes, sfp)
}

/// Places of vendor, part number and serial number within the window, each of 16 letters.
#[derive(Clone, Copy)]
struct Layout {
    vendor: usize,
    part: usize,
    serial: usize,
}

const TEXT: usize = 16;
/// SFF-8472 has them in its lower page where SFF-8636 has them in its upper one.
const SFF: Layout = Layout { vendor: 20, part: 40, serial: 68 };
/// Likewise in the upper page.
const CMIS: Layout = Layout { vendor: 1, part: 20, serial: 38 };

/// What the bytes say, which start with the kind of module.
fn parse(bytes: &[u8], sfp: bool) -> Option<Transceiver> {
    let kind = *bytes.first()?;
    let layout = match kind {
        0x18..=0x1b | 0x1e..=0x22 if !sfp => CMIS,
        _ => SFF,
    };
    let text = |at: usize| {
        let text = String::from_utf8_lossy(bytes.get(at..at + TEXT)?).into_owned();
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0' || c == '\u{ff}').to_owned();
        // Memory that was never written.
        (!text.is_empty() && !text.chars().all(|c| c == char::REPLACEMENT_CHARACTER)).then_some(text)
    };
    let found = Transceiver {
        kind: kind_name(kind).map(str::to_owned),
        vendor: text(layout.vendor),
        part: text(layout.part),
        serial: text(layout.serial),
    };
    (found != Transceiver::default()).then_some(found)
}

/// Name of a kind of module in SFF-8024, table 4-1; `None` for what is no pluggable module.
fn kind_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        0x01 => "GBIC",
        0x03 => "SFP",
        0x05 => "XENPAK",
        0x06 => "XFP",
        0x0b => "DWDM-SFP",
        0x0c => "QSFP",
        0x0d => "QSFP+",
        0x0e => "CXP",
        0x11 => "QSFP28",
        0x12 => "CXP2",
        0x18 => "QSFP-DD",
        0x19 => "OSFP",
        0x1a => "SFP-DD",
        0x1b => "DSFP",
        0x1e => "QSFP+ (CMIS)",
        0x1f => "SFP-DD (CMIS)",
        0x20 => "SFP+ (CMIS)",
        0x21 => "OSFP-XD",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn module(kind: u8, layout: &Layout) -> Vec<u8> {
        let mut bytes = vec![0; WINDOW];
        bytes[0] = kind;
        for (at, text) in [(layout.vendor, "FINISAR CORP.   "), (layout.part, "FTLX8571D3BCL   ")] {
            bytes[at..at + TEXT].copy_from_slice(text.as_bytes());
        }
        bytes[layout.serial..layout.serial + TEXT].copy_from_slice(b"AQK1B2C         ");
        bytes
    }

    #[test]
    fn each_kind_has_its_layout() {
        // Places as the standards number them: bytes of the memory, of which a window is read.
        let sff8472 = Layout { vendor: 20, part: 40, serial: 68 };
        let sff8636 = Layout { vendor: 148 - 128, part: 168 - 128, serial: 196 - 128 };
        let cmis = Layout { vendor: 129 - 128, part: 148 - 128, serial: 166 - 128 };
        for (kind, layout, sfp, name) in [
            (0x03, sff8472, true, "SFP"),
            (0x0d, sff8636, false, "QSFP+"),
            (0x11, sff8636, false, "QSFP28"),
            (0x18, cmis, false, "QSFP-DD"),
        ] {
            let found = parse(&module(kind, &layout), sfp).unwrap();
            let shown = [found.kind, found.vendor, found.part, found.serial].map(Option::unwrap);
            assert_eq!(shown, [name, "FINISAR CORP.", "FTLX8571D3BCL", "AQK1B2C"]);
        }
    }

    #[test]
    fn an_empty_cage_has_no_module() {
        for filling in [0x00, 0xff] {
            assert_eq!(parse(&[filling; WINDOW], true), None);
            assert_eq!(parse(&[filling; WINDOW], false), None);
        }
        assert_eq!(parse(&[], true), None);
        // A module without names is still one.
        assert_eq!(parse(&[0x03], true).unwrap().kind.as_deref(), Some("SFP"));
    }

    proptest! {
        #[test]
        fn any_memory_is_read(bytes in prop::collection::vec(any::<u8>(), 0..200), sfp in any::<bool>()) {
            parse(&bytes, sfp);
        }
    }
}
