//! What the units say of themselves, as text for people at a terminal. Pure, but for reading the state files.

use std::fmt::Write as _;

use anyhow::Context as _;
use wire::checkin::{NodeState, Unit};
use wire::error::Problem;

use crate::init::client::{self, Reply, Request};
use crate::settings::Settings;
use crate::state::{Checkin, Devices, Extensions, Net, Port, Published as _, Units, uptime};
use crate::text::plain;

/// Lines of a failed unit that are shown with it.
const LAST_LINES: usize = 3;

/// All that is shown.
#[derive(Default)]
pub(super) struct Snapshot {
    settings: Settings,
    uptime_s: f64,
    units: Units,
    net: Net,
    checkin: Checkin,
    devices: Devices,
    extensions: Extensions,
    /// Last lines of units that failed, by unit.
    last_lines: Vec<(String, Vec<String>)>,
}

impl Snapshot {
    /// What the units have published so far.
    ///
    /// # Errors
    /// No supervisor runs.
    pub(super) fn read() -> anyhow::Result<Self> {
        let units = Units::read().context(
            "no supervisor has published its units: mk-agent runs neither as init nor as a daemon (`mk-agent daemon`)",
        )?;
        let failed = units.units.iter().filter(|u| is_bad(u)).map(|u| u.name.clone());
        Ok(Self {
            settings: Settings::load(),
            uptime_s: uptime(),
            net: Net::read().unwrap_or_default(),
            checkin: Checkin::read().unwrap_or_default(),
            devices: Devices::read().unwrap_or_default(),
            extensions: Extensions::read().unwrap_or_default(),
            last_lines: failed.map(|name| (name.clone(), last_lines(name))).collect(),
            units,
        })
    }

    /// Nothing that an operator should look at.
    pub(super) fn is_well(&self) -> bool {
        let known = self.checkin.node_id.is_some() && self.checkin.state.is_none_or(|s| s == NodeState::Normal);
        known && self.checkin.error.is_none() && self.problems().is_empty()
    }

    /// The node's state, one fact a line.
    pub(super) fn status(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, text: String| {
            let _: Result<(), _> = writeln!(out, "{:<11} {}", format!("{name}:"), plain(&text));
        };
        let image = &self.settings.image;
        line("image", or_dash([&image.version, &image.variant, &image.base].map(String::as_str).join(" ").trim()));
        line("node", self.node());
        line("key", or_dash(self.checkin.key.as_deref().unwrap_or_default()));
        line("server", self.server());
        line("stage", or_dash(&self.checkin.stage));
        line("contact", self.contact());
        line("boot", or_dash(&self.checkin.card.summary().unwrap_or_default()));
        for port in &self.net.ports {
            line("port", describe_port(port));
        }
        line("names by", or_dash(&self.net.dns.join(" ")));
        let loaded = self.extensions.extensions.iter().filter(|e| e.error.is_none()).count();
        let (found, modules) = (self.extensions.extensions.len(), self.devices.loaded.len());
        line("drivers", format!("{modules} modules loaded, {} failed", self.devices.failed.len()));
        line("extensions", format!("{loaded} of {found} loaded"));
        out.push('\n');
        out.push_str(&self.units());
        for problem in self.problems() {
            let _: Result<(), _> = write!(out, "\nproblem:    {problem}\n");
        }
        out
    }

    /// The supervised units as a table.
    pub(super) fn units(&self) -> String {
        let mut out = format!("{:<12} {:<9} {:>8} {:>8}  {}\n", "UNIT", "STATE", "PID", "RESTARTS", "LAST END");
        for Unit { name, state, restarts, last_exit } in &self.units.units {
            let pid = self.units.pids.get(name).map_or("-".to_owned(), ToString::to_string);
            let last = plain(last_exit.as_deref().unwrap_or("-"));
            let _: Result<(), _> = writeln!(out, "{name:<12} {state:<9} {pid:>8} {restarts:>8}  {last}");
        }
        out
    }

    fn node(&self) -> String {
        let Checkin { node_id, node_name, state, reason, .. } = &self.checkin;
        let name = match (node_name, node_id) {
            (Some(name), _) => name.clone(),
            (None, Some(id)) => format!("node{id}"),
            (None, None) => return "not known to a server yet".to_owned(),
        };
        let state = match state {
            None | Some(NodeState::Normal) => "",
            Some(NodeState::Held) => ", held",
            Some(NodeState::Pending) => ", waits for approval",
        };
        let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{name}{state}{reason}")
    }

    fn server(&self) -> String {
        let Some(url) = &self.checkin.server else { return "none found yet".to_owned() };
        let source = self.net.servers.iter().find(|s| s.url == *url).map(|s| format!(" ({})", s.source));
        url.clone() + &source.unwrap_or_default()
    }

    fn contact(&self) -> String {
        let ago = |at: f64| format!("{:.0} s ago", (self.uptime_s - at).max(0.0));
        let last = self.checkin.last_contact_s.map_or("none yet".to_owned(), ago);
        let next = self.checkin.next_attempt_s.map(|at| format!(", next in {:.0} s", (at - self.uptime_s).max(0.0)));
        let failures = match self.checkin.failures {
            0 => String::new(),
            n => format!(", {n} failed attempts since"),
        };
        last + &failures + &next.unwrap_or_default()
    }

    fn problems(&self) -> Vec<String> {
        let settings = self.units.problems.iter().map(ToString::to_string);
        let checkin = self.checkin.error.iter().chain(&self.checkin.warning).map(Problem::to_string);
        let net = self.net.problems.iter().map(Problem::to_string);
        let ports = self.net.ports.iter().filter_map(|p| Some(format!("{}: {}", p.name, p.error.as_ref()?)));
        let modules = self.devices.failed.iter().map(|(name, why)| format!("module {name} did not load: {why}"));
        let findings = self.devices.findings.iter().map(|f| format!("{}: {}", f.component, f.text));
        let extensions = self.extensions.extensions.iter();
        let extensions = extensions.filter_map(|e| Some(format!("{} is not loaded: {}", e.name, e.error.as_ref()?)));
        let units = self.units.units.iter().filter(|u| is_bad(u)).map(|u| self.bad_unit(u));
        let all = settings.chain(checkin).chain(net).chain(ports).chain(modules).chain(findings).chain(extensions);
        all.map(|text| plain(&text)).chain(units).collect()
    }

    fn bad_unit(&self, unit: &Unit) -> String {
        let lines = self.last_lines.iter().find(|(name, _)| *name == unit.name).map(|(_, lines)| lines.as_slice());
        let lines: String = lines.unwrap_or_default().iter().map(|l| format!("\n            | {}", plain(l))).collect();
        let last = plain(unit.last_exit.as_deref().unwrap_or("no reason is known"));
        format!("unit {} keeps ending ({last}): `mk-agent logs {}`{lines}", unit.name, unit.name)
    }
}

fn is_bad(unit: &Unit) -> bool {
    unit.state == "failed"
}

fn last_lines(unit: String) -> Vec<String> {
    let Ok(Reply::Lines(mut lines)) = client::request(&Request::Logs(unit)) else { return Vec::new() };
    lines.split_off(lines.len().saturating_sub(LAST_LINES))
}

fn describe_port(port: &Port) -> String {
    let link = if port.up { "link up" } else { "no link" };
    let addresses = if port.addresses.is_empty() { "no address".to_owned() } else { port.addresses.join(" ") };
    let place = match (port.plugged_into(), port.lldp.as_ref().and_then(|lldp| lldp.silent_s)) {
        (Some(place), _) => format!(", at {place}"),
        (None, Some(seconds)) => format!(", no LLDP heard in {seconds} s"),
        (None, None) => String::new(),
    };
    format!("{} {} {link}, {addresses} ({}){place}", port.name, port.mac, or_dash(&port.source))
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wire::inventory::{Lldp, Neighbour};

    use crate::state::ServerHint;

    use super::*;

    fn well() -> Snapshot {
        let url = "http://10.0.2.2:8150";
        Snapshot {
            uptime_s: 100.0,
            units: Units {
                units: vec![Unit { name: "net".to_owned(), state: "running".to_owned(), restarts: 0, last_exit: None }],
                pids: BTreeMap::from([("net".to_owned(), 42)]),
                ..Units::default()
            },
            net: Net {
                ports: vec![Port {
                    name: "eth0".to_owned(),
                    mac: "52:54:00:00:00:01".to_owned(),
                    up: true,
                    addresses: vec!["10.0.2.15/24".to_owned()],
                    source: "dhcp from 10.0.2.2".to_owned(),
                    ..Port::default()
                }],
                servers: vec![ServerHint {
                    url: url.to_owned(),
                    checkin: None,
                    source: "kernel line".to_owned(),
                    guessed: false,
                }],
                dns: vec!["10.0.2.3".to_owned()],
                ..Net::default()
            },
            checkin: Checkin {
                node_id: Some(7),
                node_name: Some("node7".to_owned()),
                state: Some(NodeState::Normal),
                key: Some("0f1e-2d3c-4b5a-6978".to_owned()),
                server: Some(url.to_owned()),
                stage: "checked in".to_owned(),
                last_contact_s: Some(90.0),
                next_attempt_s: Some(130.0),
                ..Checkin::default()
            },
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_node_that_is_well() {
        let node = well();
        let status = node.status();
        for text in [
            "node:       node7\n",
            "key:        0f1e-2d3c-4b5a-6978\n",
            "server:     http://10.0.2.2:8150 (kernel line)\n",
            "contact:    10 s ago, next in 30 s\n",
            "port:       eth0 52:54:00:00:00:01 link up, 10.0.2.15/24 (dhcp from 10.0.2.2)\n",
            "names by:   10.0.2.3\n",
            "net          running         42        0  -\n",
        ] {
            assert!(status.contains(text), "no {text:?} in\n{status}");
        }
        assert!(node.is_well() && !status.contains("problem"));
    }

    #[test]
    fn a_port_is_shown_with_its_switch_or_with_its_silence() {
        let mut node = well();
        let neighbour =
            Neighbour { chassis: "s".into(), port: "ge-0/0/7".into(), vlan: Some(12), ..Neighbour::default() };
        for (lldp, text) in [
            (Lldp { silent_s: None, neighbours: vec![neighbour] }, "(dhcp from 10.0.2.2), at ge-0/0/7 on s, VLAN 12\n"),
            (Lldp { silent_s: Some(65), neighbours: Vec::new() }, "(dhcp from 10.0.2.2), no LLDP heard in 65 s\n"),
        ] {
            node.net.ports[0].lldp = Some(lldp);
            assert!(node.status().contains(text), "{}", node.status());
            assert!(node.is_well(), "that nobody speaks LLDP is no trouble");
        }
    }

    #[test]
    fn each_trouble_is_named_and_makes_the_node_unwell() {
        let problem = || Problem::new("x", "it is broken", "Mend it.");
        type Harm = fn(&mut Snapshot, Problem);
        let cases: [(&str, Harm); 8] = [
            ("it is broken (x). Mend it.", |s, p| s.checkin.warning = Some(p)),
            ("it is broken (x). Mend it.", |s, p| s.checkin.error = Some(p)),
            ("it is broken (x). Mend it.", |s, p| s.units.problems.push(p)),
            ("eth0: no answer", |s, _| s.net.ports[0].error = Some("no answer".to_owned())),
            ("module bnx2 did not load: bad", |s, _| drop(s.devices.failed.insert("bnx2".into(), "bad".into()))),
            ("unit net keeps ending", |s, _| s.units.units[0].state = "failed".to_owned()),
            ("node7, held: it is broken", |s, p| {
                (s.checkin.state, s.checkin.reason) = (Some(NodeState::Held), Some(p));
            }),
            ("node7, waits for approval: it is broken", |s, p| {
                (s.checkin.state, s.checkin.reason) = (Some(NodeState::Pending), Some(p));
            }),
        ];
        for (text, harm) in cases {
            let mut node = well();
            harm(&mut node, problem());
            let status = node.status();
            assert!(status.contains(text), "no {text:?} in\n{status}");
            assert!(!node.is_well(), "{text}");
        }
    }

    #[test]
    fn what_others_say_steers_no_terminal_and_begins_no_line() {
        let evil = "\u{1b}[2J\u{9b}2J\u{202e}\nnode:       node1";
        let mut node = well();
        node.checkin.node_name = Some(evil.to_owned());
        node.checkin.reason = Some(Problem::new(evil, evil, evil));
        node.checkin.error = node.checkin.reason.clone();
        node.net.search = vec![evil.to_owned()];
        node.net.ports[0].error = Some(evil.to_owned());
        let neighbour = Neighbour { chassis: evil.to_owned(), port: evil.to_owned(), ..Neighbour::default() };
        node.net.ports[0].lldp = Some(Lldp { silent_s: None, neighbours: vec![neighbour] });
        node.net.servers[0].source = evil.to_owned();
        node.devices.failed.insert(evil.to_owned(), evil.to_owned());
        node.units.units[0].state = "failed".to_owned();
        node.units.units[0].last_exit = Some(evil.to_owned());
        node.last_lines = vec![("net".to_owned(), vec![evil.to_owned()])];
        let status = node.status();
        assert!(!status.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{status:?}");
        assert_eq!(status.lines().filter(|l| l.starts_with("node:")).count(), 1, "{status}");
    }

    #[test]
    fn nothing_known_yet() {
        let node = Snapshot::default();
        assert!(!node.is_well());
        assert!(
            node.status()
                .contains("node:       not known to a server yet\nkey:        -\nserver:     none found yet\n")
        );
    }
}
