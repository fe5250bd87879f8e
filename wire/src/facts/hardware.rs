//! The original's own facts, `mk_hw_*`, which it took from `lshw` and `lscpu`: their names and forms of values where the
//! inventory has the value, and some of ours (sizes in bytes, keys) beside them. Hanlon's `mk_ipmi_*` came from
//! `ipmitool`; its MAC was cut to the first octet, ours is whole.

use super::{identifying_nics, put};
use crate::checkin::Facts;
use crate::inventory::{Stable, Volatile};

/// Adds all `mk_hw_*` facts.
pub(super) fn add(facts: &mut Facts, stable: &Stable, volatile: &Volatile) {
    board_and_firmware(facts, stable);
    processors(facts, stable);
    memory(facts, stable, volatile);
    disks(facts, stable, volatile);
    nics(facts, stable);
    bmc(facts, stable);
}

fn text(facts: &mut Facts, name: &str, value: &str) {
    put(facts, name, Some(&value.to_owned()));
}

fn board_and_firmware(facts: &mut Facts, stable: &Stable) {
    if let Some(board) = &stable.board {
        text(facts, "mk_hw_bus_description", "Motherboard");
        put(facts, "mk_hw_bus_vendor", board.manufacturer.as_ref());
        put(facts, "mk_hw_bus_product", board.product.as_ref());
        put(facts, "mk_hw_bus_version", board.version.as_ref());
        put(facts, "mk_hw_bus_serial", board.serial.as_ref());
    }
    if let Some(bios) = &stable.bios {
        text(facts, "mk_hw_fw_description", "BIOS");
        put(facts, "mk_hw_fw_vendor", bios.vendor.as_ref());
        put(facts, "mk_hw_fw_version", bios.version.as_ref());
        put(facts, "mk_hw_fw_date", bios.date.as_ref());
    }
}

fn processors(facts: &mut Facts, stable: &Stable) {
    let Some(cpu) = &stable.cpu else { return };
    let packages = cpu.packages.unwrap_or(0);
    facts.insert("mk_hw_cpu_count".into(), packages.into());
    if let Some(cores) = cpu.cores {
        facts.insert("mk_hw_cpu_cores".into(), cores.into());
    }
    let vendor = cpu.vendor.as_deref().map(lshw_vendor);
    for i in 0..packages {
        text(facts, &format!("mk_hw_cpu{i}_description"), "CPU");
        text(facts, &format!("mk_hw_cpu{i}_bus_info"), &format!("cpu@{i}"));
        text(facts, &format!("mk_hw_cpu{i}_vendor"), vendor.unwrap_or_default());
        put(facts, &format!("mk_hw_cpu{i}_product"), cpu.model.as_ref());
        if let Some(signature) = &cpu.signature {
            text(facts, &format!("mk_hw_cpu{i}_version"), &signature.replace('/', "."));
        }
        if let Some(mhz) = cpu.max_mhz {
            text(facts, &format!("mk_hw_cpu{i}_capacity"), &format!("{mhz}MHz"));
        }
    }
    put(facts, "mk_hw_lscpu_Vendor_ID", cpu.vendor.as_ref());
    text(facts, "mk_hw_lscpu_CPU_sockets", &packages.to_string());
    for (name, value) in ["CPU_family", "Model", "Stepping"].iter().zip(cpu.signature.iter().flat_map(|s| s.split('/')))
    {
        text(facts, &format!("mk_hw_lscpu_{name}"), value);
    }
    let architecture = stable.kernel.as_ref().and_then(|kernel| kernel.architecture.as_ref());
    put(facts, "mk_hw_lscpu_Architecture", architecture);
}

/// Vendors as lshw writes them; the server makes its vendor tags from these.
fn lshw_vendor(id: &str) -> &str {
    match id {
        "GenuineIntel" => "Intel Corp.",
        "AuthenticAMD" => "Advanced Micro Devices [AMD]",
        other => other,
    }
}

fn memory(facts: &mut Facts, stable: &Stable, volatile: &Volatile) {
    let installed = stable.memory.as_ref().and_then(|memory| memory.installed_bytes);
    if let Some(bytes) = installed {
        facts.insert("mk_hw_mem_size_bytes".into(), bytes.to_string().into());
    }
    // Where the firmware does not tell, what the kernel can use stands in, as in lshw.
    if let Some(bytes) = installed.or(volatile.memory_usable_bytes) {
        text(facts, "mk_hw_mem_description", "System Memory");
        text(facts, "mk_hw_mem_size", &binary(bytes));
    }
    if let Some(memory) = &stable.memory {
        facts.insert("mk_hw_mem_dimm_count".into(), memory.dimms.len().into());
    }
}

fn disks(facts: &mut Facts, stable: &Stable, volatile: &Volatile) {
    facts.insert("mk_hw_disk_count".into(), stable.disks.len().into());
    for (i, disk) in stable.disks.iter().enumerate() {
        let name = |field: &str| format!("mk_hw_disk{i}_{field}");
        put(facts, &name("serial"), disk.serial.as_ref());
        put(facts, &name("vendor"), disk.vendor.as_ref());
        put(facts, &name("product"), disk.model.as_ref());
        put(facts, &name("version"), disk.firmware.as_ref());
        put(facts, &name("wwn"), disk.wwn.as_ref());
        if let Some(kernel) = volatile.names.get(&disk.key) {
            text(facts, &name("logical_name"), &format!("/dev/{kernel}"));
        }
        if let Some(bytes) = disk.size_bytes {
            text(facts, &name("size"), &format!("{} ({})", binary(bytes), decimal(bytes)));
            facts.insert(name("size_bytes"), bytes.to_string().into());
        }
    }
}

fn nics(facts: &mut Facts, stable: &Stable) {
    let nics = identifying_nics(stable);
    facts.insert("mk_hw_nic_count".into(), nics.len().into());
    for (i, nic) in nics.iter().enumerate() {
        let name = |field: &str| format!("mk_hw_nic{i}_{field}");
        text(facts, &name("description"), "Ethernet interface");
        text(facts, &name("logical_name"), &format!("eth{i}"));
        put(facts, &name("serial"), nic.mac.as_ref());
        put(facts, &name("driver"), nic.driver.as_ref());
        put(facts, &name("firmware"), nic.firmware.as_ref());
        put(facts, &name("pci_id"), nic.pci_id.as_ref());
        put(facts, &name("pci"), Some(&nic.key));
        if nic.pci_id.is_some() {
            let address = nic.key.split('/').next().unwrap_or_default();
            text(facts, &name("bus_info"), &format!("pci@{address}"));
        }
        if let Some(mbps) = nic.max_mbps {
            text(facts, &name("capacity"), &bits(mbps));
        }
    }
}

fn bmc(facts: &mut Facts, stable: &Stable) {
    let Some(bmc) = &stable.bmc else { return };
    put(facts, "mk_ipmi_firmware_revision", bmc.firmware.as_ref());
    put(facts, "mk_ipmi_ip_address", bmc.ipv4.as_ref());
    put(facts, "mk_ipmi_mac_address", bmc.mac.as_ref());
    if let Some(source) = &bmc.source {
        let source = match source.as_str() {
            "static" => "Static Address",
            "dhcp" => "DHCP Address",
            "bios" => "BIOS Assigned Address",
            _ => "Other",
        };
        text(facts, "mk_ipmi_ip_address_source", source);
    }
}

/// Bytes in binary units as lshw writes them: `2GiB`.
fn binary(bytes: u64) -> String {
    scaled(bytes, 1024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

/// Bytes in decimal units as lshw writes them: `42GB`.
fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000, &["B", "KB", "MB", "GB", "TB", "PB"])
}

/// Mbit/s as lshw writes them: `1Gbit/s`.
fn bits(mbps: u32) -> String {
    scaled(u64::from(mbps) * 1_000_000, 1000, &["bit/s", "Kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

/// lshw's rule: the next unit is taken while the value is more than ten of it, or a whole number of it.
fn scaled(value: u64, step: u64, units: &[&str]) -> String {
    let (mut value, mut unit) = (value, 0);
    while unit + 1 < units.len() && value > 0 && (value > 10 * step || value % step == 0) {
        value /= step;
        unit += 1;
    }
    format!("{value}{}", units.get(unit).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_lshw_writes_them() {
        for (bytes, text) in [
            (0, "0B"),
            (1536, "1536B"),
            (65_536, "64KiB"),
            (2 << 30, "2GiB"),
            (42_949_672_960, "40GiB"),
            (500_107_862_016, "465GiB"),
        ] {
            assert_eq!(binary(bytes), text);
        }
        assert_eq!(decimal(42_949_672_960), "42GB");
        assert_eq!(decimal(500_107_862_016), "500GB");
        assert_eq!(bits(1000), "1Gbit/s");
        assert_eq!(bits(25_000), "25Gbit/s");
        assert_eq!(bits(2500), "2500Mbit/s");
        assert_eq!(bits(100), "100Mbit/s");
    }
}
