//! Flat facts, under the names of the original's Facter and `mk_hw_*` scripts, made from the typed inventory.
//!
//! `ethN` is numbered here by the order of PCI addresses, since the kernel's order differs between boots. `macaddress*`
//! exists for physical ports that are not on USB only: razor-server merges nodes by every fact of that prefix.
//! Values are strings as Facter 2 gave them, but for the counts (numbers) and `is_virtual` (boolean).

use serde_json::{Value, json};

use crate::checkin::Facts;
use crate::inventory::{Inventory, Nic, Stable, Volatile};

const MIB: f64 = 1024.0 * 1024.0;

/// All flat facts of an inventory.
#[must_use]
pub fn flatten(inventory: &Inventory) -> Facts {
    let none = Volatile::default();
    let volatile = inventory.volatile.as_ref().unwrap_or(&none);
    let mut facts = Facts::new();
    machine(&mut facts, &inventory.stable);
    processors(&mut facts, &inventory.stable);
    memory(&mut facts, &inventory.stable, volatile);
    disks(&mut facts, &inventory.stable, volatile);
    network(&mut facts, &inventory.stable, volatile);
    for (name, value) in &inventory.stable.site {
        facts.insert(name.clone(), value.clone());
    }
    facts
}

/// Network ports that identify a machine: not on USB (a BMC's or a dongle), with a MAC, in order of PCI address.
#[must_use]
pub fn identifying_nics(stable: &Stable) -> Vec<&Nic> {
    let mut nics: Vec<&Nic> =
        stable.nics.iter().filter(|n| n.bus.as_deref() != Some("usb") && n.mac.is_some()).collect();
    nics.sort_by(|a, b| a.key.cmp(&b.key));
    nics
}

/// The original's `hw_id`: MACs without separators, in the order of the `ethN` facts.
#[must_use]
pub fn hw_id(stable: &Stable) -> String {
    let macs: Vec<String> =
        identifying_nics(stable).iter().filter_map(|n| n.mac.as_deref()).map(|m| m.replace(':', "")).collect();
    macs.join("_")
}

fn put(facts: &mut Facts, name: &str, value: Option<&String>) {
    if let Some(value) = value.filter(|v| !v.is_empty()) {
        facts.insert(name.to_owned(), Value::String(value.clone()));
    }
}

fn machine(facts: &mut Facts, stable: &Stable) {
    if let Some(s) = &stable.system {
        put(facts, "manufacturer", s.manufacturer.as_ref());
        put(facts, "productname", s.product.as_ref());
        put(facts, "serialnumber", s.serial.as_ref());
        put(facts, "uuid", s.uuid.as_ref());
    }
    if let Some(b) = &stable.board {
        put(facts, "boardmanufacturer", b.manufacturer.as_ref());
        put(facts, "boardproductname", b.product.as_ref());
        put(facts, "boardserialnumber", b.serial.as_ref());
        put(facts, "boardassettag", b.asset.as_ref());
    }
    if let Some(c) = &stable.chassis {
        put(facts, "chassisassettag", c.asset.as_ref());
        put(facts, "chassisserialnumber", c.serial.as_ref());
        if let Some(kind) = c.kind {
            facts.insert("chassistype".into(), chassis_name(kind).into());
        }
    }
    if let Some(b) = &stable.bios {
        put(facts, "bios_vendor", b.vendor.as_ref());
        put(facts, "bios_version", b.version.as_ref());
        put(facts, "bios_release_date", b.date.as_ref());
    }
    if let Some(b) = &stable.boot {
        put(facts, "boot_mode", b.mode.as_ref());
        put(facts, "boot_interface", b.interface.as_ref());
        if let Some(on) = b.secure_boot {
            facts.insert("secure_boot".into(), on.into());
        }
    }
    if let Some(v) = &stable.virtualization {
        facts.insert("is_virtual".into(), v.is_virtual.into());
        put(facts, "virtual", v.kind.as_ref());
    }
    facts.insert("kernel".into(), "Linux".into());
    if let Some(k) = &stable.kernel {
        put(facts, "kernelrelease", k.release.as_ref());
        put(facts, "architecture", k.architecture.as_ref());
        put(facts, "hardwaremodel", k.architecture.as_ref());
    }
}

/// SMBIOS 3.7, table 17, as dmidecode and Facter print it.
fn chassis_name(kind: u8) -> &'static str {
    match kind {
        1 => "Other",
        3 => "Desktop",
        4 => "Low Profile Desktop",
        6 => "Mini Tower",
        7 => "Tower",
        8 => "Portable",
        9 => "Laptop",
        10 => "Notebook",
        13 => "All In One",
        17 => "Main Server Chassis",
        23 => "Rack Mount Chassis",
        24 => "Sealed-case PC",
        25 => "Multi-system",
        28 => "Blade",
        29 => "Blade Enclosing",
        _ => "Unknown",
    }
}

fn processors(facts: &mut Facts, stable: &Stable) {
    let Some(cpu) = &stable.cpu else { return };
    if let Some(n) = cpu.threads {
        facts.insert("processorcount".into(), n.into());
        if let Some(model) = &cpu.model {
            for i in 0..n {
                facts.insert(format!("processor{i}"), model.clone().into());
            }
        }
    }
    if let Some(n) = cpu.packages {
        facts.insert("physicalprocessorcount".into(), n.into());
        facts.insert("mk_hw_cpu_count".into(), n.into());
    }
    if let Some(n) = cpu.cores {
        facts.insert("mk_hw_cpu_cores".into(), n.into());
    }
}

fn memory(facts: &mut Facts, stable: &Stable, volatile: &Volatile) {
    if let Some(bytes) = volatile.memory_usable_bytes {
        facts.insert("memorysize_mb".into(), mebibytes(bytes).into());
        facts.insert("memorysize".into(), human(bytes).into());
        facts.insert("memorytotal".into(), human(bytes).into());
    }
    if let Some(memory) = &stable.memory {
        if let Some(bytes) = memory.installed_bytes {
            facts.insert("mk_hw_mem_size_bytes".into(), bytes.to_string().into());
        }
        facts.insert("mk_hw_mem_dimm_count".into(), memory.dimms.len().into());
    }
}

fn disks(facts: &mut Facts, stable: &Stable, volatile: &Volatile) {
    let mut names = Vec::new();
    for (i, disk) in stable.disks.iter().enumerate() {
        put(facts, &format!("mk_hw_disk{i}_serial"), disk.serial.as_ref());
        put(facts, &format!("mk_hw_disk{i}_wwn"), disk.wwn.as_ref());
        put(facts, &format!("mk_hw_disk{i}_model"), disk.model.as_ref());
        if let Some(size) = disk.size_bytes {
            facts.insert(format!("mk_hw_disk{i}_size_bytes"), size.to_string().into());
        }
        let Some(name) = volatile.names.get(&disk.key) else { continue };
        names.push(name.clone());
        put(facts, &format!("blockdevice_{name}_model"), disk.model.as_ref());
        put(facts, &format!("blockdevice_{name}_vendor"), disk.vendor.as_ref());
        if let Some(size) = disk.size_bytes {
            facts.insert(format!("blockdevice_{name}_size"), size.into());
        }
    }
    names.sort();
    facts.insert("blockdevices".into(), names.join(",").into());
    facts.insert("mk_hw_disk_count".into(), stable.disks.len().into());
}

fn network(facts: &mut Facts, stable: &Stable, volatile: &Volatile) {
    let nics = identifying_nics(stable);
    let mut interfaces = Vec::new();
    for (i, nic) in nics.iter().enumerate() {
        let name = format!("eth{i}");
        put(facts, &format!("macaddress_{name}"), nic.mac.as_ref());
        put(facts, &format!("mk_hw_nic{i}_driver"), nic.driver.as_ref());
        put(facts, &format!("mk_hw_nic{i}_pci"), Some(&nic.key));
        for address in volatile.addresses.get(&nic.key).into_iter().flatten() {
            let (host, prefix) = address.split_once('/').unwrap_or((address, ""));
            let fact = if host.contains(':') { "ipaddress6" } else { "ipaddress" };
            facts.entry(format!("{fact}_{name}")).or_insert_with(|| host.into());
            facts.entry(fact.to_owned()).or_insert_with(|| host.into());
            if let Some(mask) = prefix.parse().ok().filter(|_| fact == "ipaddress").and_then(netmask) {
                facts.entry(format!("netmask_{name}")).or_insert_with(|| mask.clone().into());
                facts.entry("netmask".to_owned()).or_insert_with(|| mask.into());
            }
        }
        interfaces.push(name);
    }
    if let Some(first) = nics.first() {
        put(facts, "macaddress", first.mac.as_ref());
    }
    facts.insert("interfaces".into(), interfaces.join(",").into());
    facts.insert("mk_hw_nic_count".into(), json!(nics.len()));
}

/// Dotted mask of an IPv4 prefix length.
fn netmask(prefix: u32) -> Option<String> {
    let bits = u32::MAX.checked_shl(32u32.checked_sub(prefix)?).unwrap_or(0);
    Some(std::net::Ipv4Addr::from_bits(bits).to_string())
}

/// Mebibytes with two digits, as Facter prints them.
#[expect(clippy::cast_precision_loss, reason = "two digits of a mebibyte are shown")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / MIB)
}

/// Bytes in the largest fitting unit with two digits, as Facter prints them.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn human(bytes: u64) -> String {
    let mut value = bytes as f64 / MIB;
    for unit in ["MB", "GB"] {
        if value < 1024.0 {
            return format!("{value:.2} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.2} TB")
}
