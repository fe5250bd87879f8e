//! Against real servers on loopback that misbehave, each in one way.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

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
    let ca = generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
    let pinned = Transport::new(Ok(Some(Ca { pem: &ca, image_date: 0 })), SHORT).unwrap();
    assert_eq!(code(&pinned, "http://a"), Some("plain_http".to_owned()));
    assert_eq!(code(&pinned, "https://a"), None);
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bad = Transport::new(Ok(Some(Ca { pem, image_date: 0 })), SHORT);
    assert_eq!(bad.err().unwrap().problem.code, "bad_ca");
    let unknown = Problem::new("bad_settings", "the site's file is broken", "Customize the image again.");
    assert_eq!(Transport::new(Err(unknown.clone()), SHORT).err().unwrap(), Failure::of(unknown));
}

/// A certificate for this machine, signed by itself.
fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap()
}

/// A server with this certificate. Gives the number of its port.
fn secured(certificate: &CertifiedKey<KeyPair>) -> u16 {
    let key = PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    port
}

#[tokio::test]
async fn faults_of_tls_are_named_and_no_want_of_a_connection() {
    const ALERT: &[u8] = b"\x15\x03\x03\x00\x02\x02\x28";
    let (own, other) = (certificate(), certificate());
    let pem = own.cert.pem();
    let mut transport = Transport::new(Ok(Some(Ca { pem: &pem, image_date: 0 })), Timeouts::default()).unwrap();
    let port = |url: String| url.rsplit(':').next().unwrap().parse().unwrap();
    let (url, answer) = transport.hello(&format!("https://127.0.0.1:{}", secured(&own)), &[]).await;
    assert_eq!(answer.map(|answer| answer.status), Ok(204), "{url}");
    for (port, word, remedy) in [
        (secured(&other), "certificate is not accepted", "CA in this image"),
        (port(server(b"HTTP/1.1 400 Bad Request\r\n\r\n", false)), "does not speak TLS", "8151"),
        (port(server(ALERT, false)), "no TLS", "log"),
    ] {
        let (url, answer) = transport.hello(&format!("https://127.0.0.1:{port}"), &[]).await;
        let Failure { problem, unreached, .. } = answer.unwrap_err();
        assert_eq!((problem.code.as_str(), unreached), ("tls", false), "{problem}");
        assert!(problem.error.contains(&url) && problem.error.contains(word), "{problem}");
        assert!(problem.remedy.contains(remedy), "{problem}");
    }
}
