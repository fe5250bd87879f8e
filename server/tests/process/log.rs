//! What happened, as the API and the command line tell it.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::agents::{Boot, inventory};
use crate::database;
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
    assert!(one.contains("Trouble 1") && one.contains("no image in use") && !one.contains("Trouble 2"), "{one}");
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
async fn what_is_said_again_and_again_is_counted() {
    let server = Server::start("");
    for n in 0..5 {
        server.boot("net0=00-11-22-33-44-aa").await.unwrap();
        server.get("/svc/log/1?msg=again").await;
        server.get(&format!("/svc/log/1?msg=once{n}")).await;
    }
    let log = server.log(1).await;
    assert_eq!(log.len(), 7, "{log:?}");
    let again = log.iter().find(|e| e["msg"] == "again").unwrap();
    assert_eq!(again["times"], 5, "{again}");
    assert!(again["since"].as_str().is_some_and(|since| since != again["timestamp"]), "{again}");
    let boots = log.iter().find(|e| e["event"] == "boot").unwrap();
    assert_eq!((&boots["error"], &boots["times"]), (&json!("no_image"), &json!(5)), "nothing was booted");
    let once = log.iter().find(|e| e["msg"] == "once0").unwrap();
    assert_eq!((once.get("times"), once.get("since")), (None, None), "{once}");
    let text = output(&server, &["nodes", "log", "node1"]);
    assert!(text.contains("again (5 times since 2") && !text.contains("Booted the microkernel"), "{text}");
}

/// Runs `args --follow`; gives the process, and the lines of its output and of its complaints as they come.
fn follow(server: &Server, args: &[&str]) -> (Child, Receiver<String>, Receiver<String>) {
    let mut command = Command::new(PROGRAM);
    command.args(["--server", &server.url]).args(args).arg("--follow").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    (child, lines_of(out), lines_of(err))
}

fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|l| send.send(l)));
    lines
}

fn wait_for(lines: &Receiver<String>, words: &str) {
    while !lines.recv_timeout(LINE).unwrap_or_else(|e| panic!("{words}: {e}")).contains(words) {}
}

#[tokio::test]
async fn following_ends_when_the_node_is_deleted() {
    let server = filled().await;
    let (mut child, lines, complaints) = follow(&server, &["nodes", "log", "node1"]);
    wait_for(&lines, "Trouble 1");
    let delete = server.request(reqwest::Method::POST, "/api/commands/delete-node");
    assert_eq!(delete.body(json!({"name": "node1"}).to_string()).send().await.unwrap().status(), 202);
    wait_for(&complaints, "there is no node \"node1\"");
    let deadline = std::time::Instant::now() + LINE;
    while child.try_wait().unwrap().is_none() {
        if std::time::Instant::now() > deadline {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(child.wait().unwrap().code(), Some(1), "it ends by itself");
}

#[tokio::test]
async fn following_goes_on_with_a_log_that_began_anew() {
    let false = database::is_postgres() else { return };
    let mut server = filled().await;
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let (mut child, lines, complaints) = follow(&server, &["log"]);
    wait_for(&lines, "Trouble 2");
    server.stop();
    for file in ["mk-server.sqlite", "mk-server.sqlite-wal", "mk-server.sqlite-shm"] {
        let _ = std::fs::remove_file(server.data().join(file));
    }
    server.start_again(&address);
    server.boot("net0=00-11-22-33-44-0f").await.unwrap();
    wait_for(&complaints, "begun anew");
    wait_for(&lines, "New machine: mac=00-11-22-33-44-0f");
    server.get("/svc/log/1?msg=later").await;
    wait_for(&lines, "later");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_restored_log_is_told_though_it_has_grown_past_the_place() {
    let false = database::is_postgres() else { return };
    let mut server = filled().await;
    let end =
        async |server: &Server| server.get("/api/collections/events").await.1["cursor"].as_str().unwrap().to_owned();
    let before = end(&server).await;
    server.stop();
    let files = ["mk-server.sqlite", "mk-server.sqlite-wal"].map(|file| server.data().join(file));
    let copies: Vec<_> = files.iter().map(|file| std::fs::read(file).ok()).collect();
    server.start_again("127.0.0.1:0");
    let after =
        async |server: &Server, place: &str| server.get(&format!("/api/collections/events?after={place}")).await;
    assert_eq!(after(&server, &before).await.0, 200, "a server that is started again goes on");
    server.get("/svc/log/1?msg=lost").await;
    let lost = end(&server).await;
    assert_eq!(after(&server, &lost).await.0, 200);

    server.stop();
    let _ = std::fs::remove_file(server.data().join("mk-server.sqlite-shm"));
    for (file, copy) in files.iter().zip(&copies) {
        let _ = std::fs::remove_file(file);
        if let Some(bytes) = copy {
            std::fs::write(file, bytes).unwrap();
        }
    }
    server.start_again("127.0.0.1:0");
    for n in 0..3 {
        server.get(&format!("/svc/log/1?msg=instead{n}")).await;
    }
    let (status, problem) = after(&server, &lost).await;
    assert_eq!((status, &problem["code"]), (410, &json!("log_began_anew")), "{problem}");
    let (status, page) = after(&server, &before).await;
    assert_eq!((status, page["items"].as_array().map(Vec::len)), (200, Some(3)), "of before the copy: {page}");
}

#[tokio::test]
async fn json_of_a_long_log_is_one_document() {
    let server = filled().await;
    let mut tasks = tokio::task::JoinSet::new();
    let server = std::sync::Arc::new(server);
    for n in 0..1200 {
        let (server, node) = (std::sync::Arc::clone(&server), n % 2 + 1);
        tasks.spawn(async move { server.get(&format!("/svc/log/{node}?msg=line{n}")).await.0 });
    }
    assert!(tasks.join_all().await.iter().all(|status| *status == 204));
    let document: Value = serde_json::from_str(&output(&server, &["log", "--since", "1h", "--json"])).unwrap();
    let items = document["items"].as_array().unwrap();
    let lines = items.iter().filter(|e| e["text"].as_str().is_some_and(|t| t.starts_with("line"))).count();
    assert_eq!(lines, 1200, "all pages of it");
    assert!(document["cursor"].is_string());
    let none: Value =
        serde_json::from_str(&output(&server, &["log", "--since", "2100-01-01T00:00:00Z", "--json"])).unwrap();
    assert_eq!(none["items"], json!([]));
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
    let (mut child, lines, complaints) = follow(&server, &["nodes", "log", "node1"]);
    wait_for(&lines, "Trouble 1");
    server.get("/svc/log/1?msg=first").await;
    wait_for(&lines, "first");
    server.stop();
    wait_for(&complaints, "Waiting for it");
    server.start_again(&address);
    server.get("/svc/log/1?msg=second").await;
    wait_for(&lines, "second");
    wait_for(&complaints, "the server answers again");
    child.kill().unwrap();
    child.wait().unwrap();
}
