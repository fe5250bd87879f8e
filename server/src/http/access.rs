//! Who may use `/api` and the pages: callers on this machine, and no web page of somebody else's in their browser.
//! Everybody else is told what to do.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use wire::routes::HTTP_PORT;

use crate::http::page;
use crate::http::problem::Failure;

/// Headers by which a proxy says that it passes on somebody else's request.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Refuses others than local callers in JSON.
pub async fn local_only(ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Response {
    match check(peer.ip(), request.headers(), own_name().as_deref()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

/// Refuses others than local callers with a page.
pub async fn local_only_page(ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Response {
    match check(peer.ip(), request.headers(), own_name().as_deref()) {
        Ok(()) => next.run(request).await,
        Err(failure) => page::refusal(&failure),
    }
}

fn own_name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}

/// Decides by the caller's address and headers. `own_name` is this machine's.
fn check(peer: IpAddr, headers: &HeaderMap, own_name: Option<&str>) -> Result<(), Failure> {
    if !peer.to_canonical().is_loopback() {
        let error = format!(
            "only callers on the server's own machine see nodes, and this request comes from {}",
            peer.to_canonical()
        );
        let remedy = format!(
            "Forward the port with `ssh -N -L {HTTP_PORT}:127.0.0.1:{HTTP_PORT} SERVER` and open \
             `http://127.0.0.1:{HTTP_PORT}/nodes`, or run mk-server there. Machines need only /svc, which is open."
        );
        return Err(Failure::new(StatusCode::FORBIDDEN, "not_local", error, remedy));
    }
    if let Some(name) = FORWARDED.iter().find(|name| headers.contains_key(**name)) {
        let error = format!("the request came through a proxy (it has {name}), so nobody can tell who it is from");
        let remedy = format!(
            "Open `http://127.0.0.1:{HTTP_PORT}/nodes` on the server's machine, or forward the port with ssh. Let the proxy \
             pass /svc and /api/microkernel/bootstrap only."
        );
        return Err(Failure::new(StatusCode::FORBIDDEN, "through_proxy", error, remedy));
    }
    let host = text(headers, header::HOST).unwrap_or_default();
    let name = host.parse::<Authority>().ok();
    if !name.is_some_and(|name| names_us(name.host(), own_name)) {
        let error = format!("the request is for {host:?}, which is no name of this machine");
        let remedy = format!("Use an address: `http://127.0.0.1:{HTTP_PORT}`, or the port that was forwarded.");
        return Err(Failure::new(StatusCode::FORBIDDEN, "foreign_host", error, remedy));
    }
    // Browsers say from which site a form or script sends a request.
    match text(headers, header::ORIGIN) {
        Some(origin) if origin.strip_prefix("http://") != Some(host) => {
            let error = format!("a page of {origin:?} sent this request");
            let remedy = "If that page is yours, let its own server ask this one.";
            Err(Failure::new(StatusCode::FORBIDDEN, "foreign_origin", error, remedy))
        }
        _ => Ok(()),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    // What is no text is somebody else's name.
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// True for an address, `localhost` and this machine's name. A foreign name that resolves to this machine is how a page of
/// somebody else's gets a browser to read what it must not.
fn names_us(name: &str, own_name: Option<&str>) -> bool {
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    if bare.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let short = |full: &str| full.split('.').next().unwrap_or_default().to_ascii_lowercase();
    own_name.is_some_and(|own| {
        !own.is_empty() && (name.eq_ignore_ascii_case(own) || name.eq_ignore_ascii_case(&short(own)))
    })
}

/// For the fuzzer: whoever comes from elsewhere is refused, whatever the request says of itself.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(headers: &HeaderMap) {
    let _ = check(std::net::Ipv4Addr::LOCALHOST.into(), headers, Some("server.example"));
    assert!(check(std::net::Ipv4Addr::new(192, 0, 2, 1).into(), headers, Some("server.example")).is_err());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(peer: &str, host: &str, origin: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse().unwrap());
        }
        check(peer.parse().unwrap(), &headers, Some("razor.example")).err().map(|f| f.problem().code.clone())
    }

    #[test]
    fn callers_on_this_machine_are_served_under_any_name_of_it() {
        for host in
            ["127.0.0.1:8150", "localhost:9000", "[::1]:8150", "[::1]", "razor", "RAZOR.example:8150", "10.0.0.1"]
        {
            assert_eq!(code("127.0.0.1", host, None), None, "{host}");
        }
        assert_eq!(code("::1", "[::1]:8150", None), None);
        assert_eq!(code("::ffff:127.0.0.1", "127.0.0.1", None), None, "as a socket for both families sees it");
    }

    #[test]
    fn callers_elsewhere_are_not() {
        for peer in ["10.0.0.7", "::ffff:10.0.0.7", "fe80::1", "2001:db8::1"] {
            assert_eq!(code(peer, "127.0.0.1:8150", None).as_deref(), Some("not_local"), "{peer}");
        }
    }

    #[test]
    fn a_foreign_name_that_resolves_to_this_machine_is_refused() {
        for host in ["evil.example:8150", "localhost.evil.example", "razor.evil.example", "127.0.0.1.evil.example", ""]
        {
            assert_eq!(code("127.0.0.1", host, None).as_deref(), Some("foreign_host"), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_site_cannot_command() {
        assert_eq!(code("127.0.0.1", "127.0.0.1:8150", Some("http://127.0.0.1:8150")), None);
        for origin in ["http://evil.example", "http://127.0.0.1:3000", "https://127.0.0.1:8150", "null"] {
            assert_eq!(
                code("127.0.0.1", "127.0.0.1:8150", Some(origin)).as_deref(),
                Some("foreign_origin"),
                "{origin}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_host_is_read(host in ".*", own in ".*") {
            let _ = names_us(&host, Some(&own));
        }
    }
}
