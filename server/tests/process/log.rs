//! What happened, as the API and the command line tell it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::{Value, json};

use crate::agents::{Boot, inventory};
use crate::support::{PROGRAM, Server};

/// Longest wait for a line of `--follow`.
const LINE: Duration = Duration::from_secs(30);

fn output(server: &Server, args: &[&str]) -> String {
    let output = server.cli(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Two nodes with something in their logs.
async fn filled() -> Server {
    let server = Server::start("");
    for n in 1..=2 {
        let mac = format!("00-11-22-33-44-0{n}");
        server.boot(&format!("net0={mac}")).await.unwrap();
        let mut report = inventory(&[&mac], &format!("S{n}"));
        report["problems"] = json!([{"code": "c", "error": format!("Trouble {n}."), "remedy": "Mend it.\u{1b}[2J"}]);
        assert_eq!(Boot::new(n).send(&server, &report).await.0, 200);
    }
    server
}

#[tokio::test]
async fn the_log_tells_what_happened_newest_last() {
    let server = Server::start("");
    assert_eq!(output(&server, &["log"]), "");
    let server = filled().await;
    let text = output(&server, &["log"]);
    let lines: Vec<&str> = text.lines().collect();
    let place =
        |words: &str| lines.iter().position(|l| l.contains(words)).unwrap_or_else(|| panic!("{words}:\n{text}"));
    assert!(place("New machine: mac=00-11-22-33-44-01") < place("Trouble 1. Mend it."), "{text}");
    assert!(place("Trouble 1. Mend it.") < place("Trouble 2. Mend it."), "{text}");
    assert!(lines[place("Trouble 2")].contains("node2") && lines[place("Trouble 2")].contains("warn"), "{text}");
    assert!(!text.contains('\u{1b}'), "a machine's text must not reach the terminal as it is: {text}");

    let one = output(&server, &["nodes", "log", "node1"]);
    assert!(one.contains("Trouble 1") && one.contains("Booted the microkernel") && !one.contains("Trouble 2"), "{one}");
    let recent = output(&server, &["log", "--since", "1h"]);
    assert_eq!(recent, text);
    assert_eq!(output(&server, &["log", "--since", "2100-01-01T00:00:00Z"]), "");
    let exact: Value = serde_json::from_str(&output(&server, &["nodes", "log", "node2", "--json"])).unwrap();
    let last = exact["items"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["node"], &last["entry"]["error"]), (&json!("node2"), &json!("Trouble 2.")));

    for args in [["log", "--since", "yesterday"], ["nodes", "log", "node9"]] {
        assert!(!server.cli(&args).status.success(), "{args:?}");
    }
}

#[tokio::test]
async fn pages_join_up() {
    let server = filled().await;
    let (_, all) = server.get("/api/collections/events").await;
    let all = all["items"].as_array().unwrap().clone();
    let (mut seen, mut cursor) = (Vec::new(), "0.0".to_owned());
    loop {
        let (status, page) = server.get(&format!("/api/collections/events?limit=1&after={cursor}")).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(page["items"].as_array().unwrap().clone());
        cursor = page["cursor"].as_str().unwrap().to_owned();
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(seen, all);
    for bad in ["after=x", "since=x", "limit=x", "node=node77"] {
        let (status, problem) = server.get(&format!("/api/collections/events?{bad}")).await;
        assert!((400..500).contains(&status) && problem["remedy"].is_string(), "{bad}: {problem}");
    }
}

#[tokio::test]
async fn following_goes_on_after_the_server_was_away() {
    let mut server = filled().await;
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let mut child = Command::new(PROGRAM)
        .args(["--server", &server.url, "nodes", "log", "node1", "--follow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (send, lines) = channel();
    let stdout = child.stdout.take().unwrap();
    std::thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|l| send.send(l)));
    let wait_for = |words: &str| {
        while !lines.recv_timeout(LINE).unwrap_or_else(|e| panic!("{words}: {e}")).contains(words) {}
    };
    wait_for("Trouble 1");
    server.get("/svc/log/1?msg=first").await;
    wait_for("first");
    server.stop();
    std::thread::sleep(Duration::from_secs(2));
    server.start_again(&address);
    server.get("/svc/log/1?msg=second").await;
    wait_for("second");
    child.kill().unwrap();
    child.wait().unwrap();
}
