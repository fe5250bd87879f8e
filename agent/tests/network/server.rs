//! A server that is told how to answer, and keeps what it was sent; and a machine that checks in with it.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::sandbox::{Place, eventually};

/// Name of a machine's port.
pub(crate) const PORT: &str = "mk-no-port";
const HELLO: &str = r#"{"service":"razor-mk","protocol":1,"version":"0"}"#;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, v)| v)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Codes of the problems that it tells.
    pub(crate) fn codes(&self) -> Vec<String> {
        let problems = self.json()["problems"].as_array().cloned().unwrap_or_default();
        problems.iter().map(|p| p["code"].as_str().unwrap().to_owned()).collect()
    }
}

/// Answers one request at a time.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers check-ins with these replies in turn, the last one for ever; null hangs up without an answer.
    pub(crate) fn start(replies: Vec<Value>) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), replies)
    }

    /// The same on this socket.
    pub(crate) fn on(listener: TcpListener, replies: Vec<Value>) -> Self {
        let mut replies = VecDeque::from(replies);
        Self::answering(listener, move |request, stream| {
            if request.line.starts_with("GET /svc/hello ") {
                return say(stream, HELLO);
            }
            let last = replies.len() == 1;
            let reply = if last { replies[0].clone() } else { replies.pop_front().unwrap() };
            if !reply.is_null() {
                say(stream, &reply.to_string());
            }
        })
    }

    /// Answers as this function does; of questions that wait it knows nothing.
    pub(crate) fn answering(listener: TcpListener, answer: impl FnMut(&Seen, &TcpStream) + Send + 'static) -> Self {
        Self::serve(listener, false, answer)
    }

    /// Answers as this function does, questions that wait too if it knows them.
    pub(crate) fn serve(
        listener: TcpListener,
        knows_waits: bool,
        mut answer: impl FnMut(&Seen, &TcpStream) + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let Some(request) = read(&stream) else { continue };
                // Like a server of before they were there, and without a trace between the check-ins.
                if !knows_waits && request.line.starts_with("GET /svc/wait/") {
                    refuse(&stream, "404 Not Found", "no_such_path");
                    continue;
                }
                log.lock().unwrap().push(request.clone());
                answer(&request, &stream);
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The request with this number, from 0.
    pub(crate) fn request(&self, number: usize) -> Seen {
        eventually("request", || self.seen.lock().unwrap().get(number).cloned())
    }

    /// When each request came, in milliseconds after the first.
    pub(crate) fn times(&self) -> Vec<u128> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|s| s.at.duration_since(seen[0].at).as_millis()).collect()
    }
}

/// A good answer with this JSON.
pub(crate) fn say(mut stream: &TcpStream, reply: &str) {
    let kind = "Content-Type: application/json\r\nConnection: close";
    let _ = write!(stream, "HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {}\r\n\r\n{reply}", reply.len());
}

/// A refusal in our own form, with this status line and code.
pub(crate) fn refuse(mut stream: &TcpStream, status: &str, code: &str) {
    let problem = json!({"code": code, "error": "the test says so", "remedy": "None."}).to_string();
    let kind = "Content-Type: application/json\r\nConnection: close";
    let _ = write!(stream, "HTTP/1.1 {status}\r\n{kind}\r\nContent-Length: {}\r\n\r\n{problem}", problem.len());
}

fn read(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<(String, String)> =
        lines.iter().skip(1).filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let mut seen = Seen { at: Instant::now(), line: lines.first()?.clone(), headers, body: Vec::new() };
    let length = seen.header("content-length").parse().unwrap_or(0);
    seen.body.resize(length, 0);
    reader.read_exact(&mut seen.body).ok()?;
    Some(seen)
}

/// A machine whose devices have settled and whose port has an address, with these servers (URL, guessed).
pub(crate) fn machine(servers: &[(&str, bool)]) -> Place {
    let hint =
        |(url, guessed): &(&str, bool)| json!({"url": url, "checkin": null, "source": "the test", "guessed": guessed});
    machine_with("", &servers.iter().map(hint).collect::<Vec<_>>())
}

/// The same with this kernel line and these servers as the network unit publishes them.
pub(crate) fn machine_with(line: &str, hints: &[Value]) -> Place {
    let place = Place::new(line);
    // Where the network is that of the tests' machine, no port of it may have this name.
    let port = json!({"name": PORT, "key": "k", "mac": "52:54:00:12:34:56", "up": true, "addresses": ["10.9.0.5/24"],
        "gateway": null, "source": "static", "error": null});
    place.publish("units", &json!({"units": [], "pids": {}, "problems": []}));
    place.publish("net", &json!({"ports": [port], "dns": [], "search": [], "servers": hints, "problems": []}));
    place.publish("devices", &json!({"settled": true, "loaded": [], "failed": {}, "findings": [], "extensions": []}));
    place
}

/// A reply that asks for nothing, with these fields more.
pub(crate) fn none(more: &Value) -> Value {
    let mut reply =
        json!({"action": "none", "id": 7, "name": "node7", "state": "normal", "send_inventory": false, "interval": 1});
    reply.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    reply
}
