//! The node in a few lines of plain text.

use std::fmt::Write as _;

use crate::state::{Checkin, Net, Published as _, Units};

/// Summary of what the units have published.
pub(super) fn current() -> String {
    summary(&Checkin::read().unwrap_or_default(), &Net::read().unwrap_or_default(), &Units::read().unwrap_or_default())
}

fn summary(checkin: &Checkin, net: &Net, units: &Units) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<10}{value}");
    };
    line("node", checkin.node_name.as_deref().unwrap_or("none yet"));
    line("server", checkin.server.as_deref().unwrap_or("none yet"));
    line("stage", if checkin.stage.is_empty() { "starting" } else { &checkin.stage });
    for problem in checkin.reason.iter().chain(&checkin.error) {
        line("problem", &problem.to_string());
    }
    for port in &net.ports {
        let link = if port.up { "up" } else { "no link" };
        let addresses = if port.addresses.is_empty() { "no address".to_owned() } else { port.addresses.join(" ") };
        line(&port.name, &format!("{} {link} {addresses} {}", port.mac, port.error.as_deref().unwrap_or_default()));
    }
    for unit in &units.units {
        line(&unit.name, &format!("{} ({} restarts)", unit.state, unit.restarts));
    }
    text.push_str("\nMore: /status /facts /facts?inventory /logs\n");
    text
}

#[cfg(test)]
mod tests {
    use wire::checkin::Unit;
    use wire::error::Problem;

    use super::*;
    use crate::state::Port;

    #[test]
    fn a_node_in_trouble() {
        let checkin = Checkin {
            stage: "waiting for an address".into(),
            error: Some(Problem::new("no_address", "eth0 has no address", "Check the cable.")),
            ..Checkin::default()
        };
        let port = Port { name: "eth0".into(), mac: "52:54:00:00:00:01".into(), ..Port::default() };
        let unit = Unit { name: "net".into(), state: "running".into(), restarts: 2, last_exit: None };
        let text = summary(
            &checkin,
            &Net { ports: vec![port], ..Net::default() },
            &Units { units: vec![unit], ..Units::default() },
        );
        for line in [
            "node      none yet\n",
            "stage     waiting for an address\n",
            "problem   eth0 has no address (no_address). Check the cable.\n",
            "eth0      52:54:00:00:00:01 no link no address",
            "net       running (2 restarts)\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
