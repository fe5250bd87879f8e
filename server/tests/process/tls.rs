//! The server's own CA and certificate: made once, renewed while the server runs, trusted by who has the CA and by nobody else.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use reqwest::{Certificate, Client};
use serde_json::Value;

use crate::support::{PROGRAM, SERVE, Server};

/// Runs `mk-server tls`.
fn tls(command: &str, data: &Path, names: &[&str]) -> Output {
    let mut run = Command::new(PROGRAM);
    run.args(["tls", command, "--data"]).arg(data);
    for name in names {
        run.args(["--name", name]);
    }
    run.output().unwrap()
}

fn refusal(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A client that trusts this CA only.
fn client(ca: &Path) -> Client {
    let ca = Certificate::from_pem(&fs::read(ca).unwrap()).unwrap();
    Client::builder().tls_certs_only([ca]).build().unwrap()
}

/// A server with TLS on free ports; gives its https URL too.
fn serve(data: &Path) -> (Server, String) {
    let mut command = Command::new(PROGRAM);
    command.args(SERVE).arg(data).args(["--https-port", "0"]);
    let server = Server::spawn(data, command);
    let log = fs::read_to_string(data.join("stderr.log")).unwrap();
    let url = log.split_whitespace().find(|word| word.contains("https://")).unwrap();
    (server, url.to_owned())
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_ca_and_renewed_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (data, ca) = (folder.path().join("data"), folder.path().join("data/tls/ca.pem"));
    let made = tls("init", &data, &["127.0.0.1", "razor.example"]);
    let said = String::from_utf8_lossy(&made.stdout);
    assert!(made.status.success() && said.contains("mkiso customize") && said.contains("ca.pem"), "{made:?}");
    for (file, mode) in [("ca.pem", 0o644), ("ca.key", 0o600), ("server.pem", 0o600)] {
        assert_eq!(fs::metadata(data.join("tls").join(file)).unwrap().permissions().mode() & 0o777, mode, "{file}");
    }
    assert!(refusal(&tls("init", &data, &["127.0.0.1"])).contains("ca.pem already"));

    let (server, url) = serve(&data);
    let trusting = client(&ca);
    let hello = async |client: &Client| client.get(format!("{url}/svc/hello")).send().await;
    let said: Value = hello(&trusting).await.unwrap().json().await.unwrap();
    assert_eq!(said["service"], "razor-mk");
    let nodes: Value = trusting.get(format!("{url}/api/collections/nodes")).send().await.unwrap().json().await.unwrap();
    assert_eq!(nodes["code"], "not_local", "a proxy here may pass on anybody's TLS: {nodes}");
    assert!(reqwest::get(url.replace("https", "http")).await.is_err(), "nothing is spoken there in the clear");
    assert_eq!(server.get("/svc/hello").await.1["service"], "razor-mk", "the other port goes on for network boots");

    let other = folder.path().join("other");
    assert!(tls("init", &other, &["127.0.0.1"]).status.success());
    let stranger = hello(&client(&other.join("tls/ca.pem"))).await;
    assert!(stranger.is_err(), "another CA does not vouch for it");

    let before = fs::read(data.join("tls/server.pem")).unwrap();
    assert!(tls("renew", &data, &["razor.example"]).status.success());
    assert!(fs::read(data.join("tls/server.pem")).unwrap() != before);
    assert!(hello(&client(&ca)).await.is_err(), "the new one is not for this address any more");
    assert!(tls("renew", &data, &["127.0.0.1"]).status.success());
    assert!(tls("renew", &data, &[]).status.success(), "for the same names again");
    hello(&client(&ca)).await.unwrap();
    fs::write(data.join("tls/server.pem"), "no certificate").unwrap();
    hello(&client(&ca)).await.unwrap();
}

#[tokio::test]
async fn who_says_nothing_is_cut_off_and_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(tls("init", &data, &["127.0.0.1"]).status.success());
    let (_server, url) = serve(&data);
    let mut silent = TcpStream::connect(url.strip_prefix("https://").unwrap()).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    client(&data.join("tls/ca.pem")).get(format!("{url}/svc/hello")).send().await.unwrap();
    assert_eq!(silent.read(&mut [0; 16]).unwrap(), 0, "closed by the server");
}

#[test]
fn what_cannot_be_certified_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (command, names, words) in [
        ("init", &[][..], "--name"),
        ("init", &["https://razor.example"], "without scheme and port"),
        ("init", &["razor.example", ""], "no name or address"),
        ("renew", &["razor.example"], "tls init"),
    ] {
        let said = refusal(&tls(command, folder.path(), names));
        assert!(said.contains(words), "{said}");
        assert!(!folder.path().join("tls/ca.pem").exists());
    }
    assert!(tls("init", folder.path(), &["::1"]).status.success());
    let file = |name: &str| folder.path().join("tls").join(name);
    let (ca, certificate) = (fs::read(file("ca.pem")).unwrap(), fs::read(file("server.pem")).unwrap());
    // A site's own certificate, or a CA whose other half is elsewhere.
    for moved in ["ca.pem", "ca.key"] {
        fs::rename(file(moved), file("elsewhere")).unwrap();
        assert!(refusal(&tls("init", folder.path(), &["::1"])).contains("already"), "without {moved}");
        fs::rename(file("elsewhere"), file(moved)).unwrap();
    }
    let other = tempfile::tempdir().unwrap();
    assert!(tls("init", other.path(), &["::1"]).status.success());
    fs::copy(other.path().join("tls/ca.key"), file("ca.key")).unwrap();
    assert!(refusal(&tls("renew", folder.path(), &[])).contains("is not the key of"));
    fs::remove_file(file("ca.key")).unwrap();
    assert!(refusal(&tls("renew", folder.path(), &[])).contains("ca.key"));
    assert_eq!((fs::read(file("ca.pem")).unwrap(), fs::read(file("server.pem")).unwrap()), (ca, certificate));
}
