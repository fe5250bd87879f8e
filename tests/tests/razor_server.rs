//! The recording of a genuine razor-server (`tests/recorded/razor-server.json`), and how to make it anew:
//!
//! ```text
//! MK_RAZOR_SERVER=127.0.0.1:8150 cargo test -p mk-tests --test razor_server
//! ```
//!
//! There a razor-server must listen whose database is empty and migrated, with the settings of its `config.yaml.sample` but
//! for `auth.enabled: false`. The requests are those in the file; their answers are replaced, and `git diff` shows what
//! has changed. Its own container will do, or its `config.ru` under any Ruby with the gems of its `Gemfile`, where
//! stand-ins for `torquebox/logger`, `torquebox-messaging` (queues that drop what they get) and Apache Shiro take the
//! application server's place: nothing that is recorded passes through those. Name what ran it in `made_with`.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use mk_tests::recorded::{self, Exchange, Recording};

/// Where the genuine server listens, as `ADDRESS:PORT`.
const GENUINE: &str = "MK_RAZOR_SERVER";
/// Name by which it is asked, which stands in some of its answers.
const HOST: &str = "razor.example:8150";
/// Longest wait for an answer of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks it once more.
fn ask(address: &str, exchange: &mut Exchange) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let kind = exchange.content_type.as_ref().map(|kind| format!("Content-Type: {kind}\r\n"));
    let length = exchange.body.as_ref().map(|body| format!("Content-Length: {}\r\n", body.len()));
    let headers = [kind, length].into_iter().flatten().collect::<String>();
    let body = exchange.body.as_deref().unwrap_or_default();
    let Exchange { method, path, .. } = &exchange;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{headers}\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let end = answer.find("\r\n\r\n").unwrap() + 4;
    let body = answer.split_off(end);
    exchange.head = answer;
    exchange.answer = (!body.starts_with("#!ipxe")).then_some(body);
}

#[test]
fn the_recording_is_whole() {
    let mut recording = Recording::read().unwrap();
    if let Ok(address) = std::env::var(GENUINE) {
        recording.exchanges.iter_mut().for_each(|exchange| ask(&address, exchange));
        let text = serde_json::to_string_pretty(&recording).unwrap();
        std::fs::write(recorded::file(), text + "\n").unwrap();
    }
    assert!(recording.of.contains("razor-server") && !recording.made_with.is_empty());
    for exchange in &recording.exchanges {
        assert!((200..=599).contains(&exchange.status()), "{exchange:?}");
        let is_script = exchange.header("content-type").is_some_and(|kind| kind.starts_with("text/plain"));
        assert_eq!(exchange.answer.is_none(), is_script && exchange.status() == 200, "{exchange:?}");
        let Some(body) = &exchange.answer else { continue };
        assert_eq!(exchange.header("content-length").map_or(0, |n| n.parse().unwrap()), body.len(), "{exchange:?}");
        assert!(!exchange.bytes().is_empty());
    }
    let names: std::collections::BTreeSet<_> = recording.exchanges.iter().map(|e| &e.name).collect();
    assert_eq!(names.len(), recording.exchanges.len(), "each has a name of its own");
}
