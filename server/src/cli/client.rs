//! The API's client. Every failure says whether the server was reached, and what to do.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail, ensure};
use axum::body::Bytes;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use wire::error::Problem;

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
    /// A client of the server at `base`.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn new(base: &str) -> anyhow::Result<Self> {
        ensure!(
            base.starts_with("http://"),
            "the server's URL is {base:?}; it must begin with http://, such as http://127.0.0.1:8150 (--server or MK_SERVER)"
        );
        // A second call finds a provider installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CLIENT_CONNECT_TIMEOUT)
            // The server answers callers on its own machine; a site's proxy is not one of them.
            .no_proxy()
            .tls_certs_only([])
            .build()
            .context("cannot set up an HTTP client")?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), http })
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
        let request = request.header(reqwest::header::CONTENT_LENGTH, metadata.len());
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
        let advice = "Start it with `mk-server serve --data DIR`, or name another with --server URL or MK_SERVER.";
        anyhow!("no server at {}: it {what} ({})\n{advice}", self.base, innermost(&error))
    }
}

/// The last cause: what the operating system said.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
