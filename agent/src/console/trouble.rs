//! What is wrong with this machine and what to do about it, in words; and the one or two words that tell it from across
//! the room. Pure.

use wire::checkin::NodeState;
use wire::error::Problem;

use super::snapshot::Snapshot;

/// How good or bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Busy,
    Bad,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What fails, on what, and why.
    pub(super) cause: String,
    /// What to do next.
    pub(super) remedy: String,
}

impl Trouble {
    fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: remedy.into() }
    }
}

impl From<&Problem> for Trouble {
    fn from(problem: &Problem) -> Self {
        Self::new(&problem.error, &problem.remedy)
    }
}

/// Units that are not running and should be.
const TROUBLED: [&str; 2] = ["failed", "backoff"];

/// Seconds that a port may take for its link and its address before that is called a fault.
const PATIENCE_S: u64 = 20;
/// Seconds after which a machine with an address and a place to go that has not checked in is in trouble.
const CONTACT_S: u64 = 60;

/// The words for the whole machine.
pub(super) fn headline(now: &Snapshot) -> (String, Tone) {
    let checkin = &now.checkin;
    if let Some(name) = node_name(now) {
        return match checkin.state {
            _ if checkin.failures > 0 => ("no contact".to_owned(), Tone::Bad),
            Some(NodeState::Held) => (format!("{name} held"), Tone::Bad),
            Some(NodeState::Pending) => (format!("{name} waits"), Tone::Busy),
            _ => (name, Tone::Good),
        };
    }
    let ports = &now.net.ports;
    let tone = if now.uptime < PATIENCE_S { Tone::Busy } else { Tone::Bad };
    let words = match () {
        () if ports.is_empty() && !now.devices.settled => "starting",
        () if ports.is_empty() => "no port",
        () if ports.iter().all(|p| !p.up) => "no link",
        () if ports.iter().all(|p| p.addresses.is_empty()) => "no address",
        () if checkin.failures > 0 => "no contact",
        () if now.net.servers.is_empty() => "no server",
        () if now.uptime < CONTACT_S => return ("connecting".to_owned(), Tone::Busy),
        () => "no contact",
    };
    // What may still come by itself is not called missing yet.
    let words = if tone == Tone::Busy { "starting" } else { words };
    (words.to_owned(), tone)
}

/// Name of the node, once the server told it.
pub(super) fn node_name(now: &Snapshot) -> Option<String> {
    let id = || now.checkin.node_id.map(|id| format!("node{id}"));
    now.checkin.node_name.clone().or_else(id)
}

/// All that is wrong, the worst first.
pub(super) fn troubles(now: &Snapshot) -> Vec<Trouble> {
    let mut all: Vec<Trouble> = Vec::new();
    all.extend(now.checkin.reason.as_ref().map(Trouble::from));
    all.extend(now.checkin.error.as_ref().map(Trouble::from));
    all.extend(now.checkin.warning.as_ref().map(Trouble::from));
    all.extend(now.net.problems.iter().map(Trouble::from));
    if now.checkin.node_id.is_none() && now.uptime >= PATIENCE_S {
        all.extend(network(now));
    }
    let units = now.units.units.iter().filter(|u| TROUBLED.contains(&u.state.as_str()));
    all.extend(units.map(|unit| {
        let why = unit.last_exit.as_deref().unwrap_or("it did not start");
        // Without the number of restarts: that it falls over again is no news.
        let cause = format!("Unit {} is down: {why}", unit.name);
        Trouble::new(cause, "It is restarted by itself. If that repeats, report it with the kernel messages.")
    }));
    all.extend(now.devices.findings.iter().map(|finding| {
        Trouble::new(&finding.text, "Build the image with this driver or firmware if the part is needed.")
    }));
    let errors = now.devices.extensions.iter().chain(&now.extensions.extensions).filter_map(|e| e.error.as_deref());
    let mut errors: Vec<&str> = errors.collect();
    errors.dedup();
    all.extend(errors.iter().map(|e| Trouble::new(*e, "Build the image again, or give the machine more memory.")));
    let mut seen: Vec<Trouble> = Vec::new();
    for trouble in all {
        if !seen.contains(&trouble) {
            seen.push(trouble);
        }
    }
    seen
}

fn network(now: &Snapshot) -> Option<Trouble> {
    let ports = &now.net.ports;
    if ports.is_empty() {
        return now.devices.settled.then(|| {
            Trouble::new(
                "No network port was found.",
                "Check that the port is enabled in the firmware, and that the image has its driver.",
            )
        });
    }
    if ports.iter().all(|p| !p.up) {
        return Some(Trouble::new("No network port has a link.", "Check cables, transceivers and switch ports."));
    }
    if ports.iter().all(|p| p.addresses.is_empty()) {
        let error = ports.iter().filter(|p| p.up).find_map(|p| p.error.as_deref());
        let cause = error.map_or_else(|| "No port with a link was given an address.".to_owned(), capital);
        return Some(Trouble::new(cause, "Check the DHCP server and the VLAN, or give razor.ip= on the kernel line."));
    }
    if now.net.servers.is_empty() {
        let cause = "An address is there, but nothing says where the server is.";
        return Some(Trouble::new(cause, "Give razor.server=URL on the kernel line, or DHCP option 224."));
    }
    None
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{checked_in, cut_off, held, no_address, pending, starting};
    use super::*;

    fn words(now: &Snapshot) -> (String, Tone) {
        headline(now)
    }

    #[test]
    fn the_headline_names_the_first_thing_missing() {
        assert_eq!(words(&checked_in()), ("node17".into(), Tone::Good));
        assert_eq!(words(&held()), ("node17 held".into(), Tone::Bad));
        assert_eq!(words(&pending()), ("node17 waits".into(), Tone::Busy));
        assert_eq!(words(&starting()), ("starting".into(), Tone::Busy));
        assert_eq!(words(&no_address()), ("no address".into(), Tone::Bad));
        assert_eq!(words(&cut_off()), ("no contact".into(), Tone::Bad));
        let mut now = no_address();
        now.net.ports.iter_mut().for_each(|p| p.up = false);
        assert_eq!(words(&now).0, "no link");
        assert!(troubles(&now)[0].cause.contains("link"));
        now.net.ports.clear();
        now.devices.settled = true;
        assert_eq!(words(&now).0, "no port");
        assert!(troubles(&now)[0].remedy.contains("driver"));
    }

    #[test]
    fn a_healthy_machine_has_no_troubles() {
        assert_eq!(troubles(&checked_in()), []);
        assert_eq!(troubles(&starting()), []);
    }

    #[test]
    fn causes_come_with_a_next_step_and_once() {
        let mut now = no_address();
        now.extensions.extensions.push(wire::checkin::Extension {
            name: "x.tcz".into(),
            error: Some("x.tcz is refused".into()),
            ..Default::default()
        });
        now.devices.extensions = now.extensions.extensions.clone();
        let all = troubles(&now);
        assert!(all[0].cause.starts_with("No DHCP answer"), "{all:?}");
        assert!(all.iter().all(|t| !t.remedy.is_empty()));
        assert_eq!(all.iter().filter(|t| t.cause.contains("x.tcz")).count(), 1);
    }
}
