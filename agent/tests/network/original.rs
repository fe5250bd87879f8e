//! An unmodified razor-server: it answers as the original's own code does, status by status and with its empty bodies.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::sandbox::{eventually, possible};
use crate::server::{Seen, Server, machine_with, say};

/// The one node that this razor-server knows.
const KNOWN: &str = "/svc/checkin/7";

fn answer(mut stream: &TcpStream, status: &str, kind: &str, body: &str) {
    let headers = format!("Content-Type: {kind}\r\nX-Content-Type-Options: nosniff\r\nConnection: close");
    let _ = write!(stream, "HTTP/1.1 {status}\r\n{headers}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}

/// In the original's order: route, media type, JSON, facts, node.
fn razor_server(actions: &'static [&'static str]) -> Server {
    let count = Arc::new(Mutex::new(0));
    Server::answering(TcpListener::bind("127.0.0.1:0").unwrap(), move |request: &Seen, stream| {
        let path = request.line.split(' ').nth(1).unwrap();
        let is_checkin = request.line.starts_with("POST /svc/checkin/");
        let body: Option<Value> = serde_json::from_slice(&request.body).ok();
        let facts = body.as_ref().is_some_and(|b| b["facts"].is_object());
        match () {
            () if !is_checkin => answer(stream, "404 Not Found", "text/html;charset=utf-8", "<h1>Not Found</h1>"),
            () if request.header("content-type") != "application/json" || !facts => {
                answer(stream, "400 Bad Request", "application/json", "");
            }
            () if path != KNOWN => answer(stream, "404 Not Found", "application/json", ""),
            () => {
                let mut count = count.lock().unwrap();
                let action = actions[(*count).min(actions.len() - 1)];
                *count += 1;
                say(stream, &json!({"action": action}).to_string());
            }
        }
    })
}

fn hints(server: &Server, checkin: Option<&str>) -> [Value; 1] {
    let checkin = checkin.map(|path| format!("{}{path}", server.url()));
    [json!({"url": server.url(), "checkin": checkin, "source": "the kernel line", "guessed": false})]
}

#[test]
fn a_node_of_an_original_server_reports_all_facts_every_time() {
    if !possible(&["unshare"]) {
        return;
    }
    let server = razor_server(&["none"]);
    let place = machine_with("razor.interval=1", &hints(&server, Some(KNOWN)));
    let _unit = place.start("checkin");
    for number in 0..3 {
        let seen = server.request(number);
        assert!(seen.line.starts_with("POST /svc/checkin/7 HTTP"), "{}", seen.line);
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
    let server = razor_server(&["none"]);
    let place = machine_with("", &hints(&server, Some("/svc/checkin/99")));
    let _unit = place.start("checkin");
    let named = || place.log("checkin").contains("/svc/checkin/99 answered HTTP 404: without a word");
    eventually("the refusal in the log", || named().then_some(()));
    let tried = || server.seen.lock().unwrap().iter().any(|s| s.line.starts_with("POST /svc/checkin HTTP"));
    eventually("a check-in without the id", || tried().then_some(()));
}
