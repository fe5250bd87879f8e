//! `POST /svc/checkin/{id}` and `/svc/checkin`: reads the body within its limits and hands the message on.

use axum::Json;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Path, State as Handle};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use wire::checkin::CheckinReply;
use wire::limits::MAX_CHECKIN_BODY;

use crate::http::State;
use crate::http::message;
use crate::http::problem::Failure;
use crate::http::svc::node_id;
use crate::limits::{BODY_TIMEOUT, MAX_DISCARDED};
use crate::registry::checkin::Checkin;
use crate::registry::said::Said;
use crate::store::now_ms;

/// With the id that the machine booted with.
///
/// # Errors
/// When the message is refused.
pub async fn with_id(
    Handle(state): Handle<State>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CheckinReply>, Failure> {
    checkin(state, Some(id), &headers, body).await
}

/// Without one: booted from media, or not recognised at boot.
///
/// # Errors
/// When the message is refused.
pub async fn without_id(
    Handle(state): Handle<State>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CheckinReply>, Failure> {
    checkin(state, None, &headers, body).await
}

async fn checkin(
    state: State,
    id: Option<String>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Json<CheckinReply>, Failure> {
    message::content_type(headers)?;
    let body = read(body).await?;
    let key = message::signer(headers, &body)?;
    let request = message::parse(&body)?;
    let url_id = id.as_deref().map(node_id).transpose()?;
    let said = Said::of(&request, &state.config)?;
    let body = wire::digest::sha256_hex(&body);
    let work = Checkin { config: state.config.clone(), now: now_ms(), url_id, request, body, key, said };
    Ok(Json(state.store.writer.write(work).await??))
}

async fn read(body: Body) -> Result<Vec<u8>, Failure> {
    let announced = body.size_hint().lower();
    let Ok(received) = tokio::time::timeout(BODY_TIMEOUT, receive(body)).await else {
        let error = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
        let remedy = "Check the network, then send it again.";
        return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "too_slow", error, remedy));
    };
    let Received { bytes, total } = received.map_err(|error| {
        let error = format!("the body broke off: {error}");
        Failure::new(StatusCode::BAD_REQUEST, "body_broke_off", error, "Send it again.")
    })?;
    if total > MAX_CHECKIN_BODY {
        let size = announced.max(total as u64);
        let error = format!("the body has {size} bytes or more; at most {MAX_CHECKIN_BODY} are taken");
        let remedy = "Exclude facts with mk_fact_excl_pattern.";
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error, remedy));
    }
    Ok(bytes)
}

/// What came of a body.
struct Received {
    /// As much of it as is taken.
    bytes: Vec<u8>,
    /// Bytes that came.
    total: usize,
}

/// Receives a body. What is over the limit is thrown away up to a limit of its own, since a client that is cut off while
/// it sends does not get to read why.
async fn receive(mut body: Body) -> Result<Received, axum::Error> {
    let mut received = Received { bytes: Vec::new(), total: 0 };
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        received.total += data.len();
        if received.total <= MAX_CHECKIN_BODY {
            received.bytes.extend_from_slice(&data);
        } else {
            received.bytes = Vec::new();
        }
        if received.total > MAX_CHECKIN_BODY + MAX_DISCARDED {
            break;
        }
    }
    Ok(received)
}
