//! Recorded machines, replayed through all collectors. `mk-agent facts --record` records the machine that it runs on,
//! `recorded/make.sh` makes the recordings from QEMU guests.

mod summary;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use base64::Engine as _;
use wire::inventory::{Inventory, Nic};

use super::tests::hang;
use super::{Asker, collect};
use crate::tree::Tree;

/// A server with two sockets and NUMA nodes, modules in slots, a disk of every kind, two ports; UEFI.
pub(super) const Q35_SERVER: &str = include_str!("recorded/q35-server.machine");
/// The smallest machine: BIOS, one processor, an IDE disk, no serial numbers.
pub(super) const PC_SMALL: &str = include_str!("recorded/pc-small.machine");

/// Unpacks a recording into a folder.
pub(super) fn unpack(recording: &str, root: &Path) {
    for entry in recording.split("=== ").filter(|entry| !entry.trim().is_empty()) {
        let (header, content) = entry.split_once('\n').unwrap_or((entry, ""));
        let (kind, path) = header.split_once(' ').unwrap();
        let (path, target) = path.split_once(" -> ").unwrap_or((path, ""));
        let path = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match kind {
            "file" => fs::write(path, content).unwrap(),
            "base64" => {
                let joined: String = content.split_whitespace().collect();
                fs::write(path, base64::engine::general_purpose::STANDARD.decode(joined).unwrap()).unwrap();
            }
            // A device that two folders point to is recorded twice.
            "link" if path.is_symlink() => {}
            "link" => symlink(target, path).unwrap(),
            other => panic!("unknown entry {other}"),
        }
    }
}

pub(super) fn inventory(recording: &str) -> Inventory {
    let dir = tempfile::tempdir().unwrap();
    unpack(recording, dir.path());
    let inventory = collect(&Tree::at(dir.path()), Asker::Control);
    let failures = &inventory.volatile.as_ref().unwrap().failures;
    assert!(failures.is_empty(), "{failures:?}");
    inventory
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn server_identity() {
    let found = inventory(Q35_SERVER).stable;
    let system = found.system.unwrap();
    assert_eq!(system.manufacturer, some("ACME"));
    assert_eq!(system.product, some("Server 9000"));
    assert_eq!(system.serial, some("OTV-9270"));
    assert_eq!(system.uuid, some("33388275-4306-5949-84ce-bfedddccdc53"));
    assert_eq!((system.sku, system.family, system.version), (some("S9K"), some("Servers"), some("r2")));
    let board = found.board.unwrap();
    assert_eq!((board.product, board.serial, board.asset), (some("Board-9"), some("AVB-3622"), some("BA-1")));
    let chassis = found.chassis.unwrap();
    assert_eq!((chassis.kind, chassis.serial, chassis.asset), (Some(1), some("BYR-4359"), some("CA-1")));
    let bios = found.bios.unwrap();
    assert_eq!((bios.vendor, bios.version), (some("ACME"), some("1.2.3")));
    assert_eq!((bios.date, bios.release), (some("02/03/2024"), some("4.5")));
    let boot = found.boot.unwrap();
    assert_eq!((boot.mode, boot.secure_boot), (some("uefi"), Some(false)));
    assert_eq!(boot.interface, some("52:54:00:da:65:13"));
    let kernel = found.kernel.unwrap();
    assert!(kernel.release.unwrap().starts_with("6.1.0-"));
    assert_eq!(kernel.architecture, some("x86_64"));
}

#[test]
fn server_processors_and_memory() {
    let found = inventory(Q35_SERVER);
    let cpu = found.stable.cpu.unwrap();
    assert_eq!((cpu.packages, cpu.cores, cpu.threads), (Some(2), Some(4), Some(4)));
    assert_eq!((cpu.vendor, cpu.signature), (some("GenuineIntel"), some("6/85/4")));
    assert_eq!(cpu.max_mhz, Some(2000));
    assert!(cpu.flags.contains(&"hypervisor".to_owned()) && cpu.flags.is_sorted());
    assert!(cpu.vulnerabilities.contains_key("meltdown"));
    let memory = found.stable.memory.unwrap();
    let modules: Vec<_> = memory.dimms.iter().map(|d| (d.slot.as_str(), d.size_bytes, d.serial.as_deref())).collect();
    let gib = Some(1 << 30);
    assert_eq!(modules, [("DIMM A1", gib, Some("M000")), ("DIMM A2", gib, Some("M001"))]);
    assert_eq!((memory.slots, memory.installed_bytes), (Some(3), Some(2 << 30)));
    let numa: Vec<_> = found.stable.numa.iter().map(|n| (n.id, n.cpus.as_str(), n.distances.clone())).collect();
    assert_eq!(numa, [(0, "0-1", vec![10, 20]), (1, "2-3", vec![20, 10])]);
    let usable = found.volatile.unwrap().memory_usable_bytes.unwrap();
    assert!(usable > 1 << 30 && usable < 2 << 30, "{usable}");
}

#[test]
fn server_disks() {
    let found = inventory(Q35_SERVER);
    let disks: Vec<_> = found
        .stable
        .disks
        .iter()
        .map(|d| {
            let size = d.size_bytes.unwrap() >> 30;
            (d.key.as_str(), size, d.serial.as_deref().unwrap(), d.transport.as_deref().unwrap())
        })
        .collect();
    let expected = [
        ("0000:00:04.0/ns1", 3, "MWUD-2237", "nvme"),
        ("0000:00:04.0/ns2", 1, "MWUD-2237", "nvme"),
        ("0000:00:06.0", 2, "QHNGGH-1672", "virtio"),
        ("0000:00:07.0/usb1/0:0:0", 1, "MPC-9780", "usb"),
        ("naa.5000c502bdadbdca", 5, "VFH-5098", "scsi"),
        ("naa.5000c50547931564", 4, "TDID-4311", "sata"),
    ];
    assert_eq!(disks, expected);
    let sata = &found.stable.disks[5];
    // The model is not cut to the 16 letters of SCSI.
    assert_eq!(sata.model, some("ACME-SATA-MODEL-LONGER-THAN-16"));
    assert_eq!((sata.firmware.clone(), sata.path.clone()), (some("F123"), some("0000:00:1f.2/ata2")));
    assert_eq!(sata.rotational, Some(true));
    let stick = &found.stable.disks[3];
    assert!(stick.removable);
    let names = found.volatile.unwrap().names;
    assert_eq!(names["naa.5000c502bdadbdca"], "sdb");
}

#[test]
fn server_ports_and_devices() {
    let found = inventory(Q35_SERVER);
    let ports: Vec<&Nic> = found.stable.nics.iter().collect();
    let seen: Vec<_> = ports
        .iter()
        .map(|n| (n.key.as_str(), n.mac.as_deref().unwrap(), n.driver.as_deref().unwrap(), n.pci_id.as_deref()))
        .collect();
    let expected = [
        ("0000:00:02.0", "52:54:00:da:65:13", "e1000e", Some("8086:10d3")),
        ("0000:00:03.0", "52:54:00:fb:91:09", "virtio_net", Some("1af4:1000")),
        ("1-2", "52:54:00:fd:91:00", "cdc_ether", None),
    ];
    assert_eq!(seen, expected);
    let volatile = found.volatile.as_ref().unwrap();
    assert_eq!(volatile.names["0000:00:02.0"], "eth1");
    assert!(volatile.links["0000:00:02.0"].up);
    // The kernel's order differs from the order of the slots; the flat facts follow the slots.
    let flat = wire::facts::flatten(&found);
    assert_eq!(flat["macaddress_eth0"], "52:54:00:da:65:13");
    assert!(!flat.contains_key("macaddress_eth2"));
    assert_eq!(wire::facts::hw_id(&found.stable), "525400da6513_525400fb9109");
    let nvme = found.stable.pci.iter().find(|d| d.address == "0000:00:04.0").unwrap();
    assert_eq!((nvme.id.as_str(), nvme.class.as_str(), nvme.driver.clone()), ("1b36:0010", "010802", some("nvme")));
    let usb: Vec<_> = found.stable.usb.iter().map(|d| (d.path.as_str(), d.id.as_str())).collect();
    assert_eq!(usb, [("1-2", "0525:a4a2"), ("2-1", "46f4:0001")]);
    // Its strings hide whose machine it is, and a recording has no processor to ask.
    let virtualization = found.stable.virtualization.unwrap();
    assert_eq!((virtualization.is_virtual, virtualization.kind), (true, some("unknown")));
}

#[test]
fn small_machine() {
    let found = inventory(PC_SMALL);
    let stable = found.stable;
    assert_eq!(stable.boot.unwrap().mode, some("bios"));
    let cpu = stable.cpu.unwrap();
    assert_eq!((cpu.packages, cpu.cores, cpu.threads), (Some(1), Some(1), Some(1)));
    let disks: Vec<_> = stable.disks.iter().map(|d| (d.key.as_str(), d.serial.as_deref())).collect();
    assert_eq!(disks, [("0000:00:01.1/ata1", Some("VP86509"))]);
    assert_eq!(stable.system.unwrap().serial, None);
    assert_eq!(stable.memory.unwrap().installed_bytes, Some(256 << 20));
    assert_eq!(stable.nics.len(), 1);
    assert_eq!(stable.virtualization.unwrap().kind, some("qemu"));
}

#[test]
fn two_looks_at_one_machine_are_alike() {
    let (first, second) = (inventory(Q35_SERVER), inventory(Q35_SERVER));
    assert_eq!(wire::digest::stable(&first.stable), wire::digest::stable(&second.stable));
}

#[test]
fn an_empty_tree_is_no_machine_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let found = collect(&Tree::at(dir.path()), Asker::Control);
    assert!(found.stable.disks.is_empty() && found.stable.nics.is_empty());
    // Without /proc nothing works: that is said.
    assert!(found.volatile.unwrap().failures["cpu"].contains("/proc/cpuinfo"));
}

#[test]
fn a_file_that_never_answers_costs_one_collector() {
    let dir = tempfile::tempdir().unwrap();
    unpack(Q35_SERVER, dir.path());
    hang(dir.path(), "sys/devices/pci0000:00/0000:00:06.0/virtio1/block/vda/size");
    let found = collect(&Tree::at(dir.path()), Asker::Control);
    let volatile = found.volatile.unwrap();
    // Whose health is asked is known by the same file.
    assert_eq!(volatile.failures.keys().collect::<Vec<_>>(), ["disks", "health"]);
    assert!(volatile.failures["disks"].starts_with("abandoned"));
    assert!(found.stable.disks.is_empty());
    assert_eq!((found.stable.nics.len(), found.stable.memory.unwrap().dimms.len()), (3, 2));
    assert!(!volatile.took_ms.contains_key("disks"));
}
