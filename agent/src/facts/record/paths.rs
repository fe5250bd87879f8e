//! Which files and links a recording has: those that the fact readers read, and others of the same components that later
//! readers may want. Never `config`, `rom` or `vpd` of a PCI device, whose reading can disturb hardware or take seconds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::tree::Tree;

use super::entry::{Content, Entry};
use super::{secrets, table};

/// Words of the kernel line that a recording has; others may be secret.
const KERNEL_LINE: &str = "BOOTIF=";

/// The SMBIOS table, of which only what is read is recorded.
const SMBIOS: &str = "DMI";

/// Folders and what is recorded of them; `*` stands for any letters within a name.
const FILES: [(&str, &[&str]); 28] = [
    ("/proc", &["cpuinfo", "meminfo", "loadavg", "cmdline"]),
    ("/proc/sys/kernel", &["osrelease", "arch"]),
    ("/proc/xen", &["capabilities"]),
    ("/sys/hypervisor", &["type", "guest_type"]),
    ("/sys/devices/system/cpu", &["online", "vulnerabilities/*", "cpu0/cpufreq/cpuinfo_max_freq"]),
    ("/sys/devices/system/cpu/cpu*/topology", &["physical_package_id", "core_id", "thread_siblings_list"]),
    ("/sys/devices/system/node/node*", &["cpulist", "meminfo", "distance"]),
    ("/sys/devices/system/edac/mc/mc*/dimm*", &["dimm_label", "dimm_ce_count", "dimm_ue_count"]),
    ("/sys/devices/system/edac/mc/mc*/rank*", &["dimm_label", "dimm_ce_count", "dimm_ue_count"]),
    ("/sys/firmware/dmi/tables", &["DMI", "smbios_entry_point"]),
    ("/sys/firmware/efi", &["fw_platform_size", "efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"]),
    ("/sys/class/dmi/id", &["*_*", "modalias"]),
    ("/sys/bus/pci/devices/*", &["uevent", "vendor", "device", "subsystem_*", "class", "revision", "numa_node"]),
    (
        "/sys/bus/pci/devices/*",
        &["acpi_index", "index", "label", "current_link_*", "max_link_*", "driver", "subsystem"],
    ),
    ("/sys/bus/pci/devices/*", &["resource", "vbios_version", "serial_number", "unique_id"]),
    ("/proc/driver/nvidia/gpus/*", &["information"]),
    ("/sys/bus/pci/devices/*/ata*/ata_port/*", &["port_no"]),
    (
        "/sys/bus/usb/devices/*",
        &["idVendor", "idProduct", "manufacturer", "product", "serial", "bDeviceClass", "speed"],
    ),
    ("/sys/class/net/*", &["type", "address", "dev_port", "dev_id", "carrier", "speed", "duplex", "mtu"]),
    ("/sys/class/net/*/device", &["driver", "subsystem"]),
    ("/sys/block/*", &["size", "removable", "hidden", "wwid", "nsid", "serial", "uuid", "nguid", "eui"]),
    ("/sys/block/*/queue", &["rotational", "logical_block_size", "physical_block_size"]),
    (
        "/sys/block/*/device",
        &["type", "vendor", "model", "rev", "serial", "wwid", "firmware_rev", "fwrev", "name", "nvme*"],
    ),
    ("/sys/block/*/device", &["vpd_pg80", "vpd_pg83", "vpd_pg89", "sas_address"]),
    ("/sys/block/*/device/nvme*", &["serial", "model", "firmware_rev", "transport", "cntrltype"]),
    ("/sys/class/tpm/*", &["tpm_version_major", "device/caps", "device/description"]),
    ("/sys/class/hwmon/*", &["name", "temp*_input", "temp*_label"]),
    ("/sys/class/ipmi/*", &["uevent"]),
];

/// All that is there of [`FILES`], each once, in order of path.
pub(super) fn read(tree: &Tree) -> Vec<Entry> {
    let mut walk = Walk { tree, found: BTreeSet::new() };
    for (folder, files) in FILES {
        for file in files {
            walk.step(PathBuf::from("/"), &format!("{folder}/{file}")[1..]);
        }
    }
    walk.found.into_iter().collect()
}

/// Follows patterns through folders and links.
struct Walk<'a> {
    tree: &'a Tree,
    found: BTreeSet<Entry>,
}

impl Walk<'_> {
    /// Goes on from a folder, whose path has no links.
    fn step(&mut self, folder: PathBuf, pattern: &str) {
        let (first, rest) = pattern.split_once('/').map_or((pattern, None), |(first, rest)| (first, Some(rest)));
        let names = match first.contains('*') {
            true => self.tree.names(&folder).into_iter().filter(|name| matches(first, name)).collect(),
            false => vec![first.to_owned()],
        };
        for name in names {
            let path = folder.join(name);
            let link = fs::read_link(self.tree.path(&path)).ok();
            if let Some(target) = &link {
                self.add(&path, Content::Link(target.to_string_lossy().into_owned()));
            }
            match (rest, link) {
                (Some(rest), Some(_)) => {
                    if let Some(real) = self.tree.resolve(&path) {
                        self.step(real, rest);
                    }
                }
                (Some(rest), None) => self.step(path, rest),
                (None, Some(_)) => {}
                (None, None) => self.file(&path),
            }
        }
    }

    fn file(&mut self, path: &Path) {
        if !self.tree.path(path).is_file() {
            return;
        }
        let Some(mut bytes) = self.tree.bytes(path).filter(|bytes| !bytes.is_empty()) else { return };
        if path.ends_with("cmdline") {
            let line = String::from_utf8_lossy(&bytes);
            let words: Vec<&str> = line.split_whitespace().filter(|word| word.starts_with(KERNEL_LINE)).collect();
            bytes = format!("{}\n", words.join(" ")).into_bytes();
        }
        if path.ends_with(SMBIOS) {
            bytes = table::blanked(bytes, secrets::is_read);
        }
        self.add(path, Content::File(bytes));
    }

    fn add(&mut self, path: &Path, content: Content) {
        self.found.insert(Entry { path: path.to_string_lossy().into_owned(), content });
    }
}

/// Whether a name fits a pattern, in which `*` stands for any letters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(start) else { return false };
    (0..=name.len()).any(|at| name.is_char_boundary(at) && matches(rest, &name[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, want) in [
            ("cpu*", "cpu12", true),
            ("cpu*", "cp", false),
            ("temp*_input", "temp1_input", true),
            ("temp*_input", "temp1_label", false),
            ("*_*", "product_uuid", true),
            ("*_*", "power", false),
            ("driver", "driver", true),
            ("driver", "drivers", false),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn of_the_kernel_line_only_what_facts_need() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("proc")).unwrap();
        fs::write(dir.path().join("proc/cmdline"), "quiet razor.token=secret BOOTIF=01-3c-ec-ef-00-11-22\n").unwrap();
        let entry = Entry {
            path: "/proc/cmdline".to_owned(),
            content: Content::File(b"BOOTIF=01-3c-ec-ef-00-11-22\n".to_vec()),
        };
        assert_eq!(read(&Tree::at(dir.path())), [entry]);
    }
}
