//! An unmodified razor-server: it answers with the very bytes that a genuine one answered (`mk_tests::recorded`).
//!
//! Where `MK_RAZOR_SERVER` names one (`ADDRESS:PORT`), the agent checks in to the genuine one too.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};

use mk_tests::recorded::Recording;
use serde_json::{Value, json};

use crate::sandbox::{Place, eventually, possible};
use crate::server::{Seen, Server, machine_with};

/// Names a genuine server.
const GENUINE: &str = "MK_RAZOR_SERVER";
/// Where the recorded server's first node checks in.
const KNOWN: &str = "/svc/checkin/1";
/// Where a node checks in that it does not know.
const UNKNOWN: &str = "/svc/checkin/99";

/// Replays a recording: `known` are the names of what the first node is answered in turn, the last one for ever. What the
/// original looks at comes in its order: route, media type, JSON, facts, node.
fn razor_server(known: &'static [&'static str]) -> Server {
    let recording = Recording::read().unwrap();
    let mut count = 0;
    Server::answering(TcpListener::bind("127.0.0.1:0").unwrap(), move |request: &Seen, mut stream: &TcpStream| {
        let path = request.line.split(' ').nth(1).unwrap();
        let is_checkin = request.line.starts_with("POST /svc/checkin/");
        let body: Option<Value> = serde_json::from_slice(&request.body).ok();
        let name = match () {
            () if request.line.starts_with("POST /svc/checkin HTTP") => "check-in, without id",
            () if !is_checkin => "hello",
            () if request.header("content-type") != "application/json" => "check-in, media type with charset",
            () if body.is_none() => "check-in, no JSON",
            () if body.is_some_and(|body| !body["facts"].is_object()) => "check-in, no facts",
            () if path != KNOWN => "check-in, unknown id",
            () => {
                count += 1;
                known[(count - 1).min(known.len() - 1)]
            }
        };
        let _ = stream.write_all(&recording.named(name).unwrap().bytes());
    })
}

/// A machine that booted with this check-in URL.
fn machine(server: &str, path: &str) -> Place {
    let hint =
        json!({"url": server, "checkin": format!("{server}{path}"), "source": "the kernel line", "guessed": false});
    machine_with("razor.interval=1", &[hint])
}

#[test]
fn a_node_of_an_original_server_reports_all_facts_every_time() {
    if !possible(&["unshare"]) {
        return;
    }
    let server = razor_server(&["check-in, first", "check-in, again"]);
    let place = machine(&server.url(), KNOWN);
    let _unit = place.start("checkin");
    for number in 0..3 {
        let seen = server.request(number);
        assert!(seen.line.starts_with("POST /svc/checkin/1 HTTP"), "{}", seen.line);
        let body = seen.json();
        assert!(body["facts"]["macaddress"].is_string() || body["facts"]["kernel"].is_string(), "{body}");
        assert!(body["facts"].as_object().unwrap().keys().all(|name| !name.is_empty()));
        let hw_id = body["hw_id"].as_str().unwrap();
        assert!(hw_id.chars().all(|c| c.is_ascii_hexdigit() || c == '_'), "as razor-el-mk writes it: {hw_id}");
        assert_eq!(seen.codes(), Vec::<String>::new(), "nothing is wrong");
    }
    let state = eventually("state", || Some(place.state("checkin")).filter(|s| s["stage"] == "checked in"));
    assert_eq!((&state["failures"], &state["server"]), (&0.into(), &json!(server.url())));
    let doctor = place.prints("doctor");
    assert!(doctor.contains("as from an original server"), "{doctor}");
}

#[test]
fn an_original_server_that_does_not_know_the_node_is_told_as_such() {
    if !possible(&["unshare"]) {
        return;
    }
    let server = razor_server(&["check-in, first"]);
    let place = machine(&server.url(), UNKNOWN);
    let _unit = place.start("checkin");
    let named = || place.log("checkin").contains("/svc/checkin/99 answered HTTP 404: without a word");
    eventually("the refusal in the log", || named().then_some(()));
    let tried = || server.seen.lock().unwrap().iter().any(|s| s.line.starts_with("POST /svc/checkin HTTP"));
    eventually("a check-in without the id", || tried().then_some(()));
}

#[test]
fn an_original_server_that_sees_two_nodes_in_one_machine_is_asked_again() {
    if !possible(&["unshare"]) {
        return;
    }
    const TWO: &str = "check-in, not registered, a port that two registered nodes have and its own";
    let server = razor_server(&[TWO, "check-in, again"]);
    let place = machine(&server.url(), KNOWN);
    let _unit = place.start("checkin");
    let named = || place.log("checkin").contains("/svc/checkin/1 answered HTTP 400: without a word");
    eventually("the refusal in the log", || named().then_some(()));
    eventually("the dispute's end", || (place.state("checkin")["stage"] == "checked in").then_some(()));
}

#[test]
fn an_original_servers_reboot_is_obeyed() {
    if !possible(&["unshare"]) {
        return;
    }
    let server = razor_server(&["check-in, installed", "check-in, released"]);
    let place = machine(&server.url(), KNOWN);
    let _unit = place.start("checkin");
    // Nobody supervises here, so that the reboot fails, which is told.
    assert_eq!(server.request(1).codes(), ["power"]);
}

#[test]
fn a_genuine_razor_server_takes_the_agents_check_in() {
    if !possible(&["unshare"]) {
        return;
    }
    let Ok(address) = std::env::var(GENUINE) else {
        mk_tests::skip_even_there(&format!("{GENUINE} names no razor-server"));
        return;
    };
    // It finds the node by the ports that the facts have, which are this machine's own.
    let ports = std::fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().path());
    let ports = ports.filter(|port| port.join("device").exists());
    let macs = ports.map(|port| std::fs::read_to_string(port.join("address")).unwrap().trim().to_owned());
    let query: Vec<String> = macs.enumerate().map(|(n, mac)| format!("net{n}={mac}")).collect();
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET /svc/nodeid?{} HTTP/1.0\r\n\r\n", query.join("&")).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    let id = serde_json::from_str::<Value>(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()["id"].clone();
    let place = machine(&format!("http://{address}"), &format!("/svc/checkin/{id}"));
    let _unit = place.start("checkin");
    eventually("an accepted check-in", || (place.state("checkin")["stage"] == "checked in").then_some(()));
    assert_eq!(place.state("checkin")["failures"], 0);
}
