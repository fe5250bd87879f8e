//! An installed node that comes back into the microkernel: it is sent to its own disk, but not for ever.

use serde_json::json;

use crate::agents::{Boot, inventory, report};
use crate::conflicts::{B, C, machine};
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

/// A machine's boot over `query`, and what became of it: its node, and whether it was sent to its own disk.
async fn boots(server: &Server, query: &str) -> (i64, bool) {
    let node = server.boot(query).await.unwrap();
    let (_, script) = server.text(&format!("/svc/boot?{query}")).await;
    (node, script.contains("booting from its own disk"))
}

/// Checks in by the id that the boot gave.
async fn checks_in(server: &Server, boot: u8, node: i64, stable: &serde_json::Value) -> serde_json::Value {
    let mut boot = Boot::new(boot);
    let body = boot.next(&report(stable));
    let (status, reply) = server.post(Some(node), &body, &boot.sign(&body)).await;
    assert_eq!(status, 200, "{reply}");
    reply
}

#[tokio::test]
async fn a_new_machine_with_the_numbers_of_an_installed_one_is_not_sent_to_its_own_disk_for_ever() {
    let server = Server::start(&format!("{PROTECT}match_nodes_on = [\"mac\", \"serial\"]\n"));
    let (mut first, mut second) = (machine(1, &[A]), machine(2, &[B]));
    for stable in [&mut first, &mut second] {
        stable["system"] = json!({"serial": "DELIVERY", "uuid": "11111111-2222-4333-8444-555555555555"});
    }
    let query = |mac: &str| format!("net0={mac}&serial=DELIVERY&uuid=11111111-2222-4333-8444-555555555555");
    let node = server.boot(&query(A)).await.unwrap();
    assert_eq!(checks_in(&server, 1, node, &first).await["action"], "reboot");
    assert_eq!(boots(&server, &query(A)).await, (1, true), "the installed one");
    assert_eq!(boots(&server, &query(B)).await, (1, false), "a boot cannot tell them apart, so the check-in must");
    let reply = checks_in(&server, 2, 1, &second).await;
    assert_eq!((&reply["id"], &reply["state"], &reply["action"]), (&json!(2), &json!("normal"), &json!("reboot")));
    assert_eq!(boots(&server, &query(B)).await, (2, true), "known by its port from now on");
    assert_eq!(boots(&server, &query(A)).await, (1, true));
}

#[tokio::test]
async fn an_installed_machine_with_another_card_is_sent_to_its_own_disk_once_it_has_checked_in() {
    let server = Server::start(PROTECT);
    let node = server.boot(&format!("net0={A}")).await.unwrap();
    checks_in(&server, 1, node, &machine(1, &[A])).await;
    let with_card = format!("net0={A}&net1={B}");
    assert_eq!(boots(&server, &with_card).await, (1, false));
    assert_eq!(checks_in(&server, 2, 1, &machine(1, &[A, B])).await["action"], "reboot");
    assert_eq!(boots(&server, &with_card).await, (1, true));
    // A port that iPXE can drive and Linux cannot.
    let unseen = format!("net0={A}&net1={C}");
    assert_eq!(boots(&server, &unseen).await, (1, false));
    assert_eq!(checks_in(&server, 3, 1, &machine(1, &[A, B])).await["action"], "reboot");
    assert_eq!(boots(&server, &unseen).await, (1, true), "one more boot, not one each time");
}

#[tokio::test]
async fn a_check_in_confirms_no_boot_of_another_machine_that_came_between() {
    let server = Server::start(&format!("{PROTECT}match_nodes_on = [\"mac\", \"serial\"]\n"));
    // Numbers that a whole delivery has.
    let numbers = "serial=DELIVERY&uuid=11111111-2222-4333-8444-555555555555";
    let delivered = |macs: &[&str]| {
        let mut stable = machine(1, macs);
        stable["system"] = json!({"serial": "DELIVERY", "uuid": "11111111-2222-4333-8444-555555555555"});
        stable
    };
    let (with_card, another) = (format!("net0={A}&net1={B}&{numbers}"), format!("net0={C}&{numbers}"));
    let node = server.boot(&format!("net0={A}&{numbers}")).await.unwrap();
    assert_eq!(checks_in(&server, 1, node, &delivered(&[A])).await["action"], "reboot");
    assert_eq!(boots(&server, &with_card).await, (1, false));
    assert_eq!(boots(&server, &another).await, (1, false), "it is switched off before it reports");
    assert_eq!(checks_in(&server, 2, 1, &delivered(&[A, B])).await["action"], "reboot");
    assert_eq!(boots(&server, &another).await, (1, false), "no check-in was its own");
    assert_eq!(boots(&server, &with_card).await, (1, true));
}
