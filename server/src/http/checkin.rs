//! `POST /svc/checkin/{id}` and `/svc/checkin`: hands the message on.

use std::net::SocketAddr;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State as Handle};
use axum::http::HeaderMap;
use wire::checkin::CheckinReply;

use crate::http::State;
use crate::http::body::CHECKIN;
use crate::http::message;
use crate::http::openapi::forms;
use crate::http::problem::Failure;
use crate::http::svc::node_id;
use crate::registry::checkin::Checkin;
use crate::registry::said::Said;
use crate::store::now_ms;

/// With the id that the machine booted with.
///
/// # Errors
/// When the message is refused.
#[utoipa::path(
    post,
    path = "/svc/checkin/{id}",
    params(("id" = i64, Path, description = "Number of a node")),
    request_body(content = forms::Checkin, content_type = "application/json"),
    responses(
        (status = 200, description = "As asked", body = forms::CheckinReply),
        (
            status = 400,
            description = "bad_content_type, bad_json, bad_checkin, bad_signature, bad_node_id, no_facts, no_match_value, duplicate_node, body_broke_off"
        ),
        (status = 401, description = "wrong_key"),
        (status = 404, description = "no_such_node"),
        (status = 409, description = "replay, wrong_key"),
        (status = 503, description = "busy, too_many_new, too_many_pending")
    )
)]
pub async fn with_id(
    Handle(state): Handle<State>,
    Path(id): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CheckinReply>, Failure> {
    checkin(state, Some(id), peer, &headers, body).await
}

/// Without one: booted from media, or not recognised at boot.
///
/// # Errors
/// When the message is refused.
#[utoipa::path(
    post,
    path = "/svc/checkin",
    request_body(content = forms::Checkin, content_type = "application/json"),
    responses(
        (status = 200, description = "As asked", body = forms::CheckinReply),
        (
            status = 400,
            description = "bad_content_type, bad_json, bad_checkin, bad_signature, bad_node_id, no_facts, no_match_value, duplicate_node, body_broke_off"
        ),
        (status = 401, description = "wrong_key"),
        (status = 404, description = "no_such_node"),
        (status = 409, description = "replay, wrong_key"),
        (status = 503, description = "busy, too_many_new, too_many_pending")
    )
)]
pub async fn without_id(
    Handle(state): Handle<State>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CheckinReply>, Failure> {
    checkin(state, None, peer, &headers, body).await
}

async fn checkin(
    state: State,
    id: Option<String>,
    peer: SocketAddr,
    headers: &HeaderMap,
    body: Body,
) -> Result<Json<CheckinReply>, Failure> {
    message::content_type(headers)?;
    let received = state.bodies.receive(body, peer, CHECKIN).await?;
    let body = &received.bytes;
    let key = message::signer(headers, &wire::sign::message(body))?;
    let request = message::parse(body)?;
    let url_id = id.as_deref().map(node_id).transpose()?;
    let said = Said::of(&request, &state.config)?;
    let body = wire::digest::sha256_hex(body);
    let room = state.newcomers.of(peer.ip());
    let work = Checkin { config: state.config.clone(), now: now_ms(), url_id, request, body, key, said, room };
    let reply = match state.unchanged.answer(&state.store.writer, work).await? {
        Ok(reply) => reply,
        Err(work) => state.store.writer.write(*work).await??,
    };
    state.metrics.checked_in(reply.state);
    Ok(Json(reply))
}
