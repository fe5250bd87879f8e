//! A server with TLS that listens on all addresses, and requests to it that come from an address which is not the loopback's.

use std::net::{IpAddr, UdpSocket};
use std::process::{Command, Output};

use reqwest::{Certificate, Client, Method, RequestBuilder};
use serde_json::Value;

use crate::support::{PROGRAM, Server};

/// A name that the certificate has besides.
pub(crate) const NAME: &str = "razor.example";

/// See above.
pub(crate) struct Outside {
    pub(crate) server: Server,
    /// By plain HTTP, from outside.
    pub(crate) http: String,
    /// By TLS, from outside.
    pub(crate) https: String,
    /// The same under [`NAME`].
    pub(crate) named: String,
    pub(crate) client: Client,
    ip: IpAddr,
    folder: tempfile::TempDir,
}

/// An address of this machine that is not the loopback's; nothing, with a message, where there is none.
pub(crate) fn own_address() -> Option<IpAddr> {
    // No packet is sent; the system only chooses the address that it would send from.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = socket.connect("192.0.2.1:9").ok().and_then(|()| socket.local_addr().ok());
    if own.is_none() {
        mk_tests::skip_even_there("this machine has no address but loopback");
    }
    own.map(|own| own.ip())
}

impl Outside {
    /// Starts one, with these further arguments; nothing, with a message, on a machine without a network.
    pub(crate) fn start(extra: &[&str]) -> Option<Self> {
        let own = own_address()?;
        let folder = tempfile::tempdir().unwrap();
        let mut made = Command::new(PROGRAM);
        made.args(["tls", "init", "--data"]).arg(folder.path());
        let made = made.args(["--name", &own.to_string(), "--name", NAME]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        Some(Self::on(folder, own, extra))
    }

    fn on(folder: tempfile::TempDir, ip: IpAddr, extra: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--listen", "0.0.0.0:0", "--https-port", "0", "--data"]).arg(folder.path()).args(extra);
        let mut server = Server::spawn(folder.path(), command);
        let port = |url: &str| url.rsplit(':').next().unwrap().trim_matches('"').to_owned();
        let log = std::fs::read_to_string(folder.path().join("stderr.log")).unwrap();
        let tls = port(log.split(['"', ' ', '\n']).find(|word| word.starts_with("https://")).unwrap());
        let plain = port(&server.url);
        server.url = format!("http://127.0.0.1:{plain}");
        let ca = Certificate::from_pem(&std::fs::read(folder.path().join("tls/ca.pem")).unwrap()).unwrap();
        let client = Client::builder().tls_certs_only([ca]).redirect(reqwest::redirect::Policy::none());
        let client = client.resolve(NAME, (ip, 0).into()).build().unwrap();
        let (http, https) = (format!("http://{ip}:{plain}"), format!("https://{ip}:{tls}"));
        Self { server, http, https, named: format!("https://{NAME}:{tls}"), client, ip, folder }
    }

    /// Ends the server and starts it anew on the same folder, on other ports.
    pub(crate) fn again(mut self) -> Self {
        self.server.stop();
        Self::on(self.folder, self.ip, &[])
    }

    /// The server's log until now.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr.log")).unwrap()
    }

    /// Makes a token on the server's machine.
    pub(crate) fn token(&self, args: &[&str]) -> String {
        let made = self.server.cli(&[&["token", "create"], args].concat());
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    /// A request from outside by TLS.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.https))
    }

    /// The command line on another machine, which knows the CA.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.arg("--ca").arg(self.folder.path().join("tls/ca.pem")).args(["--server", &self.https]).args(args);
        command.output().unwrap()
    }
}

/// Status and code of a refusal, or status alone.
pub(crate) async fn seen(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null);
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}
