//! Network ports: `/sys/class/net`, ethtool for what only the driver knows, the kernel's list of addresses. Which
//! interfaces are ports, and their keys, is decided in [`crate::nic`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use wire::inventory::{Finding, Link, Lldp, Nic};

use super::collector::Found;
use super::ethtool::{Ethtool, FirmwareLldp};
use super::pci;
use crate::nic::{Port, is_pci_address, ports};
use crate::state::{self, Net, Published as _};
use crate::tree::Tree;

const NET: &str = "/sys/class/net";

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let ports = ports(tree);
    let ethtool = if tree.is_live() { Ethtool::open().ok() } else { None };
    let mut nics: Vec<Nic> = ports.iter().map(|port| read(tree, port, ethtool.as_ref())).collect();
    let (mut deaf, mut addresses) = (Vec::new(), BTreeMap::new());
    if tree.is_live() {
        let net = Net::read().unwrap_or_default();
        for (nic, port) in nics.iter_mut().zip(&ports) {
            nic.lldp = net.ports.iter().find(|p| p.key == port.key).and_then(|p| p.lldp.clone());
            deaf.extend(deafness(nic, || ethtool.as_ref()?.lldp_agent(&port.name)));
        }
        addresses = addresses_of(&ports, &net);
    }
    let names: BTreeMap<String, String> = ports.iter().map(|p| (p.key.clone(), p.name.clone())).collect();
    let links: BTreeMap<String, Link> = ports.iter().map(|p| (p.key.clone(), link(tree, &p.name))).collect();
    Ok(Found::new(|stable, volatile| {
        stable.nics = nics;
        stable.findings.extend(deaf);
        volatile.names.extend(names);
        volatile.links = links;
        volatile.addresses = addresses;
    }))
}

fn read(tree: &Tree, port: &Port, ethtool: Option<&Ethtool>) -> Nic {
    let dir = format!("{NET}/{}", port.name);
    let text = |file: &str| tree.text(format!("{dir}/{file}"));
    let current = text("address").filter(|mac| is_mac(mac)).map(|mac| mac.to_ascii_lowercase());
    let permanent = ethtool.and_then(|e| e.permanent_mac(&port.name));
    let mac = permanent.or_else(|| current.clone());
    let index = text("device/acpi_index").or_else(|| text("device/index")).filter(|n| n.parse::<u32>().is_ok());
    let bus = tree.link_name(format!("{dir}/device/subsystem"));
    Nic {
        key: port.key.clone(),
        current_mac: current.filter(|current| mac.as_ref() != Some(current)),
        mac,
        pci_id: if bus.as_deref() == Some("usb") { None } else { pci_id(tree, &dir) },
        bus,
        driver: tree.link_name(format!("{dir}/device/driver")),
        firmware: ethtool.and_then(|e| e.firmware(&port.name)),
        label: index.map(|n| format!("eno{n}")),
        max_mbps: ethtool.and_then(|e| e.max_mbps(&port.name)),
        ..Nic::default()
    }
}

/// Why a port that heard nobody cannot hear anybody, if its driver says so.
fn deafness(nic: &Nic, agent: impl FnOnce() -> Option<FirmwareLldp>) -> Option<Finding> {
    let Some(Lldp { silent_s: Some(_), .. }) = nic.lldp else { return None };
    let FirmwareLldp { flag, off, .. } = agent().filter(|agent| agent.on)?;
    Some(Finding {
        code: "lldp_in_firmware".to_owned(),
        component: nic.key.clone(),
        text: format!(
            "{}: an LLDP agent in this port's firmware keeps the switch's frames to itself, so that the switch is not \
             known. Switch it off in the firmware setup, or with `ethtool --set-priv-flags PORT {flag} {off}`",
            nic.key
        ),
        ..Finding::default()
    })
}

/// Vendor and device id of the PCI function that the port is on, directly or below it.
fn pci_id(tree: &Tree, dir: &str) -> Option<String> {
    let device = tree.resolve(format!("{dir}/device"))?;
    let names = device.ancestors().filter_map(|a| a.file_name()?.to_str());
    let address = names.into_iter().find(|name| is_pci_address(name))?;
    let id = |file: &str| {
        let text = tree.text(format!("{}/{address}/{file}", pci::DEVICES))?;
        Some(text.trim_start_matches("0x").to_owned())
    };
    Some(format!("{}:{}", id("vendor")?, id("device")?))
}

/// Six octets with colons, not all zeros.
fn is_mac(text: &str) -> bool {
    let octets: Vec<&str> = text.split(':').collect();
    octets.len() == 6
        && octets.iter().all(|o| o.len() == 2 && o.bytes().all(|b| b.is_ascii_hexdigit()))
        && octets.iter().any(|o| *o != "00")
}

/// Whether an interface has a link. The kernel refuses to tell while the interface is down.
pub(super) fn is_up(tree: &Tree, name: &str) -> bool {
    tree.number(format!("{NET}/{name}/carrier")) == Some(1)
}

fn link(tree: &Tree, name: &str) -> Link {
    let up = is_up(tree, name);
    Link {
        up,
        mbps: tree.number(format!("{NET}/{name}/speed")).and_then(|n| u32::try_from(n).ok()).filter(|n| up && *n > 0),
        full_duplex: match tree.text(format!("{NET}/{name}/duplex")).as_deref() {
            Some("full") if up => Some(true),
            Some("half") if up => Some(false),
            _ => None,
        },
    }
}

/// Addresses with prefix length by key of the port, IPv4 first, then IPv6 with link-local ones last. Those of a bond or a
/// VLAN are those of the ports that it is made on top of.
fn addresses_of(ports: &[Port], net: &Net) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<(u8, String)>> = BTreeMap::new();
    for entry in getifaddrs().into_iter().flatten() {
        let (Some(address), Some(mask)) = (entry.address.and_then(ip), entry.netmask.and_then(ip)) else { continue };
        let order = match address {
            IpAddr::V4(_) => 0,
            IpAddr::V6(v6) if v6.is_unicast_link_local() => 2,
            IpAddr::V6(_) => 1,
        };
        let carriers = carriers(&net.ports, &entry.interface_name);
        for port in ports.iter().filter(|port| carriers.contains(&port.name)) {
            found.entry(port.key.clone()).or_default().push((order, format!("{address}/{}", prefix(mask))));
        }
    }
    let in_order = |mut list: Vec<(u8, String)>| {
        list.sort();
        list.into_iter().map(|(_, address)| address).collect()
    };
    found.into_iter().map(|(key, list)| (key, in_order(list))).collect()
}

/// The interface of this name, and all that it is made on top of.
fn carriers(all: &[state::Port], name: &str) -> Vec<String> {
    let mut carriers = vec![name.to_owned()];
    let mut looked_at = 0;
    while let Some(name) = carriers.get(looked_at) {
        let below = all.iter().find(|port| port.name == *name).map_or(&[][..], |port| &port.over);
        // Whatever the state's file says, it ends.
        let new: Vec<String> = below.iter().filter(|port| !carriers.contains(port)).cloned().collect();
        carriers.extend(new);
        looked_at += 1;
    }
    carriers
}

fn ip(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
}

/// Prefix length of a mask.
fn prefix(mask: IpAddr) -> u32 {
    match mask {
        IpAddr::V4(mask) => mask.to_bits().count_ones(),
        IpAddr::V6(mask) => mask.to_bits().count_ones(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs() {
        assert!(is_mac("52:54:00:12:34:56"));
        for text in ["", "00:00:00:00:00:00", "52:54:00:12:34", "52:54:00:12:34:5g", "525400123456", "5:4:0:2:3:6"] {
            assert!(!is_mac(text), "{text}");
        }
    }

    #[test]
    fn a_port_is_deaf_where_it_heard_nobody_and_its_firmware_listens() {
        let nic =
            |silent_s| Nic { key: "k".into(), lldp: Some(Lldp { silent_s, neighbours: vec![] }), ..Nic::default() };
        let agent = |on| Some(FirmwareLldp { flag: "fw-lldp-agent", off: "off", on });
        let finding = deafness(&nic(Some(65)), || agent(true)).unwrap();
        assert_eq!((finding.code.as_str(), finding.component.as_str()), ("lldp_in_firmware", "k"));
        assert!(finding.text.ends_with("`ethtool --set-priv-flags PORT fw-lldp-agent off`"), "{}", finding.text);
        assert_eq!(deafness(&nic(Some(65)), || agent(false)), None);
        assert_eq!(deafness(&nic(Some(65)), || None), None);
        assert_eq!(deafness(&nic(None), || agent(true)), None);
        assert_eq!(deafness(&Nic::default(), || agent(true)), None);
    }

    #[test]
    fn an_address_on_top_is_that_of_the_ports_below() {
        let port = |name: &str, over: &[&str]| state::Port {
            name: name.to_owned(),
            over: over.iter().map(|&p| p.to_owned()).collect(),
            ..state::Port::default()
        };
        let all = [port("eth0", &[]), port("eth1", &[]), port("bond0", &["eth0", "eth1"]), port("bond0.5", &["bond0"])];
        assert_eq!(carriers(&all, "bond0.5"), ["bond0.5", "bond0", "eth0", "eth1"]);
        assert_eq!(carriers(&all, "eth1"), ["eth1"]);
        assert_eq!(carriers(&[port("a", &["b"]), port("b", &["a"])], "a"), ["a", "b"]);
    }

    #[test]
    fn prefixes() {
        assert_eq!(prefix("255.255.252.0".parse().unwrap()), 22);
        assert_eq!(prefix("ffff:ffff:ffff:ffff::".parse().unwrap()), 64);
    }
}
