//! Commands to nodes: what a machine is told, when, and how often.

use serde_json::{Value, json};

use crate::agents::{Boot, inventory};
use crate::conflicts::{said, with_a_copy};
use crate::support::Server;

const A: &str = "00-11-22-33-44-aa";

/// A server with one node, and its boot.
pub(crate) async fn with_a_node(config: &str) -> (Server, Boot) {
    let server = Server::start(config);
    let mut boot = Boot::new(1);
    assert_eq!(boot.send(&server, &inventory(&[A], "S1")).await.0, 200);
    (server, boot)
}

/// The commands in an answer.
pub(crate) fn commands(answer: &(u16, Value)) -> Vec<Value> {
    assert_eq!(answer.0, 200, "{answer:?}");
    answer.1["commands"].as_array().cloned().unwrap_or_default()
}

/// What the node's log says of commands, oldest first.
pub(crate) async fn ends(server: &Server) -> Vec<String> {
    let entries = server.log(1).await.into_iter().rev().filter(|e| e["event"] == "command");
    entries.map(|e| format!("{} {} {}", e["id"], e["kind"].as_str().unwrap(), e["outcome"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_reboot_is_sent_until_it_is_acknowledged() {
    let (server, mut boot) = with_a_node("").await;
    let trial = said(&server, &["nodes", "reboot", "node1", "--dry-run"]);
    assert!(trial.starts_with("Trial only") && trial.contains("node1 is told to reboot"), "{trial}");
    assert!(commands(&boot.send(&server, &json!({})).await).is_empty(), "a trial changes nothing");
    said(&server, &["nodes", "reboot", "node1"]);
    let shown = said(&server, &["nodes", "show", "node1"]);
    assert!(shown.contains("reboot: sent with its next check-in until"), "{shown}");
    for _ in 0..2 {
        let answer = boot.send(&server, &json!({})).await;
        let told = commands(&answer);
        assert_eq!((told.len(), &told[0]["id"], &told[0]["kind"]), (1, &json!(1), &json!("reboot")), "{answer:?}");
        let left = told[0]["expires_in_s"].as_u64().unwrap();
        assert!((800..=900).contains(&left), "{left}");
        assert_eq!(answer.1["action"], "none", "the command stands for itself");
    }
    let accepted = json!({"results": [{"id": 1, "outcome": "accepted"}]});
    assert!(commands(&boot.send(&server, &accepted).await).is_empty());
    assert!(commands(&boot.send(&server, &json!({})).await).is_empty());
    assert_eq!(ends(&server).await, ["1 reboot accepted"]);
    let log = said(&server, &["nodes", "log", "node1"]);
    assert!(log.contains("Command 1 (reboot) is accepted."), "{log}");
    assert_eq!(log.matches("node1 is told to reboot").count(), 1, "said once: {log}");
}

#[tokio::test]
async fn a_machine_that_booted_anew_is_not_told_again() {
    let (server, mut boot) = with_a_node("").await;
    said(&server, &["nodes", "poweroff", "node1"]);
    assert_eq!(commands(&boot.send(&server, &json!({})).await)[0]["kind"], "poweroff");
    let mut later = Boot::new(2);
    assert!(commands(&later.send(&server, &inventory(&[A], "S1")).await).is_empty(), "or it would never stay on");
    assert!(commands(&later.send(&server, &json!({})).await).is_empty());
    assert_eq!(ends(&server).await, ["1 poweroff done"]);
}

#[tokio::test]
async fn a_later_command_takes_the_place_of_one_that_waits() {
    let (server, mut boot) = with_a_node("").await;
    said(&server, &["nodes", "reboot", "node1"]);
    said(&server, &["nodes", "poweroff", "node1"]);
    let told = commands(&boot.send(&server, &json!({})).await);
    assert_eq!((told.len(), &told[0]["id"], &told[0]["kind"]), (1, &json!(2), &json!("poweroff")), "{told:?}");
    let stranger =
        json!({"results": [{"id": 1, "outcome": "done"}, {"id": 2, "outcome": "failed", "detail": "stuck"}]});
    boot.send(&server, &stranger).await;
    let ends: Vec<Value> = server.log(1).await.into_iter().filter(|e| e["event"] == "command").collect();
    assert!(ends.iter().any(|e| e["id"] == 2 && e["severity"] == "warn" && e["msg"] == "stuck"), "{ends:?}");
}

#[tokio::test]
async fn a_command_waits_through_kill_and_restart() {
    let (mut server, mut boot) = with_a_node("").await;
    said(&server, &["nodes", "reboot", "node1"]);
    server.restart("");
    assert_eq!(commands(&boot.send(&server, &json!({})).await).len(), 1);
}

#[tokio::test]
async fn an_installed_node_obeys_the_command_and_its_reboots_are_not_counted() {
    let (server, mut boot) = with_a_node("protect_new_nodes = true\n").await;
    said(&server, &["nodes", "poweroff", "node1"]);
    let answer = boot.send(&server, &json!({})).await;
    assert_eq!((commands(&answer).len(), &answer.1["action"]), (1, &json!("none")), "{answer:?}");
    let answer = boot.send(&server, &json!({"results": [{"id": 1, "outcome": "accepted"}]})).await;
    assert_eq!(answer.1["action"], "none", "or it would reboot in place of switching off: {answer:?}");
    let mut words = Vec::new();
    for _ in 0..3 {
        words.push(boot.send(&server, &json!({})).await.1["action"].clone());
    }
    assert_eq!(words, ["reboot", "reboot", "none"], "the first of three was told before");
}

#[tokio::test]
async fn original_clients_are_told_by_the_action_and_refused_what_they_cannot_do() {
    let server = Server::start("");
    let id = server.boot(&format!("net0={A}")).await.unwrap();
    let facts = json!({"macaddress_eth0": A, "serialnumber": "S1"});
    assert_eq!(server.legacy(id, facts.clone()).await.1["action"], "none");
    said(&server, &["nodes", "reboot", "node1"]);
    let answer = server.legacy(id, facts.clone()).await;
    assert_eq!(answer, (200, json!({"action": "reboot"})), "in the original's form");
    assert_eq!(server.legacy(id, facts).await.1["action"], "none", "once");
    assert_eq!(ends(&server).await, ["1 reboot sent"]);
    let refused = server.cli(&["nodes", "poweroff", "node1"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("original client"), "{refused:?}");
}

#[tokio::test]
async fn a_held_node_is_told_nothing() {
    let (server, mut copy, running) = with_a_copy().await;
    let refused = server.cli(&["nodes", "reboot", "node2"]);
    assert!(!refused.status.success());
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("node2 is held") && text.contains("mk-server conflicts"), "{text}");
    assert!(commands(&copy.send(&server, &running).await).is_empty());
    said(&server, &["nodes", "doctor", "node2"]);
    said(&server, &["nodes", "collect", "node2"]);
    let told = commands(&copy.send(&server, &running).await);
    assert_eq!(
        (told.len(), &told[0]["kind"], &told[1]["kind"]),
        (2, &json!("doctor"), &json!("collect-logs")),
        "{told:?}"
    );
}

#[tokio::test]
async fn each_command_reaches_the_node_with_its_arguments_and_ends_with_its_result() {
    let (server, mut boot) = with_a_node("").await;
    for words in [
        &["nodes", "refresh", "node1"][..],
        &["nodes", "doctor", "node1"],
        &["nodes", "identify", "node1", "--seconds", "90"],
        &["nodes", "load-extension", "node1", "htop"],
    ] {
        said(&server, words);
    }
    let shown = said(&server, &["nodes", "show", "node1"]);
    assert!(shown.contains("refresh: sent with its next") && shown.contains("load-extension: sent with"), "{shown}");
    let told = commands(&boot.send(&server, &json!({})).await);
    let told: Vec<Value> = told.iter().map(|c| json!([c["id"], c["kind"], c["args"]])).collect();
    let expected = json!([
        [1, "refresh", null],
        [2, "doctor", null],
        [3, "identify", {"seconds": 90}],
        [4, "load-extension", {"extension": "htop"}]
    ]);
    assert_eq!(json!(told), expected, "oldest first, all at once");
    let report = "verdict     ok      all is well\nlink        ok      up on eth0";
    boot.send(
        &server,
        &json!({"results": [{"id": 1, "outcome": "done"}, {"id": 2, "outcome": "done", "detail": report}]}),
    )
    .await;
    boot.send(&server, &json!({"results": [{"id": 3, "outcome": "failed", "detail": "nothing blinks"}]})).await;
    boot.send(&server, &json!({"results": [{"id": 4, "outcome": "unsupported"}]})).await;
    assert!(commands(&boot.send(&server, &json!({})).await).is_empty());
    assert_eq!(
        ends(&server).await,
        ["1 refresh done", "2 doctor done", "3 identify failed", "4 load-extension unsupported"]
    );
    let log = said(&server, &["nodes", "log", "node1"]);
    assert!(log.contains("(doctor) is done. verdict ok all is well; link ok up on eth0"), "{log}");
}

#[tokio::test]
async fn what_cannot_be_a_command_is_refused_before_it_waits() {
    let (server, _boot) = with_a_node("").await;
    for (words, why) in [
        (&["nodes", "identify", "node1", "--seconds", "3601"][..], "3600 s"),
        (&["nodes", "load-extension", "node1", "../../sbin/x"], "no extension's name"),
        (&["nodes", "doctor", "node9"], "no node"),
    ] {
        let refused = server.cli(words);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains(why), "{words:?}: {text}");
    }
    assert_eq!(server.node(1).await["commands"], Value::Null);
}

#[tokio::test]
async fn of_the_commands_of_two_nodes_that_are_one_the_later_of_a_kind_waits() {
    let (server, _boot) = with_a_node("").await;
    let mut boot = Boot::new(2);
    assert_eq!(boot.send(&server, &inventory(&["00-11-22-33-44-bb"], "S2")).await.1["id"], 2);
    for words in [
        ["reboot", "node1"],
        ["collect", "node1"],
        ["doctor", "node2"],
        ["poweroff", "node2"],
        ["collect", "node2"],
        ["identify", "node2"],
        ["doctor", "node1"],
    ] {
        said(&server, &[&["nodes"], &words[..]].concat());
    }
    said(&server, &["conflicts", "merge", "node2", "node1"]);
    let mut ended = ends(&server).await;
    ended.sort();
    assert_eq!(ended, ["1 reboot replaced", "2 collect-logs replaced", "3 doctor replaced"]);
    let log = said(&server, &["nodes", "log", "node1"]);
    assert!(log.contains("Command 1 (reboot) is replaced. node2 is node1, and command 4 was given later"), "{log}");
    let told = commands(&boot.send(&server, &json!({})).await);
    let told: Vec<Value> = told.iter().map(|c| json!([c["id"], c["kind"]])).collect();
    assert_eq!(json!(told), json!([[4, "poweroff"], [5, "collect-logs"], [6, "identify"], [7, "doctor"]]));
}
