//! What a request must be like to see `/api` and the pages, whoever sent it: pure decisions over its path, address and headers.
//! Whether what it shows is a good token, the database says.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, header};
use wire::routes::{BOOTSTRAP, HTTP_PORT};

use crate::http::base::Scheme;
use crate::http::problem::Failure;
use crate::page::{LOGIN_PATH, LOGOUT_PATH};

/// Headers by which a proxy says that it passes on somebody else's request.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
/// The cookie of a browser that has logged in. By this beginning browsers take it only by TLS, and from no other host.
pub const COOKIE: &str = "__Host-razormk";

/// What a path is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// For everybody: what machines ask, and what says nothing about them.
    Open,
    /// Log-in and log-out.
    Login,
    /// For operators' programs: refused in JSON.
    Api,
    /// For operators' browsers: refused with a page. All that is not known here is one.
    Page,
}

impl Area {
    /// Of a request's path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        match path {
            BOOTSTRAP | "/healthz" => Self::Open,
            LOGIN_PATH | LOGOUT_PATH => Self::Login,
            _ if path.starts_with("/svc/") || path.starts_with("/assets/") => Self::Open,
            "/api" | "/metrics" | "/openapi.json" => Self::Api,
            _ if path.starts_with("/api/") => Self::Api,
            _ => Self::Page,
        }
    }
}

/// What a request shows of who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown<'a> {
    /// Nothing.
    Nothing,
    /// A token.
    Token(&'a str),
    /// The cookie of a session.
    Session(&'a str),
}

impl<'a> Shown<'a> {
    /// What the headers show. A token comes before a cookie; other ways to log in are none of ours.
    #[must_use]
    pub fn by(headers: &'a HeaderMap) -> Self {
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, token) = authorization.and_then(|value| value.split_once(' ')).unwrap_or_default();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::Token(token.trim());
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().find(|(name, _)| *name == COOKIE).map_or(Self::Nothing, |(_, value)| Self::Session(value))
    }
}

/// Names that this machine is reached by.
pub struct Names<'a> {
    /// The host's own.
    pub own: Option<&'a str>,
    /// Those of the certificate, looked up where they are needed.
    pub certified: &'a dyn Fn() -> Vec<String>,
}

impl Names<'_> {
    /// True for an address, `localhost`, this machine's name and those of its certificate. A foreign name that resolves to this
    /// machine is how a page of somebody else's gets a browser to read what it must not.
    fn have(&self, name: &str, scheme: Scheme) -> bool {
        let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
        if bare.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let short = |full: &str| full.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let is_own = self.own.is_some_and(|own| {
            !own.is_empty() && (name.eq_ignore_ascii_case(own) || name.eq_ignore_ascii_case(&short(own)))
        });
        is_own || scheme == Scheme::Https && (self.certified)().iter().any(|certified| covers(certified, name))
    }
}

/// Whether a certificate for `certified`, which may begin with `*.`, is one for `name`.
fn covers(certified: &str, name: &str) -> bool {
    if certified.eq_ignore_ascii_case(name) {
        return true;
    }
    let under = |name: &str| name.split_once('.').map(|(_, rest)| rest.to_ascii_lowercase());
    certified.starts_with("*.") && under(certified) == under(name)
}

/// True where the caller is on this machine, and speaks for itself: by TLS, a proxy here may pass on anybody's words unseen.
#[must_use]
pub fn is_local(peer: IpAddr, scheme: Scheme) -> bool {
    scheme == Scheme::Http && peer.to_canonical().is_loopback()
}

/// Whether a request from elsewhere may be about an operator at all.
///
/// # Errors
/// While there is no token; or where it came in the clear, with the token or without.
pub fn elsewhere(
    peer: IpAddr,
    scheme: Scheme,
    shown: Shown<'_>,
    has_tokens: bool,
    https: Option<u16>,
) -> Result<(), Failure> {
    let refuse = |code, error: String, remedy: String| Err(Failure::new(StatusCode::FORBIDDEN, code, error, remedy));
    let peer = peer.to_canonical();
    let tunnel = format!(
        "Forward the port with `ssh -N -L {HTTP_PORT}:127.0.0.1:{HTTP_PORT} SERVER` and open \
         `http://127.0.0.1:{HTTP_PORT}/nodes`, or run mk-server there."
    );
    let by_tls = match https {
        Some(port) => format!("Use `https://SERVER:{port}`"),
        None => "Give the server a certificate (`mk-server tls init`) and restart it, then use HTTPS".to_owned(),
    };
    match (scheme, shown) {
        (Scheme::Http, Shown::Token(_) | Shown::Session(_)) => {
            let error = "the request brought a token in the clear, where anybody on the way can read it".to_owned();
            let remedy = format!("{by_tls}. Revoke that token (`mk-server token revoke ID`) and make another one.");
            refuse("token_in_the_clear", error, remedy)
        }
        _ if !has_tokens => {
            let error = match peer.to_canonical().is_loopback() {
                true => "by TLS callers on the server's own machine need a token too, since a proxy there may stand \
                         before them; no token was made yet"
                    .to_owned(),
                false => format!(
                    "only callers on the server's own machine see nodes, and this request comes from {peer}; no token was \
                     made yet"
                ),
            };
            let remedy = format!(
                "{tunnel} Or make a token there: `mk-server token create`. Machines need only /svc, which is open."
            );
            refuse("not_local", error, remedy)
        }
        (Scheme::Http, Shown::Nothing) => {
            let error = format!("nodes are shown to callers elsewhere by TLS alone, and {peer} asked without");
            refuse("needs_tls", error, format!("{by_tls} with a token, or log in there. {tunnel}"))
        }
        (Scheme::Https, _) => Ok(()),
    }
}

/// Whether a request is neither passed on by a proxy nor made up by a page of somebody else's.
///
/// # Errors
/// When it is, or may be.
pub fn proper(scheme: Scheme, headers: &HeaderMap, names: &Names<'_>) -> Result<(), Failure> {
    if let Some(name) = FORWARDED.iter().find(|name| headers.contains_key(**name)) {
        let error = format!("the request came through a proxy (it has {name}), so nobody can tell who it is from");
        let remedy = format!(
            "Open `http://127.0.0.1:{HTTP_PORT}/nodes` on the server's machine, or forward the port with ssh. Let the proxy \
             pass /svc and /api/microkernel/bootstrap only, or pass TLS on as it is."
        );
        return Err(Failure::new(StatusCode::FORBIDDEN, "through_proxy", error, remedy));
    }
    let host = text(headers, header::HOST).unwrap_or_default();
    let name = host.parse::<Authority>().ok();
    if !name.is_some_and(|name| names.have(name.host(), scheme)) {
        let error = format!("the request is for {host:?}, which is no name of this machine");
        let remedy = format!(
            "Use an address, such as `http://127.0.0.1:{HTTP_PORT}`; or by TLS a name of the server's certificate (`mk-server \
             tls renew --name NAME`)."
        );
        return Err(Failure::new(StatusCode::FORBIDDEN, "foreign_host", error, remedy));
    }
    // Browsers say from which site a form or script sends a request.
    match text(headers, header::ORIGIN) {
        Some(origin) if origin != own_origin(scheme, host) => Err(foreign_origin(origin)),
        _ => Ok(()),
    }
}

/// Whether somebody who may only see, or whose browser shows a cookie by itself, may send this.
///
/// # Errors
/// When not.
pub fn may_send(method: &Method, headers: &HeaderMap, shown: Shown<'_>, read_only: bool) -> Result<(), Failure> {
    if method == Method::GET || method == Method::HEAD {
        return Ok(());
    }
    if read_only {
        let error = "this token only sees, and the request could change something";
        let remedy = "Use a token that was made without --read-only.";
        return Err(Failure::new(StatusCode::FORBIDDEN, "read_only_token", error, remedy));
    }
    // Every browser says where a form comes from.
    if matches!(shown, Shown::Session(_)) && !headers.contains_key(header::ORIGIN) {
        return Err(foreign_origin("a page that does not say whose it is"));
    }
    Ok(())
}

fn own_origin(scheme: Scheme, host: &str) -> String {
    match scheme {
        Scheme::Http => format!("http://{host}"),
        Scheme::Https => format!("https://{host}"),
    }
}

fn foreign_origin(origin: &str) -> Failure {
    let error = format!("a page of {origin:?} sent this request");
    let remedy = "If that page is yours, let its own server ask this one.";
    Failure::new(StatusCode::FORBIDDEN, "foreign_origin", error, remedy)
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    // What is no text is somebody else's name.
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// For the fuzzer: whoever comes from elsewhere in the clear is refused, whatever the request says of itself.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(headers: &HeaderMap) {
    let names = Names { own: Some("server.example"), certified: &|| vec!["*.example".to_owned()] };
    let _ = proper(Scheme::Https, headers, &names);
    let peer = std::net::Ipv4Addr::new(192, 0, 2, 1).into();
    assert!(elsewhere(peer, Scheme::Http, Shown::by(headers), true, None).is_err());
}

#[cfg(test)]
mod tests;
