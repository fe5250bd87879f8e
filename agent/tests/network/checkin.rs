//! The check-in loop against an HTTP server that answers as it is told and keeps what it was sent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::sandbox::{Place, eventually, possible};

const HELLO: &str = r#"{"service":"razor-mk","protocol":1,"version":"0"}"#;

/// A request as it came.
#[derive(Debug, Clone, Default)]
struct Seen {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, v)| v)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn codes(&self) -> Vec<String> {
        let problems = self.json()["problems"].as_array().cloned().unwrap_or_default();
        problems.iter().map(|p| p["code"].as_str().unwrap().to_owned()).collect()
    }
}

/// Answers check-ins with these replies in turn, the last one for ever; null hangs up without an answer.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    fn start(replies: Vec<Value>) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), replies)
    }

    fn on(listener: TcpListener, replies: Vec<Value>) -> Self {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            let mut next = 0;
            while let Ok((stream, _)) = listener.accept() {
                let Some(request) = read(&stream) else { continue };
                let reply = if request.line.starts_with("GET /svc/hello ") {
                    HELLO.to_owned()
                } else {
                    next += 1;
                    replies[next.min(replies.len()) - 1].to_string()
                };
                log.lock().unwrap().push(request);
                if reply == "null" {
                    continue;
                }
                let kind = "Content-Type: application/json\r\nConnection: close";
                let _ = write!(&stream, "HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {}\r\n\r\n{reply}", reply.len());
            }
        });
        Self { address, seen }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The request with this number, from 0.
    fn request(&self, number: usize) -> Seen {
        eventually("request", || self.seen.lock().unwrap().get(number).cloned())
    }
}

fn read(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<(String, String)> =
        lines.iter().skip(1).filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let mut seen = Seen { line: lines.first()?.clone(), headers, body: Vec::new() };
    let length = seen.header("content-length").parse().unwrap_or(0);
    seen.body.resize(length, 0);
    reader.read_exact(&mut seen.body).ok()?;
    Some(seen)
}

/// A machine whose devices have settled and whose port has an address, with these servers (URL, guessed).
fn machine(servers: &[(&str, bool)]) -> Place {
    let place = Place::new("");
    let hints: Vec<Value> = servers
        .iter()
        .map(|(url, guessed)| json!({"url": url, "checkin": null, "source": "the test", "guessed": guessed}))
        .collect();
    let port = json!({"name": "eth0", "key": "k", "mac": "52:54:00:12:34:56", "up": true, "addresses": ["10.9.0.5/24"],
        "gateway": null, "source": "static", "error": null});
    place.publish("net", &json!({"ports": [port], "dns": [], "search": [], "servers": hints, "problems": []}));
    place.publish("devices", &json!({"settled": true, "loaded": [], "failed": {}, "findings": [], "extensions": []}));
    place
}

fn none(more: &Value) -> Value {
    let mut reply =
        json!({"action": "none", "id": 7, "name": "node7", "state": "normal", "send_inventory": false, "interval": 1});
    reply.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    reply
}

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
fn commands_configuration_and_unknown_words_are_answered() {
    if !possible(&["unshare"]) {
        return;
    }
    let commands = json!([{"id": 1, "kind": "refresh"}, {"id": 2, "kind": "doctor"}]);
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
    assert!(seen as u64 <= seconds + 4, "{seen} requests in {seconds} s");
}
