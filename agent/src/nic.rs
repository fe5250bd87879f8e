//! Which network interfaces are ports of the machine, and what each is called in the inventory.
//!
//! Input is `/sys`; output a name of the kernel (which may differ at the next boot) and a key that stays as long as the
//! hardware does. A port is an Ethernet interface with a device behind it: no bridge, bond, VLAN, tunnel or wireless
//! card.

use std::path::{Component, Path};

use crate::tree::Tree;

/// Folder of all network interfaces.
pub(crate) const CLASS_NET: &str = "/sys/class/net";
/// `ARPHRD_ETHER` in the file `type`.
const ETHERNET: u64 = 1;

/// A port of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    /// Kernel name, such as `eth0`.
    pub(crate) name: String,
    /// PCI address, with `/N` where several ports share a function; USB port path; else the device's name on its bus.
    pub(crate) key: String,
}

/// All ports in order of key.
pub(crate) fn ports(tree: &Tree) -> Vec<Port> {
    let mut ports: Vec<Port> = tree
        .names(CLASS_NET)
        .into_iter()
        .filter(|name| is_ethernet(tree, name))
        .filter_map(|name| Some(Port { key: key(tree, &name)?, name }))
        .collect();
    ports.sort_by(|a, b| (&a.key, &a.name).cmp(&(&b.key, &b.name)));
    ports
}

fn is_ethernet(tree: &Tree, name: &str) -> bool {
    let dir = Path::new(CLASS_NET).join(name);
    let has = |file: &str| tree.path(dir.join(file)).exists();
    tree.number(dir.join("type")) == Some(ETHERNET) && !has("wireless") && !has("phy80211")
}

/// Key of the interface's device; `None` where there is no device.
fn key(tree: &Tree, name: &str) -> Option<String> {
    let dir = Path::new(CLASS_NET).join(name);
    let device = tree.resolve(dir.join("device"))?;
    let base = device_key(&device)?;
    let siblings = tree.names(dir.join("device/net")).iter().filter(|n| is_ethernet(tree, n)).count();
    if siblings < 2 {
        return Some(base);
    }
    // Old drivers number their ports in dev_id and leave dev_port at 0.
    let number = |file: &str| tree.text(dir.join(file)).and_then(|t| parse_number(&t)).filter(|n| *n > 0);
    let port = number("dev_port").or_else(|| number("dev_id")).unwrap_or(0);
    Some(format!("{base}/{port}"))
}

/// `dev_port` is decimal, `dev_id` hexadecimal with `0x`.
fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Key of a device from its place below `/sys/devices`.
fn device_key(device: &Path) -> Option<String> {
    let parts: Vec<&str> = device
        .components()
        .filter_map(|c| if let Component::Normal(name) = c { name.to_str() } else { None })
        .collect();
    // The last match counts: bridges and controllers stand before the device.
    let usb = parts.iter().rev().find_map(|p| usb_port_path(p));
    let pci = || parts.iter().rev().find(|p| is_pci_address(p)).map(|p| (*p).to_owned());
    usb.or_else(pci).or_else(|| parts.last().map(|p| (*p).to_owned()))
}

/// Whether this is a PCI address in full, such as `0000:00:1f.6`.
pub(crate) fn is_pci_address(text: &str) -> bool {
    let hex = |s: &str, len: std::ops::RangeInclusive<usize>| {
        len.contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let mut parts = text.split(':');
    let (Some(domain), Some(bus), Some(rest), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let Some((device, function)) = rest.split_once('.') else { return false };
    hex(domain, 4..=8) && hex(bus, 2..=2) && hex(device, 2..=2) && hex(function, 1..=1)
}

/// Port path of a USB interface or device, `1-2.3` of `1-2.3:1.0`.
fn usb_port_path(text: &str) -> Option<String> {
    let path = text.split_once(':').map_or(text, |(path, _)| path);
    let (bus, ports) = path.split_once('-')?;
    let number = |s: &str| !s.is_empty() && s.len() <= 3 && s.bytes().all(|b| b.is_ascii_digit());
    (number(bus) && ports.split('.').all(number)).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Adds an interface with a device at `place` below `/sys/devices`.
    fn add(root: &Path, name: &str, place: Option<&str>, files: &[(&str, &str)]) {
        let class = root.join("sys/class/net");
        fs::create_dir_all(&class).unwrap();
        let dir = match place {
            Some(place) => root.join("sys/devices").join(place).join("net").join(name),
            None => root.join("sys/devices/virtual/net").join(name),
        };
        fs::create_dir_all(&dir).unwrap();
        if place.is_some() {
            symlink("../..", dir.join("device")).unwrap();
        }
        for (file, text) in files {
            fs::write(dir.join(file), text).unwrap();
        }
        symlink(&dir, class.join(name)).unwrap();
    }

    #[test]
    fn keys_by_bus() {
        for (device, key) in [
            ("/sys/devices/pci0000:00/0000:00:03.0/virtio0", "0000:00:03.0"),
            ("/sys/devices/pci0000:00/0000:00:1c.4/0000:02:00.1", "0000:02:00.1"),
            ("/sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2.3/1-2.3:1.0", "1-2.3"),
            ("/sys/devices/pci0000:80/10000:e0:06.0/10000:e1:00.0", "10000:e1:00.0"),
            ("/sys/devices/platform/ff540000.ethernet", "ff540000.ethernet"),
        ] {
            assert_eq!(device_key(Path::new(device)).as_deref(), Some(key), "{device}");
        }
    }

    #[test]
    fn only_ports_of_the_machine_in_order_of_key() {
        let dir = tempfile::tempdir().unwrap();
        let ethernet = [("type", "1\n")];
        add(dir.path(), "eth0", Some("pci0000:00/0000:00:1f.6"), &ethernet);
        add(dir.path(), "eth1", Some("pci0000:00/0000:00:03.0/virtio0"), &ethernet);
        add(dir.path(), "usb0", Some("pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0"), &ethernet);
        add(dir.path(), "br0", None, &ethernet);
        add(dir.path(), "ib0", Some("pci0000:00/0000:00:04.0"), &[("type", "32\n")]);
        add(dir.path(), "wlan0", Some("pci0000:00/0000:00:05.0"), &[("type", "1\n"), ("phy80211", "")]);
        let found = ports(&Tree::at(dir.path()));
        let found: Vec<(&str, &str)> = found.iter().map(|p| (p.name.as_str(), p.key.as_str())).collect();
        assert_eq!(found, [("eth1", "0000:00:03.0"), ("eth0", "0000:00:1f.6"), ("usb0", "1-4")]);
    }

    #[test]
    fn ports_that_share_a_function_are_numbered() {
        let dir = tempfile::tempdir().unwrap();
        let place = Some("pci0000:00/0000:3b:00.0");
        add(dir.path(), "eth0", place, &[("type", "1"), ("dev_port", "1"), ("dev_id", "0x0")]);
        add(dir.path(), "eth1", place, &[("type", "1"), ("dev_port", "0"), ("dev_id", "0x0")]);
        add(dir.path(), "eth2", place, &[("type", "1"), ("dev_port", "0"), ("dev_id", "0xa")]);
        let found = ports(&Tree::at(dir.path()));
        let found: Vec<(&str, &str)> = found.iter().map(|p| (p.key.as_str(), p.name.as_str())).collect();
        assert_eq!(found, [("0000:3b:00.0/0", "eth1"), ("0000:3b:00.0/1", "eth0"), ("0000:3b:00.0/10", "eth2")]);
    }

    #[test]
    fn words_that_look_like_addresses_are_none() {
        for text in ["0000:00:1f", "00:1f.6", "0000:00:1f.6:1", "0000:00:1g.0", "0000:00:1f.", "pci0000:00"] {
            assert!(!is_pci_address(text), "{text}");
        }
        for text in ["usb1", "1-", "-1", "ata1-x", "1-2a"] {
            assert_eq!(usb_port_path(text), None, "{text}");
        }
    }
}
