//! The requests that a genuine razor-server was sent (`mk_tests::recorded`), in the same order, to this server: where the
//! original has an answer, ours has the same status, and every value that stands in the original's JSON. [`DEVIATIONS`]
//! says where it is another one, and why.

use mk_tests::recorded::{Exchange, Recording};
use serde_json::Value;

use crate::support::Server;

/// Exchanges with another status, that status, and why.
const DEVIATIONS: [(&str, u16, &str); 5] = [
    ("check-in, without id", 200, "a machine that booted from media has none"),
    ("check-in, with GET", 405, "the path is there, for POST"),
    ("check-in, facts are empty", 400, "facts without any match value say nothing about which machine speaks"),
    ("check-in, by the id that was merged", 200, "a merged id goes on answering as an alias"),
    ("hello", 200, "asked before anything is sent to a server that was only guessed"),
];

/// Settings as in the original's `config.yaml.sample`.
const SETTINGS: &str = "match_nodes_on = [\"mac\"]\ncheckin_interval = 15\n";

/// What ours answered: status, media type, body.
async fn ask(server: &Server, exchange: &Exchange) -> (u16, String, String) {
    let method = exchange.method.parse().unwrap();
    let mut request = server.request(method, &exchange.path);
    if let Some(kind) = &exchange.content_type {
        request = request.header("content-type", kind);
    }
    let response = request.body(exchange.body.clone().unwrap_or_default()).send().await.unwrap();
    let kind = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    (response.status().as_u16(), kind, response.text().await.unwrap())
}

/// Keys whose values are words for people: ours has its own.
const WORDS: [&str; 2] = ["result", "error"];

/// Keys that an operator's command is answered with, which lead to collections of the original's.
const ADDRESSES: [&str; 3] = ["spec", "id", "command"];

#[tokio::test]
async fn what_a_genuine_razor_server_answered_is_answered_alike() {
    let server = Server::start(SETTINGS);
    for exchange in Recording::read().unwrap().exchanges {
        let (status, kind, body) = ask(&server, &exchange).await;
        let name = exchange.name.as_str();
        let deviation = DEVIATIONS.iter().find(|(deviating, ..)| *deviating == name);
        assert_eq!(status, deviation.map_or(exchange.status(), |(_, status, _)| *status), "{name}: {body}");
        if deviation.is_some() {
            assert_ne!(status, exchange.status(), "{name} deviates no longer");
            continue;
        }
        let Some(original) = exchange.answer.as_deref() else {
            assert!(kind.starts_with("text/plain") && body.starts_with("#!ipxe\n"), "{name}: {kind}: {body}");
            continue;
        };
        let Ok(Value::Object(original)) = serde_json::from_str(original) else { continue };
        assert_eq!(kind, "application/json", "{name}");
        let ours: Value = serde_json::from_str(&body).unwrap();
        let is_command = exchange.path.starts_with("/api/commands/");
        for (key, value) in original.into_iter().filter(|(key, _)| !is_command || !ADDRESSES.contains(&key.as_str())) {
            let is_words = WORDS.contains(&key.as_str()) && value.is_string();
            let alike = if is_words { ours[&key].is_string() } else { ours[&key] == value };
            assert!(alike, "{name}: {key} of {body} is not {value}");
        }
    }
}
