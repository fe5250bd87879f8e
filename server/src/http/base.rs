//! Under which URL a client has reached this server.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::request::Parts;

use crate::http::problem::Failure;
use crate::registry::Refusal;

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// By TLS.
    Https,
}

/// The URL under which the client reached this server, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base(pub String);

impl<S: Sync> FromRequestParts<S> for Base {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let scheme = parts.extensions.get().copied().unwrap_or(Scheme::Http);
        Ok(Self(base_url(scheme, &parts.headers)?))
    }
}

fn base_url(scheme: Scheme, headers: &HeaderMap) -> Result<String, Refusal> {
    let host = headers.get(HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    // It becomes part of scripts and URLs.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(plain) {
        let error = format!("the request's Host header is {host:?}, which names no server");
        return Err(Refusal::new(400, "bad_host", error, "Use the server's name or address with its port."));
    }
    Ok(match scheme {
        Scheme::Http => format!("http://{host}"),
        Scheme::Https => format!("https://{host}"),
    })
}

/// For the fuzzer: a script line can be made of it.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(headers: &HeaderMap) {
    let Ok(url) = base_url(Scheme::Http, headers) else { return };
    assert!(!url.contains(|c: char| c.is_whitespace() || c.is_control() || "$&|;#".contains(c)), "{url:?}");
    let _ = super::boot::with_port(&url, 8150);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_could_be_a_script_is_refused() {
        let mut headers = HeaderMap::new();
        assert!(base_url(Scheme::Http, &headers).is_err());
        for (host, ok) in
            [("10.0.2.2:8150", true), ("[fe80::1]:80", true), ("razor", true), ("a b", false), ("${x}", false)]
        {
            headers.insert("host", host.parse().unwrap());
            assert_eq!(base_url(Scheme::Http, &headers).is_ok(), ok, "{host}");
        }
    }
}
