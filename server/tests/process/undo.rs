//! Commands about identity, taken back by the event that they left.

use serde_json::{Value, json};

use crate::agents::{Boot, report};
use crate::conflicts::{A, B, C, id, machine, said, with_a_copy};
use crate::support::Server;

/// The number of the event in what a command said.
fn event(said: &str) -> String {
    let rest = said.split_once("conflicts undo ").unwrap_or_else(|| panic!("no undo in {said}")).1;
    rest.chars().take_while(char::is_ascii_digit).collect()
}

/// Why the command line refuses.
fn refused(server: &Server, args: &[&str]) -> String {
    let output = server.cli(args);
    assert!(!output.status.success(), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Who has what, and by which values nodes 1 and 2 are known.
async fn all(server: &Server) -> Vec<Value> {
    let (one, two) = (server.node(1).await, server.node(2).await);
    [one, two].into_iter().flat_map(|n| [n["identity"].clone(), n["hw_info"].clone()]).collect()
}

/// node1 has the ports A and B, node2 has C and contests B.
async fn with_a_shared_port() -> (Server, Boot, Boot) {
    let server = Server::start("");
    let (mut one, mut two) = (Boot::new(1), Boot::new(2));
    assert_eq!(id(&one.send(&server, &report(&machine(1, &[A, B]))).await), 1);
    assert_eq!(id(&two.send(&server, &report(&machine(2, &[B, C]))).await), 2);
    (server, one, two)
}

#[tokio::test]
async fn forgotten_and_moved_hardware_is_put_back_whole() {
    let (server, _, _) = with_a_shared_port().await;
    let before = all(&server).await;
    let shared = format!("mac={B}");
    let own = format!("mac={A}");
    for args in [
        &["conflicts", "forget", "node1", &shared][..],
        &["conflicts", "move-hardware", "node1", "node2", &shared, &own],
        &["conflicts", "forget", "node2", &shared],
    ] {
        let number = event(&said(&server, args));
        assert_ne!(all(&server).await, before, "{args:?} does something");
        let undo = ["conflicts", "undo", &number];
        let trial = said(&server, &[&undo[..], &["--dry-run"]].concat());
        assert!(trial.starts_with("Trial only"), "{trial}");
        assert_ne!(all(&server).await, before, "a trial changes nothing");
        let done = said(&server, &undo);
        assert!(done.contains(&format!("event {number} is undone: mac=")), "{done}");
        assert_eq!(all(&server).await, before, "{args:?}");
        let again = refused(&server, &undo);
        assert!(again.contains("cannot be undone: who has mac="), "once: {again}");
    }
    let log = said(&server, &["nodes", "log", "node1"]);
    assert!(log.contains("conflicts undo") && log.contains("is undone"), "the log says both: {log}");
}

#[tokio::test]
async fn hardware_that_was_set_by_hand_is_what_it_was() {
    let (server, _, _) = with_a_shared_port().await;
    let before = all(&server).await;
    let body = json!({"node": "node1", "hw_info": {"net0": "00-11-22-33-44-99", "uuid": "another"}}).to_string();
    let request = server.request(reqwest::Method::POST, "/api/commands/set-node-hw-info").body(body);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(server.boot("net0=00-11-22-33-44-99").await, Ok(1), "{answer}");
    assert_ne!(all(&server).await, before);
    said(&server, &["conflicts", "undo", &answer["event"].to_string()]);
    assert_eq!(all(&server).await, before);
    assert_eq!(server.boot(&format!("net0={A}&serial=SYS1")).await, Ok(1), "known by its values of before");
}

#[tokio::test]
async fn what_has_changed_since_is_left_alone() {
    let (server, mut one, _) = with_a_shared_port().await;
    let number = event(&said(&server, &["conflicts", "forget", "node1", &format!("mac={A}")]));
    assert_eq!(id(&one.send(&server, &report(&machine(1, &[A, B]))).await), 1, "it has the port after all");
    let before = all(&server).await;
    let text = refused(&server, &["conflicts", "undo", &number]);
    assert!(
        text.contains(&format!("who has mac={A} has changed since")) && text.contains("Nothing was changed"),
        "{text}"
    );
    assert_eq!(all(&server).await, before);

    let number = event(&said(&server, &["conflicts", "forget", "node1", &format!("mac={B}")]));
    said(&server, &["nodes", "delete", "node1"]);
    let text = refused(&server, &["conflicts", "undo", &number]);
    assert!(text.contains("node1 have changed since"), "a node that is gone: {text}");
}

#[tokio::test]
async fn two_machines_are_in_dispute_again() {
    let (server, _, _) = with_a_copy().await;
    let before = (said(&server, &["conflicts"]), all(&server).await);
    let number = event(&said(&server, &["conflicts", "resolve", "node2", "different", "node1"]));
    assert_eq!(server.node(2).await["identity"]["state"], "normal");
    said(&server, &["conflicts", "undo", &number]);
    assert_eq!((said(&server, &["conflicts"]), all(&server).await), before);
    let again = refused(&server, &["conflicts", "undo", &number]);
    assert!(again.contains("not said to be two machines any more"), "{again}");
}

#[tokio::test]
async fn a_word_that_a_check_in_has_used_is_taken_back_for_the_next() {
    let (server, mut copy, running) = with_a_copy().await;
    let number = event(&said(&server, &["conflicts", "resolve", "node2", "different", "node1"]));
    assert_eq!(copy.send(&server, &running).await.1["state"], "normal");
    let done = said(&server, &["conflicts", "undo", &number]);
    assert!(done.contains("its next report decides"), "{done}");
}

#[tokio::test]
async fn what_has_no_undo_says_what_there_is() {
    let (server, _, _) = with_a_copy().await;
    for (command, body, words) in [
        ("merge", json!({"from": "node2", "into": "node1"}), "conflicts split"),
        ("split", json!({"name": "node2"}), "conflicts merge"),
        ("delete-node", json!({"name": "node2"}), "cannot be taken back"),
    ] {
        let request = server.request(reqwest::Method::POST, &format!("/api/commands/{command}")).body(body.to_string());
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let text = refused(&server, &["conflicts", "undo", &answer["event"].to_string()]);
        assert!(text.contains(words), "{answer}: {text}");
    }
    assert!(refused(&server, &["conflicts", "undo", "1"]).contains("no command of an operator"));
}

#[tokio::test]
async fn a_merge_that_was_taken_back_is_not_offered_on_older_pages() {
    let (server, _, _) = with_a_shared_port().await;
    said(&server, &["conflicts", "merge", "node2", "node1"]);
    let cursor = server.get("/api/collections/events").await.1["cursor"].as_str().unwrap().to_owned();
    let offers = async |path: &str| server.text(path).await.1.matches("value=\"split node2\"").count();
    let older = format!("/log?before={cursor}");
    assert_eq!(offers(&older).await, 1, "it stands");
    said(&server, &["conflicts", "split", "node2"]);
    assert_eq!(offers(&older).await, 0, "it does not any more");
    said(&server, &["conflicts", "merge", "node2", "node1"]);
    assert_eq!((offers(&older).await, offers("/log").await), (0, 1), "only the one that stands");
}
