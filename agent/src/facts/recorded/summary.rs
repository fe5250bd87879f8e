//! What is read of each recorded machine, in a few lines a machine, held against `summary.txt`. After a change that is
//! meant, `MK_UPDATE_SUMMARY=1 cargo test -p mk-agent summary` writes that file anew; its diff shows what the change does.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use wire::inventory::{Disk, Inventory, Nic};

use super::inventory;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/facts/recorded");
const UPDATE: &str = "MK_UPDATE_SUMMARY";

/// The recordings, by name.
fn recordings() -> Vec<PathBuf> {
    let folder = fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    let mut machines: Vec<_> = folder.filter(|path| path.extension().is_some_and(|end| end == "machine")).collect();
    machines.sort();
    machines
}

/// For other programs' measurements: the stable inventory of each recorded machine, written to the folder that this names.
#[test]
#[ignore = "writes files to the folder that MK_INVENTORIES names"]
fn inventories_as_json() {
    let folder = PathBuf::from(env::var_os("MK_INVENTORIES").unwrap());
    for path in recordings() {
        let stable = inventory(&fs::read_to_string(&path).unwrap()).stable;
        let file = folder.join(path.file_stem().unwrap()).with_extension("json");
        fs::write(file, serde_json::to_vec(&stable).unwrap()).unwrap();
    }
}

#[test]
fn summary_of_every_recorded_machine() {
    let machines = recordings();
    assert!(machines.len() >= 12, "{}", machines.len());
    let found: String = machines.iter().map(|path| summary(path)).collect();
    let expected = Path::new(FOLDER).join("summary.txt");
    if env::var_os(UPDATE).is_some() {
        fs::write(&expected, &found).unwrap();
    }
    let expected = fs::read_to_string(expected).unwrap();
    let differs = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
    assert!(differs.is_none(), "expected and found: {differs:#?}");
    assert_eq!(expected.len(), found.len());
}

/// A machine by name and what an operator would ask first.
fn summary(recording: &Path) -> String {
    let Inventory { stable, volatile } = inventory(&fs::read_to_string(recording).unwrap());
    let volatile = volatile.unwrap();
    let mut text = format!("{}\n", recording.file_stem().unwrap().to_string_lossy());
    let mut line = |what: &str, value: String| writeln!(text, "  {what:8} {value}").unwrap();
    let words = |words: &[&Option<String>]| {
        words.iter().map(|word| word.as_deref().unwrap_or("-")).collect::<Vec<_>>().join(" | ")
    };
    if let Some(system) = &stable.system {
        line("system", words(&[&system.manufacturer, &system.product, &system.serial, &system.uuid]));
    }
    if let Some(board) = &stable.board {
        line("board", words(&[&board.manufacturer, &board.product, &board.serial, &board.asset]));
    }
    if let Some(chassis) = &stable.chassis {
        line("chassis", format!("{} | {:?}", words(&[&chassis.serial, &chassis.asset]), chassis.kind));
    }
    if let Some(cpu) = &stable.cpu {
        line("cpu", format!("{:?} packages, {:?} cores, {:?} threads", cpu.packages, cpu.cores, cpu.threads));
    }
    for node in &stable.numa {
        line("numa", format!("{}: {} {:?}", node.id, node.cpus, node.distances));
    }
    for dimm in stable.memory.iter().flat_map(|memory| &memory.dimms) {
        line(
            "dimm",
            format!("{} {:?} {}", dimm.slot, dimm.size_bytes, words(&[&dimm.manufacturer, &dimm.part, &dimm.serial])),
        );
    }
    stable.disks.iter().for_each(|found| line("disk", disk(found)));
    stable.nics.iter().for_each(|found| line("nic", nic(found)));
    stable.usb.iter().for_each(|usb| line("usb", format!("{} {} {}", usb.path, usb.id, words(&[&usb.serial]))));
    stable.tpm.iter().for_each(|tpm| line("tpm", words(&[&tpm.version, &tpm.manufacturer])));
    stable
        .boot
        .iter()
        .for_each(|boot| line("boot", format!("{} {:?}", words(&[&boot.mode, &boot.interface]), boot.secure_boot)));
    stable.virtualization.iter().for_each(|found| line("virtual", format!("{} {:?}", found.is_virtual, found.kind)));
    line("pci", stable.pci.iter().map(|device| device.id.as_str()).collect::<Vec<_>>().join(" "));
    volatile.failures.iter().for_each(|(collector, reason)| line("failed", format!("{collector}: {reason}")));
    text
}

fn disk(disk: &Disk) -> String {
    let Disk { key, size_bytes, serial, wwn, transport, model, firmware, .. } = disk;
    let mib = size_bytes.unwrap_or_default() >> 20;
    let words = [transport, model, firmware, serial, wwn].map(|word| word.as_deref().unwrap_or("-"));
    format!("{key} {mib} MiB {}", words.join(" | "))
}

fn nic(nic: &Nic) -> String {
    let words = [&nic.mac, &nic.bus, &nic.driver, &nic.pci_id].map(|word| word.as_deref().unwrap_or("-"));
    format!("{} {}", nic.key, words.join(" "))
}
