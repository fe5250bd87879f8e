//! The hardware that QEMU was given is the hardware that the server shows, part by part, and so are the switches that its
//! ports are plugged into; no disk was written to, and the production image offers no way in.

mod differences;
mod switch;

use std::time::Instant;

use duct::cmd;
use mk_tests::limits;
use mk_tests::tpm::Emulator;
use mk_tests::vm::spec::{Bmc, BmcPort, Bus, Dimm, Disk, Nic, NicModel, Slot};
use mk_tests::vm::{Firmware, Guest, Machine};

use self::differences::differences;
use self::switch::Switch;
use super::card;
use super::closed::keys;
use super::faults::says;
use super::lab::{Lab, stable, wait, written};

/// What the machine's first two ports are plugged into: one speaks plainly, one under the tag of a VLAN.
const SWITCHES: [Switch; 2] = [
    Switch { chassis: "leaf-12a", port: "swp7", vlan: None },
    Switch { chassis: "leaf-12b", port: "Ethernet1/31", vlan: Some(312) },
];
/// What the image's kernel lines are extended by; the kernel keeps it and does nothing about it.
const ARGUMENT: &str = "mk.fitted=to-this-site";
/// GUID of the service processor.
const GUID: &str = "6f9619ff-8b86-4c8e-b4ed-00c04fc964ff";

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
    for nic in &mut machine.nics {
        nic.open_wire = true;
    }
    machine.nics[1].slot = Some(Slot { lanes: 16, speed_gts: 8 });
    let mut port = |model, number: u32| {
        machine.nics.push(Nic::new(model, format!("52:54:01:00:{number:02x}:{seed:02x}")));
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
fn production_on_bios_with_a_tpm_and_a_service_processor_with_a_port() {
    let mut machine = Machine { tpm: Emulator::is_installed(), ..server(0x11) };
    let port = BmcPort { channel: 8, mac: [0xd0, 0x94, 0x66, 0xa0, 0xaa, 0x11], ipv4: [10, 20, 0, 17].into() };
    machine.bmc = Some(Bmc { firmware: (5, 10), guid: GUID.into(), port: Some(port) });
    if !machine.tpm {
        mk_tests::skip("there is no emulated TPM (apt-get install swtpm), so the guest has none");
    }
    boots_and_shows_its_hardware(&machine, Firmware::Bios, |guest| {
        let console = guest.console().text(0);
        assert!(!console.contains("login:") && !console.contains("# "), "the console offers a way in:\n{console}");
        let (_, ours) = console.split_once("Razor Microkernel 0.").expect("it says what it is");
        assert!(!ours.contains('\x1b'), "a serial console gets plain lines:\n{ours}");
    });
}

/// The firmware starts only what is signed, and the kernel only modules that are. The service processor has no port. Somebody
/// presses keys at the menu of GRUB meanwhile, which changes nothing: the kernel gets the line of the image, with the argument
/// that it was fitted with.
#[test]
fn production_under_secure_boot_with_a_clock_in_the_future() {
    let mut machine = server(0x22);
    machine.clock = Some("2040-02-29T12:00:00".to_owned());
    machine.bmc = Some(Bmc { firmware: (2, 7), guid: GUID.into(), port: None });
    boots_and_shows_its_hardware(&machine, Firmware::SecureBoot, |guest| {
        says(guest, "years ahead of the server's", 0);
    });
}

fn boots_and_shows_its_hardware(machine: &Machine, firmware: Firmware, and: impl FnOnce(&Guest)) {
    let lab = Lab::new();
    let server = lab.serve(0);
    let url = format!("http://10.0.2.2:{}", server.port);
    let (image, started) =
        (lab.customized("production", &url, &["--kernel-arg".as_ref(), ARGUMENT.as_ref()]), Instant::now());
    let guest = lab.boot(machine, &image, firmware);
    if firmware.is_uefi() {
        keys::grub_is_locked(&guest);
    }
    keys::the_line_is_the_images(&guest, &image);
    assert!(guest.console().find(ARGUMENT, 0).is_some(), "the loader hands on what the image was fitted with");
    let first = stable(&server.await_node(&guest));
    // The switches are silent until then, and nobody can have been listened for long enough to say so.
    assert!(first.nics.iter().all(|port| port.lldp.is_none()), "the first check-in waited for LLDP: {first:?}");
    let mut wrong = Vec::new();
    wait("the inventory is complete", limits::INVENTORY, &guest, || {
        for (port, switch) in SWITCHES.iter().enumerate() {
            guest.put_on_wire(port, &switch.frame()).unwrap();
        }
        let shown = stable(&server.node()?);
        let mut found = differences(machine, firmware, &shown);
        let plugged = machine.nics.iter().zip(&SWITCHES);
        found.extend(plugged.filter_map(|(nic, switch)| switch.difference(&nic.mac, &shown)));
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
