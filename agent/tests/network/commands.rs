//! Commands that take their time, and the question that brings them without a check-in's wait.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::sandbox::{eventually, possible};
use crate::server::{PORT, Seen, Server, machine, none, say};

/// Longer than any test waits: what comes before did not wait for the next check-in.
const LONG_S: u64 = 3600;

/// Whether a request is signed by its key, over these bytes.
fn is_signed(seen: &Seen, message: &[u8]) -> bool {
    let header = |name: &str| STANDARD.decode(seen.header(name)).unwrap();
    let key = UnparsedPublicKey::new(&ED25519, header(wire::routes::KEY_HEADER));
    key.verify(message, &header(wire::routes::SIGNATURE_HEADER)).is_ok()
}

/// The query of a request.
fn query(seen: &Seen) -> &str {
    seen.line.split(' ').nth(1).unwrap().split_once('?').unwrap().1
}

fn number(seen: &Seen) -> u64 {
    let pairs: BTreeMap<&str, &str> = query(seen).split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    assert_eq!((pairs["config"], pairs["boot_id"].len()), ("3", 36), "{}", seen.line);
    pairs["number"].parse().unwrap()
}

/// The requests whose line begins so.
fn seen(server: &Server, begin: &str) -> Vec<Seen> {
    server.seen.lock().unwrap().iter().filter(|s| s.line.starts_with(begin)).cloned().collect()
}

/// What became of commands, by id.
fn results(server: &Server) -> BTreeMap<u64, Value> {
    let bodies = seen(server, "POST /svc/checkin").into_iter().map(|s| s.json());
    let results = bodies.flat_map(|body| body["results"].as_array().cloned().unwrap_or_default());
    results.map(|result| (result["id"].as_u64().unwrap(), result)).collect()
}

#[test]
fn what_takes_its_time_is_done_beside_the_check_ins_and_its_result_told_at_once() {
    if !possible(&["unshare"]) {
        return;
    }
    let commands = json!([
        {"id": 4, "kind": "collect-logs"}, {"id": 5, "kind": "doctor"}, {"id": 6, "kind": "identify", "args": {"seconds": 0}},
        {"id": 7, "kind": "load-extension", "args": {"extension": "../x"}}, {"id": 8, "kind": "doctor"}
    ]);
    let told = none(&json!({"interval": LONG_S, "commands": commands}));
    let mut lost = false;
    let server = Server::serve(TcpListener::bind("127.0.0.1:0").unwrap(), true, move |request, stream| {
        match request.line.split(['?', ' ']).nth(1).unwrap() {
            "/svc/hello" => say(stream, r#"{"service":"razor-mk","protocol":1,"version":"0"}"#),
            // The first upload is lost on the way.
            "/svc/bundle/7" if !std::mem::replace(&mut lost, true) => {}
            "/svc/bundle/7" => say(stream, r#"{"bytes":1,"sha256":"aa"}"#),
            // Nobody answers the question: none of this comes by it.
            "/svc/wait/7" => std::mem::forget(stream.try_clone().unwrap()),
            _ => say(stream, &told.to_string()),
        }
    });
    let place = machine(&[(&server.url(), false)]);
    let _unit = place.start("checkin");
    let results = eventually("all results", || Some(results(&server)).filter(|r| r.len() == 5));
    let is = |id: u64, outcome: &str, words: &str| {
        let result = &results[&id];
        assert!(result["outcome"] == outcome && result["detail"].as_str().unwrap().contains(words), "{result}");
    };
    is(4, "done", " files were sent");
    is(6, "done", "no light blinks any more");
    is(7, "failed", "no extension's name");
    is(8, "failed", "has not ended yet");
    is(5, "done", "connection  ok");
    assert!(results[&5]["detail"].as_str().unwrap().starts_with("verdict "), "{}", results[&5]);

    let uploads = seen(&server, "POST /svc/bundle/7?");
    assert!(uploads.len() == 2 && uploads[0].body == uploads[1].body, "the same again");
    let upload = &uploads[1];
    assert!(is_signed(upload, &wire::sign::bundle(7, query(upload), &upload.body)), "{}", upload.line);
    assert!(upload.line.contains("&command=4 ") && upload.header("content-type") == "application/gzip");
    let mut archive = tar::Archive::new(GzDecoder::new(&upload.body[..]));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let (mut entry, mut text) = (entry.unwrap(), String::new());
        let name = entry.path().unwrap().display().to_string();
        entry.read_to_string(&mut text).unwrap();
        files.insert(name, text);
    }
    assert!(
        files["state/net.json"].contains("10.9.0.5") && files["doctor.txt"].contains("verdict"),
        "{:?}",
        files.keys()
    );
    assert!(files["status.txt"].contains("node7") && files["facts.json"].contains("kernel"));
    let secret = std::fs::read(place.path("run/razor-mk/checkin.key")).unwrap();
    let secret = String::from_utf8_lossy(&secret[16..32]).into_owned();
    assert!(files.values().all(|text| !text.contains(&secret)), "the key stays here");
}

#[test]
fn an_answered_question_is_followed_by_a_check_in_and_the_next_question() {
    if !possible(&["unshare"]) {
        return;
    }
    let reply = |more: Value| {
        let mut reply = json!({"interval": LONG_S, "config_version": 3});
        reply.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        none(&reply).to_string()
    };
    let (mut check_ins, mut questions) = (0, 0);
    let server = Server::serve(TcpListener::bind("127.0.0.1:0").unwrap(), true, move |request, stream| {
        if request.line.starts_with("GET /svc/wait/7?") {
            questions += 1;
            match questions {
                1 => say(stream, r#"{"due":true}"#),
                2 => say(stream, r#"{"due":false}"#),
                // It waits until the test ends.
                _ => std::mem::forget::<TcpStream>(stream.try_clone().unwrap()),
            }
            return;
        }
        check_ins += 1;
        let commands = json!([{"id": 1, "kind": "refresh"}]);
        let told = if check_ins == 2 { json!({"commands": commands}) } else { json!({}) };
        say(stream, &reply(told));
    });
    let place = machine(&[(&server.url(), false)]);
    let _unit = place.start("checkin");
    let told = eventually("the result", || results(&server).get(&1).cloned());
    assert_eq!(told["outcome"], "done");
    let questions = eventually("three questions", || Some(seen(&server, "GET /svc/wait/7?")).filter(|q| q.len() == 3));
    let numbers: Vec<u64> = questions.iter().map(number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert!(questions.iter().all(|q| is_signed(q, &wire::sign::wait(7, query(q)))));
    assert_eq!(seen(&server, "POST /svc/checkin").len(), 3, "the first, the one that was due, and the result");
}

#[test]
fn a_server_that_always_has_something_to_say_is_not_asked_in_a_circle() {
    if !possible(&["unshare"]) {
        return;
    }
    let server = Server::serve(TcpListener::bind("127.0.0.1:0").unwrap(), true, |request, stream| {
        match request.line.starts_with("GET /svc/wait/") {
            true => say(stream, r#"{"due":true}"#),
            false => say(stream, &none(&json!({"interval": LONG_S, "config_version": 3})).to_string()),
        }
    });
    let place = machine(&[(&server.url(), false)]);
    let _unit = place.start("checkin");
    // Eight check-ins behind the first, each due to a question; the next question waits a minute.
    eventually("nine check-ins", || (seen(&server, "POST /svc/checkin").len() == 9).then_some(()));
    std::thread::sleep(Duration::from_secs(3));
    let (asked, told) = (seen(&server, "GET /svc/wait/").len(), seen(&server, "POST /svc/checkin").len());
    assert_eq!((asked, told), (8, 9));
}

#[test]
fn a_port_that_flaps_does_not_delay_a_command() {
    if !possible(&["unshare"]) {
        return;
    }
    let flapped = Arc::new(AtomicBool::new(false));
    let is_due = Arc::clone(&flapped);
    let server = Server::serve(TcpListener::bind("127.0.0.1:0").unwrap(), true, move |request, stream| {
        match request.line.starts_with("GET /svc/wait/") {
            true => {
                // Answered once all hurried check-ins are used up.
                let (stream, is_due) = (stream.try_clone().unwrap(), Arc::clone(&is_due));
                std::thread::spawn(move || {
                    while !is_due.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    say(&stream, r#"{"due":true}"#);
                });
            }
            false => say(stream, &none(&json!({"interval": LONG_S, "config_version": 3})).to_string()),
        }
    });
    let place = machine(&[(&server.url(), false)]);
    let _unit = place.start("checkin");
    server.request(0);
    let mut net = place.state("net");
    for check_ins in 2..=9 {
        net["ports"][0]["addresses"][0] = format!("10.9.0.{check_ins}/24").into();
        net["servers"][0]["source"] = format!("the test, {check_ins}").into();
        place.publish("net", &net);
        // What is published is news only if a fact has changed, and this port has none: a finding is one.
        let finding = json!({"code": "no_driver", "component": "x", "text": format!("{check_ins}")});
        place.publish(
            "devices",
            &json!({"settled": true, "loaded": [], "failed": {}, "findings": [finding], "extensions": []}),
        );
        eventually("hurried check-in", || (seen(&server, "POST /svc/checkin").len() >= check_ins).then_some(()));
    }
    flapped.store(true, Ordering::Relaxed);
    eventually("check-in that was asked for", || (seen(&server, "POST /svc/checkin").len() >= 10).then_some(()));
}

#[test]
fn a_command_that_was_begun_is_not_begun_again_after_a_restart_and_its_failure_is_told() {
    if !possible(&["unshare"]) {
        return;
    }
    let commands = json!([{"id": 4, "kind": "collect-logs"}, {"id": 5, "kind": "doctor"}, {"id": 6, "kind": "dance"}]);
    let told = none(&json!({"interval": LONG_S, "commands": commands}));
    let hang_up = Arc::new(AtomicBool::new(false));
    let is_away = Arc::clone(&hang_up);
    let server = Server::serve(TcpListener::bind("127.0.0.1:0").unwrap(), true, move |request, stream| {
        match request.line.split(['?', ' ']).nth(1).unwrap() {
            "/svc/hello" => say(stream, r#"{"service":"razor-mk","protocol":1,"version":"0"}"#),
            // Neither is ever answered.
            "/svc/bundle/7" | "/svc/wait/7" => std::mem::forget(stream.try_clone().unwrap()),
            _ if is_away.load(Ordering::Relaxed) => {}
            _ => say(stream, &told.to_string()),
        }
    });
    let place = machine(&[(&server.url(), false)]);
    let unit = place.start("checkin");
    eventually("upload and the doctor's result", || {
        // The unit itself must have heard that it was told.
        let known = std::fs::read_to_string(place.path("run/razor-mk/checkin.commands")).unwrap_or_default();
        (known.contains("told 5") && seen(&server, "POST /svc/bundle/7?").len() == 1).then_some(())
    });
    hang_up.store(true, Ordering::Relaxed);
    drop(unit);
    hang_up.store(false, Ordering::Relaxed);
    let before = seen(&server, "POST /svc/checkin").len();
    let _unit = place.start("checkin");
    let results = eventually("the failure", || Some(results(&server)).filter(|r| r.contains_key(&4)));
    assert!(results[&4]["outcome"] == "failed", "{results:?}");
    assert!(results[&4]["detail"].as_str().unwrap().starts_with("it was interrupted"), "{results:?}");
    // The server has told all of them again, and none was begun.
    std::thread::sleep(Duration::from_secs(3));
    let after: Vec<Value> = seen(&server, "POST /svc/checkin")[before..].iter().map(Seen::json).collect();
    let again: Vec<&Value> = after.iter().filter_map(|body| body["results"].as_array()).flatten().collect();
    assert!(again.iter().all(|result| result["id"] == 4), "{again:?}");
    assert_eq!(seen(&server, "POST /svc/bundle/7?").len(), 1);
}

#[test]
fn nothing_of_the_tests_machine_can_blink_or_be_told_anything() {
    if !possible(&["unshare"]) {
        return;
    }
    let commands = json!([{"id": 1, "kind": "identify", "args": {"seconds": 1}}]);
    let server = Server::start(vec![none(&json!({"interval": LONG_S, "commands": commands}))]);
    let place = machine(&[(&server.url(), false)]);
    let known = ["full", "kmsg", "loop-control", "null", "random", "tty", "tty1", "urandom", "zero"];
    let is_known = |name: &String| known.contains(&name.as_str()) || name.starts_with("loop") || name.ends_with(':');
    let devices = place.devices();
    assert!(devices.len() > 5 && devices.iter().all(is_known), "{devices:?}");
    let _unit = place.start("checkin");
    let result = eventually("the result", || results(&server).get(&1).cloned());
    let why = result["detail"].as_str().unwrap();
    assert_eq!(result["outcome"], "failed", "{why}");
    assert!(why.contains("there is no BMC with an identify light") && why.contains(PORT), "{why}");
}
