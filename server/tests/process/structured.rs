//! The server's log as JSON: what happens with its fields, and never a secret.

use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::{COOKIE, ORIGIN, SET_COOKIE};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::agents::{Boot, inventory};
use crate::outside::Outside;

/// Longest wait for a line on a busy machine.
const SAID: Duration = Duration::from_secs(60);

/// Lines of the log, once one of them is about this command.
fn lines(outside: &Outside, awaited: &str) -> Vec<Value> {
    let end = Instant::now() + SAID;
    loop {
        let log = outside.log();
        let whole = log.lines().filter(|_| log.ends_with('\n'));
        let lines: Vec<Value> = whole.map(|line| serde_json::from_str(line).unwrap()).collect();
        if lines.iter().any(|line| line["command"] == awaited) {
            return lines;
        }
        assert!(Instant::now() < end, "nothing about {awaited}:\n{log}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test]
async fn what_happens_is_told_with_its_fields_and_no_secret() {
    let Some(outside) = Outside::start(&["--log-format", "json", "--log-level", "debug"]) else { return };
    let server = &outside.server;
    let enrolment = server.cli(&["enrolment", "create"]);
    let enrolment = String::from_utf8(enrolment.stdout).unwrap().trim().to_owned();
    let token = outside.token(&["--note", "rack team"]);
    let wrong = format!("razormk_{}", "5".repeat(64));
    for (shown, status) in [(&token, 200), (&wrong, 401)] {
        let answer = outside.request(Method::GET, "/nodes").bearer_auth(shown).send().await.unwrap();
        assert!([status, 303].contains(&answer.status().as_u16()), "{answer:?}");
    }
    let clear = outside.client.get(format!("{}/nodes", outside.http)).bearer_auth(&token).send().await.unwrap();
    assert_eq!(clear.status(), 403);
    let post = outside.request(Method::POST, "/login").header(ORIGIN, &outside.https).body(format!("token={token}"));
    let cookie = post.send().await.unwrap().headers()[SET_COOKIE].to_str().unwrap().to_owned();
    let cookie = cookie.split(';').next().unwrap();
    let secret = "mk_facts_d={\"a.txt\": \"password=s3cret-of-the-site\"}";
    assert!(server.cli(&["config", "set", secret]).status.success());
    let mut boot = Boot::new(1);
    let mut report = inventory(&["00-11-22-33-44-aa"], "S1");
    report["enrolment"] = json!(enrolment);
    assert_eq!(boot.send(server, &report).await.0, 200);
    assert_eq!(server.post(None, format!("{{\"facts\": \"{token} {enrolment}\"}}").as_bytes(), &[]).await.0, 400);
    let command = outside.request(Method::POST, "/api/commands/reinstall-node").header(COOKIE, cookie);
    let command = command.header(ORIGIN, &outside.https).json(&json!({"name": "node1"})).send().await.unwrap();
    assert_eq!(command.status(), 202);

    let lines = lines(&outside, "reinstall-node");
    for line in &lines {
        let time = line["timestamp"].as_str().unwrap();
        assert!(OffsetDateTime::parse(time, &Rfc3339).is_ok() && time.ends_with('Z'), "{line}");
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    let find = |event: &str, field: &str, wanted: &Value| {
        let found = lines.iter().find(|line| line["event"] == event && &line[field] == wanted);
        found.unwrap_or_else(|| panic!("no {event} with {field}={wanted}: {lines:?}")).clone()
    };
    let refused = find("checkin-refused", "code", &json!("bad_json"));
    assert_eq!((&refused["status"], &refused["peer"]), (&json!(400), &json!("127.0.0.1")), "{refused}");
    assert_eq!(find("operator", "command", &json!("set-config"))["by"], "local");
    find("operator", "command", &json!("create-token"));
    assert_eq!(find("operator", "command", &json!("reinstall-node"))["by"], "token 1 (rack team)");
    let decided = find("node-created", "node", &json!("node1"));
    assert!(decided["message"].as_str().unwrap().contains("mac=00-11-22-33-44-aa"), "{decided}");
    find("token-refused", "level", &json!("WARN"));
    find("log-in", "token", &json!(1));
    let log = outside.log();
    for secret in [&token[8..], &wrong[8..], &enrolment, cookie.split('=').nth(1).unwrap(), "s3cret-of-the-site"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}
