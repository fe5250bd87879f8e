//! Faults of the first hour, one after the other on one machine: no cable in a port that takes its time to negotiate, a
//! clock that is years off, no server, something else in its place, and at last a server that is killed. Each is named
//! with the next step; the machine asks ever more seldom, never reboots, and is the same node afterwards.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use mk_tests::limits;
use mk_tests::vm::spec::NicModel;
use mk_tests::vm::{Firmware, Guest, Machine};
use serde_json::json;

use super::lab::{Lab, record, wait};
use super::pauses::{self, Doubling};
use super::rubbish::Rubbish;

/// So many pauses between attempts tell how they are chosen.
const PAUSES: usize = 5;

#[test]
fn each_fault_of_the_first_hour_is_named_and_outlived() {
    let lab = Lab::new();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut machine = Machine::example(0x66, 512, 1);
    machine.nics.truncate(1);
    machine.nics[0].model = NicModel::E1000;
    machine.nics[0].plugged = false;
    machine.clock = Some("1999-12-31T23:59:30".to_owned());
    let guest = lab.boot(&machine, &lab.image("production", port), Firmware::Bios);

    let from = says(&guest, "No network port has a link.", 0);
    guest.qmp("set_link", json!({"name": "nic0", "up": true})).unwrap();
    let url = format!("http://10.0.2.2:{port}");
    let from = says(&guest, &format!("{url}/svc/checkin: no connection"), from);
    let rubbish = Rubbish::serve(port);
    let from = says(&guest, &format!("{url}/svc/checkin answered with "), from);
    rubbish.stop();

    let server = lab.serve(port);
    server.await_node(&guest);
    let from = guest.console().wait_for("this machine is node1, normal", from, limits::REACTION).unwrap();
    says(&guest, "years behind the server's", 0);
    wait("the server was told what was wrong", limits::REACTION, &guest, || {
        let log = log_of_node1(server.port);
        ["\"clock\"", "\"connect\""].iter().all(|step| log.contains(step)).then_some(())
    });

    let traffic = record(&guest, &lab);
    server.await_next(&guest);
    drop(server);
    says(&guest, "no connection", from);
    let attempts = || pauses::attempts(&std::fs::read(&traffic).unwrap(), port);
    // Before the check-in that failed, the question that waited at the server was asked anew, at a pace of its own.
    let others = attempts().len().saturating_sub(1);
    let pauses = wait("the machine has asked often enough", limits::REACTION, &guest, || {
        let pauses = pauses::between(attempts().get(others..)?);
        (pauses.len() >= PAUSES).then_some(pauses)
    });
    println!("pauses between attempts without a server: {pauses:.2?} s");
    assert_eq!(pauses::judge(&pauses), Doubling::Uneven, "{pauses:?}");

    let server = lab.serve(port);
    let seen = server.node().unwrap()["last_checkin"].clone();
    let again = wait("the node checks in again", limits::REACTION, &guest, || {
        server.node().filter(|node| node["last_checkin"] != seen)
    });
    assert_eq!(again["name"], "node1");
    guest.quit().unwrap();
}

/// Waits for a problem that names something and comes with a next step; gives the position behind it.
pub(crate) fn says(guest: &Guest, what: &str, mut from: u64) -> u64 {
    loop {
        let begin = guest.console().wait_for("razor: problem: ", from, limits::CHECK_IN).unwrap();
        let end = guest.console().wait_for("\n", begin, limits::SHELL).unwrap();
        let text = guest.console().text(begin);
        let line = text.lines().next().unwrap();
        println!("the console says: {line}");
        if line.contains(what) {
            assert!(line.contains("Next step: "), "{line}");
            return end;
        }
        from = end;
    }
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
