//! HTTP to a server: one exchange with time-outs and a limit on what is read. Redirects are not followed. Each failure
//! names the URL and the step that failed.
//!
//! The kernel sends everything by the best of all default routes, and that one may lead nowhere on a machine in several
//! networks. So a server that cannot be reached can be tried over each port by itself, and the port that works is kept.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, Url};
use rustls::{ClientConfig, InvalidMessage};
use wire::card::Span;
use wire::error::Problem;
use wire::limits::MAX_REPLY_BODY;
use wire::routes::{GZIP, HELLO, HTTP_PORT, HTTPS_PORT, JSON, KEY_HEADER, SIGNATURE_HEADER};

use super::names::Names;
use super::stopwatch::Stopwatch;
use super::verdict::{Answer, Failure};
use crate::limits::{BUNDLE_UPLOAD, CHECKIN_CONNECT, CHECKIN_EXCHANGE, SMALL_ANSWER};
use crate::state::uptime_ms;
use crate::tls::{self, Ca};

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

/// What is asked of a server.
struct Request<'a> {
    url: &'a str,
    parsed: Url,
    /// What is sent, and its media type; without, something is fetched.
    sent: Option<(&'static str, &'a [u8])>,
    /// Public key and signature.
    signed: Option<&'a (String, String)>,
    /// Time for the whole exchange.
    patience: Duration,
    /// Most bytes of the answer's body.
    limit: usize,
}

/// How long an exchange took, part by part.
#[derive(Debug, Clone)]
pub(super) struct Timing {
    /// This machine's own address in it.
    pub(super) local: Option<IpAddr>,
    /// Resolution of the server's name, if it has one.
    pub(super) name: Option<Span>,
    pub(super) connection: Option<Span>,
    pub(super) is_tls: bool,
    /// From the connection until the answer was read.
    pub(super) exchange: Span,
}

/// A client of servers.
#[derive(Clone)]
pub(super) struct Transport {
    /// A CA is in the image: nothing else is trusted, and plain HTTP not at all.
    pinned: Option<ClientConfig>,
    names: Arc<Names>,
    /// By the only port that they use, if there is one.
    clients: BTreeMap<Option<String>, Client>,
    /// The port over which a server was reached, by its host, where the kernel's choice was wrong.
    ways: BTreeMap<String, String>,
    stopwatch: Stopwatch,
    /// How long the last exchange took.
    timing: Option<Timing>,
    timeouts: Timeouts,
}

impl Transport {
    /// With the CA that the image pins, if it does.
    ///
    /// # Errors
    /// What the image pins is not known, a certificate is not understood, or TLS cannot be set up.
    pub(super) fn new(ca: Result<Option<Ca<'_>>, Problem>, timeouts: Timeouts) -> Result<Self, Failure> {
        let ca = ca.map_err(Failure::of)?;
        // A second call finds it installed already.
        let _: Result<(), _> = rustls::crypto::ring::default_provider().install_default();
        let bad = |why: String| {
            let text = format!("the CA certificates of the site configuration are not understood: {why}");
            Failure::new("bad_ca", text, "Put the certificate into the image again: mkiso customize IMAGE --ca FILE.")
        };
        let pinned = ca.map(tls::pinned).transpose().map_err(bad)?;
        let (names, clients, ways) = (Arc::default(), BTreeMap::new(), BTreeMap::new());
        let (stopwatch, timing) = (Stopwatch::default(), None);
        let mut transport = Self { pinned, names, clients, ways, stopwatch, timing, timeouts };
        transport.client(None).map_err(|why| bad(chain(&why)))?;
        Ok(transport)
    }

    /// The client that uses this port only, or any.
    fn client(&mut self, port: Option<&str>) -> reqwest::Result<Client> {
        if let Some(client) = self.clients.get(&port.map(str::to_owned)) {
            return Ok(client.clone());
        }
        let mut client = Client::builder()
            .tls_certs_only([])
            .user_agent(concat!("mk-agent/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.timeouts.connect)
            .redirect(Policy::none())
            // A proxy in the kernel line's environment is for somebody else: no server that is meant is behind it.
            .no_proxy()
            .dns_resolver(Arc::clone(&self.names))
            .connector_layer(self.stopwatch.clone())
            // Check-ins are a minute apart: a connection kept so long is dead as often as not.
            .pool_max_idle_per_host(0);
        if let Some(pinned) = &self.pinned {
            client = client.tls_backend_preconfigured(pinned.clone());
        }
        if let Some(port) = port {
            client = client.interface(port);
        }
        let client = client.build()?;
        self.clients.insert(port.map(str::to_owned), client.clone());
        Ok(client)
    }

    /// Sends a signed check-in, over each of these ports by itself if there are any.
    pub(super) async fn post(
        &mut self,
        url: &str,
        body: &[u8],
        signed: &(String, String),
        ports: &[String],
    ) -> Result<Answer, Failure> {
        let (parsed, patience) = (self.allowed(url)?, self.timeouts.exchange);
        let (sent, signed) = (Some((JSON, body)), Some(signed));
        self.exchange(Request { url, parsed, sent, signed, patience, limit: MAX_REPLY_BODY }, ports).await
    }

    /// Sends a signed bundle, in the way that the last check-in went.
    pub(super) async fn upload(
        &mut self,
        url: &str,
        bundle: &[u8],
        signed: &(String, String),
    ) -> Result<Answer, Failure> {
        let (parsed, sent, signed) = (self.allowed(url)?, Some((GZIP, bundle)), Some(signed));
        let request = Request { url, parsed, sent, signed, patience: BUNDLE_UPLOAD, limit: SMALL_ANSWER };
        self.exchange(request, &[]).await
    }

    /// Asks a signed question whose answer may take that long, in the same way.
    pub(super) async fn wait(
        &mut self,
        url: &str,
        signed: &(String, String),
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let (parsed, signed) = (self.allowed(url)?, Some(signed));
        self.exchange(Request { url, parsed, sent: None, signed, patience, limit: SMALL_ANSWER }, &[]).await
    }

    /// Asks a server what it is, in the same way. Gives the URL that was asked, too.
    pub(super) async fn hello(&mut self, base: &str, ports: &[String]) -> (String, Result<Answer, Failure>) {
        let url = format!("{base}{HELLO}");
        let patience = self.timeouts.exchange;
        let answer = match self.allowed(&url) {
            Ok(parsed) => {
                let request = Request { url: &url, parsed, sent: None, signed: None, patience, limit: SMALL_ANSWER };
                self.exchange(request, ports).await
            }
            Err(failure) => Err(failure),
        };
        (url, answer)
    }

    /// The addresses to which the host name in this URL led when it was last asked; none if it has an address itself.
    pub(super) fn addresses(&self, url: &str) -> Vec<IpAddr> {
        Url::parse(url).ok().and_then(|url| Some(self.names.known(url.domain()?))).unwrap_or_default()
    }

    /// How long the last exchange took, if it was answered.
    pub(super) fn timing(&self) -> Option<&Timing> {
        self.timing.as_ref()
    }

    fn allowed(&self, url: &str) -> Result<Url, Failure> {
        let parsed = Url::parse(url).map_err(|why| {
            let remedy = format!("Write it as http://10.0.0.1:{HTTP_PORT}.");
            Failure::new("bad_url", format!("`{url}` is no URL of a server: {why}"), &remedy)
        })?;
        match (parsed.scheme(), self.pinned.is_some()) {
            ("https", true) | ("http", false) => Ok(parsed),
            ("https", false) => {
                let text = format!("{url} cannot be verified: this image has no CA certificate");
                Err(Failure::new(
                    "no_ca",
                    text,
                    "Name the server by its http:// address, or put its CA into the image: mkiso customize IMAGE --ca FILE.",
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

    /// Asks over the port that worked last and then as the kernel would, or over each of these ports by itself.
    async fn exchange(&mut self, request: Request<'_>, ports: &[String]) -> Result<Answer, Failure> {
        let host = request.parsed.host_str().unwrap_or_default().to_owned();
        self.timing = None;
        let begin = uptime_ms();
        let addresses = self.resolve(&request).await?;
        let name = (!addresses.is_empty()).then(|| Span::between(begin, uptime_ms()));
        let last = self.ways.get(&host).cloned();
        let (mut way, rest) = match ports.split_first() {
            Some((first, rest)) => (Some(first.clone()), rest.iter().cloned().map(Some).collect()),
            None if last.is_some() => (last.clone(), vec![None]),
            None => (None, Vec::new()),
        };
        let mut outcome = self.once(&request, way.as_deref(), &addresses).await;
        for next in rest {
            if !is_unreached(&outcome) {
                break;
            }
            outcome = self.once(&request, next.as_deref(), &addresses).await;
            way = next;
        }
        match way {
            _ if is_unreached(&outcome) => {}
            None => drop(self.ways.remove(&host)),
            Some(port) => {
                if last.as_ref() != Some(&port) {
                    tracing::info!("{} is reached over {port}, and not by the kernel's choice of port", request.url);
                }
                self.ways.insert(host, port);
            }
        }
        self.timing = self.timing.take().map(|timing| Timing { name, ..timing });
        let by = if ports.is_empty() { String::new() } else { format!(", nor over {} alone", ports.join(" or ")) };
        outcome.map_err(|failure| if failure.unreached { failure.with_more(&by) } else { failure })
    }

    /// The addresses that the URL's host name has now; none if it is an address itself.
    async fn resolve(&self, request: &Request<'_>) -> Result<Vec<IpAddr>, Failure> {
        let Some(name) = request.parsed.domain() else { return Ok(Vec::new()) };
        self.names.look_up(name).await.map_err(|why| {
            let text = format!("{}: its name cannot be resolved ({why})", request.url);
            let remedy = "See whether the name server is up and knows this name, or name the server by its address.";
            Failure::new("dns", text, remedy)
        })
    }

    async fn once(
        &mut self,
        request: &Request<'_>,
        port: Option<&str>,
        addresses: &[IpAddr],
    ) -> Result<Answer, Failure> {
        let failed = |why: &reqwest::Error, timeouts| failure(request.url, addresses, why, timeouts);
        let timeouts = Timeouts { exchange: request.patience, ..self.timeouts };
        let client = self.client(port).map_err(|why| failed(&why, timeouts))?;
        let mut ask = match request.sent {
            None => client.request(Method::GET, request.parsed.clone()),
            Some((kind, body)) => {
                client.request(Method::POST, request.parsed.clone()).header(CONTENT_TYPE, kind).body(body.to_vec())
            }
        };
        if let Some((key, signature)) = request.signed {
            ask = ask.header(KEY_HEADER, key).header(SIGNATURE_HEADER, signature);
        }
        let ask = ask.timeout(request.patience);
        let begin = uptime_ms();
        self.stopwatch.take();
        let mut response = ask.send().await.map_err(|why| failed(&why, timeouts))?;
        let (status, headers, peer) = (response.status().as_u16(), response.headers().clone(), response.remote_addr());
        let local = response.extensions().get::<HttpInfo>().map(|info| info.local_addr().ip());
        let body = body(request, &mut response, |why| failed(why, timeouts)).await?;
        let connection = self.stopwatch.take();
        let exchange = Span::between(connection.map_or(begin, Span::end_ms), uptime_ms());
        let is_tls = request.parsed.scheme() == "https";
        self.timing = Some(Timing { local, name: None, connection, is_tls, exchange });
        let header = |name| text(&headers, name);
        let (location, retry_after) = (header(LOCATION), header(RETRY_AFTER));
        Ok(Answer { peer, status, content_type: header(CONTENT_TYPE), location, retry_after, body })
    }
}

/// The whole body, if it is no larger than it may be.
async fn body(
    request: &Request<'_>,
    response: &mut Response,
    failed: impl Fn(&reqwest::Error) -> Failure,
) -> Result<Vec<u8>, Failure> {
    let Request { url, limit, .. } = request;
    let too_large = || {
        let text = format!("{url} answered with more than {limit} bytes");
        Failure::new("too_large", text, "Another service answers at this address: correct the server's URL.")
    };
    if response.content_length().is_some_and(|n| n > *limit as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|why| failed(&why))? {
        if body.len() + chunk.len() > *limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What went wrong on the way to this URL, whose host has these addresses by DNS.
fn failure(url: &str, addresses: &[IpAddr], why: &reqwest::Error, timeouts: Timeouts) -> Failure {
    let (causes, tls) = (chain(why), of_tls(why).map(tls_failure));
    let (code, what, remedy) = if let Some((what, remedy)) = &tls {
        ("tls", *what, remedy.as_str())
    } else if why.is_connect() && why.is_timeout() {
        (
            "connect_timeout",
            "no connection in time",
            "See whether cable, VLAN, route and firewall let this machine reach it.",
        )
    } else if causes.contains("unreachable") || causes.contains("No route to host") {
        ("connect", "no way to it", "See whether cable, VLAN and route let this machine reach it.")
    } else if why.is_connect() {
        ("connect", "no connection", "See whether the server runs and listens on this address and port.")
    } else if is_not_http(why) {
        (
            "not_http",
            "it does not speak proper HTTP",
            "Another service answers at this address: correct the server's URL.",
        )
    } else if why.is_timeout() {
        ("timeout", "no whole answer in time", "See the server's log and load; the check-in is repeated.")
    } else {
        ("broken", "the connection broke", "See the server's log; the check-in is repeated.")
    };
    let time = match code {
        "connect_timeout" => format!(" ({} s)", timeouts.connect.as_secs()),
        "timeout" => format!(" ({} s)", timeouts.exchange.as_secs()),
        _ => format!(" ({})", causes.rsplit(": ").next().unwrap_or(&causes)),
    };
    let at: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    let at = if at.is_empty() { String::new() } else { format!(" (by DNS {})", at.join(", ")) };
    let lost = matches!(code, "timeout" | "broken");
    let unreached = matches!(code, "connect" | "connect_timeout");
    let remedy = match unreached && !at.is_empty() {
        true => format!("{remedy} See whether the address that DNS gives is right."),
        false => remedy.to_owned(),
    };
    Failure { lost, unreached, ..Failure::new(code, format!("{url}{at}: {what}{time}"), &remedy) }
}

/// What failed in TLS, and what to do. The server's machine was reached then.
fn tls_failure(why: &rustls::Error) -> (&'static str, String) {
    match why {
        rustls::Error::InvalidCertificate(_) => (
            "its certificate is not accepted",
            "See whether it is signed by the CA in this image, and the clocks.".to_owned(),
        ),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => (
            "it does not speak TLS there",
            format!("Name the server with its port for TLS: {HTTPS_PORT}, if no other was chosen."),
        ),
        _ => {
            ("no TLS with it", "See the server's log, and whether another service answers at this address.".to_owned())
        }
    }
}

/// The error of TLS that caused this one. Errors of input and output carry it, and skip it among their causes.
fn of_tls(error: &reqwest::Error) -> Option<&rustls::Error> {
    causes(error).find_map(|mut cause| {
        while let Some(carrier) = cause.downcast_ref::<io::Error>() {
            cause = carrier.get_ref()?;
        }
        cause.downcast_ref()
    })
}

fn is_unreached(outcome: &Result<Answer, Failure>) -> bool {
    outcome.as_ref().is_err_and(|failure| failure.unreached)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned())
}

/// What came is no HTTP.
fn is_not_http(error: &reqwest::Error) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse)
}

/// The causes of an error, outermost first.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

/// The causes of an error as text, without the error itself, since that only repeats the URL.
fn chain(error: &reqwest::Error) -> String {
    let mut causes: Vec<String> = causes(error).map(ToString::to_string).collect();
    causes.dedup();
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}

#[cfg(test)]
mod tests;
