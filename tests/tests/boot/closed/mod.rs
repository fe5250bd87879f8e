//! What a production machine has closed. A second guest and the test are on its segment: no TCP port of it takes a connection, no
//! UDP port answers, on IPv4 and on IPv6. At its keyboard, screen and serial port there is no log-in, no shell, no magic key,
//! and boot loaders let nobody change the kernel's line. A debug image, its twin but for what that image has on purpose, is asked
//! the same, so that it is known that what is open would be found.

mod frames;
pub(crate) mod keys;
mod scan;
mod sealed;
mod segment;
mod sockets;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};

use mk_tests::limits;
use mk_tests::vm::{Firmware, Guest, Machine};
use serde_json::{Value, json};

use self::frames::Station;
use self::keys::{disturb_the_loader, press, the_line_is_the_images, type_line};
use self::scan::{Found, station};
use self::segment::Segment;
use super::lab::{Lab, Server, wait};
use super::shell::Shell;

/// What a root shell would obey at once.
const ORDER: &str = "poweroff -f";
/// Memory of a PC's text screens.
const SCREENS: (u64, u64) = (0xb_8000, 0x8000);
/// Ports that the second guest itself tries, beside the first 1024: sshd's, the agent's, and those of its ancestors.
const TRIED: &str = "2156 2157 2158 2222 8026 8080 8150 8151";

#[test]
fn production_is_closed_to_its_segment_and_at_its_console() {
    let lab = Lab::new();
    let server = lab.serve(0);
    let image = lab.image("production", server.port);
    let machines = [0x91, 0x92].map(|seed| {
        let mut machine = Machine::example(seed, 512, 1);
        machine.nics.truncate(1);
        machine
    });
    let guest = lab.boot(&machines[0], &image, Firmware::Bios);
    let twin = lab.boot(&machines[1], &lab.image("debug", server.port), Firmware::Bios);
    let segment = Segment::join(&guest, &twin);
    disturb_the_loader(&guest);
    the_line_is_the_images(&guest, &image);

    let [closed, open] = machines.each_ref().map(|machine| stations(&server, &guest, &machine.nics[0].mac));
    let shell = Shell::open(&twin);
    every_socket_is_explained(&twin, &shell, server.port);
    nothing_is_found(&segment, &closed);
    what_is_open_is_found(&segment, &twin, &shell, &open);
    the_second_guest_finds_nothing_either(&shell, closed[0].address, server.port);
    magic_keys_do_nothing_but_in_a_debug_image(&server, &guest, &twin);
    nobody_is_let_in(&lab, &guest, &twin);
    restarts_in_order(&guest);
}

/// A machine's station by IPv4, and by its link's own IPv6 address, once it has told its server of them.
fn stations(server: &Server, guest: &Guest, mac: &str) -> [Station; 2] {
    let link_local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let told = wait("both machines have told their addresses", limits::CHECK_IN, guest, || {
        let nodes = server.nodes();
        let names = nodes.iter().filter_map(|node| node["name"].as_str());
        let mut shown =
            names.map(|name| serde_json::from_str(&server.ask(&["nodes", "show", name, "--json"])).unwrap());
        let node: Value = shown.find(|node: &Value| node["inventory"]["stable"]["nics"].to_string().contains(mac))?;
        let addresses = node["inventory"]["volatile"]["addresses"].as_object()?.values().next()?.as_array()?.clone();
        let addresses: Vec<String> = addresses.iter().filter_map(|a| a.as_str().map(str::to_owned)).collect();
        addresses.iter().any(|address| address.starts_with("fe80")).then_some(addresses)
    });
    println!("{mac} has {told:?}");
    [station(mac, &told, IpAddr::is_ipv4), station(mac, &told, link_local)]
}

/// A socket that nobody has thought of fails the test. Sockets and owners are listed one after the other: what came or went in
/// between is looked at again, as is all before sshd runs.
fn every_socket_is_explained(twin: &Guest, shell: &Shell<'_>, port: u16) {
    let server = SocketAddr::from(([10, 0, 2, 2], port));
    wait("every socket has a reason", limits::REACTION, twin, || {
        let (unknown, explained) = sockets::unexplained(&shell.run(sockets::LIST), server);
        println!("{explained} sockets are explained, and these are not: {unknown:#?}");
        // The agent's three listeners, sshd's two, and what hears DHCP and LLDP at the one port.
        (unknown.is_empty() && explained >= 7).then_some(())
    });
}

fn nothing_is_found(segment: &Segment, closed: &[Station; 2]) {
    let every: Vec<u16> = (1..=u16::MAX).collect();
    for them in closed {
        let found = Found::by_asking(segment, them, &every);
        println!("{}: {} TCP ports refuse", them.address, found.refused.len());
        println!("UDP ports that are reported closed: {}", found.unreachable.len());
        assert_eq!((&found.tcp, &found.udp), (&BTreeSet::new(), &BTreeSet::new()), "{}", them.address);
        assert_eq!(found.silent(&every), [0_u16; 0], "each port was asked and has refused");
        assert!(!found.unreachable.is_empty(), "questions to UDP ports arrive");
    }
}

/// The twin has sshd, and a UDP socket whose program says back what it hears from the prober.
fn what_is_open_is_found(segment: &Segment, twin: &Guest, shell: &Shell<'_>, open: &[Station; 2]) {
    let (prober, port) = (scan::OURS[0], frames::OURS);
    let echo = format!("exec 3<>/dev/udp/{prober}/{port}; cat <&3 >&3");
    shell.run(&format!("(bash -c '{echo}' < /dev/null > /dev/null 2>&1 &)"));
    let somebody = SocketAddr::from((prober.parse::<IpAddr>().unwrap(), port));
    let echo = wait("the twin has a socket that answers", limits::REACTION, twin, || {
        sockets::connected_to(&shell.run(sockets::LIST), somebody)
    });
    let ports: Vec<u16> = (1..=1024).chain([echo]).collect();
    let found = Found::by_asking(segment, &open[0], &ports);
    assert_eq!((found.tcp, found.udp), (BTreeSet::from([22]), BTreeSet::from([echo])));
    let found = Found::by_asking(segment, &open[1], &ports);
    assert_eq!(found.tcp, BTreeSet::from([22]), "{}", open[1].address);
}

/// By its own kernel, from its own address.
fn the_second_guest_finds_nothing_either(shell: &Shell<'_>, address: IpAddr, port: u16) {
    let tries = |address: &str, ports: &str| {
        let each = format!("for p in {ports}; do {{ : 3<>/dev/tcp/{address}/$p; }} 2>/dev/null && echo open $p; done");
        shell.run(&format!("bash -c '{each}'"))
    };
    assert_eq!(tries("10.0.2.2", &port.to_string()), format!("open {port}"));
    assert_eq!(tries(&address.to_string(), &format!("$(seq 1024) {TRIED}")), "");
}

/// The keys that show a list of magic keys, and those that reset the machine, at keyboard and serial port.
fn magic_keys_do_nothing_but_in_a_debug_image(server: &Server, guest: &Guest, twin: &Guest) {
    let magic = |guest: &Guest, key: &str| {
        press(guest, &["alt", "sysrq", key]);
        guest.qmp("chardev-send-break", json!({"id": "console"})).unwrap();
        guest.console().send(key).unwrap();
    };
    let from = twin.console().position();
    magic(twin, "h");
    let first = twin.console().wait_for("sysrq: HELP", from, limits::REACTION).unwrap();
    twin.console().wait_for("sysrq: HELP", first, limits::REACTION).unwrap();
    for key in ["h", "b"] {
        magic(guest, key);
    }
    for _ in 0..2 {
        next_check_in(server, guest);
    }
    assert_eq!(guest.console().find("sysrq:", 0), None);
}

/// Waits until the machine that is not the twin has spoken again.
fn next_check_in(server: &Server, guest: &Guest) {
    let last = || server.nodes().into_iter().map(|node| node["last_checkin"].clone()).collect::<Vec<_>>();
    let before = last();
    wait("both machines go on checking in", limits::REACTION, guest, || {
        last().iter().zip(&before).all(|(now, before)| now != before).then_some(())
    });
}

/// What a root shell would obey is typed at each terminal; the twin has such a shell and obeys.
fn nobody_is_let_in(lab: &Lab, guest: &Guest, twin: &Guest) {
    guest.console().send(&format!("\r\n{ORDER}\r\n")).unwrap();
    for terminal in ["f1", "f2", "f3", "f4", "f5", "f6"] {
        press(guest, &["alt", terminal]);
        press(guest, &["ret"]);
        type_line(guest, ORDER);
        let file = lab.path("screens");
        guest.qmp("pmemsave", json!({"val": SCREENS.0, "size": SCREENS.1, "filename": file})).unwrap();
        let shown: Vec<u8> = fs::read(file).unwrap().chunks_exact(2).map(|cell| cell[0]).collect();
        let shown = String::from_utf8_lossy(&shown);
        assert!(!shown.contains("login:") && !shown.contains("/ # "), "{terminal}: {shown}");
    }
    press(twin, &["alt", "f2"]);
    type_line(twin, ORDER);
    ends(twin, "its root shell was told to switch it off");
    assert!(guest.ended().unwrap().is_none(), "somebody has obeyed: {}", guest.console().text(0));
}

/// Ctrl-Alt-Del is no way in: it restarts the machine, which stops its units first.
fn restarts_in_order(guest: &Guest) {
    let from = guest.console().position();
    press(guest, &["ctrl", "alt", "delete"]);
    ends(guest, "Ctrl-Alt-Del was pressed");
    println!("{}", guest.console().text(from));
}

/// Waits for the end of a guest, whose first restart ends it.
fn ends(guest: &Guest, why: &str) {
    let deadline = std::time::Instant::now() + limits::REACTION;
    while guest.ended().unwrap().is_none() {
        assert!(std::time::Instant::now() < deadline, "it still runs, although {why}: {}", guest.console().text(0));
        std::thread::sleep(limits::POLL);
    }
}
