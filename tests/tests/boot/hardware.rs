//! The hardware that QEMU was given is the hardware that the server shows, part by part; no disk was written to, and the
//! production image offers no way in.

use std::time::Instant;

use duct::cmd;
use mk_tests::limits;
use mk_tests::tpm::Emulator;
use mk_tests::vm::spec::{Bus, Dimm, Disk, Nic, NicModel};
use mk_tests::vm::{Firmware, Guest, Machine};
use wire::inventory::Stable;

use super::card;
use super::faults::says;
use super::lab::{Lab, stable, wait, written};

/// A machine with something of everything that QEMU can be.
fn server(seed: u32) -> Machine {
    let mut machine = Machine::example(seed, 1024, 4);
    let dimm = |slot: &str, size_mib, serial: &str| Dimm {
        slot: slot.into(),
        bank: "P0".into(),
        size_mib,
        speed_mts: 2933,
        manufacturer: "Samsung".into(),
        part: "M393A8G40AB2-CVF".into(),
        serial: serial.into(),
        asset: String::new(),
    };
    let empty =
        |slot: &str| Dimm { speed_mts: 0, manufacturer: String::new(), part: String::new(), ..dimm(slot, 0, "") };
    machine.sockets = 2;
    machine.numa_nodes = 2;
    // Both forms of the size field, and slots that are empty.
    machine.dimms = vec![dimm("A1", 16 << 10, "4A01"), empty("A2"), dimm("B1", 64 << 10, "4B01"), empty("B2")];
    let disk = |bus, size_bytes, serial: &str, wwn: Option<&str>| Disk {
        bus,
        size_bytes,
        serial: serial.into(),
        wwn: wwn.map(str::to_owned),
        content: None,
    };
    machine.disks = vec![
        disk(Bus::Nvme, 3_200_631_791_616, "S4YNNE0N800123", Some("0025385881b3a7c1")),
        disk(Bus::Virtio, 64 << 30, "VDA-77", None),
        disk(Bus::Scsi, 1_200_243_695_616, "WFK0ABCD", Some("5000c500a1b2c3d7")),
        disk(Bus::Sata, 480_103_981_056, "PHYG1234480", Some("55cd2e4150123456")),
        disk(Bus::Sas, 600_127_266_816, "S0M1ABCD", Some("5000c5008b2c3d47")),
        disk(Bus::Usb, 15_502_147_584, "AA00000000000489", None),
    ];
    let mut port = |model, number: u32| {
        machine.nics.push(Nic { model, mac: format!("52:54:01:00:{number:02x}:{seed:02x}"), plugged: true });
    };
    port(NicModel::Vmxnet3, 0);
    // This machine's QEMU may be older than it.
    if cmd!("qemu-system-x86_64", "-device", "help").read().unwrap().contains("name \"igb\"") {
        port(NicModel::Igb, 1);
    } else {
        mk_tests::skip_even_there("QEMU is older than 8.0 and has no igb, so that the machine goes without that port");
    }
    machine
}

#[test]
fn production_on_bios_with_a_tpm() {
    let machine = Machine { tpm: Emulator::is_installed(), ..server(0x11) };
    if !machine.tpm {
        mk_tests::skip("there is no emulated TPM (apt-get install swtpm), so the guest has none");
    }
    boots_and_shows_its_hardware(&machine, Firmware::Bios, |guest| {
        let console = guest.console().text(0);
        assert!(!console.contains("login:") && !console.contains("# "), "the console offers a way in:\n{console}");
    });
}

#[test]
fn production_on_uefi_with_a_clock_in_the_future() {
    let mut machine = server(0x22);
    machine.clock = Some("2040-02-29T12:00:00".to_owned());
    boots_and_shows_its_hardware(&machine, Firmware::Uefi, |guest| {
        says(guest, "years ahead of the server's", 0);
    });
}

fn boots_and_shows_its_hardware(machine: &Machine, firmware: Firmware, and: impl FnOnce(&Guest)) {
    let lab = Lab::new();
    let server = lab.serve(0);
    let (image, started) = (lab.image("production", server.port), Instant::now());
    let guest = lab.boot(machine, &image, firmware);
    server.await_node(&guest);
    let mut wrong = Vec::new();
    wait("the inventory is complete", limits::INVENTORY, &guest, || {
        let node = server.node()?;
        let found = differences(machine, firmware, &stable(&node));
        if found != wrong {
            wrong = found;
            println!("still to come: {wrong:#?}");
        }
        wrong.is_empty().then_some(())
    });
    card::is_told(&server, &guest, started);
    assert_eq!(written(&guest), 0, "bytes were written to the machine's disks");
    and(&guest);
    guest.quit().unwrap();
}

/// What the server shows otherwise than QEMU was told.
fn differences(machine: &Machine, firmware: Firmware, shown: &Stable) -> Vec<String> {
    let mut wrong = Differences::default();
    wrong.firmware(machine, shown);
    let mode = if firmware == Firmware::Uefi { "uefi" } else { "bios" };
    let boot = shown.boot.clone().unwrap_or_default();
    wrong.check("boot mode", Some(mode), boot.mode.as_deref());
    wrong.check("virtual", Some(true), shown.virtualization.as_ref().map(|v| v.is_virtual));
    wrong.processors(machine, shown);
    wrong.memory(machine, shown);
    wrong.disks(machine, shown);
    wrong.nics(machine, shown);
    wrong.tpm(machine, shown);
    wrong.0
}

/// Differences found so far.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn check<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, given: T, shown: T) {
        if given != shown {
            self.0.push(format!("{what}: given {given:?}, shown {shown:?}"));
        }
    }

    fn firmware(&mut self, machine: &Machine, shown: &Stable) {
        let (bios, system) = (shown.bios.clone().unwrap_or_default(), shown.system.clone().unwrap_or_default());
        let (board, chassis) = (shown.board.clone().unwrap_or_default(), shown.chassis.clone().unwrap_or_default());
        for (what, given, shown) in [
            ("BIOS vendor", &machine.bios.vendor, bios.vendor),
            ("BIOS version", &machine.bios.version, bios.version),
            ("BIOS date", &machine.bios.date, bios.date),
            ("BIOS release", &machine.bios.release, bios.release),
            ("manufacturer", &machine.system.manufacturer, system.manufacturer),
            ("product", &machine.system.product, system.product),
            ("version", &machine.system.version, system.version),
            ("serial", &machine.system.serial, system.serial),
            ("uuid", &machine.system.uuid, system.uuid),
            ("SKU", &machine.system.sku, system.sku),
            ("family", &machine.system.family, system.family),
            ("board manufacturer", &machine.board.manufacturer, board.manufacturer),
            ("board product", &machine.board.product, board.product),
            ("board version", &machine.board.version, board.version),
            ("board serial", &machine.board.serial, board.serial),
            ("board asset", &machine.board.asset, board.asset),
            ("chassis manufacturer", &machine.chassis.manufacturer, chassis.manufacturer),
            ("chassis version", &machine.chassis.version, chassis.version),
            ("chassis serial", &machine.chassis.serial, chassis.serial),
            ("chassis asset", &machine.chassis.asset, chassis.asset),
        ] {
            self.check(what, given.clone(), shown);
        }
    }

    fn processors(&mut self, machine: &Machine, shown: &Stable) {
        let cpu = shown.cpu.clone().unwrap_or_default();
        self.check("packages", Some(machine.sockets), cpu.packages);
        self.check("cores", Some(machine.cpus), cpu.cores);
        self.check("threads", Some(machine.cpus), cpu.threads);
        let nodes: Vec<(u32, &str)> = shown.numa.iter().map(|n| (n.id, n.cpus.as_str())).collect();
        self.check("NUMA nodes", vec![(0, "0-1"), (1, "2-3")], nodes);
    }

    fn memory(&mut self, machine: &Machine, shown: &Stable) {
        let memory = shown.memory.clone().unwrap_or_default();
        self.check("memory slots", Some(machine.dimms.len()), memory.slots.map(|n| n as usize));
        let given: Vec<_> = machine.dimms.iter().filter(|d| d.size_mib > 0).collect();
        let total: u64 = given.iter().map(|d| u64::from(d.size_mib) << 20).sum();
        self.check("memory size", Some(total), memory.installed_bytes);
        self.check("memory modules", given.len(), memory.dimms.len());
        for dimm in given {
            let slot = &dimm.slot;
            let found = memory.dimms.iter().find(|d| d.slot == *slot).cloned().unwrap_or_default();
            self.check(&format!("size of {slot}"), Some(u64::from(dimm.size_mib) << 20), found.size_bytes);
            self.check(&format!("bank of {slot}"), Some(&dimm.bank), found.bank.as_ref());
            self.check(&format!("part of {slot}"), Some(&dimm.part), found.part.as_ref());
            self.check(&format!("serial of {slot}"), Some(&dimm.serial), found.serial.as_ref());
            self.check(&format!("manufacturer of {slot}"), Some(&dimm.manufacturer), found.manufacturer.as_ref());
            self.check(&format!("speed of {slot}"), Some(u32::from(dimm.speed_mts)), found.speed_mts);
        }
    }

    fn disks(&mut self, machine: &Machine, shown: &Stable) {
        let fixed = shown.disks.iter().filter(|d| !d.removable);
        self.check("disks", machine.disks.len(), fixed.count());
        for disk in &machine.disks {
            let serial = &disk.serial;
            let found = shown.disks.iter().find(|d| d.serial.as_ref() == Some(serial)).cloned().unwrap_or_default();
            self.check(&format!("size of disk {serial}"), Some(disk.size_bytes), found.size_bytes);
            // Linux trusts no identifier of QEMU's NVMe disks (NVME_QUIRK_BOGUS_NID), so none is shown.
            let wwn = disk.wwn.as_ref().filter(|_| disk.bus != Bus::Nvme).map(|w| format!("naa.{w}"));
            self.check(&format!("wwn of disk {serial}"), wwn, found.wwn);
            let transport = match disk.bus {
                Bus::Nvme => "nvme",
                Bus::Virtio => "virtio",
                Bus::Sata => "sata",
                Bus::Scsi => "scsi",
                Bus::Sas => "sas",
                Bus::Usb => "usb",
            };
            self.check(&format!("transport of disk {serial}"), Some(transport), found.transport.as_deref());
        }
    }

    fn nics(&mut self, machine: &Machine, shown: &Stable) {
        self.check("ports", machine.nics.len(), shown.nics.len());
        for nic in &machine.nics {
            let mac = &nic.mac;
            let found = shown.nics.iter().find(|n| n.mac.as_ref() == Some(mac)).cloned().unwrap_or_default();
            let driver = match nic.model {
                NicModel::E1000 => "e1000",
                NicModel::E1000e => "e1000e",
                NicModel::Igb => "igb",
                NicModel::Virtio => "virtio_net",
                NicModel::Vmxnet3 => "vmxnet3",
            };
            self.check(&format!("driver of port {mac}"), Some(driver), found.driver.as_deref());
        }
    }

    fn tpm(&mut self, machine: &Machine, shown: &Stable) {
        let tpm = shown.tpm.as_ref();
        self.check("version of the TPM", machine.tpm.then_some("2.0"), tpm.and_then(|t| t.version.as_deref()));
        self.check("state of the TPM", None, tpm.and_then(|t| t.state.as_deref()));
        let key = tpm.and_then(|t| t.ek_sha256.as_ref());
        let is_digest = |key: &String| key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit());
        self.check("whether the TPM's key is known", machine.tpm, key.is_some_and(is_digest));
    }
}
