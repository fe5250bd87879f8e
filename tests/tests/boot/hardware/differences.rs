//! What QEMU was told of a machine against what the server shows of it, value by value. Pure.

use mk_tests::vm::spec::{Bus, NicModel};
use mk_tests::vm::{Firmware, Machine};
use wire::inventory::{Bmc, Stable};

/// What every guest has: host bridge, ISA bridge, AHCI, SMBus, screen, random numbers.
const CHIPSET: [&str; 6] = ["8086:29c0", "8086:2918", "8086:2922", "8086:2930", "1234:1111", "1af4:1005"];
/// The port to a slot.
const ROOT_PORT: &str = "1b36:000c";

/// What the server shows otherwise than QEMU was told.
pub(super) fn differences(machine: &Machine, firmware: Firmware, shown: &Stable) -> Vec<String> {
    let mut wrong = Differences::default();
    wrong.firmware(machine, shown);
    wrong.boot(firmware, shown);
    wrong.check("virtual", Some(true), shown.virtualization.as_ref().map(|v| v.is_virtual));
    wrong.processors(machine, shown);
    wrong.memory(machine, shown);
    wrong.disks(machine, shown);
    wrong.nics(machine, shown);
    wrong.tpm(machine, shown);
    wrong.bmc(machine, shown);
    wrong.buses(machine, shown);
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

    fn boot(&mut self, firmware: Firmware, shown: &Stable) {
        let mode = if firmware.is_uefi() { "uefi" } else { "bios" };
        let boot = shown.boot.clone().unwrap_or_default();
        self.check("boot mode", Some(mode), boot.mode.as_deref());
        let secure = firmware.is_uefi().then_some(firmware == Firmware::SecureBoot);
        self.check("Secure Boot", secure, boot.secure_boot);
        self.check("boot interface of a machine that booted from a medium", None, boot.interface);
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

    fn bmc(&mut self, machine: &Machine, shown: &Stable) {
        let given = machine.bmc.as_ref().map(|bmc| {
            let (major, minor) = bmc.firmware;
            let port = bmc.port.as_ref();
            Bmc {
                mac: port.map(|port| port.mac.map(|byte| format!("{byte:02x}")).join(":")),
                ipv4: port.map(|port| port.ipv4.to_string()),
                ipv6: Vec::new(),
                source: port.map(|_| "dhcp".to_owned()),
                firmware: Some(format!("{major}.{minor:02}")),
                guid: Some(bmc.guid.clone()),
            }
        });
        self.check("BMC", given, shown.bmc.clone());
    }

    /// Functions on PCI, the root port of a slot and its link, and devices on USB.
    fn buses(&mut self, machine: &Machine, shown: &Stable) {
        let mut given = CHIPSET.to_vec();
        given.extend(machine.nics.iter().map(|nic| match nic.model {
            NicModel::E1000 => "8086:100e",
            NicModel::E1000e => "8086:10d3",
            NicModel::Igb => "8086:10c9",
            NicModel::Virtio => "1af4:1000",
            NicModel::Vmxnet3 => "15ad:07b0",
        }));
        given.extend(machine.disks.iter().filter_map(|disk| match disk.bus {
            Bus::Nvme => Some("1b36:0010"),
            Bus::Virtio => Some("1af4:1001"),
            Bus::Scsi => Some("1000:0060"),
            Bus::Sas => Some("1000:0054"),
            Bus::Usb => Some("1b36:000d"),
            Bus::Sata => None,
        }));
        let slots: Vec<_> = machine.nics.iter().filter_map(|nic| nic.slot).collect();
        given.extend(slots.iter().map(|_| ROOT_PORT));
        given.sort_unstable();
        let mut ids: Vec<&str> = shown.pci.iter().map(|device| device.id.as_str()).collect();
        ids.sort_unstable();
        self.check("PCI functions", given, ids);
        // The card has one lane, whatever the slot has.
        let given: Vec<_> = slots.iter().map(|slot| (Some(slot.lanes), Some(slot.speed_gts * 1000), Some(1))).collect();
        let ports = shown.pci.iter().filter(|device| device.id == ROOT_PORT);
        let links: Vec<_> = ports.map(|port| (port.max_link_width, port.max_link_mts, port.link_width)).collect();
        self.check("lanes and speed of slots, lanes in use", given, links);
        let sticks = machine.disks.iter().filter(|disk| disk.bus == Bus::Usb);
        let given: Vec<_> = sticks.map(|stick| ("46f4:0001", Some(stick.serial.as_str()))).collect();
        let devices: Vec<_> = shown.usb.iter().map(|d| (d.id.as_str(), d.serial.as_deref())).collect();
        self.check("USB devices", given, devices);
    }
}
