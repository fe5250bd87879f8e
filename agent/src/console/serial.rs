//! What a serial console is told: one plain line per change, never a picture, since people read it in logs.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use nix::libc;

use super::snapshot::Snapshot;
use super::trouble::{node_name, troubles};
use crate::state::Port;
use crate::text::plain;

/// Names of the terminals to which the kernel sends its messages.
const CONSOLES: &str = "/sys/class/tty/console/active";

/// The serial consoles of this machine.
#[derive(Debug)]
pub(super) struct Serial {
    lines: Vec<File>,
}

impl Serial {
    /// Opens what the kernel uses as a serial console. In a debug image a shell has them.
    pub(super) fn open(variant: &str) -> Self {
        let active = if variant == "debug" { String::new() } else { fs::read_to_string(CONSOLES).unwrap_or_default() };
        let open = |name: &str| {
            // Never the machine's fate to wait for a cable: what the line does not take is lost.
            let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
            OpenOptions::new().write(true).custom_flags(flags).open(format!("/dev/{name}")).ok()
        };
        Self { lines: serial_names(&active).into_iter().filter_map(open).collect() }
    }

    /// Writes one line.
    pub(super) fn say(&mut self, text: &str) {
        let text = plain(text);
        for line in &mut self.lines {
            _ = line.write(format!("razor: {text}\r\n").as_bytes());
        }
    }
}

/// Of the kernel's consoles those that are no screen.
fn serial_names(active: &str) -> Vec<&str> {
    let screen = |name: &&str| name.strip_prefix("tty").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    active.split_ascii_whitespace().filter(|name| !screen(name)).collect()
}

/// What changed between two moments, one line each.
pub(super) fn changes(before: &Snapshot, now: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for port in &now.net.ports {
        let same = |p: &&Port| p.name == port.name;
        let old = before.net.ports.iter().find(same);
        if old.is_none_or(|old| (old.up, &old.addresses) != (port.up, &port.addresses)) {
            lines.push(port_line(port));
        }
        let place = port.plugged_into();
        if let Some(place) = place.as_ref().filter(|_| old.and_then(Port::plugged_into) != place) {
            lines.push(format!("{} is at {place}", port.name));
        }
    }
    if now.checkin.stage != before.checkin.stage {
        lines.push(now.checkin.stage.clone());
    }
    let node = |s: &Snapshot| (node_name(s), s.checkin.state);
    if let (Some(name), state) = node(now)
        && node(before) != node(now)
    {
        let state = state.map(|s| format!(", {s:?}").to_lowercase()).unwrap_or_default();
        let server = now.checkin.server.as_deref().map(|url| format!(" on {url}")).unwrap_or_default();
        let key = now.checkin.key.as_ref().map(|key| format!(", key {key}")).unwrap_or_default();
        lines.push(format!("this machine is {name}{state}{server}{key}"));
    }
    let old = troubles(before);
    let new = troubles(now).into_iter().filter(|t| !old.contains(t));
    lines.extend(new.map(|t| format!("problem: {} Next step: {}", sentence(&t.cause), t.remedy)));
    lines.retain(|line| !line.is_empty());
    lines
}

fn port_line(port: &Port) -> String {
    let link = if port.up { "link up" } else { "no link" };
    let address = match port.addresses.as_slice() {
        [] => String::new(),
        some => format!(", {} ({})", some.join(" "), port.source),
    };
    format!("{} {} {link}{address}", port.name, port.mac)
}

fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{cabled, checked_in, held, no_address, starting};
    use super::*;

    #[test]
    fn each_change_is_one_line() {
        let lines = changes(&starting(), &checked_in());
        let expected = [
            "eth0 b8:ca:3a:6d:1f:00 link up, 10.20.30.41/24 fe80::baca:3aff:fe6d:1f00/64 (dhcp from 10.20.0.2)",
            "eth1 b8:ca:3a:6d:1f:01 no link",
            "checked in",
            "this machine is node17, normal on http://10.20.0.2:8150, key 0f1e-2d3c-4b5a-6978",
        ];
        assert_eq!(lines, expected);
        assert_eq!(changes(&checked_in(), &checked_in()), Vec::<String>::new());
        let mut later = checked_in();
        later.uptime += 60;
        later.checkin.last_contact_s = Some(4569.0);
        assert_eq!(changes(&checked_in(), &later), Vec::<String>::new(), "a further check-in is no news");
        assert_eq!(changes(&checked_in(), &cabled()), ["eth0 is at Ethernet1/7 on leaf-12a.dc1.example, VLAN 12"]);
        assert_eq!(changes(&cabled(), &checked_in()), Vec::<String>::new(), "that it fell silent is no news");
    }

    #[test]
    fn problems_come_with_the_next_step_and_once() {
        let lines = changes(&checked_in(), &held());
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("problem: MAC b8:") && lines[1].contains("Next step: Compare"), "{lines:?}");
        assert_eq!(changes(&held(), &held()), Vec::<String>::new());
        assert!(changes(&starting(), &no_address()).iter().any(|l| l.contains("bnx2-mips")));
    }

    #[test]
    fn screens_are_no_serial_consoles() {
        assert_eq!(serial_names("tty0 ttyS0 hvc0 tty1\n"), ["ttyS0", "hvc0"]);
    }
}
