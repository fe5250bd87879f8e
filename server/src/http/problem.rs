//! How a handler says no: JSON with a stable code, a sentence, and what to do.

use std::io;

use axum::body::to_bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use wire::error::Problem;

use crate::http::openapi;
use crate::limits::{MAX_REASON, RETRY_AFTER};
use crate::registry::Refusal;
use crate::store::sql::Away;

/// An answer of 400 and above.
#[derive(Debug)]
pub struct Failure(Refusal);

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        tracing::error!("a request failed: {error:#}");
        let (status, code, remedy) = match () {
            () if is_full(&error) => {
                (507, "disk_full", "Make room on the disk of the server's data folder, then send it again.")
            }
            () if Away::caused(&error) => (503, "database_away", "See that PostgreSQL runs; then send it again."),
            () => (500, "internal", "See the server's log. Nothing of this request was stored; it may be sent again."),
        };
        Self(Refusal::new(status, code, format!("the server could not do it: {error:#}"), remedy))
    }
}

/// True when the disk has no room, as the system or SQLite says it.
#[must_use]
pub fn is_full(error: &anyhow::Error) -> bool {
    let full = |e: &io::Error| matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let by_system = error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(full));
    by_system || format!("{error:#}").contains("disk is full")
}

impl Failure {
    /// A refusal from its parts.
    pub fn new(status: StatusCode, code: &str, error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self(Refusal::new(status.as_u16(), code, error, remedy))
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Why, and what to do.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, axum::Json(self.problem())).into_response();
        // For who counts and logs refusals.
        response.extensions_mut().insert(self.0.problem);
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(RETRY_AFTER.as_secs()));
        }
        // The rest of a body that was not read would be taken for the next request.
        if matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        response
    }
}

/// Puts a refusal that was made before a handler was asked, such as for a path that is no UTF-8, into the form of all others.
pub async fn in_json(response: Response) -> Response {
    let is_text =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !response.status().is_client_error() || !is_text {
        return response;
    }
    let (parts, body) = response.into_parts();
    let why = to_bytes(body, MAX_REASON).await.unwrap_or_default();
    let why = String::from_utf8_lossy(&why);
    let remedy = format!("{} on this server says what requests look like.", openapi::PATH);
    Failure::new(parts.status, "bad_request", format!("the request is not understood: {}", why.trim()), remedy)
        .into_response()
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_disk_without_room_is_named_and_what_to_do() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let why = Err::<(), _>(io::Error::from(kind)).context("cannot write x").unwrap_err();
            let failure = Failure::from(why);
            assert_eq!(
                (failure.status(), failure.problem().code.as_str()),
                (StatusCode::INSUFFICIENT_STORAGE, "disk_full")
            );
            assert!(failure.problem().remedy.contains("Make room"), "{failure:?}");
        }
        let other = Failure::from(anyhow::Error::new(io::Error::from(io::ErrorKind::PermissionDenied)));
        assert_eq!((other.status(), other.problem().code.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, "internal"));
    }
}
