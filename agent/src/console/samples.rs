//! Machines in typical and bad situations, for the tests of this unit.

use std::collections::BTreeMap;

use wire::card::{Card, Span};
use wire::checkin::{NodeState, Unit};
use wire::error::Problem;
use wire::inventory::{Finding, Lldp, Neighbour};

use super::snapshot::{Machine, Snapshot};
use crate::state::{Checkin, Devices, Net, Port, ServerHint};

fn machine() -> Machine {
    Machine {
        version: "0.1.0".into(),
        variant: "production".into(),
        product: "Dell Inc. PowerEdge R740".into(),
        serial: "7XKQ2M3".into(),
    }
}

fn port(number: u8, up: bool, addresses: &[&str]) -> Port {
    Port {
        name: format!("eth{number}"),
        key: format!("0000:18:00.{number}"),
        mac: format!("b8:ca:3a:6d:1f:{number:02x}"),
        up,
        addresses: addresses.iter().map(|&a| a.to_owned()).collect(),
        source: if addresses.is_empty() { String::new() } else { "dhcp from 10.20.0.2".into() },
        ..Port::default()
    }
}

/// A few seconds after the kernel started.
pub(super) fn starting() -> Snapshot {
    let net = Net { ports: vec![port(0, false, &[])], ..Net::default() };
    let stage = "waiting for an address".into();
    let checkin = Checkin { stage, failures: 1, next_attempt_s: Some(5.2), ..Checkin::default() };
    Snapshot { machine: machine(), uptime: 4, net, checkin, ..Snapshot::default() }
}

/// All is well.
pub(super) fn checked_in() -> Snapshot {
    let ports = vec![port(0, true, &["10.20.30.41/24", "fe80::baca:3aff:fe6d:1f00/64"]), port(1, false, &[])];
    let servers = vec![ServerHint {
        url: "http://10.20.0.2:8150".into(),
        checkin: None,
        source: "DHCP next-server on eth0".into(),
        guessed: true,
    }];
    Snapshot {
        machine: machine(),
        uptime: 4521,
        net: Net { ports, servers, ..Net::default() },
        speeds: BTreeMap::from([("eth0".into(), 10_000)]),
        devices: Devices { settled: true, ..Devices::default() },
        checkin: Checkin {
            node_id: Some(17),
            node_name: Some("node17".into()),
            state: Some(NodeState::Normal),
            key: Some("0f1e-2d3c-4b5a-6978".into()),
            server: Some("http://10.20.0.2:8150".into()),
            stage: "checked in".into(),
            last_contact_s: Some(4509.2),
            next_attempt_s: Some(4569.4),
            card: Card {
                kernel: Some(Span { begin_ms: 0, took_ms: 4210 }),
                dhcp: Some(Span { begin_ms: 7120, took_ms: 30_460 }),
                exchange: Some(Span { begin_ms: 37_644, took_ms: 21 }),
                ..Card::default()
            },
            ..Checkin::default()
        },
        ..Snapshot::default()
    }
}

fn lldp(port: u8) -> Option<Lldp> {
    let neighbour = Neighbour {
        chassis: "44:38:39:00:00:17".into(),
        port: format!("Ethernet1/{port}"),
        system_name: Some("leaf-12a.dc1.example".into()),
        vlan: Some(12),
        ..Neighbour::default()
    };
    Some(Lldp { silent_s: None, neighbours: vec![neighbour] })
}

/// All is well, and the switch has said where the cable goes.
pub(super) fn cabled() -> Snapshot {
    let mut now = checked_in();
    now.net.ports[0].lldp = lldp(7);
    now
}

/// Its identity is disputed.
pub(super) fn held() -> Snapshot {
    let mut now = checked_in();
    now.checkin.state = Some(NodeState::Held);
    now.checkin.reason = Some(Problem::new(
        "hardware_conflict",
        "MAC b8:ca:3a:6d:1f:00 is also node12's, which checked in 30 s ago from 10.20.30.99 with another chassis serial",
        "Compare both with `mk-server conflicts`, then settle it with `mk-server conflicts resolve 3 same|different`.",
    ));
    now
}

/// It waits to be let in.
pub(super) fn pending() -> Snapshot {
    let mut now = checked_in();
    now.checkin.state = Some(NodeState::Pending);
    now.checkin.reason = Some(Problem::new(
        "pending",
        "node17 waits until an operator approves it",
        "Compare the key's fingerprint on its screen with the one at `mk-server nodes show node17`, then `mk-server nodes \
         approve node17`.",
    ));
    now
}

/// It is held, what to do takes three lines, and each port has two addresses.
pub(super) fn copied() -> Snapshot {
    let mut now = held();
    now.net.ports[1] = port(1, true, &["10.20.31.41/24", "fe80::baca:3aff:fe6d:1f01/64"]);
    now.checkin.reason = Some(Problem::new(
        "two_machines",
        "two machines speak as node17 at the same time, with the same hardware values; one is a copy of the other",
        "The one that came first stays node17. Give the copy values of its own and boot it again; if both are right, settle \
         it with `mk-server conflicts resolve 3 different`, and each keeps what is its own.",
    ));
    now
}

/// Nobody answers DHCP, a driver lacks firmware, and a unit keeps falling over.
pub(super) fn no_address() -> Snapshot {
    let mut now = starting();
    (now.checkin.failures, now.checkin.next_attempt_s) = (0, None);
    now.uptime = 95;
    now.net.ports = vec![port(0, true, &[]), port(1, false, &[])];
    now.net.ports[0].error = Some("no DHCP answer on eth0 for 90 s".into());
    now.speeds = BTreeMap::from([("eth0".into(), 1000)]);
    now.devices = Devices {
        settled: true,
        findings: vec![Finding {
            code: "no_firmware".into(),
            component: "0000:02:00.0".into(),
            text: "0000:02:00.0 asked for firmware bnx2/bnx2-mips-09-6.2.1b.fw and did not get it: it is not in this image".into(),
            ..Finding::default()
        }],
        ..Devices::default()
    };
    now.units.units = vec![Unit {
        name: "mirror".into(),
        state: "backoff".into(),
        restarts: 6,
        last_exit: Some("exit status 1".into()),
    }];
    now
}

/// It was checked in, and then the server went away.
pub(super) fn cut_off() -> Snapshot {
    let mut now = checked_in();
    now.checkin.failures = 7;
    now.checkin.stage = "waiting to try again".into();
    now.checkin.last_contact_s = Some(3900.0);
    now.checkin.error = Some(Problem::new(
        "connect_failed",
        "cannot connect to http://10.20.0.2:8150/svc/checkin: connection refused",
        "Start the server or open its port; the node goes on trying by itself.",
    ));
    now
}

/// More cables than the screen has lines for.
pub(super) fn many_cables() -> Snapshot {
    let mut now = checked_in();
    now.net.ports = (0..6).map(|n| Port { lldp: lldp(n), ..port(n, true, &[]) }).collect();
    now.net.ports[0].addresses = vec!["10.20.30.41/24".into()];
    now
}

/// More ports than the screen has lines.
pub(super) fn many_ports() -> Snapshot {
    let mut now = checked_in();
    now.net.ports = (0..20).map(|n| port(n, n == 19, if n == 19 { &["10.20.30.41/24"] } else { &[] })).collect();
    now
}
