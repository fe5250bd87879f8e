//! `POST /svc/checkin/{id}` and `/svc/checkin`: reads the body within its limits and hands the message on.

use std::error::Error as _;

use axum::Json;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Path, State as Handle};
use axum::http::{HeaderMap, StatusCode};
use wire::checkin::CheckinReply;
use wire::limits::MAX_CHECKIN_BODY;

use crate::http::State;
use crate::http::message;
use crate::http::problem::Failure;
use crate::http::svc::node_id;
use crate::limits::BODY_TIMEOUT;
use crate::registry::checkin::Checkin;
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
    let work = Checkin {
        config: state.config.clone(),
        now: now_ms(),
        url_id,
        request,
        body: wire::digest::sha256_hex(&body),
        key,
    };
    Ok(Json(state.store.writer.write(work).await??))
}

async fn read(body: Body) -> Result<Bytes, Failure> {
    let too_large = |size: String| {
        let error = format!("the body has {size}; at most {MAX_CHECKIN_BODY} bytes are taken");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error, "Exclude facts with mk_fact_excl_pattern.")
    };
    let announced = body.size_hint().lower();
    if announced > MAX_CHECKIN_BODY as u64 {
        return Err(too_large(format!("{announced} bytes")));
    }
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_CHECKIN_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let over = error.source().is_some_and(|e| e.to_string().contains("length limit"));
            Err(if over {
                too_large("more".to_owned())
            } else {
                let error = format!("the body broke off: {error}");
                Failure::new(StatusCode::BAD_REQUEST, "body_broke_off", error, "Send it again.")
            })
        }
        Err(_) => {
            let error = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "too_slow", error, "Check the network, then send it again."))
        }
    }
}
