//! The API's client. Every failure says whether the server was reached, and what to do.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail, ensure};
use axum::body::Bytes;
use axum::http::Uri;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Certificate, Response, StatusCode};
use serde_json::Value;
use wire::error::Problem;
use wire::routes::HTTPS_PORT;

use crate::cli::args::Remote;
use crate::limits::{CLIENT_CONNECT_TIMEOUT, CLIENT_TIMEOUT, COMMAND_TIMEOUT, UPLOAD_TIMEOUT};

/// The server's word that it does not do what was asked.
#[derive(Debug)]
pub struct Refused {
    /// Status of the answer.
    pub status: StatusCode,
    /// Why, and what to do.
    pub problem: Problem,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.problem.error, self.problem.remedy)
    }
}

impl std::error::Error for Refused {}

/// A server's API.
#[derive(Debug)]
pub struct Client {
    base: String,
    http: reqwest::Client,
}

impl Client {
    /// A client of this server. A token goes to no server on another machine without TLS.
    ///
    /// # Errors
    /// When the URL, the CA or the token cannot be used.
    pub fn new(remote: &Remote) -> anyhow::Result<Self> {
        let base = remote.url.trim_end_matches('/');
        let is_tls = base.starts_with("https://");
        ensure!(
            is_tls || base.starts_with("http://"),
            "the server's URL is {base:?}; it must begin with https:// or http://, such as http://127.0.0.1:8150 (--server or \
             MK_SERVER)"
        );
        // A second call finds a provider installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .connect_timeout(CLIENT_CONNECT_TIMEOUT)
            // A site's proxy is not one of those whom the server answers.
            .no_proxy()
            // Another server has no right to the token.
            .redirect(reqwest::redirect::Policy::none());
        if let Some(token) = token(remote)? {
            ensure!(
                is_tls || is_here(base),
                "the token was not sent: {base} is on another machine and speaks without TLS, so that anybody on the way could \
                 read it; use --server https://… (port {HTTPS_PORT})"
            );
            http = http.default_headers(HeaderMap::from_iter([(header::AUTHORIZATION, bearer(&token)?)]));
        }
        http = match &remote.ca {
            Some(file) => http.tls_certs_only(trusted(file)?),
            None if is_tls => http,
            None => http.tls_certs_only([]),
        };
        let http = http.build().context("cannot set up an HTTP client")?;
        Ok(Self { base: base.to_owned(), http })
    }

    /// The document at `path`.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.http.get(format!("{}{path}", self.base)).timeout(CLIENT_TIMEOUT);
        self.document(request.send().await).await
    }

    /// A list at `path`, which has a query already, with the items of all its pages.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn all(&self, path: &str) -> anyhow::Result<Value> {
        let mut document = self.get(path).await?;
        let total = document["total"].as_u64().unwrap_or(0);
        while let Some(items) = document["items"].as_array_mut().filter(|i| (i.len() as u64) < total) {
            let next = self.get(&format!("{path}&start={}", items.len())).await?;
            let more = next["items"].as_array().filter(|more| !more.is_empty());
            let Some(more) = more else { break };
            items.extend(more.iter().cloned());
        }
        Ok(document)
    }

    /// Gives a command. One that names a mirror has the server fetch what is in it, which may take long.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn command(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.post(format!("{}{path}", self.base)).timeout(COMMAND_TIMEOUT).json(body);
        self.document(request.send().await).await
    }

    /// Sends a file.
    ///
    /// # Errors
    /// When the file cannot be read, or the server cannot be reached or refuses.
    pub async fn upload(&self, path: &str, file: &Path) -> anyhow::Result<Value> {
        let open = || format!("cannot read {}", file.display());
        let source = tokio::fs::File::open(file).await.with_context(open)?;
        let metadata = source.metadata().await.with_context(open)?;
        ensure!(metadata.is_file(), "{} is no file; name the ISO itself", file.display());
        let request = self.http.post(format!("{}{path}", self.base)).timeout(UPLOAD_TIMEOUT);
        let request = request.header(header::CONTENT_LENGTH, metadata.len());
        self.document(request.body(source).send().await).await
    }

    /// The file at `path`.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn download(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let request = self.http.get(format!("{}{path}", self.base)).timeout(CLIENT_TIMEOUT);
        Ok(self.body(request.send().await).await?.to_vec())
    }

    async fn document(&self, answer: reqwest::Result<Response>) -> anyhow::Result<Value> {
        let body = self.body(answer).await?;
        serde_json::from_slice(&body)
            .with_context(|| format!("{} answered something else than JSON; is it an mk-server?", self.base))
    }

    /// The body of a good answer.
    async fn body(&self, answer: reqwest::Result<Response>) -> anyhow::Result<Bytes> {
        let response = answer.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let body = response.bytes().await.with_context(|| format!("the answer of {} broke off", self.base))?;
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => bail!(Refused { status, problem }),
            Err(_) if status == StatusCode::NOT_FOUND => {
                bail!("{} does not know this command; is it an mk-server?", self.base)
            }
            Err(_) => bail!("{} answered {status}; see its log", self.base),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        let what = if error.is_timeout() { "does not answer in time" } else { "cannot be reached" };
        let cause = innermost(&error);
        // What the TLS library says of certificates begins so.
        let advice = if cause.contains("invalid peer certificate") {
            "Its certificate is by a CA that is not known here, or not for this name. Name the server's own CA with --ca FILE \
             (DIR/tls/ca.pem on the server), and the server by a name of its certificate (`mk-server tls renew --name NAME`)."
        } else {
            "Start it with `mk-server serve --data DIR`, or name another with --server URL or MK_SERVER."
        };
        anyhow!("no server at {}: it {what} ({cause})\n{advice}", self.base)
    }
}

/// The token that was given, if any.
fn token(remote: &Remote) -> anyhow::Result<Option<String>> {
    let Some(file) = &remote.token_file else { return Ok(remote.token.clone()) };
    let text = match file.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()),
        _ => std::fs::read_to_string(file),
    };
    let text = text.with_context(|| format!("cannot read the token in {}; check --token-file", file.display()))?;
    Ok(Some(text.trim().to_owned()))
}

fn bearer(token: &str) -> anyhow::Result<HeaderValue> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.ok().context("the token is none: it has other characters than those that were printed")?;
    value.set_sensitive(true);
    Ok(value)
}

/// The certificates in a file.
fn trusted(file: &Path) -> anyhow::Result<Vec<Certificate>> {
    let pem = std::fs::read(file).with_context(|| format!("cannot read the CA in {}; check --ca", file.display()))?;
    let all = Certificate::from_pem_bundle(&pem).ok().filter(|all| !all.is_empty());
    all.with_context(|| format!("{} has no certificate in PEM; name the server's DIR/tls/ca.pem", file.display()))
}

/// True for a URL of this machine.
fn is_here(url: &str) -> bool {
    let host = url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned)).unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// The last cause: what the operating system said.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str, token: Option<&str>) -> Remote {
        Remote { url: url.to_owned(), ca: None, token_file: None, token: token.map(str::to_owned) }
    }

    #[test]
    fn a_token_leaves_this_machine_by_tls_alone() {
        for url in ["http://127.0.0.1:8150", "http://[::1]:8150/", "http://localhost:1", "https://razor.example:8151"] {
            assert!(Client::new(&remote(url, Some("t"))).is_ok(), "{url}");
        }
        for url in
            ["http://10.0.0.1:8150", "http://razor:8150", "http://127.0.0.1.example", "http://localhost@evil.example"]
        {
            let why = Client::new(&remote(url, Some("t"))).unwrap_err().to_string();
            assert!(why.contains("was not sent") && why.contains("8151"), "{url}: {why}");
            assert!(Client::new(&remote(url, None)).is_ok(), "{url}");
        }
        assert!(Client::new(&remote("ftp://razor", None)).is_err());
        assert!(Client::new(&remote("https://razor", Some("a\nb"))).is_err());
    }
}
