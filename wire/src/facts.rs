//! Flat facts, under the names of the original's Facter and `mk_hw_*` scripts, made from the typed inventory. Facts about
//! the microkernel itself (its distribution, its clock, its paths) are left out: the original's exclusion pattern drops
//! them as well.
//!
//! `ethN` is numbered here by the order of PCI addresses, since the kernel's order differs between boots. `macaddress*`
//! exists for physical ports that are not on USB only: razor-server merges nodes by every fact of that prefix.
//! Values are strings as Facter 2 gave them, but for the counts (numbers) and `is_virtual` (boolean).

mod hardware;

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use crate::checkin::Facts;
use crate::inventory::{Inventory, Neighbour, Nic, Stable, Volatile};

const MIB: f64 = 1024.0 * 1024.0;

/// All flat facts of an inventory.
#[must_use]
pub fn flatten(inventory: &Inventory) -> Facts {
    let none = Volatile::default();
    let volatile = inventory.volatile.as_ref().unwrap_or(&none);
    let mut facts = Facts::new();
    machine(&mut facts, &inventory.stable);
    processors(&mut facts, &inventory.stable);
    memory(&mut facts, volatile);
    disks(&mut facts, &inventory.stable, volatile);
    network(&mut facts, &inventory.stable, volatile);
    hardware::add(&mut facts, &inventory.stable, volatile);
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
    nics.sort_by_cached_key(|nic| slot_order(&nic.key));
    nics
}

/// Sorts keys of ports: PCI addresses first, by their numbers, then the number of the port on its function; other keys
/// by their text.
fn slot_order(key: &str) -> (bool, Vec<u64>, String) {
    let (address, port) = key.split_once('/').unwrap_or((key, "0"));
    let numbers: Option<Vec<u64>> = address.split([':', '.']).map(|n| u64::from_str_radix(n, 16).ok()).collect();
    match (numbers, port.parse()) {
        (Some(mut numbers), Ok(port)) if numbers.len() == 4 => {
            numbers.push(port);
            (false, numbers, String::new())
        }
        _ => (true, Vec::new(), key.to_owned()),
    }
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
        5 => "Pizza Box",
        6 => "Mini Tower",
        7 => "Tower",
        8 => "Portable",
        9 => "Laptop",
        10 => "Notebook",
        11 => "Hand Held",
        12 => "Docking Station",
        13 => "All In One",
        14 => "Sub Notebook",
        15 => "Space-saving",
        16 => "Lunch Box",
        17 => "Main Server Chassis",
        18 => "Expansion Chassis",
        19 => "Sub Chassis",
        20 => "Bus Expansion Chassis",
        21 => "Peripheral Chassis",
        22 => "RAID Chassis",
        23 => "Rack Mount Chassis",
        24 => "Sealed-case PC",
        25 => "Multi-system",
        26 => "CompactPCI",
        27 => "AdvancedTCA",
        28 => "Blade",
        29 => "Blade Enclosing",
        30 => "Tablet",
        31 => "Convertible",
        32 => "Detachable",
        33 => "IoT Gateway",
        34 => "Embedded PC",
        35 => "Mini PC",
        36 => "Stick PC",
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
    }
}

fn memory(facts: &mut Facts, volatile: &Volatile) {
    if let Some(bytes) = volatile.memory_usable_bytes {
        facts.insert("memorysize_mb".into(), mebibytes(bytes).into());
        facts.insert("memorysize".into(), human(bytes).into());
        facts.insert("memorytotal".into(), human(bytes).into());
    }
}

fn disks(facts: &mut Facts, stable: &Stable, volatile: &Volatile) {
    let mut names = Vec::new();
    for disk in &stable.disks {
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
}

fn network(facts: &mut Facts, stable: &Stable, volatile: &Volatile) {
    let nics = identifying_nics(stable);
    let names: Vec<String> = (0..nics.len()).map(|i| format!("eth{i}")).collect();
    for (nic, name) in nics.iter().zip(&names) {
        put(facts, &format!("macaddress_{name}"), nic.mac.as_ref());
        for address in volatile.addresses.get(&nic.key).into_iter().flatten() {
            addresses(facts, name, address);
        }
        if let Some(neighbour) = nic.lldp.as_ref().and_then(|lldp| lldp.neighbours.first()) {
            switch(facts, name, neighbour);
        }
    }
    put(facts, "macaddress", nics.first().and_then(|nic| nic.mac.as_ref()));
    facts.insert("interfaces".into(), names.join(",").into());
}

/// Where a port is plugged in, under the names of the Puppet module openlldp, which other discovery images use too.
fn switch(facts: &mut Facts, name: &str, neighbour: &Neighbour) {
    let mut fact = |what: &str, value: Option<&String>| put(facts, &format!("lldp_neighbor_{what}_{name}"), value);
    fact("chassisid", Some(&neighbour.chassis));
    fact("portid", Some(&neighbour.port));
    fact("sysname", neighbour.system_name.as_ref());
    fact("pvid", neighbour.vlan.map(|vlan| vlan.to_string()).as_ref());
    fact("mtu", neighbour.mtu.map(|mtu| mtu.to_string()).as_ref());
    let management =
        |v4: bool| neighbour.management.iter().find(|a| a.parse().is_ok_and(|a: IpAddr| a.is_ipv4() == v4));
    fact("mngaddr_ipv4", management(true));
    fact("mngaddr_ipv6", management(false));
}

/// Facts of one address with its prefix length. The first of a kind counts, for the port and for the machine.
fn addresses(facts: &mut Facts, name: &str, address: &str) {
    let (host, prefix) = address.split_once('/').unwrap_or((address, ""));
    let mut first = |fact: &str, value: String| {
        facts.entry(format!("{fact}_{name}")).or_insert_with(|| value.clone().into());
        facts.entry(fact.to_owned()).or_insert_with(|| value.into());
    };
    if host.contains(':') {
        return first("ipaddress6", host.to_owned());
    }
    first("ipaddress", host.to_owned());
    let mask = prefix.parse().ok().and_then(netmask);
    if let (Some(mask), Ok(host)) = (mask, host.parse::<Ipv4Addr>()) {
        first("netmask", mask.to_string());
        first("network", Ipv4Addr::from_bits(host.to_bits() & mask.to_bits()).to_string());
    }
}

/// Mask of an IPv4 prefix length.
fn netmask(prefix: u32) -> Option<Ipv4Addr> {
    let bits = u32::MAX.checked_shl(32u32.checked_sub(prefix)?).unwrap_or(0);
    Some(Ipv4Addr::from_bits(bits))
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

#[cfg(test)]
mod tests;
