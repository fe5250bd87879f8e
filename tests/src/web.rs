//! A web server that says exactly what a test tells it to, wrong lengths and all: a mirror that behaves, or one that lies.

#![expect(clippy::unwrap_used, reason = "a test's own server may fail loudly")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What a path is answered with.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    body: Vec<u8>,
    /// Bytes after which the connection is closed, whatever was announced.
    cut: Option<usize>,
    ranges: bool,
    /// Silence before it.
    pause: Duration,
    location: Option<String>,
}

impl Answer {
    /// This body.
    #[must_use]
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), cut: None, ranges: true, pause: Duration::ZERO, location: None }
    }

    /// A status, with a body that says nothing.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::ok("error") }
    }

    /// Another path or URL.
    #[must_use]
    pub fn redirect(to: &str) -> Self {
        Self { status: 302, location: Some(to.to_owned()), ..Self::ok("") }
    }

    /// The same, closed behind so many bytes.
    #[must_use]
    pub fn cut_at(self, bytes: usize) -> Self {
        Self { cut: Some(bytes), ..self }
    }

    /// The same after a silence.
    #[must_use]
    pub fn after(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// The same, whole whatever range is asked for.
    #[must_use]
    pub fn without_ranges(self) -> Self {
        Self { ranges: false, ..self }
    }
}

#[derive(Debug, Default)]
struct Shared {
    answers: BTreeMap<String, Answer>,
    once: BTreeMap<String, Answer>,
    /// Path and `Range` of each request.
    log: Vec<(String, String)>,
}

/// The server; ends with the test's process.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Server {
    /// Listens on a port of loopback from now on.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let shared = server.shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        server
    }

    /// Its URL, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a path is answered with from now on.
    ///
    /// # Panics
    /// An answer has panicked.
    pub fn put(&self, path: &str, answer: Answer) {
        self.shared.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    /// The same for the next request only.
    ///
    /// # Panics
    /// An answer has panicked.
    pub fn once(&self, path: &str, answer: Answer) {
        self.shared.lock().unwrap().once.insert(path.to_owned(), answer);
    }

    /// How often a path was asked for.
    ///
    /// # Panics
    /// An answer has panicked.
    #[must_use]
    pub fn requests(&self, path: &str) -> usize {
        self.ranges(path).len()
    }

    /// The `Range` of each request for a path, empty where there was none.
    ///
    /// # Panics
    /// An answer has panicked.
    #[must_use]
    pub fn ranges(&self, path: &str) -> Vec<String> {
        let log = &self.shared.lock().unwrap().log;
        log.iter().filter(|(p, _)| p == path).map(|(_, range)| range.clone()).collect()
    }
}

fn serve(stream: &TcpStream, shared: &Mutex<Shared>) {
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(first)) = lines.next() {
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let mut range = String::new();
        while let Some(Ok(line)) = lines.next() {
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("range")
            {
                value.clone_into(&mut range);
            }
        }
        let answer = {
            let mut shared = shared.lock().unwrap();
            shared.log.push((path.clone(), range.clone()));
            let once = shared.once.remove(&path);
            once.or_else(|| shared.answers.get(&path).cloned()).unwrap_or_else(|| Answer::status(404))
        };
        if !reply(stream, &answer, &range, method == "HEAD") {
            return;
        }
    }
}

/// Writes one answer; false if the connection ends with it.
fn reply(mut stream: &TcpStream, answer: &Answer, range: &str, head: bool) -> bool {
    let from = range.strip_prefix("bytes=").and_then(|r| r.strip_suffix('-')).and_then(|r| r.parse().ok());
    let from = from.filter(|_| answer.ranges && answer.status == 200);
    let (status, body) = match from {
        Some(from) if from >= answer.body.len() => (416, &[][..]),
        Some(from) => (206, &answer.body[from..]),
        None => (answer.status, &answer.body[..]),
    };
    thread::sleep(answer.pause);
    let location = answer.location.as_ref().map_or_else(String::new, |to| format!("Location: {to}\r\n"));
    let header = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n{location}\r\n", body.len());
    let sent = if head { &[][..] } else { &body[..answer.cut.unwrap_or(body.len()).min(body.len())] };
    stream.write_all(header.as_bytes()).and_then(|()| stream.write_all(sent)).is_ok() && answer.cut.is_none()
}
