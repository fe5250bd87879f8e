//! Proxies between node and server that mean well: they buffer, add headers, strip chunks, speak an old HTTP, or end what
//! is idle. The node checks in through each of them, and no question that waits becomes a flood.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::sandbox::{Unit, eventually, possible};
use crate::server::{Server, machine, none, say};

/// What a proxy makes of a good answer.
struct Proxy {
    name: &'static str,
    passes: fn(&TcpStream, &str),
}

const PROXIES: [Proxy; 5] = [
    Proxy {
        name: "adds headers and folds case",
        passes: |mut s, reply| {
            let head = "HTTP/1.1 200 OK\r\nvia: 1.1 squid\r\nX-CACHE: MISS from x\r\nAge: 0\r\nSet-Cookie: a=b\r\n\
                        content-TYPE: Application/JSON; charset=utf-8\r\nConnection: keep-alive\r\n";
            let _ = write!(s, "{head}Content-Length: {}\r\n\r\n{reply}", reply.len());
        },
    },
    Proxy {
        name: "speaks HTTP/1.0 and gives no length",
        passes: |mut s, reply| {
            let _ = write!(s, "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{reply}");
        },
    },
    Proxy {
        name: "sends chunks of one byte",
        passes: |mut s, reply| {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            let chunks: String = reply.chars().map(|c| format!("1;x=y\r\n{c}\r\n")).collect();
            let _ = write!(s, "{head}{chunks}0\r\nX-Trailer: z\r\n\r\n");
        },
    },
    Proxy {
        name: "says first that it goes on",
        passes: |mut s, reply| {
            let _ = s.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
            say(s, reply);
        },
    },
    Proxy {
        name: "buffers for two seconds",
        passes: |s, reply| {
            thread::sleep(Duration::from_secs(2));
            say(s, reply);
        },
    },
];

#[test]
fn a_proxy_that_means_well_does_no_harm() {
    if !possible(&["unshare"]) {
        return;
    }
    thread::scope(|scope| {
        for proxy in &PROXIES {
            scope.spawn(|| {
                let passes = proxy.passes;
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let reply = none(&json!({})).to_string();
                let server = Server::answering(listener, move |_, stream| passes(stream, &reply));
                let place = machine(&[(&server.url(), false)]);
                let _unit = place.start("checkin");
                let second = server.request(1);
                assert!(second.line.starts_with("POST /svc/checkin/7 "), "{}: {}", proxy.name, second.line);
                let state = place.state("checkin");
                assert!(state["error"].is_null() && state["failures"] == 0, "{}: {state}", proxy.name);
            });
        }
    });
}

/// A proxy ends what is idle for so long.
const IDLE: Duration = Duration::from_secs(6);
/// It is watched for so long.
const WATCHED: Duration = Duration::from_secs(30);

#[test]
fn questions_that_a_proxy_ends_become_shorter_and_no_flood() {
    if !possible(&["unshare"]) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // One at a time is answered here, and a node has no more than one question.
    let reply = none(&json!({"interval": 600, "config_version": 0})).to_string();
    let server = Server::serve(listener, true, move |request, mut stream| {
        if !request.line.starts_with("GET /svc/wait/") {
            return say(stream, &reply);
        }
        let asked = wait_of(&request.line);
        thread::sleep(Duration::from_secs(asked).min(IDLE));
        match Duration::from_secs(asked) < IDLE {
            true => say(stream, r#"{"due":false}"#),
            false => drop(write!(stream, "HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n")),
        }
    });
    let place = machine(&[(&server.url(), false)]);
    let unit: Unit = place.start("checkin");
    eventually("check-in", || (place.state("checkin")["stage"] == "checked in").then_some(()));
    let begun = Instant::now();
    thread::sleep(WATCHED.saturating_sub(begun.elapsed()));
    let seen = server.seen.lock().unwrap().clone();
    let waits: Vec<u64> = seen.iter().filter(|s| s.line.starts_with("GET ")).map(|s| wait_of(&s.line)).collect();
    println!("questions of {waits:?} seconds, {:?} of processor time", unit.processor_time());
    // A machine that stalls may notice the first end late, and needs another one.
    assert!(waits[0] >= 50 && waits[2..].iter().all(|wait| *wait < IDLE.as_secs()), "{waits:?}");
    let most = usize::try_from(WATCHED.as_secs() / waits[2]).unwrap() + 2;
    assert!((4..=most).contains(&waits.len()), "after each another one waits: {waits:?}");
    assert_eq!(seen.len() - waits.len(), 1, "a question that is ended is no reason to check in");
    let state = place.state("checkin");
    assert!(state["error"].is_null() && state["failures"] == 0, "{state}");
}

/// How many seconds a question would wait.
fn wait_of(line: &str) -> u64 {
    let (_, rest) = line.split_once("wait=").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}
