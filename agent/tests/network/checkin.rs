//! The check-in loop against an HTTP server that answers as it is told and keeps what it was sent.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::sandbox::{eventually, possible};
use crate::server::{Seen, Server, machine, none, refuse};

#[test]
fn the_first_check_in_is_whole_and_signed_and_the_next_one_short() {
    if !possible(&["unshare"]) {
        return;
    }
    let server = Server::start(vec![none(&json!({}))]);
    let place = machine(&[(&server.url(), false)]);
    let unit = place.start("checkin");
    let first = server.request(0);
    assert!(first.line.starts_with("POST /svc/checkin HTTP"), "{}", first.line);
    assert_eq!(first.header("content-type"), "application/json");
    assert!(first.header("user-agent").starts_with("mk-agent/"));
    let key = STANDARD.decode(first.header(wire::routes::KEY_HEADER)).unwrap();
    let signature = STANDARD.decode(first.header(wire::routes::SIGNATURE_HEADER)).unwrap();
    UnparsedPublicKey::new(&ED25519, key).verify(&wire::sign::message(&first.body), &signature).unwrap();
    let body = first.json();
    assert_eq!((&body["seq"], body["boot_id"].as_str().unwrap().len()), (&1.into(), 36));
    assert!(body["facts"].is_object() && body["inventory"]["volatile"].is_object());
    assert_eq!(body["inventory_digest"].as_str().unwrap().len(), 64);

    let second = server.request(1);
    assert!(second.line.starts_with("POST /svc/checkin/7 HTTP"), "{}", second.line);
    let body = second.json();
    assert!(body["facts"].is_null() && body["inventory"].is_null() && body["inventory_digest"].is_string());
    let state = eventually("state", || Some(place.state("checkin")).filter(|s| s["stage"] == "checked in"));
    assert_eq!((&state["node_id"], &state["node_name"], &state["failures"]), (&7.into(), &"node7".into(), &0.into()));

    drop(unit);
    let seen = server.seen.lock().unwrap().len();
    let last = server.request(seen - 1).json()["seq"].as_u64().unwrap();
    let _unit = place.start("checkin");
    let after = server.request(seen);
    assert!(after.json()["seq"].as_u64().unwrap() > last, "numbers go on after a crash");
    assert_eq!(after.header(wire::routes::KEY_HEADER), first.header(wire::routes::KEY_HEADER), "and so does the key");
}

#[test]
fn what_is_not_read_yet_after_a_restart_is_not_reported_as_gone() {
    if !possible(&["unshare"]) {
        return;
    }
    let server = Server::start(vec![none(&json!({}))]);
    let mut place = machine(&[(&server.url(), false)]);
    let unit = place.start("checkin");
    let first = server.request(0).json();
    assert!(first["inventory"]["stable"]["kernel"].is_object(), "{first}");
    eventually("note", || place.path("run/razor-mk/checkin.report").exists().then_some(()));
    drop(unit);
    let pipe = place.silence("proc/sys/kernel/osrelease");
    let seen = server.seen.lock().unwrap().len();
    let _unit = place.start("checkin");
    let silent = server.request(seen);
    let body = silent.json();
    assert!(body["facts"].is_null() && body["inventory"].is_null(), "{body}");
    assert_eq!((&body["inventory_digest"], &body["hw_id"]), (&first["inventory_digest"], &first["hw_id"]));
    assert_eq!(silent.codes(), ["facts"]);
    assert!(body["problems"][0]["error"].as_str().unwrap().contains("started again: boot;"), "{body}");
    // A part that does not answer soon is known once it does.
    std::fs::write(pipe, std::fs::read("/proc/sys/kernel/osrelease").unwrap()).unwrap();
    let whole = eventually("inventory", || {
        let all = server.seen.lock().unwrap();
        all[seen..].iter().map(Seen::json).find(|body| body["inventory"].is_object())
    });
    assert_eq!(whole["inventory"]["stable"]["kernel"], first["inventory"]["stable"]["kernel"]);
    assert!(whole["facts"].is_object());
}

#[test]
fn commands_configuration_and_unknown_words_are_answered() {
    if !possible(&["unshare"]) {
        return;
    }
    let commands = json!([{"id": 1, "kind": "refresh"}, {"id": 2, "kind": "dance"}]);
    let config = |version: u32, config: Value| json!({"config_version": version, "config": config});
    let server = Server::start(vec![
        none(&json!({"commands": commands})),
        none(&config(3, json!({"mk_checkin_interval": 1, "mk_fact_excl_pattern": "^kernel", "mk_new": 1}))),
        none(&config(4, json!({"mk_checkin_interval": 0}))),
        none(&json!({"action": "dance"})),
        none(&json!({"commands": [{"id": 9, "kind": "reboot"}]})),
        none(&json!({"commands": [{"id": 9, "kind": "reboot"}]})),
    ]);
    let place = machine(&[(&server.url(), false)]);
    let _unit = place.start("checkin");
    let second = server.request(1).json();
    assert_eq!(second["results"][0], json!({"id": 1, "outcome": "done"}));
    assert_eq!(second["results"][1]["outcome"], "unsupported");
    assert!(second["facts"]["kernel"].is_string(), "refresh sends everything again: {}", second["facts"]);
    let third = server.request(2);
    assert_eq!((&third.json()["config"]["version"], third.codes()), (&3.into(), vec!["unknown_config_key".to_owned()]));
    assert!(third.json()["facts"].is_object() && third.json()["facts"]["kernel"].is_null(), "excluded from now on");
    let fourth = server.request(3).json();
    assert_eq!((&fourth["config"]["version"], &fourth["config"]["refused"]["version"]), (&3.into(), &4.into()));
    assert_eq!(place.state("config")["version"], 3);
    assert_eq!(server.request(4).codes(), ["unsupported_action"]);
    assert_eq!(server.request(5).json()["results"], json!([{"id": 9, "outcome": "accepted"}]));
    // Nobody supervises here, so that the reboot fails, which is told; the repeated command is not carried out again.
    let after = server.request(6);
    assert_eq!((after.codes(), &after.json()["results"]), (vec!["power".to_owned()], &Value::Null));
}

#[test]
fn a_guessed_server_says_hello_first_and_others_are_fallen_back_to() {
    if !possible(&["unshare"]) {
        return;
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(vec![none(&json!({}))]);
    let place = machine(&[(&format!("http://{closed}"), false), (&server.url(), true)]);
    let _unit = place.start("checkin");
    assert!(server.request(0).line.starts_with("GET /svc/hello "));
    assert!(server.request(1).line.starts_with("POST /svc/checkin "));
    assert!(server.request(2).line.starts_with("POST /svc/checkin/7 "), "no second greeting, no other server");
}

#[test]
fn a_server_that_is_away_is_named_and_found_again() {
    if !possible(&["unshare"]) {
        return;
    }
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = machine(&[(&format!("http://{address}"), false)]);
    let _unit = place.start("checkin");
    let state = eventually("failure", || Some(place.state("checkin")).filter(|s| s["failures"].as_u64() >= Some(2)));
    let error = &state["error"];
    assert_eq!(error["code"], "connect");
    let text = error["error"].as_str().unwrap();
    assert!(text.contains(&address.to_string()) && text.contains("refused"), "{text}");
    let server = Server::on(TcpListener::bind(address).unwrap(), vec![none(&json!({}))]);
    assert_eq!(server.request(0).codes(), ["connect"], "the server learns of it");
    eventually("recovery", || (place.state("checkin")["error"].is_null()).then_some(()));
}

#[test]
fn a_request_whose_answer_was_lost_is_sent_again_byte_by_byte() {
    if !possible(&["unshare"]) {
        return;
    }
    let server = Server::start(vec![Value::Null, Value::Null, none(&json!({"interval": 600}))]);
    let place = machine(&[(&server.url(), false)]);
    let _unit = place.start("checkin");
    let (first, again) = (server.request(0), server.request(2));
    let of =
        |seen: &Seen| (seen.line.clone(), seen.body.clone(), seen.header(wire::routes::SIGNATURE_HEADER).to_owned());
    assert!(of(&first) == of(&server.request(1)) && of(&first) == of(&again), "the same bytes to the same place");
    assert!(first.json()["facts"].is_object() && first.codes().is_empty());
    // The next one is not a minute away, since it tells what happened.
    let next = server.request(3);
    assert_eq!((&next.json()["seq"], next.codes()), (&2.into(), vec!["broken".to_owned()]));
    assert!(next.json()["facts"].is_null(), "the server has them");
}

#[test]
fn a_server_that_always_has_another_command_is_answered_once_a_second() {
    if !possible(&["unshare"]) {
        return;
    }
    let busy = |id| none(&json!({"commands": [{"id": id, "kind": "dance"}]}));
    let server = Server::start((1..1000).map(busy).collect());
    let place = machine(&[(&server.url(), false)]);
    let _unit = place.start("checkin");
    let begin = Instant::now();
    server.request(4);
    thread::sleep(Duration::from_secs(2));
    let (seen, seconds) = (server.seen.lock().unwrap().len(), begin.elapsed().as_secs());
    println!("{seen} requests in {seconds} s");
    // The first, four that may come at once, and then one a second, of which one more may have begun.
    assert!(seen as u64 <= 1 + 4 + seconds + 1, "{seen} requests in {seconds} s");
}

/// How long a port flaps.
const FLAPS: Duration = Duration::from_secs(16);

#[test]
fn a_port_that_flaps_does_not_undo_the_back_off() {
    if !possible(&["unshare"]) {
        return;
    }
    let server = Server::answering(TcpListener::bind("127.0.0.1:0").unwrap(), |_, stream| {
        refuse(stream, "500 Oops", "internal");
    });
    let place = machine(&[(&server.url(), false)]);
    let _unit = place.start("checkin");
    server.request(0);
    let net = place.state("net");
    let end = Instant::now() + FLAPS;
    for flap in 0.. {
        if Instant::now() >= end {
            break;
        }
        let mut now = net.clone();
        now["ports"][0]["addresses"][0] = format!("10.9.0.{}/24", 5 + flap % 2).into();
        place.publish("net", &now);
        thread::sleep(Duration::from_millis(300));
    }
    let times = server.times();
    println!("asked after {times:?} ms");
    // The first, eight that were due to a change, and then none for half a minute or more.
    assert!((5..=9).contains(&times.len()), "{times:?}");
}
