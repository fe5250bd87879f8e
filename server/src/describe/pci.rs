//! PCI functions, with the names of the PCI ID Repository.

use pci_ids::{Device, FromId as _, Subclass, Vendor};
use wire::inventory::{PciDevice, Stable, Volatile};

use crate::describe::{Column, Section, code, join, text, word};

/// Columns of [`pci`].
const PCI: [Column; 7] =
    [code("PCI"), text("What"), text("Kind"), code("Id"), text("Driver"), text("Lanes"), text("NUMA node")];

/// PCI functions. Bridges that only connect others are left out.
pub(super) fn pci(stable: &Stable, volatile: &Volatile) -> Section {
    let cells = |d: &PciDevice| {
        let lanes = d.link_width.filter(|n| *n > 0).map(|n| match d.max_link_width {
            Some(max) if max > n => format!("x{n} of x{max}"),
            _ => format!("x{n}"),
        });
        let speed = volatile.pci_link_mts.get(&d.address).map(|mts| format!("{mts} MT/s"));
        vec![
            d.address.clone(),
            device(&d.id).unwrap_or_default(),
            class(&d.class).unwrap_or_default().to_owned(),
            d.id.clone(),
            word(d.driver.as_ref()),
            join(&[lanes.as_ref(), speed.as_ref()]),
            d.numa.map(|n| n.to_string()).unwrap_or_default(),
        ]
    };
    let shown = stable.pci.iter().filter(|d| !d.class.starts_with("06"));
    Section {
        id: "pci",
        title: "PCI devices",
        noun: "Address",
        columns: PCI.to_vec(),
        rows: shown.map(cells).collect(),
        detail: true,
    }
}

/// Name of `8086:1572`; where only the maker is known, its name.
fn device(id: &str) -> Option<String> {
    let (vendor, device) = id.split_once(':')?;
    let (vendor, device) = (u16::from_str_radix(vendor, 16).ok()?, u16::from_str_radix(device, 16).ok()?);
    if let Some(known) = Device::from_vid_pid(vendor, device) {
        return Some(format!("{} {}", known.vendor().name(), known.name()));
    }
    Vendor::from_id(vendor).map(|vendor| vendor.name().to_owned())
}

/// Name of a class code of six hex digits.
fn class(code: &str) -> Option<&'static str> {
    let byte = |from: usize| u8::from_str_radix(code.get(from..from + 2)?, 16).ok();
    Some(Subclass::from_cid_sid(byte(0)?, byte(2)?)?.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_they_are_known() {
        assert_eq!(device("8086:1572").as_deref(), Some("Intel Corporation Ethernet Controller X710 for 10GbE SFP+"));
        assert_eq!(device("8086:fffe").as_deref(), Some("Intel Corporation"));
        assert_eq!(class("020000"), Some("Ethernet controller"));
        assert_eq!(class("010802"), Some("Non-Volatile memory controller"));
        for nothing in ["", "8086", "8086:", ":", "x:y", "8086:1572:1"] {
            assert_eq!(device(nothing), None, "{nothing}");
        }
        for nothing in ["", "02", "0", "zz0000", "ff", "é00000"] {
            assert_eq!(class(nothing), None, "{nothing}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_id_is_read(id in ".*") {
            let _ = (device(&id), class(&id));
        }
    }
}
