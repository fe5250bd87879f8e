//! The command line against a running server, and against none.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::agents::{Boot, inventory};
use crate::support::{PROGRAM, Server};

fn text(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

#[tokio::test]
async fn nodes_are_listed_and_shown() {
    let server = Server::start("");
    let output = server.cli(&["nodes", "list"]);
    assert!(output.status.success() && text(&output).contains("No machine has been seen yet"), "{}", text(&output));
    let mut report = inventory(&["00-11-22-33-44-aa"], "SERIAL1");
    report["inventory"]["stable"]["memory"] = json!({"installed_bytes": 2_147_483_648u64, "dimms": [{"slot": "DIMM 0", "size_bytes": 2_147_483_648u64, "serial": "M1"}]});
    report["inventory_digest"] = json!("0".repeat(64));
    assert_eq!(Boot::new(1).send(&server, &report).await.0, 200);
    let list = text(&server.cli(&["nodes", "list"]));
    assert!(list.contains("node1") && list.contains("SERIAL1") && list.contains("2 GiB"), "{list}");
    let shown = text(&server.cli(&["nodes", "show", "node1"]));
    for words in ["node1", "serial SERIAL1", "DIMM 0", "M1", "00:11:22:33:44:aa", "mac=00-11-22-33-44-aa"] {
        assert!(shown.contains(words), "{words} is missing:\n{shown}");
    }
    let exact: Value = serde_json::from_slice(&server.cli(&["nodes", "show", "node1", "--json"]).stdout).unwrap();
    assert_eq!(exact["inventory"]["stable"]["memory"]["installed_bytes"], 2_147_483_648u64);
    let output = server.cli(&["nodes", "show", "node9"]);
    assert!(!output.status.success() && text(&output).contains("nodes list"), "{}", text(&output));
}

#[test]
fn without_a_server_it_says_how_to_get_one() {
    // A port that was free a moment ago.
    let url = format!("http://{}", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let output = Command::new(PROGRAM).args(["nodes", "list"]).env("MK_SERVER", &url).output().unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains(&url), "{said}");
    assert!(said.contains("mk-server serve") && said.contains("--server"), "{said}");
}

#[test]
fn a_url_that_is_none_is_named() {
    let output = Command::new(PROGRAM).args(["--server", "razor:8150", "nodes", "list"]).output().unwrap();
    assert!(!output.status.success() && text(&output).contains("razor:8150"), "{}", text(&output));
}

#[tokio::test]
async fn json_of_a_hostile_machine_cannot_move_the_cursor_and_says_exactly_what_it_sent() {
    let server = Server::start("");
    let evil = "a\u{1b}[2J\u{7f}\u{9b}2J\u{2028}\u{2029}\u{202e}\u{2066}\u{200f}\u{feff}ü漢\n\"b";
    let mut report = inventory(&["00-11-22-33-44-aa"], evil);
    report["problems"] = json!([{"code": "c", "error": evil, "remedy": evil}]);
    assert_eq!(Boot::new(1).send(&server, &report).await.0, 200);
    for args in [
        &["nodes", "show", "node1", "--json"][..],
        &["nodes", "list", "--json"],
        &["log", "--json"],
        &["log", "--since", "1h", "--json"],
        &["nodes", "log", "node1", "--json"],
    ] {
        let output = text(&server.cli(args));
        let raw: Vec<char> = output
            .chars()
            .filter(|c| {
                *c != '\n' && (c.is_control() || "\u{2028}\u{2029}\u{202e}\u{2066}\u{200f}\u{feff}".contains(*c))
            })
            .collect();
        assert!(raw.is_empty(), "{args:?}: {raw:?}");
        let document: Value = serde_json::from_str(&output).unwrap();
        let (exact, found) = (json!(evil).to_string(), document.to_string());
        assert!(found.contains(&exact) && output.contains("ü漢"), "{args:?}: {found}");
    }
}

#[test]
fn a_proxy_of_the_environment_is_not_asked() {
    let server = Server::start("");
    let mut command = Command::new(PROGRAM);
    command.args(["--server", &server.url, "nodes", "list"]);
    // Port 9 of this machine, where nothing listens.
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy"] {
        command.env(name, "http://127.0.0.1:9");
    }
    let output = command.env_remove("no_proxy").env_remove("NO_PROXY").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn nodes_are_registered_released_changed_and_deleted() {
    let server = Server::start("");
    let said = |args: &[&str]| {
        let output = server.cli(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        text(&output)
    };
    let register = ["nodes", "register", "mac=00:11:22:33:44:AA", "mac=00:11:22:33:44:BB", "serial=S1", "--installed"];
    let trial = said(&[&register[..], &["--dry-run"]].concat());
    assert!(trial.starts_with("Trial only") && trial.contains("installed"), "{trial}");
    assert_eq!(server.count().await, 0, "a trial changes nothing");
    said(&register);
    let node = server.node(1).await;
    assert_eq!(node["hw_info"]["mac"], json!(["00-11-22-33-44-aa", "00-11-22-33-44-bb"]));
    assert_eq!(node["state"]["installed"], "registered");

    let release = ["nodes", "reinstall", "node1"];
    let trial = said(&[&release[..], &["--dry-run"]].concat());
    assert!(trial.contains("no longer counts as installed"), "{trial}");
    assert_eq!(server.node(1).await["state"]["installed"], "registered", "a trial changes nothing");
    let answer: Value = serde_json::from_str(&said(&[&release[..], &["--json"]].concat())).unwrap();
    assert_eq!((&answer["name"], &answer["dry_run"]), (&json!("node1"), &json!(false)));
    assert_eq!(server.node(1).await["state"]["installed"], false);
    let again = said(&release);
    assert!(again.contains("nothing was changed"), "{again}");

    said(&["nodes", "set-hw-info", "node1", "mac=00:11:22:33:44:CC"]);
    assert_eq!(server.hw_info(1).await, json!({"mac": ["00-11-22-33-44-cc"]}));
    let log = said(&["nodes", "log", "node1"]);
    for words in ["is the machine with", "no longer counts as installed (registered)", "from now on"] {
        assert!(log.contains(words), "{words} is missing:\n{log}");
    }
    said(&["nodes", "delete", "node1", "--dry-run"]);
    assert_eq!(server.count().await, 1, "a trial changes nothing");
    said(&["nodes", "delete", "node1"]);
    assert_eq!(server.count().await, 0);
    for refused in [&["nodes", "reinstall", "node1"][..], &["nodes", "register", "node1"]] {
        let output = server.cli(refused);
        assert!(!output.status.success() && text(&output).contains("node1"), "{refused:?}: {}", text(&output));
    }
}
