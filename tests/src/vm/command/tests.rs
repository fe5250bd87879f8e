//! Arguments by what the machine has.

use super::*;
use crate::vm::spec::{BmcPort, Disk};

fn files() -> Files {
    Files {
        dir: "/d".into(),
        uefi: None,
        qmp_fd: 3,
        serial_fd: 4,
        wire_fds: BTreeMap::new(),
        qmp_socket: None,
        forwards: Vec::new(),
    }
}

fn shown(change: impl FnOnce(&mut Machine, &mut Boot, &mut Files)) -> String {
    let mut machine = Machine::example(1, 1024, 2);
    let mut boot = Boot { medium: Medium::Cd("/i.iso".into()), firmware: Firmware::Bios };
    let mut files = files();
    change(&mut machine, &mut boot, &mut files);
    let line = arguments(&machine, &boot, Accel::Tcg, &files);
    line.iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn commas_in_values_do_not_end_them() {
    let line = shown(|m, b, _| {
        m.system.manufacturer = Some("Example, Inc.".into());
        b.medium = Medium::Cd("/a,b.iso".into());
    });
    assert!(line.contains("manufacturer=Example,, Inc.,product="), "{line}");
    assert!(line.contains("file=/a,,b.iso"), "{line}");
}

#[test]
fn only_a_counted_guest_has_a_clock_of_instructions() {
    let machine = Machine::example(1, 512, 1);
    let boot = Boot { medium: Medium::Cd("/i.iso".into()), firmware: Firmware::Bios };
    let counts = |accel| arguments(&machine, &boot, accel, &files()).contains(&"-icount".into());
    assert_eq!([Accel::Counted, Accel::Tcg, Accel::Kvm].map(counts), [true, false, false]);
}

#[test]
fn only_a_physical_machine_hides_its_hypervisor() {
    assert!(shown(|m, _, _| m.physical = true).contains("-cpu max,la57=off,hypervisor=off "));
    assert!(shown(|_, _, _| {}).contains("-cpu max,la57=off -vga"));
}

#[test]
fn only_a_machine_with_a_tpm_has_one() {
    let line = shown(|m, _, _| m.tpm = true);
    let tpm = "-chardev socket,id=tpm,path=/d/tpm.socket -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-tis,";
    assert!(line.contains(tpm), "{line}");
    assert!(!shown(|_, _, _| {}).contains("tpm"));
}

#[test]
fn only_a_machine_with_a_bmc_has_one() {
    let bmc = Bmc { firmware: (5, 10), guid: "6f9619ff-8b86-4c8e-b4ed-00c04fc964ff".into(), port: None };
    let own = shown(|m, _, _| m.bmc = Some(bmc.clone()));
    let device = "ipmi-bmc-sim,id=bmc0,fwrev1=5,fwrev2=16,guid=6f9619ff-8b86-4c8e-b4ed-00c04fc964ff -device isa-";
    assert!(own.contains(device), "{own}");
    let port = BmcPort { channel: 1, mac: [2; 6], ipv4: [10, 0, 0, 1].into() };
    let ours = shown(|m, _, _| m.bmc = Some(Bmc { port: Some(port), ..bmc }));
    assert!(ours.contains("path=/d/bmc.socket -device ipmi-bmc-extern,id=bmc0,chardev=bmc"), "{ours}");
    assert!(!shown(|_, _, _| {}).contains("ipmi"));
}

#[test]
fn a_port_in_a_slot_and_one_with_an_open_wire() {
    let line = shown(|m, _, f| {
        m.nics[1].slot = Some(Slot { lanes: 8, speed_gts: 16 });
        f.wire_fds.insert(0, 9);
    });
    for part in [
        "user,id=lan0,net=10.0.2.0/24 -netdev socket,id=wire0,fd=9 ",
        "hubport,id=net0,hubid=0 -device virtio-net-pci,id=nic0,netdev=net0,",
        "-netdev user,id=net1,net=10.0.3.0/24 -device pcie-root-port,id=slot1,chassis=2,slot=2,x-width=8,x-speed=16 ",
        ",bus=slot1",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn secure_boot_is_the_firmware_s_own() {
    let line = shown(|_, b, _| b.firmware = Firmware::SecureBoot);
    assert!(line.contains("-machine q35,smm=on -global driver=cfi.pflash01,property=secure,value=on"), "{line}");
    assert!(!shown(|_, b, _| b.firmware = Firmware::Uefi).contains("secure"));
}

#[test]
fn every_slot_and_disk_has_its_file() {
    let line = shown(|_, _, _| {});
    for part in ["/d/array.smbios", "/d/slot0.smbios", "/d/slot1.smbios", "/d/disk0.raw,log.", "=/d/disk1.written"] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn wwn_is_given_as_each_bus_names_it() {
    let line = shown(|m, _, _| {
        let template = m.disks[0].clone();
        m.disks =
            [Bus::Nvme, Bus::Scsi, Bus::Sata, Bus::Sata, Bus::Sas].map(|bus| Disk { bus, ..template.clone() }).into();
    });
    assert!(line.contains("nvme-ns,bus=nvme0,drive=disk0,eui64=0x0025385000000001"), "{line}");
    assert!(line.contains("scsi-hd,bus=raid.0,drive=disk1,serial=NVME000001,wwn=0x0025385000000001"), "{line}");
    assert!(line.contains("ide-hd,bus=ide.1,drive=disk2"), "{line}");
    assert!(line.contains("ide-hd,bus=ide.2,drive=disk3"), "{line}");
    assert!(line.contains("-device mptsas1068,id=sas "), "{line}");
    assert!(line.contains("scsi-hd,bus=sas.0,drive=disk4,serial=NVME000001,wwn=0x0025385000000001"), "{line}");
}

#[test]
fn numa_nodes_share_processors_and_memory() {
    let line = shown(|m, _, _| {
        m.cpus = 4;
        m.sockets = 2;
        m.numa_nodes = 2;
    });
    assert!(line.contains("cpus=4,sockets=2,cores=2,threads=1"), "{line}");
    assert!(line.contains("id=ram1,size=512M"), "{line}");
    assert!(line.contains("node,nodeid=1,cpus=2-3,memdev=ram1"), "{line}");
}

#[test]
fn usb_medium_and_uefi() {
    let line = shown(|_, b, f| {
        b.medium = Medium::Usb("/i.iso".into());
        f.uefi = Some(("/code".into(), "/vars".into()));
        f.qmp_socket = Some("/q".into());
    });
    assert!(line.contains("file=/i.iso -device qemu-xhci -device usb-storage,id=stick,drive=medium"), "{line}");
    assert!(line.contains("if=pflash,unit=1,format=raw,file=/vars"), "{line}");
    assert!(line.contains("-qmp unix:/q,server=on,wait=off"), "{line}");
    assert!(!line.contains("ide-cd"), "{line}");
}

#[test]
fn only_the_first_port_boots_and_leads_into_the_guest() {
    let line = shown(|_, b, f| {
        b.medium = Medium::Network("http://10.0.2.2:1/a,b".into());
        f.forwards = vec![Forward { here: 2222, guest: 22 }];
    });
    let first = "net=10.0.2.0/24,hostfwd=tcp:127.0.0.1:2222-:22,bootfile=http://10.0.2.2:1/a,,b -device";
    assert!(line.contains(first), "{line}");
    assert_eq!(line.matches(",bootindex=0").count(), 1, "{line}");
    assert_eq!(line.matches(",romfile=").count(), 1, "{line}");
}
