//! PCI functions: `/sys/bus/pci/devices`. Ids only; names are resolved by the server.

use std::collections::BTreeMap;

use wire::inventory::PciDevice;

use super::collector::Found;
use super::gpu;
use crate::tree::Tree;

pub(super) const DEVICES: &str = "/sys/bus/pci/devices";

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let (mut devices, mut speeds) = (Vec::new(), BTreeMap::new());
    for address in tree.names(DEVICES) {
        let Some(uevent) = tree.text(format!("{DEVICES}/{address}/uevent")) else { continue };
        let mut device = identity(&address, &uevent);
        let text = |file: &str| tree.text(format!("{DEVICES}/{address}/{file}"));
        let number = |file: &str| text(file).and_then(|t| t.parse().ok());
        device.revision = text("revision").map(|r| r.trim_start_matches("0x").to_owned());
        device.numa = number("numa_node");
        // Only PCI Express has a link; a width of 0 is a slot without one.
        device.max_link_width = number("max_link_width").filter(|width| *width > 0);
        if device.max_link_width.is_some() {
            device.link_width = number("current_link_width").filter(|width| *width > 0);
            device.max_link_mts = text("max_link_speed").and_then(|t| transfers(&t));
            if let Some(speed) = text("current_link_speed").and_then(|t| transfers(&t)) {
                speeds.insert(address, speed);
            }
        }
        device.gpu = gpu::read(tree, &device);
        devices.push(device);
    }
    Ok(Found::new(|stable, volatile| {
        stable.pci = devices;
        volatile.pci_link_mts = speeds;
    }))
}

/// What the file `uevent` tells: ids, class and driver in one read.
fn identity(address: &str, uevent: &str) -> PciDevice {
    let fields: BTreeMap<&str, &str> = uevent.lines().filter_map(|line| line.split_once('=')).collect();
    let lower = |key: &str| fields.get(key).map(|v| v.to_ascii_lowercase());
    PciDevice {
        address: address.to_owned(),
        id: lower("PCI_ID").unwrap_or_default(),
        // Bridges have no subsystem.
        subsystem: lower("PCI_SUBSYS_ID").filter(|id| id != "0000:0000"),
        // The kernel leaves out leading zeros.
        class: format!("{:0>6}", lower("PCI_CLASS").unwrap_or_default()),
        driver: fields.get("DRIVER").map(|d| (*d).to_owned()),
        ..PciDevice::default()
    }
}

/// Mega-transfers per second of `8.0 GT/s PCIe`; `None` for `Unknown`.
fn transfers(speed: &str) -> Option<u32> {
    let (whole, tenths) = speed.split_once(" GT/s")?.0.split_once('.')?;
    let tenths: u32 = tenths.get(..1)?.parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(tenths * 100)
}

/// For the fuzzer: the kernel's texts about a device.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (identity("0000:00:00.0", &text), transfers(&text));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::inventory::{Stable, Volatile};

    use super::gpu::tests::device;
    use super::*;

    #[test]
    fn links_and_nodes_of_functions() {
        let dir = tempfile::tempdir().unwrap();
        let slower = [
            ("revision", "0xa1\n"),
            ("numa_node", "1\n"),
            ("current_link_width", "8\n"),
            ("max_link_width", "16\n"),
            ("current_link_speed", "8.0 GT/s PCIe\n"),
            ("max_link_speed", "16.0 GT/s PCIe\n"),
        ];
        device(dir.path(), "0000:3b:00.0", "30200", &slower);
        device(dir.path(), "0000:3c:00.0", "20000", &[("numa_node", "-1\n"), ("max_link_width", "0\n")]);
        let (mut stable, mut volatile) = (Stable::default(), Volatile::default());
        collect(&Tree::at(dir.path())).unwrap().put(&mut stable, &mut volatile);
        let card = PciDevice {
            address: "0000:3b:00.0".to_owned(),
            id: "1002:738c".to_owned(),
            class: "030200".to_owned(),
            revision: Some("a1".to_owned()),
            numa: Some(1),
            link_width: Some(8),
            max_link_width: Some(16),
            max_link_mts: Some(16_000),
            ..PciDevice::default()
        };
        assert_eq!(stable.pci[0], card);
        assert_eq!((stable.pci[1].numa, stable.pci[1].max_link_width), (None, None));
        assert_eq!(volatile.pci_link_mts, BTreeMap::from([("0000:3b:00.0".to_owned(), 8000)]));
    }

    #[test]
    fn identity_from_uevent() {
        let uevent = "DRIVER=e1000e\nPCI_CLASS=20000\nPCI_ID=8086:10D3\nPCI_SUBSYS_ID=8086:0000\n\
            PCI_SLOT_NAME=0000:02:00.0\nMODALIAS=pci:v00008086d000010D3";
        let device = identity("0000:02:00.0", uevent);
        assert_eq!(device.id, "8086:10d3");
        assert_eq!(device.subsystem.as_deref(), Some("8086:0000"));
        assert_eq!(device.class, "020000");
        assert_eq!(device.driver.as_deref(), Some("e1000e"));
        assert_eq!(identity("x", "PCI_SUBSYS_ID=0000:0000").subsystem, None);
    }

    #[test]
    fn link_speeds() {
        for (text, speed) in [
            ("2.5 GT/s PCIe", Some(2500)),
            ("8.0 GT/s PCIe", Some(8000)),
            ("16.0 GT/s", Some(16000)),
            ("Unknown", None),
        ] {
            assert_eq!(transfers(text), speed, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[\\PC\n=]{0,80}") {
            identity("0000:00:00.0", &text);
            transfers(&text);
            transfers(&format!("{text} GT/s"));
        }
    }
}
