//! HTTP to a server: one exchange with time-outs and a limit on what is read. Redirects are not followed. Each failure
//! names the URL and the step that failed.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Response, Url};
use wire::limits::MAX_REPLY_BODY;
use wire::routes::{HELLO, HTTP_PORT, JSON, KEY_HEADER, SIGNATURE_HEADER};

use super::verdict::{Answer, Failure};
use crate::limits::{CHECKIN_CONNECT, CHECKIN_EXCHANGE, HELLO_BODY};

/// Time-outs of a [`Transport`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) connect: Duration,
    pub(super) exchange: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: CHECKIN_CONNECT, exchange: CHECKIN_EXCHANGE }
    }
}

/// A client of servers.
pub(super) struct Transport {
    client: Client,
    /// A CA is in the image: nothing else is trusted, and plain HTTP not at all.
    pinned: bool,
    timeouts: Timeouts,
}

impl Transport {
    /// With the site's CA certificates, if it has any.
    ///
    /// # Errors
    /// A certificate is not understood, or TLS cannot be set up.
    pub(super) fn new(ca_pem: Option<&str>, timeouts: Timeouts) -> Result<Self, Failure> {
        // A second call finds it installed already.
        let _: Result<(), _> = rustls::crypto::ring::default_provider().install_default();
        let bad = |why: reqwest::Error| {
            let text = format!("the CA certificates of the site configuration are not understood: {}", chain(&why));
            Failure::new("bad_ca", text, "Put the certificate in PEM into ca_pem of the site configuration.")
        };
        let certificates =
            ca_pem.map_or(Ok(Vec::new()), |pem| Certificate::from_pem_bundle(pem.as_bytes())).map_err(bad)?;
        let client = Client::builder()
            .tls_certs_only(certificates)
            .user_agent(concat!("mk-agent/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.exchange)
            .redirect(Policy::none())
            // Check-ins are a minute apart: a connection kept so long is dead as often as not.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(bad)?;
        Ok(Self { client, pinned: ca_pem.is_some(), timeouts })
    }

    /// Sends a signed check-in.
    pub(super) async fn post(&self, url: &str, body: Vec<u8>, signed: &(String, String)) -> Result<Answer, Failure> {
        let request = self
            .client
            .post(self.allowed(url)?)
            .header(CONTENT_TYPE, JSON)
            .header(KEY_HEADER, &signed.0)
            .header(SIGNATURE_HEADER, &signed.1)
            .body(body);
        self.exchange(url, request, MAX_REPLY_BODY).await
    }

    /// Asks a server what it is. Gives the URL that was asked, too.
    pub(super) async fn hello(&self, base: &str) -> (String, Result<Answer, Failure>) {
        let url = format!("{base}{HELLO}");
        let answer = match self.allowed(&url) {
            Ok(allowed) => self.exchange(&url, self.client.get(allowed), HELLO_BODY).await,
            Err(failure) => Err(failure),
        };
        (url, answer)
    }

    fn allowed(&self, url: &str) -> Result<Url, Failure> {
        let parsed = Url::parse(url).map_err(|why| {
            let remedy = format!("Write it as http://10.0.0.1:{HTTP_PORT}.");
            Failure::new("bad_url", format!("`{url}` is no URL of a server: {why}"), &remedy)
        })?;
        match (parsed.scheme(), self.pinned) {
            ("https", true) | ("http", false) => Ok(parsed),
            ("https", false) => {
                let text = format!("{url} cannot be verified: this image has no CA certificate");
                Err(Failure::new(
                    "no_ca",
                    text,
                    "Name the server by its http:// address, or put its CA into ca_pem of the site configuration.",
                ))
            }
            ("http", true) => {
                let text = format!("{url} is not asked: this image has a CA certificate and speaks HTTPS only");
                Err(Failure::new("plain_http", text, "Name the server by its https:// URL."))
            }
            (scheme, _) => {
                let text = format!("{url} has the scheme {scheme}, which is not supported");
                Err(Failure::new("bad_url", text, "Use http:// or https://."))
            }
        }
    }

    async fn exchange(&self, url: &str, request: RequestBuilder, limit: usize) -> Result<Answer, Failure> {
        let mut response = request.send().await.map_err(|why| self.failure(url, &why))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = self.body(url, &mut response, limit).await?;
        let header = |name| text(&headers, name);
        let (location, retry_after) = (header(LOCATION), header(RETRY_AFTER));
        Ok(Answer { status, content_type: header(CONTENT_TYPE), location, retry_after, body })
    }

    async fn body(&self, url: &str, response: &mut Response, limit: usize) -> Result<Vec<u8>, Failure> {
        let too_large = || {
            let text = format!("{url} answered with more than {limit} bytes");
            Failure::new("too_large", text, "Another service answers at this address: correct the server's URL.")
        };
        if response.content_length().is_some_and(|n| n > limit as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|why| self.failure(url, &why))? {
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn failure(&self, url: &str, why: &reqwest::Error) -> Failure {
        let causes = chain(why);
        let (code, what, remedy) = if causes.contains("dns error") {
            (
                "dns",
                "its name cannot be resolved",
                "See the name servers with `mk-agent status`, or give the server's address.",
            )
        } else if why.is_connect() && why.is_timeout() {
            (
                "connect_timeout",
                "no connection in time",
                "See whether cable, VLAN, route and firewall let this machine reach it.",
            )
        } else if causes.contains("certificate") || causes.contains("tls") {
            (
                "tls",
                "its certificate is not accepted",
                "See whether it is signed by the CA in this image, and the clocks.",
            )
        } else if why.is_connect() {
            ("connect", "no connection", "See whether the server runs and listens on this address and port.")
        } else if why.is_timeout() {
            ("timeout", "no whole answer in time", "See the server's log and load; the check-in is repeated.")
        } else {
            ("broken", "the connection broke", "See the server's log; the check-in is repeated.")
        };
        let time = match code {
            "connect_timeout" => format!(" ({} s)", self.timeouts.connect.as_secs()),
            "timeout" => format!(" ({} s)", self.timeouts.exchange.as_secs()),
            _ => format!(" ({})", causes.rsplit(": ").next().unwrap_or(&causes)),
        };
        let lost = matches!(code, "timeout" | "broken");
        Failure { lost, ..Failure::new(code, format!("{url}: {what}{time}"), remedy) }
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned())
}

/// The causes of an error from the second on, since the first one only repeats the URL.
fn chain(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.dedup();
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}

#[cfg(test)]
mod tests;
