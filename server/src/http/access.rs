//! Who may use `/api` and the pages: callers on this machine, bearers of a token by TLS, browsers that logged in with one; and no
//! web page of somebody else's in their browser. One layer over all routes: what [`rules::Area`] does not name as open is
//! guarded, also a route that is added. Everybody else is told what to do.

pub mod attempts;
pub mod rules;

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, Request, State as Handle};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use wire::digest::sha256_hex;

use crate::http::base::Scheme;
use crate::http::problem::Failure;
use crate::http::{State, login, page};
use crate::registry::caller::Caller;
use crate::store::{now_ms, operators};
use crate::tls::{Files, names};
use rules::{Area, Names, Shown};

/// What a challenge for a token looks like.
const CHALLENGE: &str = "Bearer realm=\"razor-mk\"";

/// Lets a request pass with its [`Caller`], or refuses it.
pub async fn guard(
    Handle(state): Handle<State>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let area = Area::of(request.uri().path());
    if area == Area::Open {
        return next.run(request).await;
    }
    let (mut head, body) = request.into_parts();
    match admit(&state, peer.ip(), area, &head).await {
        Ok(caller) => {
            head.extensions.insert(caller);
            next.run(Request::from_parts(head, body)).await
        }
        Err(failure) => refused(failure, area, Request::from_parts(head, body), next).await,
    }
}

/// How somebody hears that they are not let in.
async fn refused(failure: Failure, area: Area, request: Request, next: Next) -> Response {
    match (area, failure.status() == StatusCode::UNAUTHORIZED) {
        (Area::Login, true) => next.run(request).await,
        (Area::Page, true) if request.method() == Method::GET => login::lead(request.uri()),
        (Area::Api, true) => ([(header::WWW_AUTHENTICATE, CHALLENGE)], failure).into_response(),
        (Area::Api, false) => failure.into_response(),
        _ => page::refusal(&failure),
    }
}

/// Who sent a request. With 401 a token would help.
async fn admit(state: &State, peer: IpAddr, area: Area, request: &Parts) -> Result<Caller, Failure> {
    let (headers, db, now) = (&request.headers, &state.store.readers, now_ms());
    let scheme = request.extensions.get().copied().unwrap_or(Scheme::Http);
    let (is_local, shown) = (rules::is_local(peer, scheme), Shown::by(headers));
    if !is_local {
        let has_tokens = operators::is_any_good(db, now).await?;
        let allowed = rules::elsewhere(peer, scheme, shown, has_tokens, state.https_port);
        if allowed.as_ref().is_err_and(|failure| failure.problem().code == "token_in_the_clear") {
            wrong(state, peer, "a token in the clear");
        }
        allowed?;
    }
    let own = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let certified = || names::of(&Files::of(&state.data).certificate());
    rules::proper(scheme, headers, &Names { own: own.as_deref(), certified: &certified })?;
    let caller = match shown {
        Shown::Token(token) => by_token(state, peer, token).await?,
        // Who needs no log-in is not bound by one.
        Shown::Nothing | Shown::Session(_) if is_local => return Ok(Caller::Local),
        Shown::Session(cookie) => operators::by_session(db, now, &sha256_hex(cookie.as_bytes())).await?,
        Shown::Nothing => None,
    };
    let caller = caller.ok_or_else(|| needs_token(shown))?;
    // Whoever is logged in may log out.
    let read_only = area != Area::Login && matches!(caller, Caller::Token { read_only: true, .. });
    rules::may_send(&request.method, headers, shown, read_only)?;
    Ok(caller)
}

/// The bearer of a token. Of a source that has sent too many wrong ones, none is looked at for a while.
///
/// # Errors
/// When that is so, or the database fails.
pub async fn by_token(state: &State, peer: IpAddr, token: &str) -> Result<Option<Caller>, Failure> {
    state.attempts.may_try(peer)?;
    let found = operators::by_token(&state.store.readers, now_ms(), &sha256_hex(token.as_bytes())).await?;
    if found.is_none() {
        wrong(state, peer, "a wrong token");
    }
    Ok(found)
}

/// Counts a wrong token and says so in the log, unless its source has sent too many already.
fn wrong(state: &State, peer: IpAddr, what: &str) {
    if state.attempts.may_try(peer).is_ok() {
        tracing::warn!(event = "token-refused", peer = %peer.to_canonical(), "{} sent {what}", peer.to_canonical());
        state.attempts.count(peer);
    }
}

/// What is said to who shows nothing, or nothing good.
pub(super) fn needs_token(shown: Shown<'_>) -> Failure {
    let (code, error) = match shown {
        Shown::Nothing => ("no_token", "callers elsewhere need a token, and this request has none"),
        Shown::Session(_) => ("session_over", "this session has ended"),
        Shown::Token(_) => ("bad_token", "the token is not known here, has expired or was revoked"),
    };
    let remedy = "Send `Authorization: Bearer TOKEN`: `mk-server --token-file FILE …`, or MK_TOKEN. Log in at /login with a \
                  browser. Make a token on the server's machine: `mk-server token create`.";
    Failure::new(StatusCode::UNAUTHORIZED, code, error, remedy)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let error = || {
            let error = "nobody knows who sent this request";
            Failure::new(StatusCode::FORBIDDEN, "no_caller", error, "Report this as the server's fault.")
        };
        parts.extensions.get().cloned().ok_or_else(error)
    }
}
