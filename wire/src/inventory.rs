//! The typed inventory of a machine.
//!
//! [`Stable`] changes only when the machine does: digest, history and diff look at nothing else. [`Volatile`] is what
//! differs between two looks at the same machine. Components are keyed by PCI address, WWN or slot, never by `ethN` or
//! `sdX`, which differ between boots. Sizes are integers in bytes, speeds are in the unit of the field's name. An empty
//! list or an absent value means that nothing was found or nobody could look; [`Volatile::failures`] tells which.
//! Strings are as the firmware gives them, trimmed; placeholders stay, since only the server judges them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::absent::{Absent, parts};

/// What an agent knows of its machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// What changes only with the machine.
    pub stable: Stable,
    /// What changes by itself; sent at most hourly or when asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volatile: Option<Volatile>,
}

parts! {
    /// What changes only when the machine does.
    Stable {
        /// SMBIOS type 1.
        system: Option<System>,
        /// SMBIOS type 2: the main board.
        board: Option<Board>,
        /// SMBIOS type 3.
        chassis: Option<Chassis>,
        /// SMBIOS type 0.
        bios: Option<Bios>,
        /// How the machine booted.
        boot: Option<Boot>,
        /// Whether it is a virtual machine, and of what kind.
        virtualization: Option<Virtualization>,
        /// Kernel and architecture.
        kernel: Option<Kernel>,
        /// Processors as a whole.
        cpu: Option<Cpu>,
        /// Memory modules.
        memory: Option<Memory>,
        /// NUMA nodes in order.
        numa: Vec<NumaNode>,
        /// Disks in order of key.
        disks: Vec<Disk>,
        /// Network ports in order of key.
        nics: Vec<Nic>,
        /// PCI functions in order of address.
        pci: Vec<PciDevice>,
        /// USB devices in order of port path.
        usb: Vec<UsbDevice>,
        /// Baseboard management controller.
        bmc: Option<Bmc>,
        /// Trusted platform module.
        tpm: Option<Tpm>,
        /// What is absent and should not be: drivers, firmware.
        findings: Vec<Finding>,
        /// Site facts, by name.
        site: BTreeMap<String, serde_json::Value>,
    }

    /// SMBIOS type 1.
    System {
        /// Manufacturer.
        manufacturer: Option<String>,
        /// Product name.
        product: Option<String>,
        /// Version.
        version: Option<String>,
        /// Serial number.
        serial: Option<String>,
        /// UUID in the byte order of SMBIOS 2.6 and later, lower case.
        uuid: Option<String>,
        /// SKU number.
        sku: Option<String>,
        /// Family.
        family: Option<String>,
    }

    /// SMBIOS type 2.
    Board {
        /// Manufacturer.
        manufacturer: Option<String>,
        /// Product name.
        product: Option<String>,
        /// Version.
        version: Option<String>,
        /// Serial number.
        serial: Option<String>,
        /// Asset tag.
        asset: Option<String>,
    }

    /// SMBIOS type 3.
    Chassis {
        /// Manufacturer.
        manufacturer: Option<String>,
        /// SMBIOS chassis type without the lock bit: 23 rack mount, 28 blade, 29 blade enclosure.
        kind: Option<u8>,
        /// Version.
        version: Option<String>,
        /// Serial number; shared by all nodes of a blade or multi-node enclosure.
        serial: Option<String>,
        /// Asset tag.
        asset: Option<String>,
    }

    /// SMBIOS type 0.
    Bios {
        /// Vendor.
        vendor: Option<String>,
        /// Version.
        version: Option<String>,
        /// Release date as the firmware writes it, usually `MM/DD/YYYY`.
        date: Option<String>,
        /// Release, `major.minor`.
        release: Option<String>,
    }

    /// How the machine booted.
    Boot {
        /// `bios` or `uefi`.
        mode: Option<String>,
        /// Secure Boot enforced; absent where the firmware does not say.
        secure_boot: Option<bool>,
        /// MAC of the port that the firmware booted from, where the boot loader said so.
        interface: Option<String>,
    }

    /// Virtualisation.
    Virtualization {
        /// True on a virtual machine.
        is_virtual: bool,
        /// `kvm`, `qemu`, `vmware`, `hyperv`, `xen`, `virtualbox`, `physical`, …
        kind: Option<String>,
    }

    /// Running kernel.
    Kernel {
        /// As `uname -r`.
        release: Option<String>,
        /// As `uname -m`.
        architecture: Option<String>,
    }

    /// Processors as a whole.
    Cpu {
        /// `GenuineIntel`, `AuthenticAMD`, …
        vendor: Option<String>,
        /// Model name.
        model: Option<String>,
        /// Family, model and stepping numbers, `6/85/7`.
        signature: Option<String>,
        /// Packages (sockets in use).
        packages: Option<u32>,
        /// Cores in all packages.
        cores: Option<u32>,
        /// Hardware threads in all packages.
        threads: Option<u32>,
        /// Highest frequency in MHz that the firmware or kernel states.
        max_mhz: Option<u32>,
        /// Microcode revision, `0x…`.
        microcode: Option<String>,
        /// Feature flags, sorted.
        flags: Vec<String>,
        /// Kernel's verdict by vulnerability.
        vulnerabilities: BTreeMap<String, String>,
    }

    /// Memory modules.
    Memory {
        /// Sum of all modules in bytes.
        installed_bytes: Option<u64>,
        /// Number of slots.
        slots: Option<u32>,
        /// Populated modules in order of slot.
        dimms: Vec<Dimm>,
    }

    /// SMBIOS type 17, populated.
    Dimm {
        /// Device locator, such as `DIMM A1`.
        slot: String,
        /// Bank locator.
        bank: Option<String>,
        /// Size in bytes.
        size_bytes: Option<u64>,
        /// `DDR4`, `DDR5`, …
        kind: Option<String>,
        /// `DIMM`, `SODIMM`, …
        form_factor: Option<String>,
        /// Rated speed in MT/s.
        speed_mts: Option<u32>,
        /// Configured speed in MT/s.
        configured_mts: Option<u32>,
        /// Manufacturer.
        manufacturer: Option<String>,
        /// Part number.
        part: Option<String>,
        /// Serial number.
        serial: Option<String>,
        /// Ranks.
        ranks: Option<u8>,
    }

    /// NUMA node.
    NumaNode {
        /// Number.
        id: u32,
        /// Processors, in the kernel's list form `0-3,8-11`.
        cpus: String,
        /// Memory in bytes as the kernel sees it, rounded down to 64 MiB since its own share differs between boots.
        memory_bytes: Option<u64>,
        /// Distances to all nodes in order.
        distances: Vec<u32>,
    }

    /// Whole disk, never a partition, loop, RAM or device-mapper device.
    Disk {
        /// WWN where there is one, else the PCI and bus path, else the serial.
        key: String,
        /// Size in bytes.
        size_bytes: Option<u64>,
        /// Vendor.
        vendor: Option<String>,
        /// Model.
        model: Option<String>,
        /// Serial number.
        serial: Option<String>,
        /// WWN, EUI or NGUID with its prefix (`naa.`, `eui.`).
        wwn: Option<String>,
        /// Firmware revision.
        firmware: Option<String>,
        /// True for spinning disks.
        rotational: Option<bool>,
        /// Removable medium.
        removable: bool,
        /// `nvme`, `sata`, `sas`, `scsi`, `usb`, `virtio`, `mmc`, …
        transport: Option<String>,
        /// Logical and physical sector size in bytes.
        logical_sector_bytes: Option<u32>,
        /// See `logical_sector_bytes`.
        physical_sector_bytes: Option<u32>,
        /// Bus path, such as `0000:00:1f.2/ata1` .
        path: Option<String>,
        /// NVMe namespace number.
        namespace: Option<u32>,
    }

    /// Network port that is hardware: no bridge, bond, VLAN or tunnel.
    Nic {
        /// PCI address with port number, `0000:00:03.0` or `0000:00:03.0/1`; USB port path otherwise.
        key: String,
        /// Permanent MAC, lower case with colons.
        mac: Option<String>,
        /// MAC in use where it differs from the permanent one.
        current_mac: Option<String>,
        /// `pci`, `usb`, `virtio`, `platform`.
        bus: Option<String>,
        /// Driver.
        driver: Option<String>,
        /// Firmware version.
        firmware: Option<String>,
        /// Vendor and device id, `8086:1572`.
        pci_id: Option<String>,
        /// Name of the kernel's scheme for on-board and slot order, such as `eno1`.
        label: Option<String>,
        /// Highest speed in Mbit/s.
        max_mbps: Option<u32>,
        /// Module in the cage.
        transceiver: Option<Transceiver>,
        /// What the port heard by LLDP.
        lldp: Option<Lldp>,
    }

    /// Pluggable module.
    Transceiver {
        /// `SFP`, `QSFP28`, …
        kind: Option<String>,
        /// Vendor.
        vendor: Option<String>,
        /// Part number.
        part: Option<String>,
        /// Serial number.
        serial: Option<String>,
    }

    /// LLDP of one port.
    Lldp {
        /// Seconds listened without hearing anybody: a fixed number, which does not grow; absent when somebody was heard.
        silent_s: Option<u32>,
        /// Neighbours in order of chassis and port.
        neighbours: Vec<Neighbour>,
    }

    /// One LLDP neighbour.
    Neighbour {
        /// Chassis id in its usual text form.
        chassis: String,
        /// Port id in its usual text form.
        port: String,
        /// Port description.
        port_description: Option<String>,
        /// System name.
        system_name: Option<String>,
        /// System description.
        system_description: Option<String>,
        /// Management addresses.
        management: Vec<String>,
        /// Port VLAN id.
        vlan: Option<u16>,
        /// Largest frame in bytes.
        mtu: Option<u32>,
        /// VLAN tag under which the frame came.
        tagged: Option<u16>,
        /// All TLVs in hex, as they were when one of the values above last changed.
        raw: String,
    }

    /// PCI function. Names are resolved by the server.
    PciDevice {
        /// `0000:00:1f.2`.
        address: String,
        /// `8086:2922`.
        id: String,
        /// Subsystem vendor and device.
        subsystem: Option<String>,
        /// Class code, six hex digits.
        class: String,
        /// Revision, two hex digits.
        revision: Option<String>,
        /// Driver bound to it.
        driver: Option<String>,
        /// NUMA node.
        numa: Option<u32>,
        /// Lanes in use.
        link_width: Option<u32>,
        /// Lanes possible.
        max_link_width: Option<u32>,
        /// Highest speed possible in MT/s.
        max_link_mts: Option<u32>,
        /// What only display and compute controllers have.
        gpu: Option<Gpu>,
    }

    /// Display or compute controller (PCI class 03 or 12).
    Gpu {
        /// Memory windows (BARs) in bytes, in the order of their registers.
        windows_bytes: Vec<u64>,
        /// Version of the video BIOS, where the driver says so.
        vbios: Option<String>,
        /// Serial number of the card, where the driver says so.
        serial: Option<String>,
        /// The chip's own number, where the driver says so: a UUID, or 16 hex digits.
        unique_id: Option<String>,
    }

    /// USB device.
    UsbDevice {
        /// Port path, `1-2.3`.
        path: String,
        /// `0627:0001`.
        id: String,
        /// Manufacturer string.
        manufacturer: Option<String>,
        /// Product string.
        product: Option<String>,
        /// Serial string.
        serial: Option<String>,
        /// Device class, two hex digits.
        class: Option<String>,
    }

    /// Baseboard management controller.
    Bmc {
        /// MAC, lower case with colons.
        mac: Option<String>,
        /// IPv4 address.
        ipv4: Option<String>,
        /// IPv6 addresses.
        ipv6: Vec<String>,
        /// Where the IPv4 address comes from: `static`, `dhcp`, `bios`, `other`.
        source: Option<String>,
        /// Firmware revision.
        firmware: Option<String>,
        /// GUID of the machine, else of the controller itself.
        guid: Option<String>,
    }

    /// Trusted platform module.
    Tpm {
        /// `1.2` or `2.0`.
        version: Option<String>,
        /// Manufacturer.
        manufacturer: Option<String>,
        /// Firmware version.
        firmware: Option<String>,
        /// SHA-256 (hex) of the endorsement key's public half (ECC P-256, as SubjectPublicKeyInfo in DER).
        ek_sha256: Option<String>,
        /// Why it could not be read, where it is there.
        state: Option<String>,
    }

    /// Something absent that should be there.
    Finding {
        /// `no_driver`, `no_firmware`, `driver_failed`, `lldp_in_firmware`.
        code: String,
        /// The component's key or PCI address.
        component: String,
        /// One sentence.
        text: String,
        /// The missing file, where one is known.
        file: Option<String>,
        /// The extension that has it, where one is known.
        extension: Option<String>,
    }

    /// What differs between two looks at the same machine.
    Volatile {
        /// Kernel names by component key, such as `sda`.
        names: BTreeMap<String, String>,
        /// Link state by key of the port.
        links: BTreeMap<String, Link>,
        /// Addresses with prefix length by key of the port.
        addresses: BTreeMap<String, Vec<String>>,
        /// Memory that the kernel can use, in bytes.
        memory_usable_bytes: Option<u64>,
        /// Memory available, in bytes.
        memory_available_bytes: Option<u64>,
        /// Load average over one minute.
        load1: Option<f64>,
        /// Disk health by key of the disk.
        health: BTreeMap<String, Health>,
        /// Correctable and uncorrectable memory errors by slot.
        edac: BTreeMap<String, EccErrors>,
        /// Temperatures in degrees Celsius by sensor: driver and label, with the device between where there are several.
        temperatures: BTreeMap<String, f64>,
        /// PCIe speed in use in MT/s by address: it changes with the load.
        pci_link_mts: BTreeMap<String, u32>,
        /// Collectors that failed or were abandoned, with the reason.
        failures: BTreeMap<String, String>,
        /// Milliseconds that each collector took.
        took_ms: BTreeMap<String, u64>,
    }

    /// Link of a port.
    Link {
        /// Carrier.
        up: bool,
        /// Mbit/s.
        mbps: Option<u32>,
        /// Full duplex.
        full_duplex: Option<bool>,
    }

    /// Health of a disk, read without writing.
    Health {
        /// The disk's own verdict.
        passed: Option<bool>,
        /// Hours in service.
        hours: Option<u64>,
        /// Degrees Celsius.
        temperature_c: Option<i32>,
        /// Per cent of the rated endurance used.
        used_percent: Option<u32>,
        /// Media errors or reallocated sectors.
        media_errors: Option<u64>,
    }

    /// Memory errors of a slot since boot.
    EccErrors {
        /// Corrected.
        corrected: Option<u64>,
        /// Uncorrected.
        uncorrected: Option<u64>,
    }
}
