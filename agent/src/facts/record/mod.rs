//! `mk-agent facts --record`: what the fact readers read of this machine, as text that can be sent to others and read
//! again (`recorded.rs`). Serial numbers, UUIDs, asset tags and the machine's half of each MAC, WWN and InfiniBand port
//! number are replaced by others of the same shape, the same one wherever a value stands. What no reader reads of the
//! SMBIOS table is blank, and of the kernel line only the boot port is left; nothing else is changed.
//!
//! Each entry is a header line, `=== file PATH`, `=== base64 PATH` or `=== link PATH -> TARGET`, and the content up to the
//! next header. What only the running kernel can answer (ioctls, CPUID) is not in it.

mod entry;
mod mask;
mod paths;
mod secrets;
pub(crate) mod table;

use sha2::{Digest as _, Sha256};

use crate::tree::Tree;
use mask::Mask;

/// The tables that tell machines apart, of which the replacements are made, so that two recordings of one machine agree.
const OF_THE_MACHINE: &str = "/sys/firmware/dmi/tables/DMI";

/// The recording of the machine below `tree`.
pub(crate) fn record(tree: &Tree) -> String {
    let entries = paths::read(tree);
    let mut mask = Mask::new(Sha256::digest(tree.bytes(OF_THE_MACHINE).unwrap_or_default()).into());
    secrets::find(&entries, &mut mask);
    entries.iter().map(|entry| entry.masked(&mask).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::smbios::tests::structure;
    use super::super::{gpu, recorded};
    use super::*;

    /// A recording of a recording.
    fn again(recording: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        recorded::unpack(recording, dir.path());
        record(&Tree::at(dir.path()))
    }

    #[test]
    fn nothing_tells_whose_machine_it_is() {
        let inventory = recorded::inventory(recorded::Q35_SERVER);
        let masked = again(recorded::Q35_SERVER);
        let now = format!("{:?}", recorded::inventory(&masked).stable);
        let stable = inventory.stable;
        let disks = stable.disks.iter().flat_map(|disk| [&disk.serial, &disk.wwn]);
        let machine =
            [stable.system.as_ref().map(|system| [&system.serial, &system.uuid])].into_iter().flatten().flatten();
        let macs = stable.nics.iter().map(|nic| &nic.mac);
        let given: Vec<&String> = disks.chain(machine).chain(macs).flatten().collect();
        assert!(given.len() > 10, "{given:?}");
        for given in given {
            assert!(!masked.contains(given.as_str()) && !now.contains(given.as_str()), "{given}");
        }
    }

    #[test]
    fn all_else_stays_and_one_value_is_the_same_everywhere() {
        // The USB controller, whose root hubs have its address as their serial number, is where most chipsets have theirs.
        let recording = recorded::Q35_SERVER.replace("0000:00:07.0", "0000:00:14.0");
        let (before, after) = (recorded::inventory(&recording), recorded::inventory(&again(&recording)));
        let shape = |inventory: &wire::inventory::Inventory| {
            let disks = &inventory.stable.disks;
            let disks: Vec<_> = disks
                .iter()
                .map(|d| (d.size_bytes, d.model.clone(), d.transport.clone(), d.serial.as_ref().map(String::len)))
                .collect();
            let nics: Vec<_> = inventory
                .stable
                .nics
                .iter()
                .map(|n| (n.key.clone(), n.driver.clone(), n.mac.as_ref().map(|m| m[..8].to_owned())))
                .collect();
            let dimms: Vec<_> = inventory
                .stable
                .memory
                .iter()
                .flat_map(|m| &m.dimms)
                .map(|d| (d.slot.clone(), d.part.clone()))
                .collect();
            (
                inventory.stable.cpu.clone(),
                inventory.stable.pci.clone(),
                inventory.stable.numa.clone(),
                nics,
                dimms,
                disks.len(),
                sorted(disks),
            )
        };
        assert_eq!(shape(&before), shape(&after));
        // The boot loader's word for the port and the port's own address are still the same.
        let boot = after.stable.boot.unwrap().interface;
        assert!(boot.is_some() && after.stable.nics.iter().any(|nic| nic.mac == boot), "{boot:?}");
        assert_ne!(boot, before.stable.boot.unwrap().interface);
        // Two namespaces of one drive have its one number.
        let serials: Vec<_> =
            after.stable.disks.iter().filter(|d| d.transport.as_deref() == Some("nvme")).map(|d| &d.serial).collect();
        assert_eq!((serials.len(), serials[0]), (2, serials[1]));
    }

    /// A recording of these files, unpacked.
    fn recorded(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (path, content) in files {
            let path = from.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        recorded::unpack(&record(&Tree::at(from.path())), to.path());
        to
    }

    fn read(root: &Path, path: &str) -> Vec<u8> {
        fs::read(root.join(path.trim_start_matches('/'))).unwrap()
    }

    #[test]
    fn numbers_of_display_controllers_are_hidden() {
        let card = "/sys/bus/pci/devices/0000:03:00.0";
        let (serial, id, vbios) =
            (format!("{card}/serial_number"), format!("{card}/unique_id"), format!("{card}/vbios_version"));
        let nvidia = "/proc/driver/nvidia/gpus/0000:04:00.0/information";
        let root = recorded(&[
            (&serial, b"692231000131\n"),
            (&id, b"18ba41c2d3e4f506\n"),
            (&vbios, b"113-D3431500-100\n"),
            (nvidia, gpu::tests::INFORMATION.as_bytes()),
        ]);
        assert_eq!(read(root.path(), &vbios), b"113-D3431500-100\n");
        let text = |path: &str| String::from_utf8(read(root.path(), path)).unwrap();
        let (serial, id, uuid) = (text(&serial), text(&id), gpu::uuid(&text(nvidia)).unwrap());
        assert!(serial.len() == 13 && serial != "692231000131\n", "{serial}");
        assert!(id.len() == 17 && id != "18ba41c2d3e4f506\n", "{id}");
        assert!(uuid.len() == 40 && uuid.starts_with("GPU-") && !uuid.contains("5a6b7c8d"), "{uuid}");
    }

    #[test]
    fn texts_of_makers_change_nothing_and_those_of_owners_are_gone() {
        let board = structure(2, 1, &[1, 1, 0, 1, 1], &["Default string"]);
        let texts = structure(11, 2, &[3], &["Default string", "Jane Doe", "abc"]);
        let bmc = structure(42, 3, &[0x40, 2, 1, 0x3c, 0xec, 0xef, 0x12, 0xab, 0x34], &["bmc-7.example.org"]);
        let (serial, stick) = ("/sys/class/dmi/id/board_serial", "/sys/bus/usb/devices/1-1/product");
        let table = [board.clone(), texts, bmc].concat();
        let root = recorded(&[(serial, b"Default string"), (OF_THE_MACHINE, &table), (stick, b"616263 cba Jane Doe")]);
        assert_eq!(read(root.path(), serial), b"Default string\n");
        assert_eq!(read(root.path(), stick), b"616263 cba Jane Doe\n");
        let table = read(root.path(), OF_THE_MACHINE);
        assert!(table.starts_with(&board));
        for gone in [&b"Jane"[..], b"abc", b"example", &[0x12, 0xab, 0x34]] {
            assert!(!table.windows(gone.len()).any(|part| part == gone), "{gone:?}");
        }
    }

    #[test]
    fn tags_without_a_digit_are_replaced_and_paths_stay() {
        let (tag, cpus) = ("/sys/class/dmi/id/chassis_asset_tag", "/sys/devices/system/cpu/online");
        let chassis = structure(3, 1, &[1, 1, 0, 0, 2], &["ACME", "devices"]);
        let root = recorded(&[(tag, b"devices\n"), (cpus, b"0-3\n"), (OF_THE_MACHINE, &chassis)]);
        assert_eq!(read(root.path(), cpus), b"0-3\n");
        let other = String::from_utf8(read(root.path(), tag)).unwrap();
        assert!(other.len() == 8 && other != "devices\n", "{other}");
        assert_eq!(read(root.path(), OF_THE_MACHINE), structure(3, 1, &[1, 1, 0, 0, 2], &["ACME", other.trim()]));
    }

    #[test]
    fn of_an_infiniband_address_the_end_is_replaced() {
        let path = "/sys/class/net/ib0/address";
        let address = "80:00:02:08:fe:80:00:00:00:00:00:00:f4:52:14:03:00:7b:28:b2\n";
        let root = recorded(&[(path, address.as_bytes())]);
        let other = String::from_utf8(read(root.path(), path)).unwrap();
        assert_eq!((other.len(), &other[..44]), (address.len(), &address[..44]));
        assert!(!other.ends_with("28:b2\n"), "{other}");
    }

    fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
        list.sort();
        list
    }

    #[test]
    fn two_recordings_of_one_machine_agree() {
        assert_eq!(again(recorded::PC_SMALL), again(recorded::PC_SMALL));
        assert!(again(recorded::PC_SMALL).contains("=== file /proc/cpuinfo\n"));
    }
}
