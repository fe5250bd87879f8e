//! Where a disk is attached, from its place below `/sys/devices`: transport and a path that stays as long as the
//! cabling does. Numbers that the kernel gives in order of discovery (`host0`, `ata3`, `nvme1`) are no part of it.

use std::path::{Component, Path};

use crate::nic::is_pci_address;

/// A disk's place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// `nvme`, `sata`, `sas`, `usb`, `virtio`, `fc`, `iscsi`, `mmc`, `xen`, `scsi`; `None` if it is of no known kind.
    pub(super) transport: Option<&'static str>,
    /// PCI address and the place behind it, such as `0000:00:1f.2/ata1`.
    pub(super) path: Option<String>,
    /// PCI address of the controller.
    pub(super) pci: Option<String>,
    /// Name of the ATA port that the disk hangs on, as the kernel has it now.
    pub(super) ata: Option<String>,
}

/// The place of the device below `/sys/devices/…`. `ata_port` is the number of the port on its controller, `namespace`
/// that of an NVMe namespace.
pub(super) fn place(device: &Path, ata_port: Option<u64>, namespace: Option<u32>) -> Place {
    let parts: Vec<&str> =
        device.components().filter_map(|c| if let Component::Normal(p) = c { p.to_str() } else { None }).collect();
    let pci = parts.iter().rev().find(|p| is_pci_address(p)).map(|p| (*p).to_owned());
    let ata = parts.iter().find(|p| numbered(p, "ata")).map(|p| (*p).to_owned());
    let transport = transport(&parts);
    let unit = match transport {
        Some("nvme") => namespace.map(|n| format!("ns{n}")),
        Some("sata") => ata_port.map(|n| format!("ata{n}")),
        Some("usb") => usb_ports(&parts).map(|ports| format!("usb{ports}/{}", scsi_unit(&parts).unwrap_or_default())),
        _ => scsi_unit(&parts).map(|unit| format!("scsi{unit}")),
    };
    // Without PCI, the name of what the disk hangs on, such as `LNRO0005:01` or `vbd-51712`.
    let controller = pci.clone().or_else(|| {
        let last = parts.iter().rev().skip(1).find(|p| !matches!(**p, "block") && scsi_address(p).is_none());
        last.map(|p| (*p).to_owned())
    });
    let path = controller.map(|c| unit.map_or(c.clone(), |unit| format!("{c}/{}", unit.trim_end_matches('/'))));
    Place { transport, path, pci, ata }
}

fn transport(parts: &[&str]) -> Option<&'static str> {
    let any = |test: &dyn Fn(&str) -> bool| parts.iter().any(|p| test(p));
    let scsi = any(&|p| numbered(p, "host"));
    Some(if any(&|p| numbered(p, "nvme") || p.starts_with("nvme-subsys")) {
        "nvme"
    } else if any(&|p| numbered(p, "usb")) {
        "usb"
    } else if any(&|p| numbered(p, "ata")) {
        "sata"
    } else if any(&|p| p.starts_with("end_device-")) {
        "sas"
    } else if any(&|p| p.starts_with("rport-")) {
        "fc"
    } else if any(&|p| numbered(p, "session")) {
        "iscsi"
    } else if any(&|p| numbered(p, "mmc")) {
        "mmc"
    } else if scsi {
        "scsi"
    } else if any(&|p| numbered(p, "virtio")) {
        "virtio"
    } else if any(&|p| p.starts_with("vbd-")) {
        "xen"
    } else {
        return None;
    })
}

/// Whether `name` is `prefix` and a number.
fn numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// `channel:target:unit` of the last `host:channel:target:unit`.
fn scsi_unit(parts: &[&str]) -> Option<String> {
    parts.iter().rev().find_map(|p| scsi_address(p)).map(str::to_owned)
}

/// `0:2:0` of `6:0:2:0`.
fn scsi_address(part: &str) -> Option<&str> {
    let (host, rest) = part.split_once(':')?;
    let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    (number(host) && rest.split(':').count() == 3 && rest.split(':').all(number)).then_some(rest)
}

/// `2.3` of the last `1-2.3`: the bus's number differs between boots.
fn usb_ports<'a>(parts: &[&'a str]) -> Option<&'a str> {
    let device = |p: &&'a str| {
        let (bus, ports) = p.split_once('-')?;
        let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        (number(bus) && ports.split('.').all(number)).then_some(ports)
    };
    parts.iter().rev().find_map(device)
}

/// For the fuzzer: the path of a disk's device, as bytes and as the kernel makes them.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(place(Path::new(&*text), Some(1), Some(1)), place(Path::new(&*text), Some(1), Some(1)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_by_bus() {
        for (device, ata_port, namespace, transport, path) in [
            (
                "/sys/devices/pci0000:00/0000:00:1f.2/ata5/host4/target4:0:0/4:0:0:0/block/sda",
                Some(1),
                None,
                Some("sata"),
                "0000:00:1f.2/ata1",
            ),
            (
                "/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/nvme/nvme3/nvme3n1",
                None,
                Some(1),
                Some("nvme"),
                "0000:01:00.0/ns1",
            ),
            ("/sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda", None, None, Some("virtio"), "0000:00:02.0"),
            (
                "/sys/devices/pci0000:00/0000:00:05.0/virtio3/host2/target2:0:1/2:0:1:0/block/sdb",
                None,
                None,
                Some("scsi"),
                "0000:00:05.0/scsi0:1:0",
            ),
            (
                "/sys/devices/pci0000:00/0000:00:03.0/0000:02:00.0/host0/port-0:0/end_device-0:0/target0:0:0/0:0:0:0/block/sdc",
                None,
                None,
                Some("sas"),
                "0000:02:00.0/scsi0:0:0",
            ),
            (
                "/sys/devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1.4/2-1.4:1.0/host7/target7:0:0/7:0:0:0/block/sdd",
                None,
                None,
                Some("usb"),
                "0000:00:14.0/usb1.4/0:0:0",
            ),
            ("/sys/devices/platform/LNRO0005:01/virtio0/block/vda", None, None, Some("virtio"), "virtio0"),
            ("/sys/devices/vbd-51712/block/xvda", None, None, Some("xen"), "vbd-51712"),
        ] {
            let place = place(Path::new(device), ata_port, namespace);
            assert_eq!((place.transport, place.path.as_deref()), (transport, Some(path)), "{device}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read(path in "[a-z0-9:./-]{0,80}") {
            place(Path::new(&path), None, None);
        }
    }
}
