//! What too large, too slow or hostile clients get.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mk_server::limits::PEER_BODIES_MEMORY;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use wire::limits::MAX_CHECKIN_BODY;

use crate::support::{PROGRAM, Server};

#[tokio::test]
async fn a_body_over_the_limit_is_413_with_a_reason() {
    let server = Server::start("");
    let body = vec![b' '; 2 * MAX_CHECKIN_BODY];
    let (status, problem) = server.post(None, &body, &[]).await;
    assert_eq!((status, &problem["code"]), (413, &json!("too_large")));
    assert!(problem["error"].as_str().unwrap().contains(&MAX_CHECKIN_BODY.to_string()), "{problem}");
    assert_eq!(server.get("/healthz").await.0, 200, "and it goes on");
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_413() {
    let server = Server::start("");
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head =
        "POST /svc/checkin HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = vec![b' '; 1 << 20];
    for _ in 0..=(MAX_CHECKIN_BODY >> 20) {
        write!(stream, "{:x}\r\n", chunk.len()).unwrap();
        stream.write_all(&chunk).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_client_that_never_ends_its_headers_is_cut_off() {
    let server = Server::start("");
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"GET /svc/hello HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
    let start = Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(start.elapsed() < Duration::from_secs(40), "still open after {:?}", start.elapsed());
    assert_eq!(server.get("/svc/hello").await.1["service"], "razor-mk", "others are served");
}

#[tokio::test]
async fn headers_and_paths_have_a_limit() {
    let server = Server::start("");
    let long = "x".repeat(40 * 1024);
    let (status, _) = server.text(&format!("/svc/boot?serial={long}")).await;
    assert!((400..500).contains(&status), "{status}");
    let ports: String = (0..100).map(|n| format!("net{n}=00-11-22-33-44-{n:02x}&")).collect();
    assert!(server.boot(&ports).await.is_ok(), "a hundred ports fit");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_named() {
    let server = Server::start("");
    let (status, problem) = server.get("/svc/nothing").await;
    assert_eq!((status, &problem["code"]), (404, &json!("no_such_path")));
    let response = server.request(reqwest::Method::DELETE, "/svc/hello").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 405);
    let (status, problem) = server.get("/api/collections/nodes?limit=-1").await;
    assert_eq!((status, &problem["code"]), (400, &json!("bad_parameter")));
    assert_eq!(server.get("/api/microkernel/bootstrap?nic_max=04").await.0, 400);
    assert_eq!(server.get("/svc/log/77?msg=x").await.0, 404);
}

#[tokio::test]
async fn a_nodes_own_log_lines_are_kept() {
    let server = Server::start("");
    let id = server.boot("net0=00-11-22-33-44-aa").await.unwrap();
    let (status, body) = server.text(&format!("/svc/log/{id}?msg=hello%20there&severity=warn")).await;
    assert_eq!((status, body.as_str()), (204, ""));
    let newest = &server.log(id).await[0];
    assert_eq!((&newest["msg"], &newest["severity"]), (&json!("hello there"), &json!("warn")));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_nodes_log_the_newest_entries_are_kept() {
    let server = std::sync::Arc::new(Server::start(""));
    server.boot("net0=00-11-22-33-44-aa").await.unwrap();
    server.boot("net0=00-11-22-33-44-bb").await.unwrap();
    server.get("/svc/log/2?msg=other").await;
    let decided = server.cli(&["conflicts", "resolve", "node1", "different", "node2"]);
    assert!(decided.status.success());
    for round in 0..11 {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..100 {
            let server = std::sync::Arc::clone(&server);
            tasks.spawn(async move { server.get(&format!("/svc/log/1?msg=line{round}-{n}")).await.0 });
        }
        assert!(tasks.join_all().await.iter().all(|status| *status == 204));
    }
    server.get("/svc/log/1?msg=last").await;
    let (_, log) = server.get("/api/collections/nodes/node1/log?limit=1").await;
    assert_eq!((&log["total"], &log["items"][0]["msg"]), (&json!(1001), &json!("last")));
    let (_, log) = server.get("/api/collections/nodes/node1/log?limit=2000").await;
    let oldest = log["items"].as_array().unwrap().last().unwrap();
    assert_eq!(oldest["event"], "operator", "what anybody says does not push out what was decided");
    assert_eq!(server.log(2).await.len(), 3, "the other node keeps its own");
}

#[tokio::test]
async fn log_lines_for_nodes_that_do_not_exist_are_one_event() {
    let server = Server::start("");
    for id in 100..200 {
        assert_eq!(server.get(&format!("/svc/log/{id}?msg=x")).await.0, 404);
    }
    let (_, events) = server.get("/api/collections/events").await;
    let items = events["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{events}");
    assert!(items[0]["text"].as_str().unwrap().contains("node100"), "{events}");
}

#[tokio::test]
async fn half_sent_bodies_of_one_address_take_a_limited_memory() {
    let server = Server::start("");
    let address = server.url.strip_prefix("http://").unwrap();
    let part = vec![b' '; MAX_CHECKIN_BODY - 1];
    let head = format!(
        "POST /svc/checkin HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {MAX_CHECKIN_BODY}\r\n\r\n"
    );
    // Just what one address gets; how much all get together is for `http/body.rs` to say.
    let mut open = Vec::new();
    for _ in 0..PEER_BODIES_MEMORY / MAX_CHECKIN_BODY {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&part).await.unwrap();
        open.push(stream);
    }
    // Larger than what the others leave free of their last body.
    let mut machine = br#"{"hw_id": "x", "facts": {"macaddress": "00:11:22:33:44:55"}}"#.to_vec();
    machine.resize(4096, b' ');
    let client = reqwest::Client::builder().local_address(std::net::IpAddr::from([127, 0, 0, 2])).build().unwrap();
    let until = async |status: u16| {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let request = client.post(format!("{}/svc/checkin", server.url)).header("content-type", "application/json");
            let response = request.body(machine.clone()).send().await.unwrap();
            if response.status().as_u16() == status || Instant::now() > deadline {
                return response;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let answer = until(503).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "10"));
    assert_eq!(server.post(None, &machine, &[]).await.0, 200, "one address does not keep the others out");
    drop(open);
    assert_eq!(until(200).await.status().as_u16(), 200, "once they are gone, it is served too");
}

#[tokio::test]
async fn both_families_are_served() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        mk_tests::skip_even_there("this machine has no IPv6");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(PROGRAM);
    command.args(["serve", "--listen", "[::]:0", "--data"]).arg(folder.path());
    let server = Server::spawn(folder.path(), command);
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    for host in ["127.0.0.1", "[::1]"] {
        let nodes = reqwest::get(format!("http://{host}:{port}/api/collections/nodes")).await.unwrap();
        assert_eq!(nodes.status().as_u16(), 200, "{host}");
        let script = reqwest::get(format!("http://{host}:{port}/api/microkernel/bootstrap")).await.unwrap();
        let script = script.text().await.unwrap();
        assert!(script.contains(&format!("http://{host}:{port}/svc/boot")), "{script}");
    }
}

#[tokio::test]
async fn without_a_flag_all_addresses_are_listened_on() {
    if !nix::unistd::geteuid().is_root() {
        mk_tests::skip("its namespace needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // In a network of its own, the usual port is free.
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", PROGRAM, "serve", "--data"]).arg(folder.path());
    assert_eq!(Server::spawn(folder.path(), command).url, "http://[::]:8150");
}

#[tokio::test]
async fn lists_have_pages() {
    let server = Server::start("");
    for n in 0..5 {
        server.boot(&format!("net0=00-11-22-33-44-0{n}")).await.unwrap();
    }
    let (_, page) = server.get("/api/collections/nodes?limit=2&start=1").await;
    let names: Vec<_> = page["items"].as_array().unwrap().iter().map(|i| i["name"].clone()).collect();
    assert_eq!((page["total"].clone(), names), (json!(5), vec![json!("node2"), json!("node3")]));
    let (_, whole) = server.get("/api/collections/nodes?depth=1&limit=1").await;
    assert_eq!(whole["items"][0]["hw_info"]["mac"], json!(["00-11-22-33-44-00"]));
}
