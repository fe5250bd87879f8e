//! An installed node that comes back into the microkernel: it is sent to its own disk, but not for ever.

use serde_json::json;

use crate::agents::{Boot, inventory};
use crate::support::Server;

const A: &str = "00-11-22-33-44-aa";
const PROTECT: &str = "protect_new_nodes = true\n";

/// The machine boots by PXE each time, is sent to its own disk, and comes back into the microkernel from a medium.
#[tokio::test]
async fn a_node_is_told_to_reboot_three_times_in_a_row_and_then_left_alone() {
    let server = Server::start(PROTECT);
    let report = inventory(&[A], "S1");
    let mut words = Vec::new();
    for n in 1..=5 {
        server.boot(&format!("net0={A}")).await.unwrap();
        let (status, reply) = Boot::new(n).send(&server, &report).await;
        assert_eq!((status, &reply["id"]), (200, &json!(1)), "{reply}");
        words.push(reply["action"].as_str().unwrap().to_owned());
    }
    assert_eq!(words, ["reboot", "reboot", "reboot", "none", "none"]);
    let log = server.log(1).await;
    let loops: Vec<_> = log.iter().filter(|e| e["event"] == "reboot-loop").collect();
    assert_eq!(loops.len(), 1, "said once: {log:?}");
    assert_eq!(loops[0]["severity"], "warn");
    let message = loops[0]["msg"].as_str().unwrap();
    assert!(message.contains("boot order") && message.contains("reinstall-node"), "{message}");
}

#[tokio::test]
async fn a_released_node_is_left_alone_and_boots_the_microkernel() {
    let server = Server::start(PROTECT);
    let report = inventory(&[A], "S1");
    for n in 1..=4 {
        Boot::new(n).send(&server, &report).await;
    }
    let boot = format!("/svc/boot?net0={A}");
    let (_, script) = server.text(&boot).await;
    assert!(script.contains("node1: booting from its own disk") && script.contains("\nexit 0\n"), "{script}");
    let release = server.request(reqwest::Method::POST, "/api/commands/reinstall-node");
    assert_eq!(release.body(json!({"name": "node1"}).to_string()).send().await.unwrap().status(), 202);
    let (_, script) = server.text(&boot).await;
    assert!(!script.contains("booting from its own disk"), "{script}");
    assert_eq!(Boot::new(5).send(&server, &report).await.1["action"], "none");
}
