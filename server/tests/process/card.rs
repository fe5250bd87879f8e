//! The report card of a boot: kept for that boot, shown by API, command line and page, and no part of the inventory.

use serde_json::{Value, json};

use crate::agents::{Boot, inventory};
use crate::support::Server;

fn span(begin_ms: u64, took_ms: u64) -> Value {
    json!({"begin_ms": begin_ms, "took_ms": took_ms})
}

async fn node(server: &Server) -> Value {
    server.get("/api/collections/nodes/node1").await.1
}

#[tokio::test]
async fn a_boots_card_is_kept_and_shown_and_changes_nothing_else() {
    let mut server = Server::start("");
    let mut boot = Boot::new(1);
    let mut report = inventory(&["00-11-22-33-44-aa"], "SERIAL1");
    report["inventory_digest"] = json!("0".repeat(64));
    let begun = json!({"kernel": span(0, 2900), "dhcp": span(6000, 31_260)});
    report["card"] = begun.clone();
    assert_eq!(boot.send(&server, &report).await.0, 200);
    assert_eq!(node(&server).await["boot"], json!({"stages": begun, "slowest": "dhcp"}));

    // Completed with a check-in that brings nothing else.
    let mut whole = begun.clone();
    whole["exchange"] = span(37_900, 21);
    let reply = boot.send(&server, &json!({"inventory_digest": "0".repeat(64), "card": whole})).await.1;
    assert_eq!(reply["send_inventory"], false, "the inventory is the same");
    boot.send(&server, &json!({"inventory_digest": "0".repeat(64)})).await;
    server.restart("");
    let shown = node(&server).await;
    assert_eq!(shown["boot"], json!({"stages": whole, "slowest": "dhcp"}), "it stays until another comes");
    assert_eq!(server.get("/api/collections/nodes/node1/reports").await.1["total"], 1, "it is no part of a report");

    let shown = String::from_utf8(server.cli(&["nodes", "show", "node1"]).stdout).unwrap();
    let page = server.text("/nodes/node1").await.1;
    for words in ["first answer after 37.9 s, slowest: DHCP lease 31.2 s", "DHCP lease", "2.9 s", "set portfast"] {
        assert!(shown.contains(words), "{words} is missing:\n{shown}");
        assert!(page.contains(words), "{words} is missing:\n{page}");
    }
    let wide: Vec<&str> = shown.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:?}");

    let mut next = Boot::new(2);
    report.as_object_mut().unwrap().remove("card");
    assert_eq!(next.send(&server, &report).await.0, 200);
    assert_eq!(node(&server).await["boot"], Value::Null, "this boot has told none");
}

#[tokio::test]
async fn absurd_and_unknown_stages_do_no_harm() {
    let server = Server::start("");
    let mut boot = Boot::new(1);
    let mut report = inventory(&["00-11-22-33-44-aa"], "SERIAL1");
    report["card"] = json!({"kernel": span(u64::MAX, u64::MAX), "teleport": span(1, 2), "link": {"begin_ms": 3}});
    assert_eq!(boot.send(&server, &report).await.0, 200);
    let stages = json!({"kernel": span(u64::MAX, u64::MAX), "link": span(3, 0)});
    assert_eq!(node(&server).await["boot"], json!({"stages": stages, "slowest": "kernel"}));
    assert!(server.cli(&["nodes", "show", "node1"]).status.success());
    report["card"] = json!({"kernel": "soon"});
    assert_eq!(boot.send(&server, &report).await.0, 400);
}
