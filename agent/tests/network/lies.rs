//! Servers that are none, or lie: each is named on the console, in the log and in the state with what to do, is asked
//! ever more seldom, and is forgotten once the right server answers.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::sandbox::{eventually, possible};
use crate::server::{Seen, Server, machine, none, say};

/// A lie is watched for so long, or until the first attempt has failed where that takes longer.
const WATCHED: Duration = Duration::from_secs(8);
/// Most requests within that time: after 0, ½, 1½ and 3½ seconds at the earliest.
const MOST: usize = 4;

/// What a server does with a request, and what must be said of it.
struct Lie {
    name: &'static str,
    answer: fn(&TcpStream),
    code: &'static str,
    /// In the problem and in its remedy.
    words: [&'static str; 2],
}

fn write(mut stream: &TcpStream, head: &str, body: &str) {
    let _ = write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}

/// Sends this over and over, until the other side has had enough.
fn flood(mut stream: &TcpStream, head: &str, piece: &str, pause: Duration) {
    let _ = stream.write_all(head.as_bytes());
    while stream.write_all(piece.as_bytes()).is_ok() {
        thread::sleep(pause);
    }
}

const JSON: &str = "200 OK\r\nContent-Type: application/json";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
const DRIP: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n";

const LIES: [Lie; 20] = [
    Lie {
        name: "captive portal",
        answer: |s| write(s, "200 OK\r\nContent-Type: text/html", "<html><title>Guest network: log in</title>"),
        code: "not_json",
        words: ["Guest network: log in", "correct the server's URL"],
    },
    Lie {
        name: "truncated JSON",
        answer: |s| write(s, JSON, "{\"action\": \"no"),
        code: "not_our_server",
        words: ["EOF while parsing", "correct the server's URL"],
    },
    Lie {
        name: "wrong content type",
        answer: |s| write(s, "200 OK\r\nContent-Type: text/plain", "{\"action\": \"none\"}"),
        code: "not_json",
        words: ["text/plain", "correct the server's URL"],
    },
    Lie {
        name: "empty answer",
        answer: |s| write(s, "200 OK", ""),
        code: "not_json",
        words: ["no content type", "correct the server's URL"],
    },
    Lie {
        name: "announces too much",
        answer: |mut s| drop(write!(s, "HTTP/1.1 {JSON}\r\nContent-Length: 99999999999\r\n\r\n")),
        code: "too_large",
        words: ["answered with more than", "correct the server's URL"],
    },
    Lie {
        name: "endless chunks",
        answer: |s| flood(s, CHUNKED, &format!("8000\r\n{}\r\n", " ".repeat(0x8000)), Duration::ZERO),
        code: "too_large",
        words: ["answered with more than", "correct the server's URL"],
    },
    Lie {
        name: "endless headers",
        answer: |s| flood(s, "HTTP/1.1 200 OK\r\n", &format!("X-A: {}\r\n", "a".repeat(4000)), Duration::ZERO),
        code: "not_http",
        words: ["message head is too large", "correct the server's URL"],
    },
    Lie {
        name: "another protocol",
        answer: |mut s| drop(s.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n")),
        code: "not_http",
        words: ["invalid HTTP", "correct the server's URL"],
    },
    Lie {
        name: "slow drip",
        answer: |s| flood(s, DRIP, " ", Duration::from_millis(200)),
        code: "timeout",
        words: ["no whole answer in time (30 s)", "log and load"],
    },
    Lie { name: "hangs up", answer: |_| {}, code: "broken", words: ["the connection broke", "server's log"] },
    Lie {
        name: "not found",
        answer: |s| write(s, "404 Not Found", ""),
        code: "http_status",
        words: ["HTTP 404", "Correct the server's URL"],
    },
    Lie {
        name: "broken server",
        answer: |s| write(s, "500 Oops", "a stack trace"),
        code: "http_status",
        words: ["HTTP 500: `a stack trace`", "server's log"],
    },
    Lie {
        name: "overloaded server",
        answer: |s| write(s, "503 Busy\r\nRetry-After: 5", "busy"),
        code: "http_status",
        words: ["HTTP 503: `busy`", "overloaded"],
    },
    Lie {
        name: "redirect",
        answer: |s| write(s, "302 Found\r\nLocation: http://login.example/?to=x", ""),
        code: "redirected",
        words: ["http://login.example/", "at which the server itself answers"],
    },
    Lie {
        name: "network wants a log-in",
        answer: |s| write(s, "511 Network Authentication Required\r\nContent-Type: text/html", "<html>Log in"),
        code: "http_status",
        words: ["HTTP 511: `<html>Log in`", "let this machine pass its portal"],
    },
    Lie {
        name: "proxy wants a log-in",
        answer: |s| write(s, "407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x", ""),
        code: "http_status",
        words: ["HTTP 407: without a word", "let this machine pass it"],
    },
    Lie {
        name: "proxy without its server",
        answer: |s| write(s, "502 Bad Gateway\r\nVia: 1.1 proxy", "no upstream"),
        code: "http_status",
        words: ["HTTP 502: `no upstream`", "see whether the server behind it runs"],
    },
    Lie {
        name: "proxy with a small limit",
        answer: |s| write(s, "413 Content Too Large\r\nContent-Type: text/html", "too big"),
        code: "http_status",
        words: ["HTTP 413: `too big`", "let 4 MiB pass"],
    },
    Lie {
        name: "cut answer",
        answer: |mut s| drop(write!(s, "HTTP/1.1 {JSON}\r\nContent-Length: 1000\r\n\r\n{{\"action\"")),
        code: "broken",
        words: ["the connection broke", "server's log"],
    },
    Lie {
        name: "cut chunks",
        answer: |mut s| drop(write!(s, "{CHUNKED}9\r\n{{\"action\"\r\n")),
        code: "broken",
        words: ["the connection broke", "server's log"],
    },
];

#[test]
fn each_lie_is_named_asked_seldom_and_forgotten() {
    if !possible(&["unshare"]) {
        return;
    }
    thread::scope(|scope| {
        let told: Vec<_> = LIES.iter().map(|lie| (lie.name, scope.spawn(|| tell(lie)))).collect();
        let failed: Vec<&str> =
            told.into_iter().filter_map(|(name, run)| run.join().is_err().then_some(name)).collect();
        assert!(failed.is_empty(), "{failed:?}");
    });
}

fn tell(lie: &Lie) {
    let honest = Arc::new(AtomicBool::new(false));
    let (turned, answer) = (Arc::clone(&honest), lie.answer);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::answering(listener, move |_, stream| match turned.load(Ordering::Relaxed) {
        true => say(stream, &none(&json!({"interval": 600})).to_string()),
        false => answer(stream),
    });
    let place = machine(&[(&server.url(), false)]);
    let (_console, _unit) = (place.start("console"), place.start("checkin"));

    let state = eventually("failure", || Some(place.state("checkin")).filter(|s| s["failures"].as_u64() >= Some(1)));
    let (error, remedy) = (state["error"]["error"].as_str().unwrap(), state["error"]["remedy"].as_str().unwrap());
    assert_eq!(state["error"]["code"], lie.code, "{}: {error}", lie.name);
    assert!(error.contains(lie.words[0]) && error.contains(&server.url()), "{}: {error}", lie.name);
    assert!(remedy.contains(lie.words[1]), "{}: {remedy}", lie.name);
    assert_eq!(state["stage"], "waiting to try again");
    eventually("line on the console", || {
        let serial = place.serial();
        let line = serial.lines().find(|l| l.starts_with("razor: problem: ") && l.contains(lie.words[0]))?;
        assert!(line.contains("Next step: ") && line.contains(lie.words[1]), "{}: {line}", lie.name);
        Some(())
    });
    assert!(place.log("checkin").contains(lie.words[0]), "{}", place.log("checkin"));
    let status = place.prints("status");
    assert!(status.contains(lie.words[0]) && status.contains("stage:      waiting to try again"), "{status}");

    thread::sleep(WATCHED.saturating_sub(server.request(0).at.elapsed()));
    let times = server.times();
    println!("{}: asked after {times:?} ms", lie.name);
    assert!(times.iter().filter(|t| **t < WATCHED.as_millis()).count() <= MOST, "{}: {times:?}", lie.name);
    if lie.name == "overloaded server" {
        assert!(times[1] >= 5000, "it asked for five seconds");
    }
    // Once in the log and once on the console, however often it happened.
    assert_eq!(place.log("checkin").matches(lie.words[0]).count(), 1, "{}", place.log("checkin"));
    assert_eq!(place.serial().matches(lie.words[0]).count(), 1, "{}", place.serial());

    // The doctor asks anew; that takes too long where the server does.
    let doctor = if lie.code == "timeout" { String::new() } else { place.prints("doctor") };
    assert!(
        doctor.is_empty() || (doctor.contains("FAILED") && doctor.contains(lie.words[0])),
        "{}: {doctor}",
        lie.name
    );

    honest.store(true, Ordering::Relaxed);
    eventually("recovery", || (place.state("checkin")["stage"] == "checked in").then_some(()));
    assert!(place.state("checkin")["error"].is_null());
    let told = |s: &Seen| s.line.starts_with("POST ") && s.codes().contains(&lie.code.to_owned());
    eventually("word of it to the right server", || server.seen.lock().unwrap().iter().any(told).then_some(()));
    eventually("word of it on the console", || place.serial().contains("razor: checked in").then_some(()));
}
