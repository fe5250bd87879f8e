//! What the tests of all units on loopback need, and the tests of the listener itself.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as Stream};
use std::sync::mpsc::channel;

use super::*;

/// An answer as it came.
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) code: u16,
    /// Headers in lower case.
    pub(crate) headers: String,
    pub(crate) body: String,
}

/// Serves these routes on a free port, as long as the test runs.
pub(crate) fn start(routes: impl FnOnce() -> Router + Send + 'static) -> SocketAddr {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = listen(0).await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            serve(listener, routes()).await;
        });
    });
    receiver.recv().unwrap()
}

/// One request (`GET /path`) with these further header lines over a connection of its own.
pub(crate) fn ask(address: SocketAddr, request: &str, headers: &str, body: &str) -> Answer {
    let mut stream = Stream::connect(address).unwrap();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    write!(stream, "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}{headers}\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let (status, headers) = head.split_once("\r\n").unwrap();
    let code = status.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { code, headers: headers.to_ascii_lowercase(), body: body.to_owned() }
}

#[tokio::test]
async fn listens_on_loopback_only() {
    let listener = listen(0).await.unwrap();
    assert!(listener.local_addr().unwrap().ip().is_loopback());
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = listen(0).await.unwrap();
    let port = first.local_addr().unwrap().port();
    let error = listen(port).await.unwrap_err().to_string();
    assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
}
