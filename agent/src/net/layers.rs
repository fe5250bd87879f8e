//! What the kernel line wants made of the machine's ports: which of them become parts of a bond, on which a VLAN is
//! made, which one has the static address; and what is wrong with that. Pure.
//!
//! A VLAN without a port's name is made on the bond, or else on every port: of several, only the switch knows which
//! carries it. A port that the kernel line does not name is used as ever.

use std::net::IpAddr;

use wire::error::Problem;

use super::address::Static;
use super::dhcp::Mac;
use super::port::mac_text;
use crate::cmdline::{KernelLine, PortName, Vlan};

/// Name of the bond.
pub(super) const BOND: &str = "bond0";

/// What a port is to become, besides being up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Role {
    /// Part of the bond.
    pub(super) bond: Option<Bond>,
    /// What the VLAN with this id is on, where it is no part of a bond.
    pub(super) vlan: Option<u16>,
}

/// The bond that a port becomes part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bond {
    /// Mode by the kernel's name.
    pub(super) mode: &'static str,
    /// The bond's own address: that of the first of its ports in the operator's order, at each boot the same one.
    pub(super) mac: Mac,
}

/// A port by what it can be named by.
pub(super) type Named<'a> = (&'a str, Mac);

/// Whether the operator means this one.
pub(super) fn is_meant((name, mac): Named<'_>, wanted: &PortName) -> bool {
    match wanted {
        PortName::Name(wanted) => name == wanted,
        PortName::Mac(wanted) => mac_text(mac) == *wanted,
    }
}

/// The role of one of the machine's ports, `all` of which are these.
pub(super) fn role_of_port(line: &KernelLine, port: Named<'_>, all: &[Named<'_>]) -> Role {
    let bond = line.bond.as_ref().filter(|bond| bond.ports.iter().any(|wanted| is_meant(port, wanted)));
    let first = |bond: &crate::cmdline::Bond| bond.ports.iter().find_map(|w| all.iter().find(|p| is_meant(**p, w)));
    let vlan = line.vlan.as_ref().filter(|vlan| match &vlan.port {
        Some(wanted) => is_meant(port, wanted),
        // A port that cannot become part of the bond has it by itself.
        None => line.bond.is_none() || bond.is_some(),
    });
    Role {
        bond: bond.map(|bond| Bond { mode: bond.mode, mac: first(bond).map_or(port.1, |(_, mac)| *mac) }),
        vlan: vlan.map(|vlan| vlan.id),
    }
}

/// The role of what is made on top of ports, `all` of which are these.
pub(super) fn role_of_top(line: &KernelLine, name: &str, all: &[Named<'_>]) -> Role {
    let is_bond = |wanted: &PortName| *wanted == PortName::Name(BOND.to_owned()) || is_bonded(line, wanted, all);
    let vlan = line.vlan.as_ref().filter(|vlan| name == BOND && vlan.port.as_ref().is_none_or(is_bond));
    Role { bond: None, vlan: vlan.map(|vlan| vlan.id) }
}

/// Whether the operator means a part of the bond, by the same name or by another one.
fn is_bonded(line: &KernelLine, wanted: &PortName, all: &[Named<'_>]) -> bool {
    let bonded = |port: Named<'_>| line.bond.iter().flat_map(|b| &b.ports).any(|w| is_meant(port, w));
    all.iter().any(|port| is_meant(*port, wanted) && bonded(*port))
}

/// The static address of the kernel line; IPv6 is reported by [`problems`].
pub(super) fn static_address(line: &KernelLine) -> Option<Static> {
    let v4 = |address| if let IpAddr::V4(address) = address { Some(address) } else { None };
    let ip = line.ip.as_ref()?;
    Some(Static { address: v4(ip.address)?, prefix: ip.prefix, gateway: line.gw.and_then(v4) })
}

/// What the kernel line asks for and cannot be had: what is not supported, and, once all devices were looked at, ports
/// that are not there. These are waited for.
pub(super) fn problems(line: &KernelLine, ports: &[Named<'_>], settled: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut ignored = |what: &str, instead: &str| {
        let remedy = format!("Take it off the kernel line; {instead}");
        problems.push(Problem::new("not_supported", format!("{what} is not supported yet and is ignored"), remedy));
    };
    if line.ip.as_ref().is_some_and(|ip| ip.address.is_ipv6()) {
        ignored("an IPv6 address in razor.ip", "router advertisements give one.");
    }
    if line.gw.is_some_and(|gw| gw.is_ipv6()) {
        ignored("an IPv6 address in razor.gw", "router advertisements give one.");
    }
    let bonded = line.bond.iter().flat_map(|bond| &bond.ports);
    if let Some(Vlan { port: Some(wanted), id }) = line.vlan.as_ref()
        && is_bonded(line, wanted, ports)
    {
        let (PortName::Name(name) | PortName::Mac(name)) = wanted;
        let text = format!("razor.vlan names {name}, which razor.bond makes part of {BOND}: the VLAN is on {BOND}");
        problems.push(Problem::new("vlan_on_bond", text, format!("Write razor.vlan={id}, or {BOND} for the port.")));
    }
    let missing = |wanted: &&PortName| settled && !ports.iter().any(|port| is_meant(*port, wanted));
    let ip = line.ip.iter().filter_map(|ip| ip.port.as_ref()).map(|port| ("razor.ip", port, "no address is given"));
    let vlan = line.vlan.iter().filter_map(|vlan| vlan.port.as_ref());
    let vlan = vlan.map(|port| ("razor.vlan", port, "all ports are used untagged"));
    let bond = bonded.map(|port| ("razor.bond", port, "the others are used"));
    for (key, wanted, meanwhile) in ip.chain(vlan).chain(bond).filter(|(_, wanted, _)| missing(wanted)) {
        let (PortName::Name(name) | PortName::Mac(name)) = wanted;
        let text = format!("{key} names {name}, and this machine has no such port; it is waited for, and {meanwhile}");
        let remedy = "Name a port that `mk-agent status` shows, by its MAC at best.";
        problems.push(Problem::new("no_such_port", text, remedy));
    }
    problems
}

/// A bond that has no link although these ports of it have one.
pub(super) fn idle_bond(mode: &str, ports: &[&str]) -> Problem {
    let ports = ports.join(" and ");
    Problem::new(
        "bond_idle",
        format!("{BOND} has no link although {ports} has one: the kernel uses no port of it in mode {mode}"),
        "Take active-backup where ports tell no speed, as those of many virtual machines; see the kernel's log.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmdline::{Source, arguments, interpret};

    const ETH0: Named<'static> = ("eth0", [2, 0, 0, 0, 0, 0]);
    const ETH1: Named<'static> = ("eth1", [2, 0, 0, 0, 0, 1]);
    const ETH2: Named<'static> = ("eth2", [2, 0, 0, 0, 0, 2]);

    fn line(text: &str) -> KernelLine {
        let (line, problems) = interpret(&arguments(text, Source::KernelLine));
        assert_eq!(problems, [], "{text}");
        line
    }

    /// Roles of `eth0`, `eth1`, `eth2` and the bond, in short.
    fn roles(text: &str) -> String {
        let (line, all) = (line(text), [ETH0, ETH1, ETH2]);
        let short = |Role { bond, vlan }: Role| {
            let bond = bond.map(|b| format!("{}@{:x}", b.mode, b.mac[5])).unwrap_or_default();
            format!("{bond}/{}", vlan.map(|id| id.to_string()).unwrap_or_default())
        };
        let ports = all.iter().map(|port| short(role_of_port(&line, *port, &all)));
        ports.chain([short(role_of_top(&line, BOND, &all))]).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_port_has_its_role() {
        for (text, expected) in [
            ("", "/ / / /"),
            ("razor.vlan=5", "/5 /5 /5 /5"),
            ("razor.vlan=eth1,5", "/ /5 / /"),
            ("razor.vlan=02:00:00:00:00:02,5", "/ / /5 /"),
            ("razor.vlan=eth9,5", "/ / / /"),
            ("razor.bond=802.3ad,eth1,eth0", "802.3ad@1/ 802.3ad@1/ / /"),
            ("razor.bond=802.3ad,eth9,02-00-00-00-00-00", "802.3ad@0/ / / /"),
            ("razor.bond=balance-rr,eth0,eth1 razor.vlan=5", "balance-rr@0/5 balance-rr@0/5 / /5"),
            ("razor.bond=balance-rr,eth0,eth1 razor.vlan=bond0,5", "balance-rr@0/ balance-rr@0/ / /5"),
            ("razor.bond=balance-rr,eth0,eth1 razor.vlan=eth0,5", "balance-rr@0/5 balance-rr@0/ / /5"),
            ("razor.bond=balance-rr,eth0,eth1 razor.vlan=02:00:00:00:00:01,5", "balance-rr@0/ balance-rr@0/5 / /5"),
            ("razor.bond=balance-rr,eth0,eth1 razor.vlan=eth2,5", "balance-rr@0/ balance-rr@0/ /5 /"),
        ] {
            assert_eq!(roles(text), expected, "{text}");
        }
        assert_eq!(role_of_top(&line("razor.vlan=5"), "eth0.5", &[ETH0]), Role::default(), "no VLAN on a VLAN");
    }

    #[test]
    fn ports_that_are_not_there_are_named_once_all_devices_were_looked_at() {
        let text = "razor.bond=802.3ad,eth0,eth8 razor.vlan=eth9,5 razor.ip=02:00:00:00:00:09,10.0.0.5/24";
        let line = line(text);
        assert_eq!(problems(&line, &[ETH0], false), []);
        let problems = problems(&line, &[ETH0], true);
        let named: Vec<&str> = problems.iter().map(|p| p.error.split(',').next().unwrap()).collect();
        let expected = ["razor.ip names 02:00:00:00:00:09", "razor.vlan names eth9", "razor.bond names eth8"];
        assert_eq!(named, expected);
        assert!(problems.iter().all(|p| p.code == "no_such_port" && p.remedy.contains("mk-agent status")));
    }

    #[test]
    fn a_vlan_on_a_part_of_a_bond_is_named() {
        let problems = problems(&line("razor.bond=802.3ad,eth0,eth1 razor.vlan=eth0,5"), &[ETH0, ETH1], true);
        assert_eq!(problems.iter().map(|p| p.code.as_str()).collect::<Vec<_>>(), ["vlan_on_bond"]);
        assert_eq!(problems[0].remedy, "Write razor.vlan=5, or bond0 for the port.");
    }
}
