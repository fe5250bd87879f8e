//! What nodes say of extensions: numbers of signed indexes, which a node hears again in its next boot, and extensions that are not
//! what they should be, by API, command line and page.

use serde_json::{Value, json};

use crate::agents::{Boot, inventory};
use crate::fleet::machine;
use crate::support::Server;

const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

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
    let lower = next.send(&server, &report(&json!({KEY: 5, "other": 2}))).await.1;
    assert_eq!(lower["mirror_index"], json!({KEY: 7, "other": 2}), "a number that was said stays");
    assert_eq!(server.node(1).await["agent"]["mirror_index"], json!({KEY: 7, "other": 2}));

    // Another machine hears nothing of that.
    let mut other = Boot::new(3);
    let mut stranger = machine(9);
    stranger["agent"] = json!({"version": "1", "image": "1"});
    let reply = other.send(&server, &stranger).await.1;
    assert!(reply["id"] == 2 && reply.get("mirror_index").is_none(), "{reply}");
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
