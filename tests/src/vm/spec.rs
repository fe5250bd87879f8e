//! What machine a guest is: firmware strings, memory modules, processors, disks, network ports.
//!
//! The JSON form of [`Machine`] is what `mk-vm run --machine` reads and `mk-vm machine` prints. Sizes are in the unit of
//! the field's name. A value that is left out is QEMU's own.

use std::fs;
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Memory that the guest can use, in MiB. The modules below only say what the firmware claims.
    pub memory_mib: u64,
    /// Hardware threads; a multiple of `sockets`.
    pub cpus: u32,
    /// Processor packages.
    #[serde(default = "one")]
    pub sockets: u32,
    /// NUMA nodes; memory and processors are shared out evenly. 0 for none.
    #[serde(default)]
    pub numa_nodes: u32,
    /// SMBIOS type 0.
    #[serde(default)]
    pub bios: Bios,
    /// SMBIOS type 1.
    #[serde(default)]
    pub system: System,
    /// SMBIOS type 2.
    #[serde(default)]
    pub board: Board,
    /// SMBIOS type 3.
    #[serde(default)]
    pub chassis: Chassis,
    /// SMBIOS type 17, one per slot, empty ones included. None: QEMU's own single module.
    #[serde(default)]
    pub dimms: Vec<Dimm>,
    /// Disks, as sparse files that end with the guest; empty unless `content` says otherwise.
    #[serde(default)]
    pub disks: Vec<Disk>,
    /// Network ports.
    #[serde(default)]
    pub nics: Vec<Nic>,
    /// The processor does not say that a hypervisor runs it: the machine counts as physical, so that all its serial numbers
    /// and parts are its own and not its host's.
    #[serde(default)]
    pub physical: bool,
    /// A TPM 2.0, emulated by swtpm: another chip each time that the guest is started.
    #[serde(default)]
    pub tpm: bool,
    /// A service processor, asked by KCS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc: Option<Bmc>,
    /// What the clock says when the machine is switched on, as `1999-12-31T23:59:00`. None: the time of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
}

fn one() -> u32 {
    1
}

/// Declares groups of strings that may be left out.
macro_rules! strings {
    ($($(#[$meta:meta])* $name:ident { $($field:ident),* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(#[doc = concat!("SMBIOS string `", stringify!($field), "`.")]
            #[serde(skip_serializing_if = "Option::is_none")]
            pub $field: Option<String>,)*
        }

        impl $name {
            /// The strings that are given, under QEMU's names for them.
            pub(crate) fn given(&self) -> Vec<(&'static str, &str)> {
                let all = [$((stringify!($field), self.$field.as_deref())),*];
                all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
            }
        }
    )*};
}

strings! {
    /// SMBIOS type 0.
    Bios { vendor, version, date, release }
    /// SMBIOS type 1.
    System { manufacturer, product, version, serial, uuid, sku, family }
    /// SMBIOS type 2.
    Board { manufacturer, product, version, serial, asset, location }
    /// SMBIOS type 3.
    Chassis { manufacturer, version, serial, asset, sku }
}

/// Memory slot: SMBIOS type 17.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimm {
    /// Device locator.
    pub slot: String,
    /// Bank locator.
    #[serde(default)]
    pub bank: String,
    /// Size in MiB; 0 is an empty slot.
    pub size_mib: u32,
    /// Rated and configured speed in MT/s.
    #[serde(default)]
    pub speed_mts: u16,
    /// Manufacturer.
    #[serde(default)]
    pub manufacturer: String,
    /// Part number.
    #[serde(default)]
    pub part: String,
    /// Serial number.
    #[serde(default)]
    pub serial: String,
    /// Asset tag.
    #[serde(default)]
    pub asset: String,
}

/// Service processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bmc {
    /// Revision of its firmware: the major number below 128, the minor one below 100.
    pub firmware: (u8, u8),
    /// GUID, in the usual form.
    pub guid: String,
    /// Its network port. None: the BMC is QEMU's own, which has no port and says nothing of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<BmcPort>,
}

impl Bmc {
    /// The minor number of its firmware as it goes over the wire: in binary coded decimal.
    pub(crate) fn minor(&self) -> u8 {
        let minor = self.firmware.1;
        ((minor / 10) << 4) | (minor % 10)
    }
}

/// Network port of a service processor, with an address by DHCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BmcPort {
    /// Channel number, from 1 to 11.
    pub channel: u8,
    /// MAC.
    pub mac: [u8; 6],
    /// IPv4 address.
    pub ipv4: Ipv4Addr,
}

/// Disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// How it is attached.
    pub bus: Bus,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Serial number, at most 20 characters.
    pub serial: String,
    /// World-wide name (`scsi`, `sas`, `sata`) or EUI-64 (`nvme`): 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wwn: Option<String>,
    /// File with the disk's first bytes, no larger than the disk. It is copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<PathBuf>,
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// NVMe controller of its own.
    Nvme,
    /// virtio-blk.
    Virtio,
    /// Behind a MegaRAID SAS controller.
    Scsi,
    /// Behind an LSI SAS1068 controller.
    Sas,
    /// AHCI port.
    Sata,
    /// USB stick at an xHCI controller.
    Usb,
}

/// Network port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nic {
    /// Controller.
    pub model: NicModel,
    /// MAC, lower case with colons.
    pub mac: String,
    /// False: no cable, for as long as the guest runs.
    #[serde(default = "yes")]
    pub plugged: bool,
    /// Whoever started the guest may put frames on this port's wire.
    #[serde(default)]
    pub open_wire: bool,
    /// The slot that it is plugged in. None: the port is part of the board.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
}

impl Nic {
    /// A port of the board, with a cable.
    #[must_use]
    pub fn new(model: NicModel, mac: String) -> Self {
        Self { model, mac, plugged: true, open_wire: false, slot: None }
    }
}

/// PCI Express slot behind a root port of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Lanes: 1, 2, 4, 8, 16 or 32.
    pub lanes: u32,
    /// Speed in GT/s: 2 (for 2.5), 5, 8 or 16.
    pub speed_gts: u32,
}

fn yes() -> bool {
    true
}

/// Network controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NicModel {
    /// Intel 82540EM, whose link takes two seconds.
    E1000,
    /// Intel 82574L.
    E1000e,
    /// Intel 82576, in QEMU from 8.0 on.
    Igb,
    /// virtio-net.
    Virtio,
    /// VMware's.
    Vmxnet3,
}

/// Largest seed of [`Machine::example`]; the two bits above it number the ports of one machine.
const MAX_SEED: u32 = (1 << 22) - 1;

impl Machine {
    /// A small server that shows something of everything. Another seed is another machine: MACs, serials and uuid
    /// follow from it.
    #[must_use]
    pub fn example(seed: u32, memory_mib: u64, cpus: u32) -> Self {
        let seed = seed & MAX_SEED;
        let text = |s: &str| Some(s.to_owned());
        let tag = format!("{seed:06X}");
        let module = |n: u32| Dimm {
            slot: format!("DIMM_A{n}"),
            bank: format!("NODE 0 CHANNEL {n}"),
            size_mib: u32::try_from(memory_mib / 2).unwrap_or(u32::MAX),
            speed_mts: 3200,
            manufacturer: "Micron".into(),
            part: "18ASF2G72PDZ-3G2".into(),
            serial: format!("D{n}{tag}"),
            asset: String::new(),
        };
        Self {
            memory_mib,
            cpus,
            sockets: 1,
            numa_nodes: 0,
            bios: Bios {
                vendor: text("Example BIOS"),
                version: text("2.4"),
                date: text("03/14/2025"),
                release: text("2.4"),
            },
            system: System {
                manufacturer: text("Example Systems"),
                product: text("Rack 1000"),
                version: text("A01"),
                serial: Some(format!("SYS{tag}")),
                uuid: Some(format!("6d6b0000-0000-4000-8000-525400{seed:06x}")),
                sku: text("R1000-2N"),
                family: text("Rack"),
            },
            board: Board {
                manufacturer: text("Example Systems"),
                product: text("MB-1000"),
                version: text("1.2"),
                serial: Some(format!("BRD{tag}")),
                asset: Some(format!("BA{tag}")),
                location: None,
            },
            chassis: Chassis {
                manufacturer: text("Example Systems"),
                version: text("1U"),
                serial: Some(format!("CHS{tag}")),
                asset: Some(format!("AT{tag}")),
                sku: None,
            },
            dimms: vec![module(1), module(2)],
            disks: example_disks(&tag, seed),
            nics: vec![Nic::new(NicModel::Virtio, mac(seed, 0)), Nic::new(NicModel::E1000e, mac(seed, 1))],
            physical: false,
            tpm: false,
            bmc: None,
            clock: None,
        }
    }

    /// The example under a seed of the kernel's, so that no two guests are one machine.
    ///
    /// # Errors
    /// When the kernel's random device cannot be read.
    pub fn random_example(memory_mib: u64, cpus: u32) -> anyhow::Result<Self> {
        let mut bytes = [0; 4];
        let source = "/dev/urandom";
        fs::File::open(source)
            .and_then(|mut f| f.read_exact(&mut bytes))
            .with_context(|| format!("cannot read {source}"))?;
        Ok(Self::example(u32::from_le_bytes(bytes), memory_mib, cpus))
    }

    /// Reads a specification and checks it.
    ///
    /// # Errors
    /// Names the file and what is wrong in it.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read machine specification {shown}"))?;
        let machine: Self = serde_json::from_str(&text)
            .with_context(|| format!("{shown} is no machine specification; `mk-vm machine` prints one"))?;
        machine.check().with_context(|| format!("machine specification {shown}"))?;
        Ok(machine)
    }

    /// Finds what QEMU would refuse late or take silently for something else.
    ///
    /// # Errors
    /// Names the value.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.memory_mib >= 64, "memory_mib is {}: the firmware alone needs 64", self.memory_mib);
        ensure!(
            self.sockets > 0 && self.cpus > 0 && self.cpus.is_multiple_of(self.sockets),
            "{} cpus cannot be shared out over {} sockets",
            self.cpus,
            self.sockets
        );
        if self.numa_nodes > 0 {
            let nodes = u64::from(self.numa_nodes);
            ensure!(
                self.cpus.is_multiple_of(self.numa_nodes) && self.memory_mib.is_multiple_of(nodes),
                "{} cpus and {} MiB cannot be shared out over {nodes} NUMA nodes",
                self.cpus,
                self.memory_mib
            );
        }
        for disk in &self.disks {
            let serial = &disk.serial;
            let content = disk.content.as_ref().map(|file| (file.metadata().map_or(0, |m| m.len()), file.display()));
            if let Some((size, file)) = content.filter(|(size, _)| *size > disk.size_bytes) {
                bail!("disk {serial} has {} bytes: too few for the {size} of {file}", disk.size_bytes);
            }
            ensure!(serial.len() <= 20, "disk serial {serial:?} is longer than the 20 characters that disks have");
            if let Some(wwn) = &disk.wwn {
                ensure!(!matches!(disk.bus, Bus::Virtio | Bus::Usb), "disk {serial}: virtio and usb disks have no wwn");
                ensure!(
                    wwn.len() == 16 && wwn.bytes().all(|b| b.is_ascii_hexdigit()),
                    "disk {serial}: wwn {wwn:?} is not 16 hex digits"
                );
            }
        }
        if let Some(Bmc { firmware: (major, minor), .. }) = self.bmc {
            ensure!(major < 128 && minor < 100, "a BMC's firmware cannot be {major}.{minor}");
        }
        if self.disks.iter().filter(|d| d.bus == Bus::Sata).count() > 5 {
            bail!("more than 5 sata disks: the controller has 6 ports and the medium takes one");
        }
        Ok(())
    }
}

/// One disk with and one without a world-wide name.
fn example_disks(tag: &str, seed: u32) -> Vec<Disk> {
    let name = format!("0025385000{seed:06x}");
    vec![
        Disk { bus: Bus::Nvme, size_bytes: 512 << 30, serial: format!("NVME{tag}"), wwn: Some(name), content: None },
        Disk { bus: Bus::Virtio, size_bytes: 64 << 30, serial: format!("VIRT{tag}"), wwn: None, content: None },
    ]
}

/// MAC of a port in QEMU's own range.
fn mac(seed: u32, port: u32) -> String {
    let [_, a, b, c] = ((seed << 2) | port).to_be_bytes();
    format!("52:54:00:{a:02x}:{b:02x}:{c:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_seed_is_another_machine() {
        let (a, b) = (Machine::example(1, 1024, 2), Machine::example(2, 1024, 2));
        a.check().unwrap();
        assert_ne!(a.system.serial, b.system.serial);
        assert_ne!(a.system.uuid, b.system.uuid);
        let macs: std::collections::BTreeSet<_> = a.nics.iter().chain(&b.nics).map(|n| n.mac.clone()).collect();
        assert_eq!(macs.len(), 4);
    }

    #[test]
    fn json_form_reads_back() {
        let machine = Machine::example(7, 2048, 4);
        let text = serde_json::to_string(&machine).unwrap();
        assert_eq!(serde_json::from_str::<Machine>(&text).unwrap(), machine);
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        let error = serde_json::from_str::<Machine>(r#"{"memory_mib": 512, "cpus": 1, "disk": []}"#).unwrap_err();
        assert!(error.to_string().contains("disk"), "{error}");
    }

    #[test]
    fn impossible_machines_are_refused_by_name() {
        let refused = |change: fn(&mut Machine)| {
            let mut machine = Machine::example(1, 1024, 2);
            change(&mut machine);
            machine.check().unwrap_err().to_string()
        };
        assert!(refused(|m| m.sockets = 3).contains("sockets"));
        assert!(refused(|m| m.numa_nodes = 3).contains("NUMA"));
        assert!(refused(|m| m.disks[0].serial = "x".repeat(21)).contains("20 characters"));
        assert!(refused(|m| m.disks[0].wwn = Some("naa.5".into())).contains("hex"));
        assert!(refused(|m| m.disks[1].wwn = Some("0".repeat(16))).contains("virtio"));
    }
}
