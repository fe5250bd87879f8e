//! Webhooks, with receivers that fail, hang, redirect, come back, and speak TLS.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ring::hmac;
use serde_json::Value;

use crate::support::{PROGRAM, SERVE, Server};

/// Longest wait for something that comes within seconds.
const SOON: Duration = Duration::from_secs(60);
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// As an answer: none at all.
const HANG: u16 = 0;

/// A receiver with a port of its own.
struct Receiver {
    url: String,
    answer: Arc<AtomicU16>,
    /// Bodies that it acknowledged.
    taken: Arc<Mutex<Vec<Value>>>,
    /// Requests that came.
    asked: Arc<AtomicU16>,
}

impl Receiver {
    fn start(answer: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let receiver =
            Self { url, answer: Arc::new(AtomicU16::new(answer)), taken: Arc::default(), asked: Arc::default() };
        let (answer, taken, asked) =
            (Arc::clone(&receiver.answer), Arc::clone(&receiver.taken), Arc::clone(&receiver.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, taken, asked) = (Arc::clone(&answer), Arc::clone(&taken), Arc::clone(&asked));
                std::thread::spawn(move || serve(stream.unwrap(), &answer, &taken, &asked));
            }
        });
        receiver
    }

    fn answers(&self, status: u16) {
        self.answer.store(status, Ordering::SeqCst);
    }

    /// What it was told, in the order in which it took it.
    fn told(&self) -> Vec<Value> {
        let taken = self.taken.lock().unwrap();
        taken.iter().flat_map(|body| body["items"].as_array().unwrap().clone()).collect()
    }

    fn messages(&self) -> Vec<String> {
        self.told().iter().filter_map(|e| e["entry"]["msg"].as_str().map(str::to_owned)).collect()
    }
}

/// Takes requests of one connection, whose signatures must be right.
fn serve(stream: TcpStream, answer: &AtomicU16, taken: &Mutex<Vec<Value>>, asked: &AtomicU16) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut length, mut signature) = (0, String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let lower = line.trim().to_lowercase();
            if let Some(value) = lower.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            if let Some(value) = lower.strip_prefix("x-razor-signature: sha256=") {
                signature = value.to_owned();
            }
            if lower.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let tag: Vec<u8> =
            (0..signature.len()).step_by(2).map(|i| u8::from_str_radix(&signature[i..i + 2], 16).unwrap()).collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        hmac::verify(&key, &body, &tag).unwrap();
        asked.fetch_add(1, Ordering::SeqCst);
        let status = answer.load(Ordering::SeqCst);
        if status == HANG {
            std::thread::sleep(SOON);
            return;
        }
        if status == 200 {
            taken.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        }
        let location = if status == 302 { "Location: /elsewhere\r\n" } else { "" };
        if write!(stream, "HTTP/1.1 {status} X\r\n{location}Content-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

fn hook(url: &str, secret: &Path, more: &str) -> String {
    format!("[[webhook]]\nurl = {url:?}\nsecret_file = {secret:?}\n{more}\n")
}

async fn state(server: &Server, url: &str) -> Value {
    let (status, document) = server.get("/api/collections/webhooks").await;
    assert_eq!(status, 200, "{document}");
    let hooks = document["items"].as_array().unwrap();
    hooks.iter().find(|hook| hook["url"] == url).unwrap().clone()
}

/// Waits until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < SOON, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn each_is_told_everything_in_order_whatever_the_others_do_and_after_an_outage_of_either_side() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let (good, hanging, lost) = (Receiver::start(500), Receiver::start(HANG), Receiver::start(302));
    let config = hook(&good.url, &secret, "")
        + &hook(&hanging.url, &secret, "kinds = [\"node_log\"]")
        + &hook(&lost.url, &secret, "kinds = [\"node-created\"]");
    let data = folder.path().join("data");
    let mut server = Server::start_on(&data, &config);
    let id = server.boot("net0=00-11-22-33-44-01").await.unwrap();
    server.text(&format!("/svc/log/{id}?msg=first")).await;
    until("a failure is shown", async || state(&server, &good.url).await["failing"]["failures"].as_u64() > Some(1))
        .await;
    let failing = state(&server, &good.url).await;
    assert!(
        failing["failing"]["error"].as_str().unwrap().contains("500") && failing["delivered"].is_null(),
        "{failing}"
    );
    good.answers(200);
    until("it is told once it is well", async || good.messages() == ["first"]).await;
    until("it is shown as well", async || state(&server, &good.url).await["state"] == "ok").await;

    // Two others are in trouble, which delays nothing.
    for n in 0..120 {
        server.text(&format!("/svc/log/{id}?msg=line{n}")).await;
    }
    let all: Vec<String> = std::iter::once("first".to_owned()).chain((0..120).map(|n| format!("line{n}"))).collect();
    until("all lines", async || good.messages().len() >= all.len()).await;
    assert_eq!(good.messages(), all);
    until("the one that hangs is shown", async || state(&server, &hanging.url).await["state"] == "failing").await;
    let redirected = state(&server, &lost.url).await["failing"]["error"].as_str().unwrap().to_owned();
    assert!(redirected.contains("302") && redirected.contains("not followed"), "{redirected}");
    let list = server.cli(&["webhooks"]);
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.contains("failing") && list.contains("302"), "{list}");

    // Nobody is told anything while the server is down, and everything afterwards.
    good.answers(503);
    server.text(&format!("/svc/log/{id}?msg=before-the-kill")).await;
    until("it was tried", async || state(&server, &good.url).await["state"] == "failing").await;
    hanging.answers(200);
    server.restart(&config);
    server.text(&format!("/svc/log/{id}?msg=after-the-kill")).await;
    good.answers(200);
    let whole: Vec<String> = all.into_iter().chain(["before-the-kill", "after-the-kill"].map(str::to_owned)).collect();
    for receiver in [&good, &hanging] {
        until("all lines, once more of none", async || receiver.messages().len() >= whole.len()).await;
        assert_eq!(receiver.messages(), whole);
    }
    assert!(hanging.told().iter().all(|entry| entry["entry"]["event"] == "node_log"));
    let cursors: Vec<Value> = good.taken.lock().unwrap().iter().map(|body| body["cursor"].clone()).collect();
    let (_, after) = server.get(&format!("/api/collections/events?after={}", cursors[0].as_str().unwrap())).await;
    let items = after["items"].as_array().unwrap();
    assert!(good.told().ends_with(items), "what it was told is the log");
    assert!(lost.asked.load(Ordering::SeqCst) > 1 && lost.told().is_empty());
}

#[tokio::test]
async fn a_receiver_proves_itself_by_the_ca_that_is_named_and_no_secret_is_too_short() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, other) = (folder.path().join("secret"), folder.path().join("other"));
    std::fs::write(&secret, SECRET).unwrap();
    let made =
        Command::new(PROGRAM).args(["tls", "init", "--name", "127.0.0.1", "--data"]).arg(&other).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    // Any server with a certificate of that CA will do: it lets nobody in, which it says by TLS.
    let mut command = Command::new(PROGRAM);
    command.args(SERVE).arg(&other).args(["--https-port", "0"]);
    let receiver = Server::spawn(&other, command);
    let log = std::fs::read_to_string(other.join("stderr.log")).unwrap();
    let url = log.split_whitespace().find(|word| word.contains("https://")).unwrap();
    let (trusted, stranger) = (format!("{url}/trusted"), format!("{url}/stranger"));
    let config =
        hook(&trusted, &secret, &format!("ca_file = {:?}", other.join("tls/ca.pem"))) + &hook(&stranger, &secret, "");
    let server = Server::start(&config);
    server.boot("net0=00-11-22-33-44-01").await.unwrap();
    for (url, words) in [(&trusted, "403"), (&stranger, "certificate")] {
        until("it fails", async || state(&server, url).await["state"] == "failing").await;
        let error = state(&server, url).await["failing"]["error"].as_str().unwrap().to_lowercase();
        assert!(error.contains(words), "{url}: {error}");
    }
    drop((server, receiver));

    std::fs::write(&secret, "short\n").unwrap();
    std::fs::write(folder.path().join("config.toml"), hook("http://127.0.0.1:1/", &secret, "")).unwrap();
    let config = folder.path().join("config.toml");
    let said = crate::support::refused_start(&folder.path().join("data"), &["--config", config.to_str().unwrap()]);
    assert!(said.contains("secret") && said.contains("5 bytes") && said.contains("openssl"), "{said}");
}
