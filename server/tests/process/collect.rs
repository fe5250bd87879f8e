//! Bundles of logs and state: who may send one, what is kept, and how it is handed out.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wire::routes::{BUNDLE, GZIP};

use crate::agents::{Boot, inventory, report};
use crate::commands::{commands, ends, with_a_node};
use crate::conflicts::{late_disks, said};
use crate::support::{Answer, PROGRAM, Server};

/// What a bundle begins with, and something to tell it from others.
fn archive(tail: &str) -> Vec<u8> {
    [&[0x1f, 0x8b, 8, 0], tail.as_bytes()].concat()
}

/// Sends a bundle as this boot, signed with the key of `signer`.
async fn send(server: &Server, node: u64, boot: &Boot, signer: &Boot, command: u64, body: &[u8]) -> Answer {
    let query = format!("boot_id={}&command={command}", boot.id);
    let headers = signer.sign_message(&wire::sign::bundle(node, &query, body));
    let mut request = server.request(reqwest::Method::POST, &format!("{BUNDLE}/{node}?{query}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let response = request.header("content-type", GZIP).body(body.to_vec()).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
}

/// Has node 1 told to collect; gives the command's id.
async fn told_to_collect(server: &Server, boot: &mut Boot) -> u64 {
    said(server, &["nodes", "collect", "node1"]);
    let told = commands(&boot.send(server, &json!({})).await);
    let collect = told.iter().find(|c| c["kind"] == "collect-logs").unwrap();
    collect["id"].as_u64().unwrap()
}

/// Name of the file of a command's bundle.
fn file(command: u64, body: &[u8]) -> String {
    format!("{command}-{}.tar.gz", &wire::digest::sha256_hex(body)[..16])
}

/// Names of the files that are kept.
fn kept(server: &Server) -> Vec<String> {
    let entries = fs::read_dir(server.data().join("bundles")).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_bundle_is_taken_listed_shown_and_handed_out() {
    let (mut server, mut boot) = with_a_node("").await;
    assert!(said(&server, &["nodes", "bundles", "node1"]).contains("nodes collect node1"));
    let command = told_to_collect(&server, &mut boot).await;
    let body = archive("logs");
    let (status, answer) = send(&server, 1, &boot, &boot, command, &body).await;
    assert_eq!((status, &answer["bytes"]), (200, &json!(body.len())), "{answer}");
    boot.send(&server, &json!({"results": [{"id": command, "outcome": "done", "detail": "12 files were sent"}]})).await;
    assert_eq!(ends(&server).await, [format!("{command} collect-logs done")]);
    server.restart("");
    let listed = said(&server, &["nodes", "bundles", "node1"]);
    assert!(listed.contains("Command") && listed.contains(" UTC"), "{listed}");
    let page = server.text("/nodes/node1").await.1;
    assert!(page.contains(&format!("/api/collections/nodes/node1/bundles/{command}")), "{page}");
    let out = server.data().join("out.tar.gz");
    let text = said(&server, &["nodes", "bundle", "node1", "--out", out.to_str().unwrap()]);
    assert!(text.starts_with("Saved ") && text.contains("tar -xzf"), "{text}");
    assert_eq!(fs::read(out).unwrap(), body);
    let refused = server.cli(&["nodes", "bundle", "node1", "99"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no bundle of command"), "{refused:?}");
    said(&server, &["nodes", "delete", "node1"]);
    assert_eq!(kept(&server), [""; 0], "a node goes with what it sent");
}

#[tokio::test]
async fn what_nobody_asked_for_is_refused_and_leaves_nothing() {
    let (server, mut boot) = with_a_node("").await;
    let (stranger, body) = (Boot::new(9), archive("x"));
    assert_eq!(send(&server, 1, &boot, &boot, 1, &body).await.1["code"], "not_asked");
    let command = told_to_collect(&server, &mut boot).await;
    for (node, as_boot, signer, command, body, status, code) in [
        (1, &stranger, &stranger, command, &body, 404, "no_such_boot"),
        (1, &boot, &stranger, command, &body, 409, "wrong_key"),
        (7, &boot, &boot, command, &body, 404, "no_such_node"),
        (1, &boot, &boot, command + 1, &body, 409, "not_asked"),
        (1, &boot, &boot, command, &b"#!/bin/sh".to_vec(), 422, "bad_bundle"),
        (1, &boot, &boot, command, &archive(&"x".repeat(wire::limits::MAX_BUNDLE)), 413, "too_large"),
    ] {
        let (got, answer) = send(&server, node, as_boot, signer, command, body).await;
        assert_eq!((got, answer["code"].as_str().unwrap()), (status, code), "{answer}");
        assert!(!answer["remedy"].as_str().unwrap().is_empty());
    }
    let unsigned = server.request(reqwest::Method::POST, &format!("{BUNDLE}/1?boot_id={}&command={command}", boot.id));
    assert_eq!(unsigned.body(body.clone()).send().await.unwrap().status().as_u16(), 401);
    let unasked = server.request(reqwest::Method::POST, &format!("{BUNDLE}/1"));
    assert_eq!(unasked.body(body.clone()).send().await.unwrap().status().as_u16(), 400);
    // Cut short on the way, it is not what was signed.
    let query = format!("boot_id={}&command={command}", boot.id);
    let mut request = server.request(reqwest::Method::POST, &format!("{BUNDLE}/1?{query}"));
    for (name, value) in boot.sign_message(&wire::sign::bundle(1, &query, &archive("a whole one"))) {
        request = request.header(name, value);
    }
    assert_eq!(request.body(archive("a wh")).send().await.unwrap().status().as_u16(), 401);
    assert_eq!(kept(&server), [""; 0]);
    assert_eq!(send(&server, 1, &boot, &boot, command, &body).await.0, 200, "and the one that was asked for is taken");
    let again = archive("sent once more");
    assert_eq!(send(&server, 1, &boot, &boot, command, &again).await.0, 200);
    assert_eq!(kept(&server), [file(command, &again)], "in the place of the one before");
    boot.send(&server, &json!({"results": [{"id": command, "outcome": "done"}]})).await;
    assert_eq!(send(&server, 1, &boot, &boot, command, &body).await.1["code"], "not_asked", "once");
}

#[tokio::test]
async fn who_goes_away_before_the_answer_leaves_no_file_without_its_row() {
    let (server, mut boot) = with_a_node("").await;
    for _ in 0..5 {
        let command = told_to_collect(&server, &mut boot).await;
        let (query, body) = (format!("boot_id={}&command={command}", boot.id), archive(&"x".repeat(1 << 20)));
        let mut head = format!("POST {BUNDLE}/1?{query} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in boot.sign_message(&wire::sign::bundle(1, &query, &body)) {
            head += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
        stream.write_all(&[head.as_bytes(), b"\r\n", &body].concat()).unwrap();
    }
    // None may be kept, or some; but no part of one.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let files = kept(&server);
        let (_, listed) = server.get("/api/collections/nodes/node1/bundles").await;
        let mut rows: Vec<String> = listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|b| format!("{}-{:.16}.tar.gz", b["command"], b["sha256"].as_str().unwrap()))
            .collect();
        rows.sort();
        if files == rows {
            break;
        }
        assert!(Instant::now() < end, "{files:?} are kept, {rows:?} are listed");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn a_node_keeps_its_newest_bundles() {
    let (server, mut boot) = with_a_node("").await;
    for _ in 0..7 {
        let command = told_to_collect(&server, &mut boot).await;
        assert_eq!(send(&server, 1, &boot, &boot, command, &archive("x")).await.0, 200);
    }
    assert_eq!(kept(&server), [3, 4, 5, 6, 7].map(|n| file(n, &archive("x"))));
    let (_, listed) = server.get("/api/collections/nodes/node1/bundles").await;
    let commands: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|i| &i["command"]).collect();
    assert_eq!(commands, [7, 6, 5, 4, 3], "newest first");
}

#[tokio::test]
async fn what_came_while_disks_were_awaited_is_the_machine_s_that_sent_it() {
    let (server, mut boot, whole) = late_disks().await;
    let early = told_to_collect(&server, &mut boot).await;
    assert_eq!(send(&server, 1, &boot, &boot, early, &archive("early")).await.0, 200);
    assert_eq!(boot.send(&server, &report(&whole)).await.1["id"], 2);
    let bundles = async |node: u64| {
        let (_, listed) = server.get(&format!("/api/collections/nodes/node{node}/bundles")).await;
        listed["items"].as_array().unwrap().iter().map(|b| b["command"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((bundles(1).await, bundles(2).await), (vec![], vec![json!(early)]));
    // Whose it is was found out before it came.
    assert_eq!(send(&server, 1, &boot, &boot, early, &archive("late")).await.1["code"], "wrong_node");
    assert_eq!(send(&server, 2, &boot, &boot, early, &archive("late")).await.1["code"], "not_asked");
    let shown = said(&server, &["nodes", "show", "node1"]);
    assert!(shown.contains("collect-logs: "), "node1 has sent nothing yet: {shown}");
}

#[tokio::test]
async fn a_bundle_for_which_the_disk_has_no_room_is_refused_and_leaves_nothing() {
    if !nix::unistd::geteuid().is_root() {
        return mk_tests::skip("only root can make a small disk");
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    // A mount namespace of its own, so that the disk goes away with the server.
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=3m none \"$1\" && exec \"$0\" serve --listen 127.0.0.1:0 --data \"$1\"";
    command.args(["-m", "sh", "-c", script, PROGRAM]).arg(&data);
    let server = Server::spawn(&data, command);
    let mut boot = Boot::new(1);
    assert_eq!(boot.send(&server, &inventory(&["00-11-22-33-44-aa"], "S1")).await.0, 200);
    let command = told_to_collect(&server, &mut boot).await;
    let (status, answer) = send(&server, 1, &boot, &boot, command, &archive(&"x".repeat(3 << 20))).await;
    assert_eq!((status, answer["code"].as_str()), (507, Some("disk_full")), "{answer}");
    assert!(answer["remedy"].as_str().unwrap().contains("Make room"), "{answer}");
    let seen = format!("/proc/{}/root{}/bundles", server.pid(), data.display());
    assert_eq!(fs::read_dir(seen).unwrap().count(), 0, "nothing of it stays");
    assert_eq!(send(&server, 1, &boot, &boot, command, &archive("small")).await.0, 200, "one that fits is taken");
}

#[tokio::test]
async fn strangers_among_the_bundles_stay_and_a_bundle_whose_file_is_gone_is_named() {
    let (mut server, mut boot) = with_a_node("").await;
    let command = told_to_collect(&server, &mut boot).await;
    assert_eq!(send(&server, 1, &boot, &boot, command, &archive("x")).await.0, 200);
    let folder = server.data().join("bundles");
    fs::create_dir(folder.join("unpacked")).unwrap();
    fs::write(folder.join("notes"), "mine").unwrap();
    fs::remove_file(folder.join(file(command, &archive("x")))).unwrap();
    server.restart("");
    assert_eq!(kept(&server), ["notes", "unpacked"]);
    let (status, answer) = server.get(&format!("/api/collections/nodes/node1/bundles/{command}")).await;
    assert_eq!((status, answer["code"].as_str()), (404, Some("no_such_bundle")), "{answer}");
    assert!(answer["error"].as_str().unwrap().contains(&file(command, &archive("x"))), "{answer}");
    assert!(answer["remedy"].as_str().unwrap().contains("nodes collect node1"), "{answer}");
}
