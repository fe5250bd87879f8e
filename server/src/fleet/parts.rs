//! The parts of a machine by area, and what machines of one product are compared by. Pure.
//!
//! Parts are named by their place: slot, PCI address, bus path. Values are in words, as they are shown. An area of which the
//! inventory has nothing at all is left out where no machine is without it: nobody could look.

use std::collections::BTreeMap;

use wire::inventory::{Disk, Nic, PciDevice, Stable};

use crate::fleet::makeup::Fields;
use crate::human;

/// Parts with their fields.
type Parts = Vec<(String, Fields)>;

/// Whether the part is there at all.
pub const PRESENCE: &str = "presence";

/// All areas of a machine, in order of name.
#[must_use]
pub fn of(stable: &Stable) -> Vec<(&'static str, Parts)> {
    let mut areas = vec![
        ("disks", disks(&stable.disks)),
        ("firmware", firmware(stable)),
        ("network", stable.nics.iter().map(nic).collect()),
        ("pci", pci(&stable.pci)),
        ("processors", processors(stable)),
        ("system", system(stable)),
        (
            "usb",
            stable.usb.iter().map(|d| (format!("USB {}", d.path), field([("device", Some(d.id.clone()))]))).collect(),
        ),
    ];
    areas.retain(|(name, parts)| !parts.is_empty() || matches!(*name, "disks" | "usb"));
    if let Some(memory) = memory(stable) {
        areas.push(("memory", memory));
        areas.sort_by_key(|(name, _)| *name);
    }
    areas
}

fn field<const N: usize>(fields: [(&'static str, Option<String>); N]) -> Fields {
    fields.into_iter().collect()
}

fn count<T: ToString>(number: Option<T>) -> Option<String> {
    number.map(|n| n.to_string())
}

fn yes(is: Option<bool>) -> Option<String> {
    is.map(|is| if is { "on" } else { "off" }.to_owned())
}

fn processors(stable: &Stable) -> Parts {
    let numa = (!stable.numa.is_empty()).then_some(stable.numa.len());
    let Some(cpu) = &stable.cpu else { return Vec::new() };
    // Whether virtual machines can run there is a setting of the firmware that is forgotten easily.
    let virtualizes =
        (!cpu.flags.is_empty()).then(|| cpu.flags.iter().any(|flag| matches!(flag.as_str(), "vmx" | "svm")));
    let fields = field([
        ("model", cpu.model.clone()),
        ("stepping", cpu.signature.clone()),
        ("packages", count(cpu.packages)),
        ("cores", count(cpu.cores)),
        ("threads", count(cpu.threads)),
        ("microcode", cpu.microcode.clone()),
        ("virtualization", yes(virtualizes)),
        ("NUMA nodes", count(numa)),
    ]);
    vec![("processors".to_owned(), fields)]
}

fn memory(stable: &Stable) -> Option<Parts> {
    let memory = stable.memory.as_ref()?;
    let whole = field([
        ("size", memory.installed_bytes.map(human::memory)),
        ("slots", count(memory.slots)),
        ("modules", count(Some(memory.dimms.len()))),
    ]);
    let dimms = memory.dimms.iter().map(|d| {
        let mts = |speed: Option<u32>| speed.map(|mts| format!("{mts} MT/s"));
        let fields = field([
            ("size", d.size_bytes.map(human::memory)),
            ("type", d.kind.clone()),
            ("speed", mts(d.configured_mts.or(d.speed_mts))),
            ("rated speed", mts(d.speed_mts)),
            ("part", d.part.clone()),
            ("ranks", count(d.ranks)),
        ]);
        // Some makers give the slots of all banks the same names.
        let shared = memory.dimms.iter().filter(|other| other.slot == d.slot).count() > 1;
        let bank = d.bank.as_deref().filter(|_| shared).map(|bank| format!(" {bank}")).unwrap_or_default();
        let kind = if d.slot.to_uppercase().contains("DIMM") { "" } else { "DIMM " };
        (format!("{kind}{}{bank}", d.slot), fields)
    });
    Some([("memory".to_owned(), whole)].into_iter().chain(dimms).collect())
}

fn firmware(stable: &Stable) -> Parts {
    let mut parts: Parts = Vec::new();
    if let Some(bios) = &stable.bios {
        let fields = [("vendor", bios.vendor.clone()), ("version", bios.version.clone()), ("date", bios.date.clone())];
        parts.push(("BIOS".to_owned(), field(fields)));
    }
    if let Some(boot) = &stable.boot {
        let fields = [("mode", boot.mode.clone()), ("Secure Boot", yes(boot.secure_boot))];
        parts.push(("boot".to_owned(), field(fields)));
    }
    if let Some(bmc) = &stable.bmc {
        let fields = [("firmware", bmc.firmware.clone()), ("address by", bmc.source.clone())];
        parts.push(("BMC".to_owned(), field(fields)));
    }
    if let Some(tpm) = &stable.tpm {
        let fields = [
            ("version", tpm.version.clone()),
            ("manufacturer", tpm.manufacturer.clone()),
            ("firmware", tpm.firmware.clone()),
            ("state", tpm.state.clone()),
        ];
        parts.push(("TPM".to_owned(), field(fields)));
    }
    parts
}

fn system(stable: &Stable) -> Parts {
    let mut parts: Parts = Vec::new();
    if let Some(system) = &stable.system {
        let fields = [("version", system.version.clone()), ("SKU", system.sku.clone())];
        parts.push(("system".to_owned(), field(fields)));
    }
    if let Some(board) = &stable.board {
        let fields = [("product", board.product.clone()), ("version", board.version.clone())];
        parts.push(("board".to_owned(), field(fields)));
    }
    if let Some(chassis) = &stable.chassis {
        parts.push(("chassis".to_owned(), field([("type", count(chassis.kind))])));
    }
    if let Some(hypervisor) = stable.virtualization.as_ref().filter(|v| v.is_virtual) {
        parts.push(("hypervisor".to_owned(), field([("kind", hypervisor.kind.clone())])));
    }
    parts
}

/// Fixed disks by their path on the bus; those without one are told by model, and counted.
fn disks(disks: &[Disk]) -> Parts {
    let fixed = || disks.iter().filter(|d| !d.removable);
    let mut parts = vec![("disks".to_owned(), field([("number", count(Some(fixed().count())))]))];
    let mut placeless: BTreeMap<String, usize> = BTreeMap::new();
    for disk in fixed() {
        let namespace = disk.namespace.map(|n| format!(" namespace {n}")).unwrap_or_default();
        let name = match &disk.path {
            Some(path) => format!("disk {path}{namespace}"),
            None => {
                let model = disk.model.clone().unwrap_or_default();
                let number = placeless.entry(model.clone()).and_modify(|n| *n += 1).or_insert(1);
                format!("disk {model} no. {number}")
            }
        };
        let fields = field([
            ("model", disk.model.clone()),
            ("size", disk.size_bytes.map(human::disk)),
            ("firmware", disk.firmware.clone()),
            ("transport", disk.transport.clone()),
            ("sector size", count(disk.logical_sector_bytes)),
        ]);
        parts.push((name, fields));
    }
    parts
}

fn nic(nic: &Nic) -> (String, Fields) {
    let module = nic.transceiver.as_ref();
    let fields = field([
        ("device", nic.pci_id.clone()),
        ("firmware", nic.firmware.clone()),
        ("fastest speed", nic.max_mbps.map(human::speed)),
        ("module", module.and_then(|m| m.kind.clone())),
        ("module part", module.and_then(|m| m.part.clone())),
    ]);
    (format!("NIC {}", nic.key), fields)
}

/// All functions but bridges, which only connect others.
fn pci(devices: &[PciDevice]) -> Parts {
    let shown = devices.iter().filter(|d| !d.class.starts_with("06"));
    shown
        .map(|d| {
            let width = d.link_width.filter(|n| *n > 0).map(|n| match d.max_link_width {
                Some(max) if max != n => format!("x{n} of x{max}"),
                _ => format!("x{n}"),
            });
            let fields = field([
                ("device", Some(d.id.clone())),
                ("card", d.subsystem.clone()),
                ("link width", width),
                ("fastest link", d.max_link_mts.map(|mts| format!("{mts} MT/s"))),
                ("VBIOS", d.gpu.as_ref().and_then(|gpu| gpu.vbios.clone())),
            ]);
            (format!("PCI {}", d.address), fields)
        })
        .collect()
}
