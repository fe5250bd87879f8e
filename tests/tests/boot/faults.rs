//! Faults of the first hour on a whole machine: a port whose link takes seconds, a clock that is years off, no server at
//! first, and then a server that is killed. Each is named with the next step, the machine asks ever more seldom, never
//! reboots, and is the same node afterwards.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use mk_tests::limits;
use mk_tests::vm::spec::NicModel;
use mk_tests::vm::{Firmware, Machine};
use serde_json::json;

use super::lab::{Lab, wait};
use super::trouble::says;

/// So long a machine is left without its server.
const AWAY: Duration = Duration::from_secs(25);

/// Longest and shortest pause between two attempts in that time, in seconds, with room for a slow guest.
const PAUSES: (f64, f64) = (0.3, 20.0);

#[test]
fn a_slow_link_a_dead_clock_and_a_server_that_comes_and_goes() {
    let lab = Lab::new();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut machine = Machine::example(0x66, 512, 1);
    machine.nics.truncate(1);
    machine.nics[0].model = NicModel::E1000;
    machine.clock = Some("1999-12-31T23:59:30".to_owned());
    let guest = lab.boot(&machine, &lab.image("production", port), Firmware::Bios);
    let from = says(&guest, &format!("10.0.2.2:{port}"), 0);

    let server = lab.serve(port);
    server.await_node(&guest);
    let from = guest.console().wait_for("this machine is node1, normal", from, limits::REACTION).unwrap();
    says(&guest, "years behind the server's", 0);
    wait("the server was told of both", limits::REACTION, &guest, || {
        let log = log_of_node1(server.port);
        (log.contains("\"clock\"") && log.contains("\"connect\"")).then_some(())
    });

    let traffic = lab.path("traffic.pcap");
    let dump = json!({"qom-type": "filter-dump", "id": "dump", "netdev": "net0", "file": traffic});
    guest.qmp("object-add", dump).unwrap();
    server.await_next(&guest);
    drop(server);
    says(&guest, "no connection", from);
    thread::sleep(AWAY);
    let pauses = pauses(&traffic, port);
    println!("pauses between attempts without a server: {pauses:.1?} s");
    assert!(pauses.len() >= 3 && pauses.iter().all(|p| (PAUSES.0..PAUSES.1).contains(p)), "{pauses:?}");
    assert!(pauses.last() > pauses.first(), "they grow: {pauses:?}");
    let distinct = |p: &f64| format!("{:.1}", p - p.floor());
    assert!(pauses.iter().map(distinct).collect::<std::collections::BTreeSet<_>>().len() > 1, "no jitter: {pauses:?}");

    let server = lab.serve(port);
    let seen = server.node().unwrap()["last_checkin"].clone();
    let again = wait("the node checks in again", limits::REACTION, &guest, || {
        server.node().filter(|node| node["last_checkin"] != seen)
    });
    assert_eq!(again["name"], "node1");
    guest.quit().unwrap();
}

#[test]
fn a_clock_in_the_future_on_uefi() {
    let lab = Lab::new();
    let server = lab.serve(0);
    let mut machine = Machine::example(0x67, 1024, 1);
    machine.nics.truncate(1);
    machine.clock = Some("2040-02-29T12:00:00".to_owned());
    let guest = lab.boot(&machine, &lab.image("production", server.port), Firmware::Uefi);
    server.await_node(&guest);
    says(&guest, "years ahead of the server's", 0);
    server.await_next(&guest);
    guest.quit().unwrap();
}

/// The node's log as the API gives it.
fn log_of_node1(port: u16) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    write!(stream, "GET /api/collections/nodes/node1/log HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Seconds between attempts to connect to this port since the last one that succeeded. A recording has a header of 24
/// bytes; each packet one of 16: seconds, microseconds, length, length.
fn pauses(recording: &Path, port: u16) -> Vec<f64> {
    const SYN: u8 = 0x02;
    const SYN_ACK: u8 = 0x12;
    let bytes = fs::read(recording).unwrap();
    let number = |at: usize| f64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
    let (mut at, mut attempts) = (24, Vec::new());
    while let Some(length) = bytes.get(at + 8..at + 12) {
        let length = usize::try_from(u32::from_le_bytes(length.try_into().unwrap())).unwrap();
        let Some(packet) = bytes.get(at + 16..at + 16 + length) else { break };
        // Ethernet and IPv4 without options, TCP.
        if packet.len() >= 54 && packet[12..14] == [8, 0] && packet[23] == 6 {
            let (from, to, flags) = (&packet[34..36], &packet[36..38], packet[47]);
            if flags == SYN && to == port.to_be_bytes() {
                attempts.push(number(at) + number(at + 4) / 1e6);
            } else if flags == SYN_ACK && from == port.to_be_bytes() {
                attempts.clear();
            }
        }
        at += 16 + length;
    }
    attempts.windows(2).map(|pair| pair[1] - pair[0]).collect()
}
