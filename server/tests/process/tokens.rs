//! Operators' tokens: who is let in from other machines, what they may do, and that it is written down who did it.

use std::path::Path;
use std::process::{Command, Output};

use reqwest::Method;
use serde_json::{Value, json};

use crate::outside::{Outside, seen};
use crate::support::PROGRAM;

const NODES: &str = "/api/collections/nodes";
const REGISTER: &str = "/api/commands/register-node";

/// What a command that failed said.
fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn expect(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// Files of a folder and its folders in which these bytes stand.
fn files_with(folder: &Path, words: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, words));
        } else if std::fs::read(&path).unwrap().windows(words.len()).any(|part| part == words.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn callers_elsewhere_are_let_in_by_a_token_and_by_tls_alone() {
    let Some(outside) = Outside::start(&[]) else { return };
    let with = |method: Method, path: &str, token: &str| outside.request(method, path).bearer_auth(token);
    assert_eq!(seen(outside.request(Method::GET, NODES)).await, expect(403, "not_local"), "before there is a token");
    assert_eq!(seen(with(Method::GET, NODES, "razormk_0")).await, expect(403, "not_local"));

    let (all, sees) = (outside.token(&["--note", "rack team"]), outside.token(&["--read-only"]));
    assert!(all.starts_with("razormk_") && all.len() == 72 && all != sees, "{all}");
    let clear = outside.client.get(format!("{}{NODES}", outside.http));
    assert_eq!(seen(clear.try_clone().unwrap()).await, expect(403, "needs_tls"));
    assert_eq!(seen(clear.bearer_auth(&all)).await, expect(403, "token_in_the_clear"));
    for path in [NODES, "/metrics", "/api/of/tomorrow"] {
        let answer = outside.request(Method::GET, path).send().await.unwrap();
        let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(
            (answer.status().as_u16(), challenge.as_deref()),
            (401, Some("Bearer realm=\"razor-mk\"")),
            "{path}"
        );
    }
    for path in ["/nodes", "/page/of/tomorrow"] {
        let answer = outside.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 303, "{path}");
    }
    assert_eq!(seen(with(Method::GET, NODES, &all.replace('a', "b"))).await, expect(401, "bad_token"));
    assert_eq!(seen(with(Method::GET, NODES, &all)).await.0, 200);
    assert_eq!(seen(with(Method::GET, "/nodes", &all)).await.0, 200, "pages too");
    let named = outside.client.get(format!("{}{NODES}", outside.named)).bearer_auth(&all);
    assert_eq!(seen(named).await.0, 200, "by a name of the certificate");
    let rebound = with(Method::GET, NODES, &all).header("host", "rebound.example");
    assert_eq!(seen(rebound).await, expect(403, "foreign_host"));
    let passed = with(Method::GET, NODES, &all).header("via", "1.1 proxy");
    assert_eq!(seen(passed).await, expect(403, "through_proxy"));
}

#[tokio::test]
async fn who_gave_a_command_is_written_down_and_who_only_sees_gives_none() {
    let Some(outside) = Outside::start(&[]) else { return };
    let with = |method: Method, path: &str, token: &str| outside.request(method, path).bearer_auth(token);
    let (all, sees) = (outside.token(&["--note", "rack team"]), outside.token(&["--read-only"]));
    let machine = json!({"hw_info": {"net0": "00:11:22:33:44:55"}, "installed": true});
    assert_eq!(seen(with(Method::POST, REGISTER, &sees).json(&machine)).await, expect(403, "read_only_token"));
    assert_eq!(outside.server.count().await, 0, "nothing was done");
    assert_eq!(seen(with(Method::POST, REGISTER, &all).json(&machine)).await.0, 202);
    assert!(outside.server.cli(&["nodes", "reinstall", "node1"]).status.success());
    let by: Vec<Value> = outside.server.log(1).await.iter().map(|entry| entry["by"].clone()).collect();
    assert_eq!(by, [json!("local"), json!("token 1 (rack team)")], "newest first");
    let log = outside.server.cli(&["nodes", "log", "node1"]);
    assert!(
        String::from_utf8_lossy(&log.stdout).contains("An operator's command, by token 1 (rack team): "),
        "{log:?}"
    );
    let (_, events) = outside.server.text("/api/collections/events").await;
    assert!(events.contains("create-token") && !events.contains(&all) && !events.contains(&sees), "{events}");
    let another = with(Method::POST, "/api/commands/create-token", &all).json(&json!({}));
    assert_eq!(seen(another).await, expect(403, "only_there"), "one that got lost makes no others");

    // On the server's machine all is as before, unless a token is shown.
    let local = |token: &str| outside.server.request(Method::POST, REGISTER).bearer_auth(token).json(&machine);
    assert_eq!(seen(local(&sees)).await, expect(403, "read_only_token"));
    assert_eq!(seen(local("wrong")).await, expect(401, "bad_token"));

    let outside = outside.again();
    let with = |token: &str| outside.request(Method::GET, NODES).bearer_auth(token);
    assert_eq!(seen(with(&all)).await.0, 200, "after a restart");
    let list = outside.server.cli(&["token", "list"]);
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    for words in ["rack team", "everything", "see", "never", "good"] {
        assert!(list.contains(words), "{words}: {list}");
    }
    assert!(outside.server.cli(&["token", "revoke", "1"]).status.success());
    assert_eq!(seen(with(&all)).await, expect(401, "bad_token"));
    assert_eq!(seen(with(&sees)).await.0, 200, "the other one is as before");
    assert_eq!(files_with(outside.server.data(), &all), Vec::<String>::new(), "nothing keeps it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_token_that_opened_it() {
    let Some(outside) = Outside::start(&[]) else { return };
    let token = outside.token(&["--read-only"]);
    let request = outside.request(Method::GET, "/api/collections/events").header("accept", "text/event-stream");
    let mut stream = request.bearer_auth(&token).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert!(outside.server.cli(&["token", "revoke", "1"]).status.success());
    let end = async { while stream.chunk().await.is_ok_and(|chunk| chunk.is_some()) {} };
    tokio::time::timeout(4 * mk_server::limits::HEARTBEAT, end).await.expect("the stream goes on");
}

#[tokio::test]
async fn the_command_line_on_another_machine_says_what_is_missing() {
    let Some(outside) = Outside::start(&[]) else { return };
    let token = outside.token(&["--expires", "1h"]);
    let file = outside.server.data().parent().unwrap().join(format!("token-{}", std::process::id()));
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let by_file = outside.cli(&["--token-file", file.to_str().unwrap(), "nodes", "list", "--json"]);
    std::fs::remove_file(&file).unwrap();
    assert!(by_file.status.success(), "{by_file:?}");
    assert!(outside.cli(&["nodes", "list", "--token", &token]).status.success());
    let said = refusal(&outside.cli(&["nodes", "list"]));
    assert!(said.contains("need a token") && said.contains("--token-file") && said.contains("token create"), "{said}");
    let said = refusal(&outside.cli(&["--token", "wrong", "nodes", "list"]));
    assert!(said.contains("is not known here, has expired or was revoked"), "{said}");
    let stranger = |url: &str| {
        let mut command = Command::new(PROGRAM);
        refusal(&command.args(["--server", url, "nodes", "list"]).env("MK_TOKEN", &token).output().unwrap())
    };
    let said = stranger(&outside.https);
    assert!(said.contains("--ca FILE") && !said.contains("razormk_"), "{said}");
    let said = stranger(&outside.http);
    assert!(said.contains("was not sent") && said.contains("https://"), "{said}");
}

#[tokio::test]
async fn who_guesses_tokens_has_to_wait() {
    let Some(outside) = Outside::start(&[]) else { return };
    let token = outside.token(&[]);
    let with = |token: &str| outside.request(Method::GET, NODES).bearer_auth(token);
    for _ in 0..10 {
        assert_eq!(seen(with("razormk_guess")).await, expect(401, "bad_token"));
    }
    // A slow machine may have let one more by meanwhile.
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(seen(with("razormk_guess")).await.1);
    }
    assert!(answers.iter().filter(|code| *code == "too_many_attempts").count() >= 5, "{answers:?}");
    let answer = with(&token).send().await.unwrap();
    if answer.status() == 429 {
        assert!(answer.headers().contains_key("retry-after"));
    }
    let local = outside.server.request(Method::GET, NODES).bearer_auth(&token);
    assert_eq!(seen(local).await.0, 200, "other sources are not touched");
    assert!(outside.log().contains("sent a wrong token"), "{}", outside.log());
}
