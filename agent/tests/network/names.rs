//! More than one way to say where the server is: a guess that stands in for it, and two names of one server.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::sandbox::{eventually, possible};
use crate::server::{Seen, Server, machine, none, refuse, say};

#[test]
fn a_guessed_server_only_stands_in_until_the_named_one_is_back() {
    if !possible(&["unshare"]) {
        return;
    }
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let guessed = Server::start(vec![none(&json!({"id": 3, "name": "node3"}))]);
    let named = format!("http://{address}");
    let place = machine(&[(&named, false), (&guessed.url(), true)]);
    let _unit = place.start("checkin");
    eventually("check-in with the guessed one", || (place.state("checkin")["node_id"] == 3).then_some(()));
    let log = place.log("checkin");
    let line = log.lines().find(|l| l.contains("checked in as node3")).unwrap();
    assert!(line.contains(&named) && line.contains("refused"), "why a guess stands in: {line}");
    eventually("word of it to the guessed one", || {
        let seen = guessed.seen.lock().unwrap();
        seen.iter().any(|s| s.line.starts_with("POST ") && s.codes() == ["connect"]).then_some(())
    });
    let doctor = place.prints("doctor");
    assert!(doctor.contains("\nconnection  FAILED  ") && doctor.contains("\ngreeting    ok "), "{doctor}");
    assert!(doctor.contains(&format!("\nverdict     FAILED  connection to {named}")), "{doctor}");

    let back = Server::on(TcpListener::bind(address).unwrap(), vec![none(&json!({"interval": 600}))]);
    assert!(back.request(0).line.starts_with("POST /svc/checkin "), "with an id of its own");
    eventually("the named one", || (place.state("checkin")["server"] == named.as_str()).then_some(()));
    let served = guessed.seen.lock().unwrap().len();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(guessed.seen.lock().unwrap().len(), served, "nobody else is asked any more");
}

/// What becomes of a request that the server takes.
#[derive(Clone, Copy)]
enum Fate {
    Answered,
    /// It is taken, and its answer does not arrive.
    Lost,
    /// It is not taken: HTTP 500.
    Broken,
}

/// A server at two addresses that orders requests as ours does, and the requests that it refused as replays. The last
/// fate is for ever.
fn of_two_names(fates: &'static [Fate], reply: fn(&Seen) -> Value) -> (Server, Arc<Mutex<Vec<Seen>>>) {
    let replays = Arc::new(Mutex::new(Vec::new()));
    let (log, mut count, mut last) = (Arc::clone(&replays), 0, (0, Vec::new(), Value::Null));
    let server = Server::answering(TcpListener::bind("0.0.0.0:0").unwrap(), move |request, stream| {
        let seq = request.json()["seq"].as_u64().unwrap();
        if seq < last.0 || (seq == last.0 && request.body != last.1) {
            log.lock().unwrap().push(request.clone());
            return refuse(stream, "409 Conflict", "replay");
        }
        let fate = fates[count.min(fates.len() - 1)];
        count += 1;
        if matches!(fate, Fate::Broken) {
            return refuse(stream, "500 Oops", "internal");
        }
        if seq > last.0 {
            last = (seq, request.body.clone(), reply(request));
        }
        if matches!(fate, Fate::Answered) {
            say(stream, &last.2.to_string());
        }
    });
    (server, replays)
}

#[test]
fn a_lost_request_goes_to_the_same_server_under_another_name_without_a_false_alarm() {
    if !possible(&["unshare"]) {
        return;
    }
    let (server, replays) =
        of_two_names(&[Fate::Lost, Fate::Answered, Fate::Broken, Fate::Answered], |_| none(&json!({})));
    let port = server.address.port();
    let place = machine(&[(&format!("http://127.0.0.1:{port}"), false), (&format!("http://127.0.0.2:{port}"), false)]);
    let _unit = place.start("checkin");
    let (first, again) = (server.request(0), server.request(1));
    assert_ne!(first.header("host"), again.header("host"));
    assert!(first.body == again.body, "the same bytes: the server may have taken them");
    server.request(5);
    assert_eq!(replays.lock().unwrap().len(), 0);
    assert!(!place.log("checkin").contains("replay"), "{}", place.log("checkin"));
}

#[test]
fn what_was_told_in_a_lost_request_is_not_told_twice_when_it_cannot_be_repeated() {
    if !possible(&["unshare"]) {
        return;
    }
    // The second request is short, since the server has everything. It is lost, and the other name must be sent all.
    let reply = |seen: &Seen| match seen.json()["seq"].as_u64() {
        Some(1) => none(&json!({"action": "dance"})),
        _ => none(&json!({"interval": 600})),
    };
    let (server, replays) = of_two_names(&[Fate::Answered, Fate::Lost, Fate::Answered], reply);
    let port = server.address.port();
    let place = machine(&[(&format!("http://127.0.0.1:{port}"), false), (&format!("http://127.0.0.2:{port}"), false)]);
    let _unit = place.start("checkin");
    let (lost, anew, next) = (server.request(1), server.request(2), server.request(3));
    assert_eq!((lost.codes(), lost.json()["facts"].is_null()), (vec!["unsupported_action".to_owned()], true));
    assert_eq!(
        (&anew.json()["seq"], anew.json()["facts"].is_object()),
        (&2.into(), true),
        "whole, and the same number"
    );
    assert_eq!(replays.lock().unwrap().len(), 1, "the server says that it took it");
    assert_eq!(
        (&next.json()["seq"], next.codes()),
        (&3.into(), Vec::new()),
        "told once, and the refusal is no problem"
    );
    eventually("check-in", || (place.state("checkin")["failures"] == 0).then_some(()));
    assert!(!place.log("checkin").contains("replay"), "{}", place.log("checkin"));
}
