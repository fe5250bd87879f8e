//! Protocol B: images of the Tiny Core era (Razor 0.6 to 0.12, Hanlon 1.x and 2.x) check in and register as they always
//! did, and are the same nodes as under protocol A.
//!
//! `GET …/node/checkin` and `POST …/node/register` below three prefixes, on the port that is built into those images and
//! only where `--legacy-port` opens it: such clients sign nothing, so that whoever knows a MAC can speak as its machine.

mod form;
mod reply;

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Query, State as Handle};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::http::State;
use crate::http::base::Base;
use crate::http::body::CHECKIN;
use crate::http::problem::Failure;
use crate::http::query::Pairs;
use crate::registry::checkin::Checkin;
use crate::registry::legacy::{Contact, Register};
use crate::registry::said::Said;
use crate::store::now_ms;

/// Who asks, by the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// `/razor/api/…`, with the server's URLs in the configuration.
    Razor(&'static str),
    /// `/hanlon/api/v1/…`, whose images make the URLs themselves.
    Hanlon,
}

/// Paths below which the calls are.
const FAMILIES: [(&str, Family); 3] = [
    ("/razor/api", Family::Razor("/razor/api")),
    ("/razor/api/v1", Family::Razor("/razor/api/v1")),
    ("/hanlon/api/v1", Family::Hanlon),
];

/// The routes of protocol B.
pub fn routes() -> Router<State> {
    FAMILIES.into_iter().fold(Router::new(), |router, (prefix, family)| {
        let checkin = move |state, headers, pairs| checkin(family, state, headers, pairs);
        let register = move |state, peer, headers, body| register(family, state, peer, headers, body);
        router
            .route(&format!("{prefix}/node/checkin"), get(checkin))
            .route(&format!("{prefix}/node/register"), post(register))
    })
}

async fn checkin(
    family: Family,
    Handle(state): Handle<State>,
    base: Result<Base, Failure>,
    Query(pairs): Query<Pairs>,
) -> Response {
    let answered = async {
        let Base(base) = base?;
        let speaker = form::speaker(&pairs)?;
        let first = pairs.iter().any(|(key, _)| key == "first_checkin");
        let work = Contact {
            config: state.config.clone(),
            now: now_ms(),
            info: speaker.info(),
            hw_id: speaker.hw_id().join("_"),
            first,
        };
        let command = state.store.writer.write(work).await??;
        Ok::<_, Failure>(reply::command(command, reply::client_config(family, &base, &state.config)))
    };
    answered.await.unwrap_or_else(|failure| refused(family, "checkin_node", failure))
}

async fn register(
    family: Family,
    Handle(state): Handle<State>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    base: Result<Base, Failure>,
    body: Body,
) -> Response {
    let answered = async {
        let Base(base) = base?;
        let received = state.bodies.receive(body, peer, CHECKIN).await?;
        let (mut request, echo) = form::registration(&received.bytes)?.into_request();
        let said = Said::of(&request, &state.config)?;
        // The node's facts are in `said`; these go back to the image.
        let facts = echo.sent(request.facts.take().unwrap_or_default());
        let body = wire::digest::sha256_hex(&received.bytes);
        let (config, room) = (state.config.clone(), state.newcomers.of(peer.ip()));
        let checkin = Checkin { config, now: now_ms(), url_id: None, request, body, key: None, said, room };
        let id = state.store.writer.write(Register { checkin }).await??;
        Ok::<_, Failure>(reply::node(id, &echo, &facts, now_ms(), reply::client_config(family, &base, &state.config)))
    };
    answered.await.unwrap_or_else(|failure| refused(family, "register_node", failure))
}

/// A refusal in the old server's form. Images act on nothing that has no `errcode` of 0, so they try again.
fn refused(family: Family, command: &str, failure: Failure) -> Response {
    let document = reply::refusal(family, command, failure.status(), failure.problem());
    let mut response = failure.into_response();
    *response.body_mut() = Body::from(document.to_string());
    response.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
    response
}

/// For the fuzzer: what old images send.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    form::fuzz(bytes);
}
