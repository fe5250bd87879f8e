//! `/login` and `/logout`: how a browser elsewhere gets in. The token is sent once, in a form; from then on a cookie stands for it,
//! of which the server keeps the digest, so that sessions outlive its restart.

use std::net::SocketAddr;

use axum::Extension;
use axum::body::Body;
use axum::extract::{ConnectInfo, Query, State as Handle};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use time::OffsetDateTime;
use wire::digest::sha256_hex;

use crate::http::State;
use crate::http::access::rules::{COOKIE, Shown};
use crate::http::access::{by_token, needs_token};
use crate::http::body::LOGIN;
use crate::http::page::{self as pages, Shown as Failed};
use crate::limits::SESSION_VALID_MS;
use crate::page::{self, LOGIN_PATH};
use crate::registry::caller::Caller;
use crate::registry::operate::token::secret;
use crate::store::{now_ms, operators};

/// Where somebody gets who did not want to get anywhere else.
const HOME: &str = "/nodes";

/// What the form sends, and what leads to it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    token: String,
    /// The page that was wanted.
    next: String,
}

/// The way to the form, for who wanted this page.
#[must_use]
pub fn lead(wanted: &Uri) -> Response {
    let wanted = wanted.path_and_query().map_or(HOME, |path| path.as_str());
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", wanted).finish();
    Redirect::to(&format!("{LOGIN_PATH}?{query}")).into_response()
}

/// A page of this server, whatever a link says: who logs in is not led elsewhere.
fn own_page(next: &str) -> &str {
    let is_own = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    if is_own && next.bytes().all(|b| b.is_ascii_graphic()) { next } else { HOME }
}

/// `GET /login`: the form; for who is logged in, that.
pub async fn form(caller: Option<Extension<Caller>>, Query(asked): Query<Asked>) -> Response {
    let (next, now) = (own_page(&asked.next), OffsetDateTime::now_utc());
    pages::shown(match caller {
        Some(Extension(caller)) => page::login::known(&caller, next, now),
        None => page::login::form(None, next, now),
    })
}

/// `POST /login`: begins a session where the token is good, and leads to the page that was wanted.
///
/// # Errors
/// When too many wrong tokens were sent from there, or the database fails.
pub async fn log_in(
    Handle(state): Handle<State>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    caller: Option<Extension<Caller>>,
    body: Body,
) -> Result<Response, Failed> {
    let received = state.bodies.receive(body, peer, LOGIN).await?;
    let mut asked = Asked::default();
    for (name, value) in form_urlencoded::parse(&received.bytes) {
        match name.as_ref() {
            "token" => asked.token = value.trim().to_owned(),
            "next" => asked.next = value.into_owned(),
            _ => {}
        }
    }
    let next = own_page(&asked.next);
    if matches!(caller, Some(Extension(Caller::Local))) {
        return Ok(Redirect::to(next).into_response());
    }
    let Some(Caller::Token { id, .. }) = by_token(&state, peer.ip(), &asked.token).await? else {
        let failure = needs_token(Shown::Token(&asked.token));
        let text = page::login::form(Some(failure.problem()), next, OffsetDateTime::now_utc());
        return Ok((StatusCode::UNAUTHORIZED, pages::shown(text)).into_response());
    };
    let cookie = secret()?;
    let digest = sha256_hex(cookie.as_bytes());
    state.store.writer.write(operators::Begin { now: now_ms(), digest, token: id }).await?;
    tracing::info!(event = "log-in", token = id, peer = %peer.ip().to_canonical(), "a browser logged in with token {id}");
    let life = SESSION_VALID_MS / 1000;
    let cookie = format!("{COOKIE}={cookie}; Path=/; Max-Age={life}; Secure; HttpOnly; SameSite=Strict");
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response())
}

/// `POST /logout`: ends the session.
///
/// # Errors
/// When the database fails.
pub async fn log_out(Handle(state): Handle<State>, headers: HeaderMap) -> Result<Response, Failed> {
    if let Shown::Session(cookie) = Shown::by(&headers) {
        state.store.writer.write(operators::End(sha256_hex(cookie.as_bytes()))).await?;
    }
    let none = format!("{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict");
    Ok(([(header::SET_COOKIE, none)], Redirect::to(LOGIN_PATH)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        for own in ["/nodes", "/nodes?q=a%20b&sort=-memory", "/"] {
            assert_eq!(own_page(own), own);
        }
        for other in ["", "nodes", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "/ä", "/a b"]
        {
            assert_eq!(own_page(other), HOME, "{other:?}");
        }
        let lead = lead(&"/nodes?q=a&show=silent".parse().unwrap());
        assert_eq!(lead.headers()["location"], "/login?next=%2Fnodes%3Fq%3Da%26show%3Dsilent");
    }
}
