//! Hardware that moves, is copied or lies: which node each machine is afterwards, and what its operator gets to read.

use serde_json::{Value, json};

use crate::agents::{Boot, report};
use crate::support::Server;

/// MACs of ports.
pub(crate) const A: &str = "00-11-22-33-44-aa";
pub(crate) const B: &str = "00-11-22-33-44-bb";
pub(crate) const C: &str = "00-11-22-33-44-cc";

/// A server with two parts of its own, in a chassis of its own.
pub(crate) fn machine(n: u8, macs: &[&str]) -> Value {
    let nics: Vec<Value> = macs.iter().map(|m| json!({"key": m, "mac": m.replace('-', ":"), "bus": "pci"})).collect();
    json!({
        "system": {"serial": format!("SYS{n}"), "uuid": format!("{n:08}-0000-4000-8000-1122334455{n:02}")},
        "board": {"serial": format!("BRD{n}")}, "chassis": {"serial": format!("CHS{n}"), "kind": 23},
        "memory": {"dimms": [{"slot": "1", "serial": format!("DIMM{n}A")}, {"slot": "2", "serial": format!("DIMM{n}B")}]},
        "disks": [{"key": "1", "serial": format!("DISK{n}A")}, {"key": "2", "serial": format!("DISK{n}B")}],
        "nics": nics,
    })
}

/// The node in an answer.
pub(crate) fn id(answer: &(u16, Value)) -> i64 {
    assert_eq!(answer.0, 200, "{answer:?}");
    answer.1["id"].as_i64().unwrap()
}

/// Virtual machines whose firmware has their host's serial number.
async fn two_virtual_machines(macs: [&str; 2]) {
    let server = Server::start("match_nodes_on = [\"mac\", \"serial\"]\n");
    for round in 0..3 {
        for (n, mac) in macs.into_iter().enumerate() {
            let node = server.boot(&format!("net0={mac}&serial=HOST1")).await.unwrap();
            let stable = json!({
                "system": {"serial": "HOST1", "uuid": format!("0000000{n}-0000-4000-8000-112233445500")},
                "virtualization": {"is_virtual": true},
                "nics": [{"key": "0000:00:03.0", "mac": mac.replace('-', ":"), "bus": "pci"}],
            });
            let mut boot = Boot::new(u8::try_from(10 * round + n).unwrap() + 1);
            let body = boot.next(&report(&stable));
            let answer = server.post(Some(node), &body, &boot.sign(&body)).await;
            assert_eq!(id(&answer), i64::try_from(n).unwrap() + 1, "round {round}: {answer:?}");
            assert_eq!(answer.1["state"], "normal", "round {round}: {answer:?}");
        }
    }
    assert_eq!(server.count().await, 2);
    for (n, mac) in macs.into_iter().enumerate() {
        let found = server.boot(&format!("net0={mac}&serial=HOST1")).await;
        assert_eq!(found, Ok(i64::try_from(n).unwrap() + 1), "known at boot too");
    }
}

#[tokio::test]
async fn virtual_machines_with_their_hosts_serial_are_told_apart() {
    two_virtual_machines([A, B]).await;
}

#[tokio::test]
async fn virtual_machines_with_their_hosts_serial_and_made_up_macs_are_told_apart() {
    two_virtual_machines(["52-54-00-00-00-01", "52-54-00-00-00-02"]).await;
}

#[tokio::test]
async fn a_port_moved_into_a_new_machine_is_contested_until_the_donor_reports() {
    let server = Server::start("");
    assert_eq!(id(&Boot::new(1).send(&server, &report(&machine(1, &[A, B]))).await), 1);
    let mut newcomer = Boot::new(2);
    let answer = newcomer.send(&server, &report(&machine(2, &[B, C]))).await;
    assert_eq!((id(&answer), &answer.1["state"]), (2, &json!("normal")), "{answer:?}");
    let claim = |node: Value| {
        let claims = node["identity"]["claims"].as_array().unwrap().clone();
        claims.iter().find(|c| c["value"] == B).map(|c| c["state"].clone())
    };
    assert_eq!(claim(server.node(2).await), Some(json!("contested")));
    assert_eq!(server.boot(&format!("net0={B}&net1={C}")).await, Ok(2), "it reported all that the boot shows");
    assert_eq!(id(&Boot::new(3).send(&server, &report(&machine(1, &[A]))).await), 1);
    assert_eq!(claim(server.node(1).await), Some(json!("former")));
    assert_eq!(claim(server.node(2).await), Some(json!("current")));
    assert_eq!(server.boot(&format!("net0={B}")).await, Ok(2));
    for node in ["node1", "node2"] {
        let told = said(&server, &["nodes", "log", node]);
        let moved = format!("Hardware moved: mac={B} was at node1 and is now at node2.");
        assert_eq!(told.matches(&moved).count(), 1, "both are told, once: {told}");
    }
}

#[tokio::test]
async fn a_machine_with_a_new_board_is_the_node_that_it_was() {
    let mut server = Server::start("checkin_interval = 3600\n");
    let mut original = Boot::new(1);
    assert_eq!(id(&original.send(&server, &report(&machine(1, &[A]))).await), 1);
    let mut rebuilt = machine(1, &[B]);
    rebuilt["system"] = json!({"serial": "To be filled by O.E.M.", "uuid": "99999999-0000-4000-8000-112233445599"});
    rebuilt["board"]["serial"] = json!("BRD99");
    let node = server.boot(&format!("net0={B}")).await.unwrap();
    assert_eq!(node, 2, "a boot cannot know");
    let mut boot = Boot::new(2);
    let answer = boot.send(&server, &report(&rebuilt)).await;
    assert_eq!(answer.1["state"], "held", "node1 spoke a moment ago: {answer:?}");
    assert!(answer.1["reason"]["error"].as_str().unwrap().contains("node1"), "{answer:?}");
    server.restart("checkin_interval = 1\n");
    assert_eq!(original.send(&server, &json!({})).await.1["interval"], 1);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let answer = loop {
        let answer = boot.send(&server, &report(&rebuilt)).await;
        if answer.1["state"] != "held" || std::time::Instant::now() > end {
            break answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    assert_eq!((id(&answer), &answer.1["state"]), (1, &json!("normal")), "once it has been silent: {answer:?}");
    assert_eq!(server.node(1).await["identity"]["aliases"], json!(["node2"]));
    assert!(server.log(1).await.iter().any(|e| e["event"] == "rejoined"), "and it is told");
    assert_eq!(server.boot(&format!("net0={B}")).await, Ok(1));
}

#[tokio::test]
async fn a_copy_of_a_running_machine_is_held_and_the_original_goes_on() {
    let server = Server::start("");
    let (mut original, mut copy) = (Boot::new(1), Boot::new(2));
    assert_eq!(id(&original.send(&server, &report(&machine(1, &[A]))).await), 1);
    let mut running = report(&machine(1, &[A]));
    running["uptime_s"] = json!(600);
    let answer = copy.send(&server, &running).await;
    assert_eq!((id(&answer), &answer.1["state"]), (2, &json!("held")), "{answer:?}");
    assert_eq!(answer.1["reason"]["code"], "two_machines");
    let answer = original.send(&server, &json!({})).await;
    assert_eq!((id(&answer), &answer.1["state"]), (1, &json!("normal")), "{answer:?}");
    let answer = copy.send(&server, &running).await;
    assert_eq!((id(&answer), &answer.1["state"]), (2, &json!("held")), "{answer:?}");
    assert_eq!(server.count().await, 2);
}

#[tokio::test]
async fn a_copy_that_looked_like_a_reboot_is_found_out_once_the_original_speaks() {
    let server = Server::start("");
    let (mut original, mut copy) = (Boot::new(1), Boot::new(2));
    let uptime = |seconds: u64| {
        let mut said = report(&machine(1, &[A]));
        said["uptime_s"] = json!(seconds);
        said
    };
    assert_eq!(id(&original.send(&server, &uptime(100)).await), 1);
    assert_eq!(id(&copy.send(&server, &uptime(0)).await), 1, "a reboot, as far as anyone can tell");
    let answer = original.send(&server, &uptime(160)).await;
    assert_eq!((id(&answer), &answer.1["state"]), (1, &json!("normal")), "{answer:?}");
    for _ in 0..2 {
        let answer = copy.send(&server, &uptime(60)).await;
        assert_eq!((id(&answer), &answer.1["state"]), (2, &json!("held")), "{answer:?}");
        assert_eq!(answer.1["reason"]["code"], "two_machines");
        assert_eq!(id(&original.send(&server, &uptime(220)).await), 1);
    }
    let mut again = Boot::new(3);
    again.send(&server, &uptime(0)).await;
    original.send(&server, &uptime(280)).await;
    assert_eq!(again.send(&server, &uptime(60)).await.1["id"], 2, "the copy's next boot is the same held node");
    assert_eq!(server.count().await, 2);
    assert!(server.log(1).await.iter().any(|e| e["event"] == "two-machines"));
}

#[tokio::test]
async fn original_clients_that_take_turns_as_one_node_are_left_alone() {
    let server = Server::start("protect_new_nodes = true\n");
    let node = server.boot(&format!("net0={A}")).await.unwrap();
    let say = async |hw_id: &str| {
        let body = json!({"hw_id": hw_id, "facts": {"macaddress": A}}).to_string();
        server.post(Some(node), body.as_bytes(), &[]).await.1["action"].clone()
    };
    assert_eq!(say("one").await, "reboot");
    assert_eq!(say("two").await, "reboot", "it may have got another port");
    assert_eq!(say("one").await, "none");
    assert_eq!(say("two").await, "none");
    let shown = server.node(node).await["identity"].clone();
    assert_eq!((&shown["state"], &shown["reason"]["code"]), (&json!("held"), &json!("taking_turns")));
}

#[tokio::test]
async fn a_boot_over_a_usb_port_makes_no_lasting_node() {
    let server = Server::start("");
    let dongle = "00-e0-4c-00-00-01";
    let with_dongle = |n: u8, mac: &str| {
        let mut stable = machine(n, &[mac]);
        stable["nics"]
            .as_array_mut()
            .unwrap()
            .push(json!({"key": "1-2", "mac": dongle.replace('-', ":"), "bus": "usb"}));
        report(&stable)
    };
    let known = id(&Boot::new(1).send(&server, &report(&machine(1, &[A]))).await);
    let made = server.boot(&format!("net0={dongle}")).await.unwrap();
    assert_ne!(made, known, "iPXE shows the dongle alone");
    let mut boot = Boot::new(2);
    let body = boot.next(&with_dongle(1, A));
    assert_eq!(id(&server.post(Some(made), &body, &boot.sign(&body)).await), known);
    assert_eq!(server.count().await, 1, "what the boot made has merged");
    let refusal = server.boot(&format!("net0={dongle}")).await.unwrap_err();
    assert_eq!(refusal.1["code"], "no_match_value", "from now on it is no evidence");
    assert_eq!(id(&Boot::new(3).send(&server, &with_dongle(2, B)).await), 3);
}

/// A server on which node2 is held against node1.
pub(crate) async fn with_a_copy() -> (Server, Boot, Value) {
    let server = Server::start("");
    let mut copy = Boot::new(2);
    assert_eq!(id(&Boot::new(1).send(&server, &report(&machine(1, &[A]))).await), 1);
    let mut running = report(&machine(1, &[A]));
    running["uptime_s"] = json!(600);
    assert_eq!(copy.send(&server, &running).await.1["state"], "held");
    (server, copy, running)
}

/// What the command line says when it succeeds.
pub(crate) fn said(server: &Server, args: &[&str]) -> String {
    let output = server.cli(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_dispute_is_shown_and_ended_by_the_command_line() {
    let (server, mut copy, running) = with_a_copy().await;
    let list = said(&server, &["conflicts"]);
    for words in ["node2: two machines speak as node1", "mac=00-11-22-33-44-aa", "conflicts resolve node2 same node1"] {
        assert!(list.contains(words), "{words}: {list}");
    }
    let trial = said(&server, &["conflicts", "resolve", "node2", "same", "node1", "--dry-run"]);
    assert!(trial.starts_with("Trial only"), "{trial}");
    assert_eq!(server.count().await, 2, "a trial changes nothing");
    said(&server, &["conflicts", "resolve", "node2", "different", "node1"]);
    assert_eq!(said(&server, &["conflicts"]), "No node's identity is disputed.\n");
    let answer = copy.send(&server, &running).await;
    assert_eq!((id(&answer), &answer.1["state"]), (2, &json!("normal")), "the word of the operator holds: {answer:?}");
    assert!(server.log(2).await.iter().any(|e| e["event"] == "operator"), "and stands in the log");
    let shown = said(&server, &["nodes", "log", "node2"]);
    assert_eq!(shown.matches("An operator's command").count(), 1, "once: {shown}");
}

#[tokio::test]
async fn a_held_machine_keeps_its_node_once_its_rival_is_gone() {
    let (server, _, _) = with_a_copy().await;
    said(&server, &["nodes", "delete", "node1"]);
    let answer = Boot::new(3).send(&server, &report(&machine(1, &[A]))).await;
    assert_eq!((id(&answer), &answer.1["state"]), (2, &json!("normal")), "started from a medium: {answer:?}");
    assert_eq!(server.count().await, 1);
}

/// A machine of firmware without any number, and of memory without numbers.
fn bare(n: u8, macs: &[&str]) -> Value {
    let mut stable = machine(n, macs);
    stable["system"] = json!({"serial": "Default string", "uuid": "03000200-0400-0500-0006-000700080009"});
    stable["board"]["serial"] = json!("Default string");
    stable["chassis"]["serial"] = json!("Default string");
    stable["memory"] = json!({});
    stable
}

/// A server with node1, and the boot of another machine that has a card of it and has not shown its disks; with what it
/// reports once they are up.
pub(crate) async fn late_disks() -> (Server, Boot, Value) {
    let server = Server::start("");
    assert_eq!(id(&Boot::new(1).send(&server, &report(&bare(1, &[A, B]))).await), 1);
    let whole = bare(2, &[B, C]);
    let mut early = whole.clone();
    early["disks"] = json!([]);
    let mut boot = Boot::new(2);
    let answer = boot.send(&server, &report(&early)).await;
    assert_eq!(id(&answer), 1, "a card is all that is known: it may be that machine");
    (server, boot, whole)
}

#[tokio::test]
async fn disks_that_come_late_show_that_a_machine_with_a_card_of_a_known_one_is_another() {
    let (server, mut boot, whole) = late_disks().await;
    said(&server, &["config", "set", "mk_checkin_interval=30"]);
    let answer = boot.send(&server, &json!({})).await;
    assert_eq!((id(&answer), &answer.1["config"]), (1, &Value::Null), "it may not be node1's: {answer:?}");
    let answer = boot.send(&server, &report(&whole)).await;
    assert_eq!((id(&answer), &answer.1["state"]), (2, &json!("normal")), "{answer:?}");
    assert_eq!(answer.1["config"]["mk_checkin_interval"], 30);
    assert_eq!(server.hw_info(1).await["mac"], json!([A, B]), "node1 has its hardware back");
    for node in [1, 2] {
        let told = server.log(node).await;
        assert!(told.iter().any(|e| e["event"] == "taken-back" && e["severity"] == "warn"), "{told:?}");
    }
    let mut donor_boot = Boot::new(3);
    assert_eq!(id(&donor_boot.send(&server, &report(&bare(1, &[A]))).await), 1, "and is known when it boots again");
    assert_eq!(server.count().await, 2);
}

#[tokio::test]
async fn a_merge_by_hand_can_be_taken_back() {
    let (server, _, _) = with_a_copy().await;
    said(&server, &["conflicts", "merge", "node2", "node1"]);
    assert_eq!((server.count().await, server.node(2).await["name"].clone()), (1, json!("node1")));
    said(&server, &["conflicts", "split", "node2"]);
    assert_eq!((server.count().await, server.node(2).await["name"].clone()), (2, json!("node2")));
    assert_eq!(server.hw_info(2).await["mac"], json!([A]), "with the hardware that it had");
    let refused = server.cli(&["conflicts", "split", "node2"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("was not merged"));
}

#[tokio::test]
async fn machines_that_run_are_two_again_after_a_merge_by_mistake() {
    let server = Server::start("");
    let (mut one, mut two) = (Boot::new(1), Boot::new(2));
    let (of_one, of_two) = (report(&machine(1, &[A])), report(&machine(2, &[B])));
    assert_eq!((id(&one.send(&server, &of_one).await), id(&two.send(&server, &of_two).await)), (1, 2));
    said(&server, &["conflicts", "merge", "node2", "node1"]);
    said(&server, &["conflicts", "split", "node2"]);
    said(&server, &["nodes", "reboot", "node1"]);
    for _ in 0..2 {
        let answers = (two.send(&server, &of_two).await, one.send(&server, &of_one).await);
        assert_eq!((id(&answers.0), id(&answers.1)), (2, 1), "{answers:?}");
        assert_eq!(answers.0.1.get("commands"), None, "node1's is not for node2: {answers:?}");
    }
    assert_eq!(server.count().await, 2);
    assert_eq!(
        (server.node(1).await["identity"]["state"].clone(), server.hw_info(2).await["mac"].clone()),
        (json!("normal"), json!([B]))
    );
}

#[tokio::test]
async fn a_machine_that_runs_is_merged_by_hand_into_the_node_that_it_was() {
    let server = Server::start("");
    assert_eq!(id(&Boot::new(1).send(&server, &report(&machine(1, &[A]))).await), 1);
    let mut boot = Boot::new(2);
    assert_eq!(id(&boot.send(&server, &report(&machine(2, &[B]))).await), 2);
    said(&server, &["conflicts", "merge", "node2", "node1"]);
    let answer = boot.send(&server, &report(&machine(2, &[B]))).await;
    assert_eq!((id(&answer), &answer.1["state"]), (1, &json!("normal")), "{answer:?}");
    let told = server.log(1).await;
    assert!(!told.iter().any(|e| e["event"] == "two-machines"), "the boot of before is over: {told:?}");
    assert_eq!(server.count().await, 1);
}

#[tokio::test]
async fn hardware_of_a_machine_that_is_gone_is_given_to_the_one_that_has_it() {
    let server = Server::start("");
    assert_eq!(id(&Boot::new(1).send(&server, &report(&machine(1, &[A, B]))).await), 1);
    assert_eq!(id(&Boot::new(2).send(&server, &report(&machine(2, &[B, C]))).await), 2);
    let list = said(&server, &["conflicts"]);
    for words in [
        "node2: node2 has mac=00-11-22-33-44-bb, which node1 reported too",
        "conflicts move-hardware node1 node2 mac=00-11-22-33-44-bb",
    ] {
        assert!(list.contains(words), "{words}: {list}");
    }
    let states = async |node: i64| {
        let claims = server.node(node).await["identity"]["claims"].as_array().unwrap().clone();
        let of = |mac: &str| claims.iter().find(|c| c["value"] == mac).map(|c| c["state"].clone());
        (of(A), of(B))
    };
    said(&server, &["conflicts", "forget", "node1", "mac=00:11:22:33:44:BB"]);
    assert_eq!(states(1).await, (Some(json!("current")), None));
    assert_eq!(states(2).await.1, Some(json!("current")), "the sole contender has it now");
    assert_eq!(said(&server, &["conflicts"]), "No node's identity is disputed.\n");
    assert_eq!(server.hw_info(1).await["mac"], json!([A]));
    said(&server, &["conflicts", "move-hardware", "node1", "node2", "mac=00-11-22-33-44-aa"]);
    assert_eq!((states(1).await.0, states(2).await.0), (None, Some(json!("current"))));
    assert_eq!(server.boot(&format!("net0={A}")).await, Ok(2));
    let refused = server.cli(&["conflicts", "forget", "node1", "colour=blue"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no hardware value"));
    for node in [1, 2] {
        let told = server.log(node).await;
        assert!(told.iter().any(|e| e["msg"].as_str().is_some_and(|m| m.contains("went from node1"))), "{told:?}");
    }
}

#[tokio::test]
async fn a_value_that_the_node_does_not_have_is_not_moved() {
    let server = Server::start("");
    for (n, mac) in [(1, A), (2, B), (3, C)] {
        assert_eq!(id(&Boot::new(n).send(&server, &report(&machine(n, &[mac]))).await), i64::from(n));
    }
    let refused = |args: &[&str]| {
        let output = server.cli(args);
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    // The operator mistyped the node: the MAC is at node3.
    let value = format!("mac={C}");
    let text = refused(&["conflicts", "move-hardware", "node1", "node2", &format!("mac={A}"), &value]);
    assert!(text.contains(&format!("node1 does not have {value}")) && text.contains("node3 has it"), "{text}");
    let text = refused(&["conflicts", "move-hardware", "node1", "node2", "mac=00-11-22-33-44-dd"]);
    assert!(text.contains("No node has it"), "{text}");
    let text = refused(&["conflicts", "move-hardware", "node1", "node1", &format!("mac={A}")]);
    assert!(text.contains("same node"), "{text}");
    for (node, mac) in [(1, A), (2, B), (3, C)] {
        assert_eq!(server.hw_info(node).await["mac"], json!([mac]), "nothing was changed");
        assert_eq!(server.boot(&format!("net0={mac}")).await, Ok(node));
    }
}

#[tokio::test]
async fn a_name_that_became_an_alias_is_not_taken_for_the_other_node() {
    let (server, _, _) = with_a_copy().await;
    assert_eq!(id(&Boot::new(9).send(&server, &report(&machine(9, &[C]))).await), 3);
    said(&server, &["conflicts", "merge", "node2", "node1"]);
    for command in
        [&["merge", "node2", "node3"][..], &["resolve", "node3", "same", "node2"], &["forget", "node2", "mac=a"]]
    {
        let refused = server.cli(&[&["conflicts"], command].concat());
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && words.contains("node2 is node1 now"), "{command:?}: {words}");
    }
    assert_eq!(server.count().await, 2);
}

#[tokio::test]
async fn a_node_that_is_in_dispute_with_two_is_freed_by_the_second_word() {
    let server = Server::start("");
    assert_eq!(id(&Boot::new(1).send(&server, &report(&machine(1, &[A]))).await), 1);
    assert_eq!(id(&Boot::new(2).send(&server, &report(&machine(2, &[B]))).await), 2);
    // Ports of both, and nothing that tells.
    let bare = json!({"nics": [{"key": "a", "mac": A.replace('-', ":"), "bus": "pci"}, {"key": "b", "mac": B.replace('-', ":"), "bus": "pci"}]});
    let answer = Boot::new(3).send(&server, &report(&bare)).await;
    assert_eq!((id(&answer), &answer.1["state"]), (3, &json!("held")), "{answer:?}");
    let first = said(&server, &["conflicts", "resolve", "node3", "different", "node1"]);
    assert!(first.contains("node3 is still held, against node2"), "{first}");
    assert_eq!(server.node(3).await["identity"]["state"], "held");
    let second = said(&server, &["conflicts", "resolve", "node3", "different", "node2"]);
    assert!(second.contains("node3 is no longer held"), "{second}");
    assert_eq!(server.node(3).await["identity"]["state"], "normal");
}
