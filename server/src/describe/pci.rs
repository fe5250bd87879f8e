//! PCI functions, with the names of the PCI ID Repository.

use pci_ids::{Device, FromId as _, Subclass, Vendor};
use wire::inventory::{Gpu, PciDevice, Stable, Volatile};

use crate::describe::{Column, Section, code, join, labelled, text, word};
use crate::human;

/// Columns of [`pci`].
const PCI: [Column; 8] = [
    code("PCI"),
    text("What"),
    text("Kind"),
    code("Id"),
    text("Driver"),
    text("Lanes"),
    text("NUMA node"),
    code("GPU").detail(),
];

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
            d.gpu.as_ref().map(gpu).unwrap_or_default(),
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

/// What a display or compute controller's driver says of it, and the size of its largest memory window.
fn gpu(gpu: &Gpu) -> String {
    let window = gpu.windows_bytes.iter().max().map(|bytes| format!("window {}", human::memory(*bytes)));
    let parts = [("VBIOS", &gpu.vbios), ("serial", &gpu.serial), ("id", &gpu.unique_id)];
    let [vbios, serial, id] = parts.map(|(label, value)| labelled(label, value.as_ref()));
    join(&[vbios.as_ref(), serial.as_ref(), id.as_ref(), window.as_ref()])
}

/// Name of `8086:1572`; where only the maker is known, its name.
pub(crate) fn device(id: &str) -> Option<String> {
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

    #[test]
    fn a_gpu_in_a_few_words() {
        let text = |text: &str| Some(text.to_owned());
        let all = Gpu {
            windows_bytes: vec![32 << 30, 2 << 20],
            vbios: text("90.04.38.00.03"),
            serial: text("692231000131"),
            unique_id: text("18ba41c2d3e4f506"),
        };
        assert_eq!(gpu(&all), "VBIOS 90.04.38.00.03, serial 692231000131, id 18ba41c2d3e4f506, window 32 GiB");
        assert_eq!(gpu(&Gpu::default()), "");
    }

    proptest::proptest! {
        #[test]
        fn any_id_is_read(id in ".*") {
            let _ = (device(&id), class(&id));
        }
    }
}
