//! Which devices are there, and what each one says of itself: a look at `/sys/bus`, and pure readings of a modalias.

use std::path::Path;

use crate::tree::Tree;

/// A device on a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// Bus, such as `pci`.
    pub(crate) bus: String,
    /// Name on the bus, such as `0000:00:1f.2`.
    pub(crate) name: String,
    /// What names the drivers for it.
    pub(crate) modalias: String,
    /// A driver is bound to it.
    pub(crate) bound: bool,
}

/// All devices of all buses that have a modalias, in order of bus and name.
pub(crate) fn scan(tree: &Tree) -> Vec<Device> {
    let mut devices = Vec::new();
    for bus in tree.names("/sys/bus") {
        let folder = Path::new("/sys/bus").join(&bus).join("devices");
        for name in tree.names(&folder) {
            let device = folder.join(&name);
            let Some(modalias) = tree.text(device.join("modalias")) else { continue };
            let bound = tree.path(device.join("driver")).exists();
            devices.push(Device { bus: bus.clone(), name, modalias, bound });
        }
    }
    devices
}

/// Modules that no device names, each with those beside which it is of use: programs reach a BMC by `ipmi_devintf` only.
const COMPANIONS: [(&str, &[&str]); 1] = [("ipmi_devintf", &["ipmi_si", "ipmi_ssif"])];

/// What is to be loaded besides these modules.
pub(crate) fn companions(modules: &[String]) -> Vec<String> {
    let wanted = |beside: &[&str]| modules.iter().any(|module| beside.contains(&module.as_str()));
    COMPANIONS.iter().filter(|(_, beside)| wanted(beside)).map(|(name, _)| (*name).to_owned()).collect()
}

/// Base class of a PCI function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PciClass {
    Storage,
    Network,
    Other(u8),
}

/// Base class in a PCI modalias.
pub(crate) fn pci_class(modalias: &str) -> Option<PciClass> {
    let digits = modalias.strip_prefix("pci:")?.split_once("bc")?.1.get(..2)?;
    Some(match u8::from_str_radix(digits, 16).ok()? {
        1 => PciClass::Storage,
        2 => PciClass::Network,
        other => PciClass::Other(other),
    })
}

/// `8086:100e` of a PCI modalias, `46f4:0001` of a USB one.
pub(crate) fn device_id(modalias: &str) -> Option<String> {
    let ids = match modalias.split_once(':')? {
        ("pci", ids) => (ids.get(5..9)?, ids.strip_prefix('v')?.get(8..)?.strip_prefix('d')?.get(4..8)?),
        ("usb", ids) => (ids.strip_prefix('v')?.get(..4)?, ids.get(5..)?.strip_prefix('p')?.get(..4)?),
        _ => return None,
    };
    Some(format!("{}:{}", ids.0, ids.1).to_ascii_lowercase())
}

/// Order of loading: the network first, since the check-in waits for it, then disks, then the buses behind which more of
/// both may be, then the rest.
pub(crate) fn rank(modalias: &str) -> u8 {
    const VIRTIO_VENDOR: &str = "pci:v00001AF4";
    const VIRTIO_NET: &str = "virtio:d00000001";
    const USB_HOST: &str = "bc0Csc03";
    match pci_class(modalias) {
        Some(PciClass::Network) => 0,
        _ if modalias.starts_with(VIRTIO_NET) || modalias.starts_with(VIRTIO_VENDOR) => 0,
        _ if modalias.starts_with("vmbus:") || modalias.starts_with("xen:") => 0,
        Some(PciClass::Storage) => 1,
        _ if modalias.starts_with("virtio:") || modalias.starts_with("scsi:") => 1,
        _ if modalias.contains(USB_HOST) => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const E1000: &str = "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00";
    const STICK: &str = "usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00";

    #[test]
    fn what_reaches_a_bmc_comes_along_with_its_driver() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(companions(&names(&["e1000e", "ipmi_si"])), ["ipmi_devintf"]);
        assert_eq!(companions(&names(&["ipmi_si", "ipmi_ssif"])), ["ipmi_devintf"]);
        assert!(companions(&names(&["e1000e", "ipmi_msghandler"])).is_empty());
    }

    #[test]
    fn readings_of_a_modalias() {
        assert_eq!((pci_class(E1000), pci_class(STICK)), (Some(PciClass::Network), None));
        assert_eq!(device_id(E1000).as_deref(), Some("8086:100e"));
        assert_eq!(device_id(STICK).as_deref(), Some("46f4:0001"));
        assert_eq!(device_id("acpi:PNP0303:"), None);
        let sorted = [E1000, "virtio:d00000002v00001AF4", "pci:v00001B36d0000000Dsv0sd0bc0Csc03i30", "acpi:PNP0303:"];
        assert!(sorted.windows(2).all(|w| rank(w[0]) < rank(w[1])));
    }

    #[test]
    fn devices_of_a_recorded_machine() {
        let dir = tempfile::tempdir().unwrap();
        let put = |device: &str, modalias: &str, driver: bool| {
            let folder = dir.path().join("sys/bus").join(device);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("modalias"), format!("{modalias}\n")).unwrap();
            if driver {
                fs::create_dir(folder.join("driver")).unwrap();
            }
        };
        put("usb/devices/1-1:1.0", STICK, false);
        put("pci/devices/0000:00:03.0", E1000, true);
        fs::create_dir_all(dir.path().join("sys/bus/pci/devices/0000:00:04.0")).unwrap();
        let found = scan(&Tree::at(dir.path()));
        let names: Vec<_> = found.iter().map(|d| (d.bus.as_str(), d.name.as_str(), d.bound)).collect();
        assert_eq!(names, [("pci", "0000:00:03.0", true), ("usb", "1-1:1.0", false)]);
    }

    proptest! {
        #[test]
        fn never_panics(modalias in "(pci:v|usb:v|pci:|virtio:)?\\PC{0,40}") {
            let _ = (pci_class(&modalias), device_id(&modalias), rank(&modalias));
        }
    }
}
