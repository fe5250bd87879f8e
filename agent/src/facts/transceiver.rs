//! Pluggable modules in the cages of network ports: what the module's own memory says, by ethtool. Its layout depends on
//! the kind of module: SFF-8472 for SFP, SFF-8636 for QSFP, CMIS for QSFP-DD and OSFP; the numbers of the kinds are those
//! of SFF-8024. What the driver does not read is absent. Modules that only answer by pages over netlink (CMIS behind some
//! drivers) are not seen.
//!
//! The kernel holds its lock of all ports while it reads a cage, for a second and more where drivers try again and again
//! to reach a module that is not there. So a cage is looked into once, in a thread of its own, and then only after a while or
//! when the port's link came or went: no module is changed without that.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use anyhow::Context as _;
use wire::inventory::{Stable, Transceiver};

use super::collector::{Collector, Found, run_all};
use super::ethtool::Ethtool;
use super::kept::Kept;
use super::network::is_up;
use crate::limits::{CAGES, HARDWARE_KEPT};
use crate::nic::{Port, ports};
use crate::tree::Tree;

/// Bytes that are read in one go: from the kind of module to the end of its serial number in each layout.
const WINDOW: usize = 96;
/// Where the upper page starts, in which QSFP and CMIS modules have their names.
const UPPER_PAGE: u32 = 128;
/// Types that a driver gives to a module's memory: SFF-8079, SFF-8472 (both SFP); all others have an upper page.
const SFP_MEMORY: [u32; 2] = [1, 2];

/// What a cage held when it was looked into.
#[derive(Debug, Clone, PartialEq)]
struct Cage {
    /// Whether the port had a link then.
    up: bool,
    /// The module, if there was one that could be read.
    module: Option<Transceiver>,
}

/// What is known of cages, by key of the port.
static KEPT: Kept<Cage> = Kept::new();

/// Looks into the cages once `network` says that it has what it needs of the ports. A recorded machine has none.
pub(super) fn collect(tree: &Tree, network: &Receiver<()>) -> anyhow::Result<Found> {
    if !tree.is_live() {
        return Ok(Found::new(|_, _| ()));
    }
    let end = Instant::now() + CAGES;
    network.recv().context("not read, since the ports themselves were not")?;
    let ports = ports(tree).into_iter().map(|port| (is_up(tree, &port.name), port)).collect();
    let (mut modules, failures) = modules(tree, ports, read, end);
    Ok(Found::new(move |stable: &mut Stable, volatile| {
        for nic in &mut stable.nics {
            nic.transceiver = modules.remove(&nic.key);
        }
        volatile.failures.extend(failures);
    }))
}

/// Modules by key of their port, and by name why not all were read before `end`; those are known the next time. Of each port
/// is told whether it has a link.
fn modules(
    tree: &Tree,
    ports: Vec<(bool, Port)>,
    read: fn(&str) -> Option<Transceiver>,
    end: Instant,
) -> (BTreeMap<String, Transceiver>, BTreeMap<String, String>) {
    let (mut modules, mut failures) = (BTreeMap::new(), BTreeMap::new());
    let now = Instant::now();
    let is_due = |(up, port): &&(bool, Port)| KEPT.fresh(&port.key, now).is_none_or(|cage| cage.up != *up);
    let due = ports.iter().filter(is_due).map(|(up, port)| collector(*up, port.clone(), read)).collect();
    for outcome in run_all(due, tree, end) {
        failures.extend(outcome.result.err().map(|why| (outcome.name, why)));
    }
    for (_, Port { key, .. }) in ports {
        let known = KEPT.last(&key).and_then(|cage| cage.module);
        modules.extend(known.map(|module| (key, module)));
    }
    (modules, failures)
}

/// Looks into one cage and keeps what it holds.
fn collector(up: bool, Port { name, key }: Port, read: fn(&str) -> Option<Transceiver>) -> Collector<()> {
    let title = format!("transceiver of {key}");
    let look = move || {
        // A port with a link has a module, even where that does not answer just now.
        let known = || KEPT.last(&key).filter(|_| up)?.module;
        let module = read(&name).or_else(known);
        KEPT.keep(&key, Cage { up, module }, Instant::now() + HARDWARE_KEPT);
        Ok(())
    };
    Collector { name: title, read: Box::new(look) }
}

/// Asks the driver of this interface.
fn read(interface: &str) -> Option<Transceiver> {
    let ethtool = Ethtool::open().ok()?;
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

/// For the fuzzer.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    for module in [true, false].into_iter().filter_map(|sfp| parse(bytes, sfp)) {
        let texts = [&module.vendor, &module.part, &module.serial];
        assert!(texts.into_iter().flatten().all(|text| !text.is_empty() && text.chars().count() <= TEXT), "{module:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    static READS: AtomicUsize = AtomicUsize::new(0);
    static IS_MUTE: AtomicBool = AtomicBool::new(false);

    /// Cages of which that of `full` has a module, which may be mute.
    fn cage(interface: &str) -> Option<Transceiver> {
        READS.fetch_add(1, Ordering::SeqCst);
        let module = Transceiver { kind: Some("SFP".to_owned()), ..Transceiver::default() };
        (interface == "full" && !IS_MUTE.load(Ordering::SeqCst)).then_some(module)
    }

    #[test]
    fn a_cage_is_looked_into_once_and_again_when_the_link_changes() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::at(dir.path());
        let port = |name: &str, up| (up, Port { name: name.to_owned(), key: format!("cage test {name}") });
        let look = |up| {
            let before = READS.load(Ordering::SeqCst);
            let ports = vec![port("full", up), port("empty", false)];
            let (modules, failures) = modules(&tree, ports, cage, Instant::now() + Duration::from_secs(60));
            assert!(failures.is_empty(), "{failures:?}");
            (modules.into_keys().collect::<Vec<_>>(), READS.load(Ordering::SeqCst) - before)
        };
        let full = vec!["cage test full".to_owned()];
        assert_eq!(look(true), (full.clone(), 2));
        assert_eq!(look(true), (full.clone(), 0), "neither the full nor the empty one is asked again");
        assert_eq!(look(false), (full.clone(), 1), "the link went");
        IS_MUTE.store(true, Ordering::SeqCst);
        assert_eq!(look(true), (full, 1), "a port with a link has a module that does not answer");
        assert_eq!(look(false), (vec![], 1), "it was taken out");
    }

    #[test]
    fn no_cage_is_looked_into_before_the_ports_are_read() {
        let (ended, network) = std::sync::mpsc::channel();
        drop(ended);
        let why = collect(&Tree::live(), &network).err().unwrap().to_string();
        assert!(why.contains("ports"), "{why}");
        assert!(collect(&Tree::at("/nowhere"), &network).is_ok());
    }

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
