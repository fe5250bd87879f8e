//! What nodes say of extensions: numbers of signed indexes, which a node hears again in its next boot, and extensions that are not
//! what they should be, by API, command line and page.

use serde_json::{Map, Value, json};
use wire::limits::MAX_MIRROR_KEYS;

use crate::agents::{Boot, inventory};
use crate::fleet::machine;
use crate::support::Server;

const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const OTHER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO4";

fn report(numbers: &Value) -> Value {
    let mut report = inventory(&["00-11-22-33-44-aa"], "SERIAL1");
    report["agent"] = json!({"version": "1", "image": "1", "mirror_index": numbers});
    report
}

#[tokio::test]
async fn a_node_hears_in_its_next_boot_which_index_it_saw() {
    let mut server = Server::start("");
    let (none, mut boot) = (json!({}), Boot::new(1));
    let first = boot.send(&server, &report(&none)).await.1;
    assert!(first["id"] == 1 && first.get("mirror_index").is_none(), "{first}");
    boot.send(&server, &report(&json!({KEY: 7}))).await;
    server.restart("");

    let mut next = Boot::new(2);
    assert_eq!(next.send(&server, &report(&none)).await.1["mirror_index"], json!({KEY: 7}));
    let lower = next.send(&server, &report(&json!({KEY: 5, OTHER: 2}))).await.1;
    assert_eq!(lower["mirror_index"], json!({KEY: 7, OTHER: 2}), "a number that was said stays");
    assert_eq!(server.node(1).await["agent"]["mirror_index"], json!({KEY: 7, OTHER: 2}));

    // What is no key, and more keys than anybody has, is not kept.
    let made_up: Map<String, Value> = (0..5000).map(|n| (format!("RW{n:054}"), json!(1))).collect();
    assert_eq!(next.send(&server, &report(&made_up.into())).await.0, 200);
    assert_eq!(next.send(&server, &report(&json!({"no key": 1}))).await.0, 200);
    let kept = server.node(1).await["agent"]["mirror_index"].clone();
    assert_eq!((kept.as_object().unwrap().len(), &kept[KEY]), (MAX_MIRROR_KEYS, &json!(7)), "{kept}");

    // Another machine hears nothing of that.
    let mut other = Boot::new(3);
    let mut stranger = machine(9);
    stranger["agent"] = json!({"version": "1", "image": "1"});
    let reply = other.send(&server, &stranger).await.1;
    assert!(reply["id"] == 2 && reply.get("mirror_index").is_none(), "{reply}");
}

#[tokio::test]
async fn which_index_a_node_saw_outlives_an_image_without_the_key_and_a_merge() {
    let server = Server::start("");
    let none = json!({});
    Boot::new(1).send(&server, &report(&json!({KEY: 7}))).await;
    let mut keyless = Boot::new(2);
    for _ in 0..2 {
        assert_eq!(keyless.send(&server, &report(&none)).await.1["id"], 1);
    }
    assert_eq!(Boot::new(3).send(&server, &report(&none)).await.1["mirror_index"], json!({KEY: 7}));

    // The other node spoke last, and knows less of the one key and more of the other.
    let mut newborn = machine(9);
    newborn["agent"] = json!({"version": "2", "image": "1", "mirror_index": {KEY: 3, OTHER: 4}});
    assert_eq!(Boot::new(4).send(&server, &newborn).await.1["id"], 2);
    assert!(server.cli(&["conflicts", "merge", "node2", "node1"]).status.success());
    let agent = server.node(1).await["agent"].clone();
    assert_eq!((&agent["version"], &agent["mirror_index"]), (&json!("2"), &json!({KEY: 7, OTHER: 4})));
}

#[tokio::test]
async fn an_extension_that_differs_is_shown_with_what_to_do() {
    let server = Server::start("");
    let (usual, odd) = ("a".repeat(64), "b".repeat(64));
    for n in 1..=3 {
        let mut report = machine(n);
        let sha256 = if n == 3 { &odd } else { &usual };
        let extensions = json!([{"name": "bash.tcz", "sha256": sha256}]);
        report["agent"] = json!({"version": "1", "image": "1", "variant": "debug", "extensions": extensions});
        assert_eq!(Boot::new(n).send(&server, &report).await.0, 200);
    }
    assert_eq!(server.node(1).await.get("drift"), None, "one of each is no majority");
    let drift = server.node(3).await["drift"].clone();
    assert_eq!((&drift[0]["extension"], &drift[0]["kind"]), (&json!("bash.tcz"), &json!("other")), "{drift}");
    assert_eq!(drift[0]["expected"], usual, "{drift}");
    let shown = String::from_utf8(server.cli(&["nodes", "show", "node3"]).stdout).unwrap();
    let page = server.text("/nodes/node3").await.1;
    for words in ["that differ", "bash.tcz", "Restart"] {
        assert!(shown.contains(words), "{words} is missing:\n{shown}");
        assert!(page.contains(words), "{words} is missing:\n{page}");
    }
}

#[tokio::test]
async fn a_node_is_not_compared_with_those_that_were_not_let_in() {
    let server = Server::start("enrolment = \"approve\"\n");
    for n in 1..=3 {
        let mut report = machine(n);
        let extensions = json!([{"name": "bash.tcz", "sha256": if n == 1 { "a" } else { "b" }.repeat(64)}]);
        report["agent"] = json!({"version": "1", "image": "1", "variant": "debug", "extensions": extensions});
        assert_eq!(Boot::new(n).send(&server, &report).await.1["state"], "pending");
    }
    assert!(server.cli(&["nodes", "approve", "node1"]).status.success());
    assert_eq!(server.node(1).await.get("drift"), None, "anybody can make up the others");
    for node in ["node2", "node3"] {
        assert!(server.cli(&["nodes", "approve", node]).status.success());
    }
    assert_eq!(server.node(1).await["drift"][0]["kind"], "other");
}
