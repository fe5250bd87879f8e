//! Whole disks: `/sys/block`. No partitions, loop, RAM, device-mapper or RAID devices, optical or floppy drives, and no
//! drive without a medium. No disk is opened: all comes from what the kernel read when it found the disk.

use std::collections::BTreeMap;
use std::path::Path;

use wire::inventory::Disk;

use super::collector::Found;
use super::place::{Place, place};
use super::vpd::{self, AtaIdentity};
use crate::tree::Tree;

const BLOCK: &str = "/sys/block";
/// Unit of the file `size`, whatever the disk's own sectors are.
const SIZE_UNIT: u64 = 512;
/// Names of drives that are no disks although there is hardware behind them.
const NO_DISKS: [&str; 5] = ["sr", "fd", "nbd", "rbd", "mtdblock"];
/// SCSI device types that are disks: direct access, simplified direct access, host-managed zones.
const SCSI_DISKS: [u64; 3] = [0, 14, 20];
/// Names that come from the hardware's own identity; the kernel's other ones (`t10.`, `nvme.`) are made up from
/// vendor, model and serial number.
const WWN_KINDS: [&str; 3] = ["naa.", "eui.", "uuid."];

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let disks = all(tree);
    let names: BTreeMap<String, String> = disks.iter().map(|(d, name)| (d.key.clone(), name.clone())).collect();
    let disks: Vec<Disk> = disks.into_iter().map(|(disk, _)| disk).collect();
    Ok(Found::new(|stable, volatile| {
        stable.disks = disks;
        volatile.names.extend(names);
    }))
}

/// All disks in order of key, each with its kernel name.
pub(super) fn all(tree: &Tree) -> Vec<(Disk, String)> {
    let mut disks: Vec<(Disk, String)> =
        tree.names(BLOCK).into_iter().filter_map(|name| Some((read(tree, &name)?, name))).collect();
    set_keys(&mut disks);
    disks
}

/// The disk behind a block device; `None` if it is no disk.
fn read(tree: &Tree, name: &str) -> Option<Disk> {
    let dir = format!("{BLOCK}/{name}");
    let full = tree.resolve(&dir)?;
    if !is_disk(tree, name, &full) {
        return None;
    }
    let text = |file: &str| tree.text(format!("{dir}/{file}"));
    let number = |file: &str| tree.number(format!("{dir}/{file}"));
    let small = |file: &str| number(file).and_then(|n| u32::try_from(n).ok());
    let size_bytes = number("size").and_then(|sectors| sectors.checked_mul(SIZE_UNIT));
    let removable = number("removable") == Some(1);
    if removable && size_bytes.unwrap_or(0) == 0 {
        return None;
    }
    let namespace = small("nsid").or_else(|| namespace(name));
    let place = find_place(tree, &dir, &full, namespace);
    let page = |file: &str| tree.bytes(format!("{dir}/device/{file}"));
    let ata = page("vpd_pg89").and_then(|bytes| vpd::ata_identity(&bytes)).unwrap_or_default();
    let AtaIdentity { serial, firmware, model } = ata;
    let serial = serial
        .or_else(|| page("vpd_pg80").and_then(|bytes| vpd::serial(&bytes)))
        .or_else(|| text("device/serial"))
        .or_else(|| text("serial"))
        .or_else(|| if place.transport == Some("usb") { usb_serial(tree, &full) } else { None });
    let firmware =
        firmware.or_else(|| ["device/firmware_rev", "device/rev", "device/fwrev"].iter().find_map(|f| text(f)));
    Some(Disk {
        key: String::new(),
        size_bytes,
        vendor: text("device/vendor"),
        model: model.or_else(|| text("device/model")).or_else(|| text("device/name")),
        serial,
        wwn: text("wwid").or_else(|| text("device/wwid")).filter(|id| WWN_KINDS.iter().any(|k| id.starts_with(k))),
        firmware,
        rotational: number("queue/rotational").map(|n| n == 1),
        removable,
        transport: place.transport.map(str::to_owned),
        logical_sector_bytes: small("queue/logical_block_size"),
        physical_sector_bytes: small("queue/physical_block_size"),
        path: place.path,
        namespace,
    })
}

fn is_disk(tree: &Tree, name: &str, full: &Path) -> bool {
    let dir = format!("{BLOCK}/{name}");
    let virtual_device = full.starts_with("/sys/devices/virtual");
    // An NVMe disk with several controllers is a virtual device whose paths are hidden.
    let shared_nvme = full.starts_with("/sys/devices/virtual/nvme-subsystem");
    let hidden = tree.number(format!("{dir}/hidden")) == Some(1);
    let named = |prefix: &str| name.strip_prefix(prefix).is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()));
    // A card's boot areas and its signed counter are devices of their own.
    let card_area = name.starts_with("mmcblk") && (name.contains("boot") || name.contains("rpmb"));
    let scsi_type = tree.number(format!("{dir}/device/type"));
    (!virtual_device || shared_nvme)
        && !hidden
        && !card_area
        && !NO_DISKS.iter().any(|prefix| named(prefix))
        && scsi_type.is_none_or(|kind| SCSI_DISKS.contains(&kind))
}

/// Number of the namespace in `nvme0n2`.
fn namespace(name: &str) -> Option<u32> {
    let (controller, number) = name.strip_prefix("nvme")?.split_once('n')?;
    controller.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse().ok())?
}

fn find_place(tree: &Tree, dir: &str, full: &Path, namespace: Option<u32>) -> Place {
    let mut found = place(full, None, namespace);
    if let (Some(ata), Some(pci)) = (&found.ata, &found.pci) {
        let port = tree.number(format!("/sys/bus/pci/devices/{pci}/{ata}/ata_port/{ata}/port_no"));
        found = place(full, port, namespace);
    } else if found.transport == Some("nvme") && found.pci.is_none() {
        // The subsystem lists its controllers; the first of them by address stands for all.
        let device = format!("{dir}/device");
        let controllers = tree.names(&device).into_iter().filter(|n| n.starts_with("nvme"));
        let mut paths: Vec<Place> = controllers
            .filter_map(|n| tree.resolve(format!("{device}/{n}")))
            .map(|controller| place(&controller, None, namespace))
            .filter(|p| p.pci.is_some())
            .collect();
        paths.sort_by(|a, b| a.path.cmp(&b.path));
        found = paths.into_iter().next().unwrap_or(found);
    }
    found
}

/// Serial number of the USB device that the disk is in.
fn usb_serial(tree: &Tree, full: &Path) -> Option<String> {
    let device = full.ancestors().find(|dir| tree.path(dir.join("idVendor")).exists())?;
    tree.text(device.join("serial"))
}

/// Gives each disk its key: the WWN, else the path, else serial or name. A disk that is seen over two paths (same WWN
/// and serial) is kept once; different disks that claim one WWN are known by their paths.
fn set_keys(disks: &mut Vec<(Disk, String)>) {
    let evidence: Vec<(Option<String>, Option<String>)> =
        disks.iter().map(|(d, _)| (d.wwn.clone(), d.serial.clone())).collect();
    for (disk, name) in disks.iter_mut() {
        let shared = |wwn: &String| evidence.iter().any(|(w, s)| w.as_ref() == Some(wwn) && *s != disk.serial);
        let wwn = disk.wwn.as_ref().filter(|wwn| !is_blank(wwn) && !shared(wwn));
        let key = wwn.or(disk.path.as_ref()).or(disk.serial.as_ref()).unwrap_or(name);
        disk.key = key.clone();
    }
    disks.sort_by(|(a, a_name), (b, b_name)| (&a.key, a_name).cmp(&(&b.key, b_name)));
    disks.dedup_by(|(later, _), (first, _)| later.key == first.key);
}

/// A WWN of zeros is none.
fn is_blank(wwn: &str) -> bool {
    wwn.split_once('.').is_none_or(|(_, id)| id.bytes().all(|b| matches!(b, b'0' | b'-')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, wwn: Option<&str>, serial: &str, path: &str) -> (Disk, String) {
        let disk = Disk {
            wwn: wwn.map(str::to_owned),
            serial: Some(serial.to_owned()),
            path: Some(path.to_owned()),
            ..Disk::default()
        };
        (disk, name.to_owned())
    }

    #[test]
    fn keys_are_unique_and_survive_bad_wwns() {
        let mut disks = vec![
            disk("sda", Some("naa.5000c500a1b2c3d4"), "S1", "0000:01:00.0/scsi0:0:0"),
            disk("sdb", Some("naa.5000c500a1b2c3d4"), "S1", "0000:02:00.0/scsi0:0:0"),
            disk("sdc", Some("naa.1111"), "S2", "0000:01:00.0/scsi0:1:0"),
            disk("sdd", Some("naa.1111"), "S3", "0000:01:00.0/scsi0:2:0"),
            disk("sde", Some("naa.0000000000000000"), "S4", "0000:01:00.0/scsi0:3:0"),
            disk("vda", None, "S5", "0000:03:00.0"),
        ];
        set_keys(&mut disks);
        let keys: Vec<&str> = disks.iter().map(|(d, _)| d.key.as_str()).collect();
        let paths = ["0000:01:00.0/scsi0:1:0", "0000:01:00.0/scsi0:2:0", "0000:01:00.0/scsi0:3:0", "0000:03:00.0"];
        assert_eq!(keys, [&paths[..], &["naa.5000c500a1b2c3d4"]].concat());
    }

    #[test]
    fn namespaces() {
        assert_eq!(namespace("nvme0n12"), Some(12));
        assert_eq!(namespace("nvme0c1n1"), None);
        assert_eq!(namespace("sda"), None);
    }
}
