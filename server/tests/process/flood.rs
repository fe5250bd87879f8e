//! Floods and slow clients on what anybody may ask: the nodes go on checking in, and memory, connections and the list of nodes stay
//! bounded. Each source is an address of loopback.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mk_server::limits::{NEW_NODES_AT_ONCE, STALL_TIMEOUT};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use wire::limits::MAX_CHECKIN_BODY;

use crate::agents::{Boot, inventory};
use crate::support::{PROGRAM, Server};
use crate::wait::{LONG_S, ask, version};

/// How long it is flooded.
const FLOOD: Duration = Duration::from_secs(10);
/// Clients that send a byte in a second, all from one address.
const SLOW: usize = 2000;
/// Clients that ask as fast as they are answered, from each of two further addresses.
const FAST: usize = 8;
/// Nodes that check in meanwhile.
const NODES: u8 = 20;
/// What a node gives the server for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Open files that the server may have: a few hundred connections, so that the test need not open thousands.
const FILES: usize = 2048;
/// What it may take of the memory meanwhile, in KiB.
const MEMORY_KIB: u64 = 400 * 1024;

fn client(last: u8) -> reqwest::Client {
    let address = IpAddr::from([127, 0, 0, last]);
    reqwest::Client::builder().tls_certs_only([]).local_address(address).timeout(PATIENCE).build().unwrap()
}

/// A connection from 127.0.0.`last`.
async fn connect(server: &str, last: u8) -> std::io::Result<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, last], 0).into())?;
    socket.connect(server.parse().unwrap()).await
}

/// Begins a request, and sends a byte in a second from then on; begins anew when it is cut off.
async fn dawdle(address: Arc<str>, number: usize) {
    let body = format!(
        "POST /svc/checkin HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {MAX_CHECKIN_BODY}\r\n\r\n"
    );
    let beginning = match number % 3 {
        0 => "",
        1 => "GET /svc/hello HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        _ => &body,
    };
    loop {
        if let Ok(mut stream) = connect(&address, 2).await
            && stream.write_all(beginning.as_bytes()).await.is_ok()
        {
            let mut byte = [0];
            // Until the server ends it.
            while tokio::time::timeout(Duration::from_secs(1), stream.read(&mut byte)).await.is_err() {
                if !beginning.is_empty() && stream.write_all(b"x").await.is_err() {
                    break;
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Asks for a machine that nobody has ever seen, over and over.
async fn make_up(url: String, number: usize, asked: Arc<AtomicUsize>) {
    let client = client(if number < FAST { 3 } else { 4 });
    for n in 0.. {
        let (a, b, c) = (number, n / 256 % 256, n % 256);
        let sent = if number < FAST {
            client.get(format!("{url}/svc/boot?net0=00-22-33-{a:02x}-{b:02x}-{c:02x}")).send().await
        } else {
            let mut boot = Boot::new(u8::try_from(100 + number).unwrap());
            boot.id = format!("{a:08x}-0000-0000-0000-{n:012x}");
            let body = boot.next(&inventory(&[&format!("00-33-33-{a:02x}-{b:02x}-{c:02x}")], &format!("S{a}-{n}")));
            let request = client.post(format!("{url}/svc/checkin")).header("content-type", "application/json");
            boot.sign(&body).into_iter().fold(request, |r, (name, value)| r.header(name, value)).body(body).send().await
        };
        if let Ok(answer) = sent {
            assert!([200, 503].contains(&answer.status().as_u16()), "{answer:?}");
            asked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Sends what takes long to read, over and over: as many facts as fit, and more than are taken.
async fn burden(url: String) {
    let (client, body) = (client(7), format!("{{\"facts\": {{{}\"x\": 0}}}}", keys(100_000)));
    loop {
        let request = client.post(format!("{url}/svc/checkin")).header("content-type", "application/json");
        if let Ok(answer) = request.body(body.clone()).send().await {
            assert_eq!(answer.status().as_u16(), 413, "{answer:?}");
        }
    }
}

/// So many keys of a JSON object.
fn keys(most: usize) -> String {
    (0..most).map(|n| format!("\"{n:x}\":0,")).collect()
}

/// Checks in twice a second until told to stop; gives the node, the last serial number that was acknowledged, and the slowest answer.
async fn check_in(server: Arc<Server>, n: u8, stop: Arc<AtomicBool>) -> (i64, u64, Duration) {
    let (mut boot, mut slowest, mut serial) = (Boot::new(n), Duration::ZERO, 0);
    loop {
        serial += 1;
        let report = inventory(&[&format!("00-11-22-33-44-{n:02x}")], &format!("{n}-{serial}"));
        let begun = Instant::now();
        let (status, reply) = boot.send(&server, &report).await;
        slowest = slowest.max(begun.elapsed());
        assert_eq!(status, 200, "node {n}: {reply}");
        if stop.load(Ordering::Relaxed) {
            return (reply["id"].as_i64().unwrap(), serial, slowest);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// A number of `/proc/PID/status`, in KiB.
fn memory_kib(pid: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim_matches([':', ' ', '\t']).trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_and_thousands_of_slow_clients_leave_the_nodes_checking_in() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let server = Arc::new(Server::spawn(&data, with_files(FILES, &data)));
    let address: Arc<str> = server.url.strip_prefix("http://").unwrap().into();
    let (asked, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());

    let mut flood = JoinSet::new();
    for number in 0..SLOW {
        flood.spawn(dawdle(Arc::clone(&address), number));
    }
    for number in 0..2 * FAST {
        flood.spawn(make_up(server.url.clone(), number, Arc::clone(&asked)));
    }
    for _ in 0..2 {
        flood.spawn(burden(server.url.clone()));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    let mut nodes = JoinSet::new();
    for n in 1..=NODES {
        nodes.spawn(check_in(Arc::clone(&server), n, Arc::clone(&stop)));
    }
    let (mut most_open, files) = (0, format!("/proc/{}/fd", server.pid()));
    while begun.elapsed() < FLOOD {
        tokio::time::sleep(Duration::from_millis(200)).await;
        most_open = most_open.max(std::fs::read_dir(&files).unwrap().count());
    }
    stop.store(true, Ordering::Relaxed);
    let told = nodes.join_all().await;
    let memory = memory_kib(server.pid(), "VmHWM");
    assert!(flood.try_join_next().is_none(), "the flood went on");
    flood.shutdown().await;

    let slowest = told.iter().map(|told| told.2).max().unwrap();
    let (answers, asked) = (told.iter().map(|told| told.1).sum::<u64>(), asked.load(Ordering::Relaxed));
    println!(
        "{answers} check-ins of {NODES} nodes in {FLOOD:?}, the slowest {slowest:?}, beside {asked} made-up machines and \
         {SLOW} slow clients; {} MiB and {most_open} open files at most",
        memory >> 10
    );
    for (id, serial, _) in &told {
        assert!(server.node(*id).await.to_string().contains(&format!("-{serial}\"")), "node{id}: {serial}");
    }
    assert!(slowest < PATIENCE && memory < MEMORY_KIB, "{slowest:?}, {memory} KiB");
    // (2048 - 256) / 2 connections in all, of which a source may have a quarter, and some dozens of others and of files.
    assert!((150..FILES / 8 + 100).contains(&most_open), "{most_open}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let files: Vec<&str> =
        limits.lines().find(|l| l.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(files[3..5], [FILES.to_string(), FILES.to_string()], "it takes what it may have");
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_machines_of_one_address_are_refused_in_the_end_and_no_others() {
    let server = Arc::new(Server::start(""));
    let known = server.boot("net0=00-11-22-33-44-55").await.unwrap();
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for a in 0..16u32 {
        let url = server.url.clone();
        clients.spawn(async move {
            let client = client(5);
            // Twice as many as fit, at the most.
            for n in 0..NEW_NODES_AT_ONCE / 8 {
                let query = format!("net0=00-44-33-{a:02x}-{:02x}-{:02x}", n / 256, n % 256);
                let answer = client.get(format!("{url}/svc/nodeid?{query}")).send().await.unwrap();
                if answer.status().as_u16() != 200 {
                    let retry = answer.headers()["retry-after"].to_str().unwrap().to_owned();
                    return Some((answer.status().as_u16(), retry, answer.json::<serde_json::Value>().await.unwrap()));
                }
            }
            None
        });
    }
    let refused: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    let (status, retry, problem) = refused.first().unwrap();
    assert_eq!((*status, retry.as_str(), &problem["code"]), (503, "10", &json!("too_many_new")));
    assert!(problem["error"].as_str().unwrap().contains("127.0.0.5 has shown 2000"), "{problem}");
    let nodes = server.count().await;
    println!("{nodes} nodes in {:?}", begun.elapsed());
    let since = i64::try_from(begun.elapsed().as_millis() / 200).unwrap();
    assert!(nodes <= i64::from(NEW_NODES_AT_ONCE) + 1 + since, "{nodes}");

    let from = client(5);
    let answer = from.get(format!("{}/svc/nodeid?net0=00-11-22-33-44-55", server.url)).send().await.unwrap();
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["id"], known, "who is known is served there too");
    // There is room for one more machine every fifth of a second: so many at once have none.
    let mut asking = JoinSet::new();
    for n in 0..32 {
        let request = from.get(format!("{}/svc/boot/why?net0=00-44-44-44-44-{n:02x}", server.url));
        asking.spawn(async move { request.send().await.unwrap().text().await.unwrap() });
    }
    let screens = asking.join_all().await;
    assert!(screens.iter().any(|why| why.contains("too_many_new")), "its screen says so: {screens:#?}");
    assert!(server.boot("net0=00-11-22-33-44-66").await.is_ok(), "and others are new as ever");
}

/// The server on this folder, with this right to open files.
fn with_files(files: usize, data: &Path) -> Command {
    let mut command = Command::new("sh");
    // As systems start programs: with few open files, and the right to more.
    let script = format!("ulimit -n {files} && ulimit -Sn 256 && exec \"$0\" serve --listen 127.0.0.1:0 --data \"$1\"");
    command.args(["-c", &script, PROGRAM]).arg(data);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_behind_one_address_that_wait_for_commands_leave_room_for_its_check_ins() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    // 128 connections, a quarter of them of one source.
    let server = Arc::new(Server::spawn(&data, with_files(512, &data)));
    let mut boots = Vec::new();
    for n in 1..=28 {
        let mut boot = Boot::new(n);
        let (_, told) = boot.send(&server, &inventory(&[&format!("00-11-22-33-44-{n:02x}")], &format!("S{n}"))).await;
        boots.push((told["id"].as_u64().unwrap(), version(&server, &mut boot).await, boot));
    }
    let (mut asked, waits) = (JoinSet::new(), boots.len());
    for (id, config, boot) in boots {
        let server = Arc::clone(&server);
        asked.spawn(async move {
            let answer = ask(&server, id, &boot.id, &boot, &format!("config={config}&number=1&wait={LONG_S}")).await;
            (answer.0, boot)
        });
    }
    // All that find no room are told so, and their nodes check in.
    for _ in 0..waits - 16 {
        let (status, mut boot) = asked.join_next().await.unwrap().unwrap();
        assert_eq!(status, 503);
        assert_eq!(boot.send(&server, &json!({})).await.0, 200);
    }
    assert!(asked.try_join_next().is_none(), "the others wait");
}

/// Sends this, reads what comes for as long as it comes, and gives it.
fn say(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may hang up before all is sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = "POST /svc/checkin HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let mut request = format!("{head}{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    request.extend_from_slice(body);
    request
}

#[tokio::test]
async fn what_is_sent_to_do_harm_is_refused_and_costs_little() {
    let server = Server::start("");
    let headers: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    let half = MAX_CHECKIN_BODY / 2 - 100;
    let deep = format!("{{\"facts\": {{\"a\": {}{}}}}}", "[".repeat(half), "]".repeat(half));
    let facts = format!("{{\"facts\": {{{}\"x\": 0}}}}", keys(300_000));
    let nested = format!("{{\"facts\": {{\"a\": {{{}\"macaddress\": 0}}}}}}", keys(300_000));
    // 64 MiB of blanks in a few KiB.
    let bomb = zstd::encode_all(std::io::repeat(b' ').take(1 << 26), 1).unwrap();
    for (what, request, status) in [
        ("many headers", format!("GET /svc/hello HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes(), "431"),
        ("long header", format!("GET /svc/hello HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)).into_bytes(), "431"),
        ("two lengths", post("Content-Length: 3\r\n", b"{}"), "400"),
        ("deep JSON", post("", deep.as_bytes()), "400"),
        ("many facts", post("", facts.as_bytes()), "413"),
        ("many keys in one fact", post("", nested.as_bytes()), "400"),
        ("packed body", post("Content-Encoding: zstd\r\n", &bomb), "400"),
    ] {
        let begun = Instant::now();
        let answer = say(&server, &request);
        let line = answer.lines().next().unwrap_or_default();
        println!("{what}: {line:?} after {:?}", begun.elapsed());
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
    }
    // One after another, however many are sent at once.
    let hello = "GET /svc/hello HTTP/1.1\r\nHost: x\r\n\r\n".repeat(999);
    let last = "GET /svc/hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = say(&server, format!("{hello}{last}").as_bytes());
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 1000);
    assert_eq!(server.count().await, 0);
    let memory = memory_kib(server.pid(), "VmHWM");
    println!("{} MiB at most", memory >> 10);
    assert!(memory < MEMORY_KIB, "{memory} KiB");
}

#[tokio::test]
async fn who_takes_nothing_of_what_it_asked_for_is_cut_off() {
    let server = Server::start("");
    let folder = server.data().join("tce/15.x/x86_64/tcz");
    std::fs::create_dir_all(&folder).unwrap();
    let length = 64 << 20;
    std::fs::File::create(folder.join("big.tcz")).unwrap().set_len(length).unwrap();
    let address = server.url.strip_prefix("http://").unwrap();
    let ask = async || {
        let mut stream = connect(address, 6).await.unwrap();
        let request = "GET /svc/repo/tce/15.x/x86_64/tcz/big.tcz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    };
    let rest = async |mut stream: tokio::net::TcpStream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        all.len() as u64
    };
    // And one that asks again and again, and never listens.
    let mut deaf = ask().await;
    let hello = "GET /svc/hello HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_secs(3), deaf.write_all(hello.as_bytes())).await.is_ok_and(|r| r.is_ok())
    {
        sent += hello.len();
        assert!(sent < 64 << 20, "it takes requests without end");
    }
    let (slow, silent) = (ask().await, ask().await);
    tokio::time::sleep(STALL_TIMEOUT / 3).await;
    assert!(rest(slow).await > length, "who pauses for a while gets all");
    tokio::time::sleep(STALL_TIMEOUT).await;
    let taken = rest(silent).await;
    println!("{} KiB of {} were on their way", taken >> 10, length >> 10);
    assert!(taken < length, "it was kept for ever");
}
