//! Against real servers on loopback that misbehave, each in one way.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use super::super::verdict;
use super::*;

const SHORT: Timeouts = Timeouts { connect: Duration::from_millis(400), exchange: Duration::from_millis(400) };

/// A server that reads one request, writes these bytes and then waits, or closes.
fn server(answer: &'static [u8], stays: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer);
            if stays {
                thread::sleep(Duration::from_secs(5));
            }
        }
    });
    url
}

/// What a check-in with this server comes to: the failure's code and text.
async fn outcome(base: &str) -> (String, String) {
    let mut transport = Transport::new(Ok(None), SHORT).unwrap();
    let url = format!("{base}/svc/checkin");
    let answer = transport.post(&url, b"{}", &("a2V5".to_owned(), "c2ln".to_owned()), &[]).await;
    match answer.and_then(|a| verdict::checkin(&url, &a)) {
        Ok(reply) => ("ok".to_owned(), reply.action),
        Err(failure) => (failure.problem.code, failure.problem.error),
    }
}

#[tokio::test]
async fn misbehaving_servers_are_named_with_their_fault() {
    const OK: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"action\":\"none\"}";
    const HTML: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    const MISSING: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    const BROKEN: &[u8] = b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops";
    const ELSEWHERE: &[u8] = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    const ANNOUNCED: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n";
    const CUT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"act";
    const NOISE: &[u8] = b"SSH-2.0-OpenSSH_9.2p1\r\n";
    for (answer, stays, code, word) in [
        (OK, false, "ok", "none"),
        (HTML, false, "not_json", "<html>"),
        (MISSING, false, "http_status", "404"),
        (BROKEN, false, "http_status", "oops"),
        (ELSEWHERE, false, "redirected", "http://127.0.0.1:1/"),
        (ANNOUNCED, true, "too_large", "4194304"),
        (CUT, false, "broken", "/svc/checkin"),
        (CUT, true, "timeout", "/svc/checkin"),
        (NOISE, false, "not_http", "/svc/checkin"),
        (b"", false, "broken", "/svc/checkin"),
        (b"", true, "timeout", "/svc/checkin"),
    ] {
        let url = server(answer, stays);
        let (got, text) = outcome(&url).await;
        assert_eq!(got, code, "{text}");
        assert!(text.contains(word) && (code == "ok" || text.contains(&url)), "{text}");
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n");
        while stream.write_all(&[b' '; 65536]).is_ok() {}
    });
    let mut transport = Transport::new(Ok(None), Timeouts::default()).unwrap();
    let failure = transport.hello(&url, &[]).await.1.unwrap_err();
    assert_eq!(failure.problem.code, "too_large");
}

#[tokio::test]
async fn nobody_there() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, text) = outcome(&format!("http://{closed}")).await;
    assert_eq!(code, "connect", "{text}");
    assert!(text.contains("refused"), "{text}");
    let (code, text) = outcome("http://no-such-host.invalid:8150").await;
    assert!(code == "dns" && text.contains("no-such-host.invalid"), "{code}: {text}");
}

#[tokio::test]
async fn tls_only_with_a_ca_and_then_nothing_else() {
    let plain = Transport::new(Ok(None), SHORT).unwrap();
    let code = |t: &Transport, url: &str| t.allowed(url).err().map(|f| f.problem.code);
    assert_eq!(code(&plain, "https://a"), Some("no_ca".to_owned()));
    assert_eq!(code(&plain, "ftp://a"), Some("bad_url".to_owned()));
    assert_eq!(code(&plain, "nonsense"), Some("bad_url".to_owned()));
    assert_eq!(code(&plain, "http://a"), None);
    let ca = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
    let pinned = Transport::new(Ok(Some(Ca { pem: &ca, image_date: 0 })), SHORT).unwrap();
    assert_eq!(code(&pinned, "http://a"), Some("plain_http".to_owned()));
    assert_eq!(code(&pinned, "https://a"), None);
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bad = Transport::new(Ok(Some(Ca { pem, image_date: 0 })), SHORT);
    assert_eq!(bad.err().unwrap().problem.code, "bad_ca");
    let unknown = Problem::new("bad_settings", "the site's file is broken", "Customize the image again.");
    assert_eq!(Transport::new(Err(unknown.clone()), SHORT).err().unwrap(), Failure::of(unknown));
}
