//! What hashing a mirror may take of the server, and whose digests it renews.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::agents::{Boot, inventory};
use crate::conflicts::said;
use crate::mirror::{put, refused};
use crate::support::Server;

/// For what should happen at once, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mirror whose answers are given by this function; its URL.
fn mirror(answer: impl Fn(&str, TcpStream) + Send + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/tc", listener.local_addr().unwrap());
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let path = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned)).unwrap_or_default();
                let _head = lines.find(String::is_empty);
                answer(&path, stream);
            });
        }
    });
    url
}

/// `config set` of this mirror, which does not come to its end.
fn set(server: &Server, url: &str) -> Child {
    let mut command = server.command(&["config", "set", &format!("mk_tce_mirror_uri={url}")]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test]
async fn one_mirror_is_hashed_at_a_time_and_none_keeps_the_server_from_ending() {
    let mut server = Server::start("");
    let (asked, hears): (Sender<TcpStream>, Receiver<TcpStream>) = channel();
    let silent = mirror(move |_, stream| asked.send(stream).unwrap());
    let mut first = set(&server, &silent);
    let _held = hears.recv_timeout(PATIENCE).unwrap();
    let busy = refused(&server, &["config", "set", "mk_tce_mirror_uri=/svc/repo/tce"]);
    assert!(busy.contains("being hashed for another change"), "{busy}");
    said(&server, &["config", "set", "mk_checkin_skew=1"]);
    assert!(server.ends(), "it waits for a mirror that does not answer");
    assert!(!first.wait().unwrap().success());
}

/// Answers as a mirror with one extension and a file of it that never ends. Tells when it begins, and when nobody reads
/// it any more.
fn drip(path: &str, endless: &str, mut stream: &TcpStream, tell: &Sender<&str>) {
    let text = match path.rsplit('/').next().unwrap_or_default() {
        name if name == endless => {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            tell.send("begun").unwrap();
            while stream.write_all(&[b'#'; 100]).is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
            return tell.send("left").unwrap();
        }
        "tce-install-list" => "a.tcz\n".to_owned(),
        "a.tcz.md5.txt" => format!("{}  a.tcz\n", "0".repeat(32)),
        _ => return drop(write!(stream, "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")),
    };
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", text.len());
    let _ = stream.write_all(format!("{head}{text}").as_bytes());
}

#[tokio::test]
async fn hashing_ends_when_its_operator_goes_away() {
    let server = Server::start("");
    for endless in ["a.tcz", "a.tcz.dep", "a.tcz.md5.txt", "tce-install-list"] {
        let (tell, hears) = channel();
        let mut first = set(&server, &mirror(move |path, stream| drip(path, endless, &stream, &tell)));
        assert_eq!(hears.recv_timeout(PATIENCE), Ok("begun"), "{endless}");
        first.kill().unwrap();
        first.wait().unwrap();
        assert_eq!(hears.recv_timeout(PATIENCE), Ok("left"), "nobody waits for {endless}");
    }
    let internal = ["config", "set", "mk_tce_mirror_uri=http://localhost:2157/tinycorelinux"];
    said(&server, &internal);
}

/// The configuration that an agent with version 0 is sent.
async fn told(server: &Server, boot: &mut Boot) -> Value {
    let (status, reply) = boot.send(server, &json!({"config": {"version": 0}})).await;
    assert_eq!(status, 200, "{reply}");
    reply["config"].clone()
}

#[tokio::test]
async fn digests_of_a_nodes_own_are_renewed_with_those_of_all() {
    let server = Server::start("");
    let tree = server.data().join("tce");
    put(&tree, "a.tcz", "one", "c-KERNEL.tcz\n");
    put(&tree, "c-6.1.tcz", "for 6.1", "");
    put(&tree, "c-6.2.tcz", "for 6.2", "");
    std::fs::write(tree.join("tce-install-list"), "a.tcz\n").unwrap();
    let digest = |text: &str| wire::digest::sha256_hex(text.as_bytes());
    let mut boot = Boot::new(1);
    assert_eq!(boot.send(&server, &inventory(&["00-11-22-33-44-aa"], "S1")).await.1["id"], 1);
    let all = ["config", "set", "mk_tce_mirror_uri=/svc/repo/tce", "mk_tce_kernel=6.1"];
    said(&server, &all);
    said(&server, &["config", "set", "--node", "node1", "mk_tce_kernel=6.2"]);
    let own = json!({"a.tcz": digest("one"), "c-6.2.tcz": digest("for 6.2")});
    assert_eq!(told(&server, &mut boot).await["mk_tce_sha256"], own);

    put(&tree, "a.tcz", "newer", "c-KERNEL.tcz\n");
    let done = said(&server, &all);
    assert!(done.contains("node1"), "{done}");
    let renewed = json!({"a.tcz": digest("newer"), "c-6.2.tcz": digest("for 6.2")});
    assert_eq!(told(&server, &mut boot).await["mk_tce_sha256"], renewed, "the mirror was renewed for it too");
    std::fs::remove_file(tree.join("17.x/x86_64/tcz/c-6.2.tcz")).unwrap();
    std::fs::remove_file(tree.join("17.x/x86_64/tcz/c-6.2.tcz.md5.txt")).unwrap();
    let missing = refused(&server, &all);
    assert!(missing.contains("node1: ") && missing.contains("c-6.2.tcz"), "{missing}");

    // Nothing of its own is left: what all are sent is right for it.
    said(&server, &["config", "unset", "--node", "node1", "mk_tce_kernel"]);
    let usual = json!({"a.tcz": digest("newer"), "c-6.1.tcz": digest("for 6.1")});
    assert_eq!(told(&server, &mut boot).await["mk_tce_sha256"], usual);
    put(&tree, "a.tcz", "newest", "");
    said(&server, &all);
    assert_eq!(told(&server, &mut boot).await["mk_tce_sha256"], json!({"a.tcz": digest("newest")}));

    // Digests that an operator gave stay, and are named.
    let given = format!("mk_tce_sha256={{\"b.tcz\":\"{}\"}}", digest("b"));
    said(&server, &["config", "set", "--node", "node1", &given]);
    let done = said(&server, &all);
    assert!(done.contains("node1 has digests of its own"), "{done}");
    assert_eq!(told(&server, &mut boot).await["mk_tce_sha256"], json!({"b.tcz": digest("b")}));
}
