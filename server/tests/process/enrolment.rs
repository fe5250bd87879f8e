//! Who is let in: machines that were never accepted wait for an operator or come with a token, and are told nothing before.

use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wire::enrolment::{fingerprint, is_token};

use crate::agents::{Boot, inventory, report};
use crate::browser::{Browser, Scheme};
use crate::commands::commands;
use crate::conflicts::{A, B, id, machine, said};
use crate::page::{FAINT, OVERFLOW, PHONE, picture};
use crate::support::Server;
use crate::wait::{LONG_S, SOON, ask, version};

const APPROVE: &str = "enrolment = \"approve\"\n";
const TOKEN: &str = "enrolment = \"token\"\n";

/// The fingerprint of a boot's key, made of what it sends.
fn key_of(boot: &Boot) -> String {
    let key = boot.sign(b"").swap_remove(0).1;
    fingerprint(&STANDARD.decode(key).unwrap())
}

/// State, and the code of the reason for it.
fn seen(answer: &(u16, Value)) -> (&str, &str) {
    assert_eq!(answer.0, 200, "{answer:?}");
    let word = |value: &'static str| value;
    (answer.1["state"].as_str().unwrap_or(word("")), answer.1["reason"]["code"].as_str().unwrap_or(word("")))
}

/// Makes a token; what the command prints is that alone.
fn token(server: &Server, more: &[&str]) -> String {
    let printed = said(server, &[&["enrolment", "create"], more].concat());
    let token = printed.trim_end().to_owned();
    assert!(is_token(&token), "{printed:?}");
    token
}

/// A report with a token.
fn with(mut report: Value, token: &str) -> Value {
    report["enrolment"] = token.into();
    report
}

#[tokio::test]
async fn a_machine_that_waits_is_told_nothing_until_it_is_approved() {
    let server = Server::start(&format!("{APPROVE}protect_new_nodes = true\n"));
    said(&server, &["config", "set", "mk_checkin_interval=30"]);
    let mut boot = Boot::new(1);
    for _ in 0..2 {
        let answer = boot.send(&server, &inventory(&[A], "S1")).await;
        assert_eq!(seen(&answer), ("pending", "pending"));
        assert_eq!((&answer.1["action"], &answer.1["config"]), (&json!("none"), &Value::Null), "{answer:?}");
    }
    assert_eq!(boot.send(&server, &json!({})).await.1["state"], "pending", "without news as well");
    let document = server.node(1).await;
    assert_eq!(
        (&document["identity"]["state"], &document["key_fingerprint"]),
        (&json!("pending"), &json!(key_of(&boot)))
    );
    assert!(said(&server, &["nodes", "list"]).contains("pending"));
    assert!(said(&server, &["nodes", "show", "node1"]).contains(&key_of(&boot)));

    for (kind, may) in [("reboot", false), ("identify", false), ("doctor", true), ("refresh", true), ("collect", true)]
    {
        assert_eq!(server.cli(&["nodes", kind, "node1"]).status.success(), may, "{kind}");
    }
    assert_eq!(commands(&boot.send(&server, &json!({})).await).len(), 3);
    let other = server.cli(&["nodes", "approve", "node1", "--fingerprint", &key_of(&Boot::new(2))]);
    let why = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(!other.status.success() && why.contains(&key_of(&boot)), "{why}");
    assert!(said(&server, &["nodes", "approve", "node1", "--dry-run"]).contains("Trial only"));
    assert_eq!(boot.send(&server, &json!({})).await.1["state"], "pending");

    said(&server, &["nodes", "approve", "node1", "--fingerprint", &key_of(&boot)]);
    let answer = boot.send(&server, &json!({})).await;
    assert_eq!((seen(&answer), &answer.1["action"]), (("normal", ""), &json!("none")), "commands come first");
    assert_eq!(answer.1["config"]["mk_checkin_interval"], 30);
    let log = server.log(1).await;
    assert!(
        log.iter().any(|e| e["event"] == "operator" && e["msg"].as_str().unwrap().contains("is accepted")),
        "{log:?}"
    );

    let mut next = Boot::new(2);
    assert_eq!(seen(&next.send(&server, &inventory(&[A], "S1")).await), ("normal", ""), "known by its hardware");
    said(&server, &["nodes", "refuse", "node1"]);
    assert_eq!(seen(&next.send(&server, &json!({})).await), ("pending", "refused"));
    assert_eq!(seen(&Boot::new(3).send(&server, &inventory(&[A], "S1")).await), ("pending", "refused"), "for good");
}

#[tokio::test]
async fn nodes_of_before_stay_accepted_and_others_wait_for_a_setting_that_lets_them_in() {
    let mut server = Server::start("");
    assert_eq!(seen(&Boot::new(1).send(&server, &inventory(&[A], "S1")).await), ("normal", ""));
    assert_eq!(server.boot(&format!("net0={B}")).await.unwrap(), 2);
    said(&server, &["nodes", "register", "mac=00-11-22-33-44-dd"]);
    server.restart(APPROVE);
    assert_eq!(seen(&Boot::new(2).send(&server, &inventory(&[A], "S1")).await), ("normal", ""));
    let mut new = Boot::new(3);
    let answer = new.send(&server, &inventory(&[B], "S2")).await;
    assert_eq!((id(&answer), seen(&answer)), (2, ("pending", "pending")), "a boot alone says nothing");
    let named = Boot::new(4).send(&server, &inventory(&["00-11-22-33-44-dd"], "S3")).await;
    assert_eq!(seen(&named), ("normal", ""), "an operator named it");
    server.restart("");
    assert_eq!(seen(&new.send(&server, &json!({})).await), ("normal", ""));
}

#[tokio::test]
async fn a_legacy_client_is_told_nothing_until_it_is_approved() {
    let server = Server::start(&format!("{APPROVE}protect_new_nodes = true\n"));
    let facts = json!({"macaddress": A, "macaddress_eth0": A});
    let node = server.boot(&format!("net0={A}")).await.unwrap();
    assert_eq!(server.node(node).await["identity"]["state"], "pending");
    assert_eq!(server.legacy(node, facts.clone()).await, (200, json!({"action": "none"})));
    said(&server, &["nodes", "approve", "node1"]);
    assert_eq!(server.legacy(node, facts).await, (200, json!({"action": "reboot"})));
}

#[tokio::test]
async fn hardware_of_an_accepted_node_lets_no_other_machine_in() {
    let server = Server::start(APPROVE);
    said(&server, &["config", "set", "mk_checkin_interval=30"]);
    assert_eq!(seen(&Boot::new(1).send(&server, &report(&machine(1, &[A]))).await), ("pending", "pending"));
    said(&server, &["nodes", "approve", "node1"]);
    // Another machine with its port.
    let other = Boot::new(2).send(&server, &report(&machine(2, &[A]))).await;
    assert_eq!((id(&other), seen(&other).0), (2, "pending"), "{other:?}");
    // A copy of it, while it runs.
    let own = Boot::new(3).send(&server, &report(&machine(1, &[A]))).await;
    assert_eq!((id(&own), &own.1["config"]["mk_checkin_interval"]), (1, &json!(30)));
    let (mut copy, mut running) = (Boot::new(4), report(&machine(1, &[A])));
    running["uptime_s"] = json!(600);
    let held = copy.send(&server, &running).await;
    assert_eq!((id(&held), seen(&held).0), (3, "held"));
    assert_eq!((&held.1["action"], &held.1["config"]), (&json!("none"), &Value::Null), "{held:?}");
    said(&server, &["conflicts", "resolve", "node3", "different", "node1"]);
    assert_eq!(server.node(3).await["identity"]["state"], "pending", "before it speaks again");
    assert_eq!(seen(&copy.send(&server, &running).await), ("pending", "pending"));
    // An operator says that two are one, and later that they are not.
    said(&server, &["conflicts", "merge", "node2", "node1"]);
    said(&server, &["conflicts", "split", "node2"]);
    assert_eq!(server.node(2).await["identity"]["state"], "pending", "as it was before");
    let other = Boot::new(5).send(&server, &report(&machine(2, &[A]))).await;
    assert_eq!(seen(&other).0, "pending", "{other:?}");
    let name = format!("node{}", id(&other));
    said(&server, &["conflicts", "merge", "node1", &name]);
    assert_eq!(server.node(id(&other)).await["identity"]["state"], "normal", "one of them was accepted");
    said(&server, &["conflicts", "split", "node1"]);
    assert_eq!(server.node(id(&other)).await["identity"]["state"], "pending", "it never was");
    assert_eq!(server.node(1).await["identity"]["state"], "normal", "it is still");
}

#[tokio::test]
async fn only_a_good_token_lets_a_machine_in() {
    let server = Server::start(TOKEN);
    let good = token(&server, &["--uses", "2", "--note", "rack 4"]);
    let (short, revoked) = (token(&server, &["--expires", "1s"]), token(&server, &[]));
    said(&server, &["enrolment", "revoke", "3"]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mac = |n: u8| format!("00-11-22-33-55-{n:02x}");
    let unknown = good.replace(|c: char| c.is_ascii_digit(), "0");
    for (n, sent, words) in [
        (1, None, "it sent no enrolment token"),
        (2, Some("s3cret of somebody"), "is no enrolment token"),
        (3, Some(unknown.as_str()), "is not known here"),
        (4, Some(&short), "has expired"),
        (5, Some(&revoked), "was revoked"),
    ] {
        let mut report = inventory(&[&mac(n)], &format!("T{n}"));
        if let Some(sent) = sent {
            report = with(report, sent);
        }
        let answer = Boot::new(n).send(&server, &report).await;
        assert_eq!(seen(&answer), ("pending", "enrolment_token"), "{n}");
        assert!(answer.1["reason"]["error"].as_str().unwrap().contains(words), "{answer:?}");
        if let Some(sent) = sent {
            assert!(!answer.1.to_string().contains(sent), "{answer:?}");
        }
    }
    // One that waits is let in by a token that it gets later, without a new report; an operator may do so as well.
    let mut first = Boot::new(1);
    first.seq = 1;
    assert_eq!(seen(&first.send(&server, &json!({"enrolment": good})).await), ("normal", ""));
    said(&server, &["nodes", "approve", "node2"]);
    assert_eq!(seen(&Boot::new(12).send(&server, &inventory(&[&mac(2)], "T2")).await), ("normal", ""));
    assert_eq!(seen(&Boot::new(6).send(&server, &with(inventory(&[&mac(6)], "T6"), &good)).await), ("normal", ""));
    let late = Boot::new(7).send(&server, &with(inventory(&[&mac(7)], "T7"), &good)).await;
    assert!(late.1["reason"]["error"].as_str().unwrap().contains("is used up"), "{late:?}");
    // Refused is refused.
    let more = token(&server, &["--uses", "9"]);
    said(&server, &["nodes", "refuse", "node6"]);
    assert_eq!(
        seen(&Boot::new(16).send(&server, &with(inventory(&[&mac(6)], "T6"), &more)).await),
        ("pending", "refused")
    );

    let list = said(&server, &["enrolment", "list"]);
    for words in ["rack 4", "2 of 2", "used up", "expired", "revoked", "0 of 9", "good"] {
        assert!(list.contains(words), "{words}: {list}");
    }
    let said = server.log(1).await.iter().any(|e| e["msg"] == "node1 was let in by enrolment token 1");
    assert!(said, "{:?}", server.log(1).await);
    assert_eq!(server.node(1).await["enrolment"]["by"], "token 1");
    let (_, events) = server.text("/api/collections/events").await;
    assert!(events.contains("create-enrolment-token") && events.contains("let in by enrolment token 1"), "{events}");
    assert!(![&good, &short, &more].iter().any(|token| events.contains(token.as_str())), "{events}");
    for file in
        std::fs::read_dir(server.data()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
    {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(good.len()).any(|part| part == good.as_bytes()), "{}", file.display());
    }
}

#[tokio::test]
async fn a_token_counts_machines_however_often_and_at_once_they_speak() {
    const USES: usize = 5;
    let server = Server::start(TOKEN);
    let token = token(&server, &["--uses", &USES.to_string()]);
    let machine = |n: u8| with(inventory(&[&format!("00-11-22-33-66-{n:02x}")], &format!("M{n}")), &token);
    let mut boots: Vec<Boot> = (1..=12).map(Boot::new).collect();
    let bodies: Vec<Vec<u8>> = (1..=12).zip(&mut boots).map(|(n, boot)| boot.next(&machine(n))).collect();
    let mut let_in = Vec::new();
    // Each request twice, as when an answer is lost.
    let posts = (0..24).map(|i| {
        let (body, headers) = (&bodies[i % 12], boots[i % 12].sign(&bodies[i % 12]));
        let server = &server;
        async move { server.post(None, body, &headers).await }
    });
    let answers = all(posts.map(Box::pin)).await;
    for (n, answer) in answers.iter().take(12).enumerate() {
        if seen(answer).0 == "normal" {
            let_in.push(n);
        }
    }
    assert_eq!(let_in.len(), USES);
    for (n, boot) in boots.iter_mut().enumerate() {
        let state = seen(&boot.send(&server, &machine(u8::try_from(n + 1).unwrap())).await).0.to_owned();
        assert_eq!(state == "normal", let_in.contains(&n), "machine {n} is {state}");
    }
    for n in &let_in {
        let n = u8::try_from(n + 1).unwrap();
        assert_eq!(seen(&Boot::new(100 + n).send(&server, &machine(n)).await), ("normal", ""), "booted anew");
    }
    let (_, tokens) = server.get("/api/collections/enrolment-tokens").await;
    assert_eq!((&tokens["items"][0]["used"], &tokens["items"][0]["state"]), (&json!(USES), &json!("used up")));
}

#[tokio::test]
async fn an_approval_answers_the_question_that_waits() {
    let server = Server::start(APPROVE);
    let mut boot = Boot::new(1);
    assert_eq!(seen(&boot.send(&server, &inventory(&[A], "S1")).await), ("pending", "pending"));
    let config = version(&server, &mut boot).await;
    let none = ask(&server, 1, &boot.id, &boot, &format!("config={config}&number=1&wait=0")).await;
    assert_eq!(none, (200, json!({"due": false})), "nothing is to be told to who waits");
    let question = format!("config={config}&number=2&wait={LONG_S}");
    let (answer, begun) = tokio::join!(ask(&server, 1, &boot.id, &boot, &question), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut command = server.command(&["nodes", "approve", "node1"]);
        let done = tokio::task::spawn_blocking(move || command.stdout(Stdio::null()).status().unwrap()).await.unwrap();
        assert!(done.success());
        Instant::now()
    });
    println!("answered within {:?} of the command", begun.elapsed());
    assert_eq!(answer, (200, json!({"due": true})));
    assert!(begun.elapsed() < SOON);
    let late = ask(&server, 1, &boot.id, &boot, &format!("config={config}&number=3&wait=0")).await;
    assert_eq!(late, (200, json!({"due": true})), "one that asks only now is told as well");
    assert_eq!(seen(&boot.send(&server, &json!({})).await), ("normal", ""));
    let config = version(&server, &mut boot).await;
    let none = ask(&server, 1, &boot.id, &boot, &format!("config={config}&number=4&wait=0")).await;
    assert_eq!(none, (200, json!({"due": false})), "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_let_in_by_two_clicks() {
    let Some(mut browser) = Browser::start() else { return };
    let server = Server::start(APPROVE);
    let mut boot = Boot::new(1);
    boot.send(&server, &inventory(&[A], "S1")).await;
    browser.set(PHONE.0, PHONE.1, Scheme::Light, false);
    browser.open(&format!("{}/nodes/node1", server.url));
    assert_eq!((browser.value(OVERFLOW), browser.value(FAINT)), (json!(0), json!([])));
    let text = "document.querySelector('main').innerText";
    let shown = browser.value(text).as_str().unwrap().to_owned();
    for words in ["waits until an operator approves it", key_of(&boot).as_str(), "Let it in", "Refuse it"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    browser.picture(&picture("pending"));
    browser.click("document.querySelector('button[value^=\"approve \"]')");
    assert!(browser.value(text).as_str().unwrap().contains("Nothing has been changed yet"));
    assert_eq!(server.node(1).await["identity"]["state"], "pending", "a trial changes nothing");
    browser.click("document.querySelector('form[method=post] button')");
    assert_eq!(browser.value("location.pathname"), "/nodes/node1");
    assert_eq!(seen(&boot.send(&server, &json!({})).await), ("normal", ""));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// What these futures give, which go on side by side, in their order.
async fn all<F: Future + Unpin>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    use std::task::Poll;
    let mut waiting: Vec<_> = futures.map(|future| (future, None)).collect();
    std::future::poll_fn(move |context| {
        for (future, output) in waiting.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(done) = std::pin::Pin::new(future).poll(context) {
                *output = Some(done);
            }
        }
        if waiting.iter().any(|(_, output)| output.is_none()) {
            return Poll::Pending;
        }
        Poll::Ready(waiting.drain(..).filter_map(|(_, output)| output).collect())
    })
    .await
}
