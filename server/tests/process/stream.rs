//! The stream of what happens: at once, from a place on, for so many, and not for who takes nothing.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use serde_json::Value;

use crate::support::Server;

/// Longest wait for something that comes at once.
const SOON: Duration = Duration::from_secs(30);
/// As many as the server allows.
const STREAMS: usize = mk_server::limits::MAX_STREAMS;

/// A stream as a client reads it.
pub(crate) struct Events {
    response: Response,
    text: String,
}

impl Events {
    /// Opens a stream; `query` and the place that a client had last.
    pub(crate) async fn open(server: &Server, query: &str, last: Option<&str>) -> Result<Self, (u16, Value)> {
        let mut request = server.request(Method::GET, &format!("/api/collections/events{query}"));
        request = request.header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        if status != 200 {
            return Err((status, response.json().await.unwrap()));
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Ok(Self { response, text: String::new() })
    }

    /// The next entry with its place; nothing at the stream's end.
    pub(crate) async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| event.lines().find_map(|l| l.strip_prefix(name)).map(str::to_owned);
                let found = line("id: ").zip(line("data: "));
                self.text = rest.to_owned();
                match found {
                    Some((id, data)) => return Some((id, serde_json::from_str(&data).unwrap())),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(SOON, self.response.chunk()).await.unwrap();
            self.text += std::str::from_utf8(&chunk.ok()??).unwrap();
        }
    }

    /// The next entry of this kind.
    pub(crate) async fn kind(&mut self, kind: &str) -> (String, Value) {
        loop {
            let (id, entry) = self.next().await.unwrap();
            if entry["entry"]["event"] == kind {
                return (id, entry);
            }
        }
    }
}

#[tokio::test]
async fn what_happens_comes_at_once_and_who_comes_again_misses_nothing_and_hears_nothing_twice() {
    let mut server = Server::start("");
    let mut all = Events::open(&server, "", None).await.unwrap();
    let first = server.boot("net0=00-11-22-33-44-01").await.unwrap();
    let (_, made) = all.kind("node-created").await;
    assert_eq!(made["node"], "node1");
    let mut one = Events::open(&server, "?node=node1", None).await.unwrap();
    server.boot("net0=00-11-22-33-44-02").await.unwrap();
    server.text(&format!("/svc/log/{first}?msg=hello")).await;
    let (place, _) = all.kind("node-created").await;
    let (_, said) = one.next().await.unwrap();
    assert_eq!((&said["entry"]["msg"], &said["node"]), (&"hello".into(), &"node1".into()), "not what another node did");
    drop((all, one));

    // While nobody watches, and over a start of the server.
    server.text("/svc/log/2?msg=away").await;
    server.restart("");
    let mut again = Events::open(&server, "", Some(&place)).await.unwrap();
    server.text("/svc/log/2?msg=live").await;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|entry: &Value| entry["entry"]["msg"] != "live") {
        seen.push(again.next().await.unwrap().1);
    }
    let (_, after) = server.get(&format!("/api/collections/events?after={place}")).await;
    assert_eq!(after["items"].as_array().unwrap(), &seen);
    assert!(seen.iter().any(|entry| entry["entry"]["msg"] == "away"), "{seen:?}");

    let (status, refused) = Events::open(&server, "", Some("999999.999999")).await.err().unwrap();
    assert_eq!((status, &refused["code"]), (410, &"log_began_anew".into()));
    let (status, _) = Events::open(&server, "", Some("x")).await.err().unwrap();
    assert_eq!(status, 400);
    assert!(server.ends(), "with a stream open");
    assert!(again.next().await.is_none());
}

#[tokio::test]
async fn many_watch_while_much_happens_and_each_hears_all_of_it_in_order() {
    let server = Server::start("");
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(Events::open(&server, "", None).await.unwrap());
    }
    let (status, refused) = Events::open(&server, "", None).await.err().unwrap();
    assert_eq!((status, &refused["code"]), (503, &"busy".into()));
    let id = server.boot("net0=00-11-22-33-44-01").await.unwrap();
    let lines = async {
        for n in 0..100 {
            server.text(&format!("/svc/log/{id}?msg=line{n}")).await;
        }
    };
    let first = async {
        let (mut ids, mut lines) = (BTreeSet::new(), Vec::new());
        let stream = &mut streams[0];
        while lines.len() < 100 {
            let (id, entry) = stream.next().await.unwrap();
            assert!(ids.insert(id), "twice: {entry}");
            lines.extend(entry["entry"]["msg"].as_str().map(str::to_owned));
        }
        assert_eq!(lines, (0..100).map(|n| format!("line{n}")).collect::<Vec<_>>());
    };
    tokio::join!(lines, first);
    for stream in &mut streams[1..] {
        while stream.next().await.unwrap().1["entry"]["msg"] != "line99" {}
    }
    drop(streams);
    // A place is free again once the server has seen that its client is gone.
    let begun = Instant::now();
    while Events::open(&server, "", None).await.is_err() {
        assert!(begun.elapsed() < SOON);
        server.text(&format!("/svc/log/{id}?msg=more")).await;
    }
}

#[tokio::test]
async fn who_takes_nothing_of_what_it_asked_for_is_left_behind() {
    let server = Server::start("");
    let id = server.boot("net0=00-11-22-33-44-01").await.unwrap();
    let mut slow = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    let ask = "GET /api/collections/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";
    slow.write_all(ask.as_bytes()).unwrap();
    let filler = "x".repeat(8000);
    // Batch after batch, each of its own read: more than its connection and its place hold.
    for batch in 0..70 {
        let lines = (0..16).map(|n| {
            let path = format!("/svc/log/{id}?msg={batch}.{n}{filler}");
            let request = server.request(Method::GET, &path);
            tokio::spawn(async move { request.send().await.unwrap() })
        });
        for line in lines.collect::<Vec<_>>() {
            assert_eq!(line.await.unwrap().status(), 204);
        }
        tokio::time::sleep(mk_server::limits::WATCH_PAUSE).await;
    }
    server.text(&format!("/svc/log/{id}?msg=last")).await;
    // It ends, before the last line, though its client is still there.
    slow.set_read_timeout(Some(SOON)).unwrap();
    let (mut text, begun) = (Vec::new(), Instant::now());
    let mut chunk = [0; 65536];
    while !text.ends_with(b"0\r\n\r\n") {
        assert!(begun.elapsed() < SOON, "it goes on, after {} bytes", text.len());
        match slow.read(&mut chunk).unwrap() {
            0 => break,
            n => text.extend_from_slice(&chunk[..n]),
        }
    }
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("200 OK") && !text.contains("\"last\""), "{} bytes", text.len());
}
