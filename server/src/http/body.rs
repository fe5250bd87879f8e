//! Receiving the body of a check-in within its limits: size, time, and the memory that all bodies together may take.
//!
//! Without the last one, many clients that send half a body each would take `connections × size` of memory.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::limits::MAX_CHECKIN_BODY;

use crate::http::problem::Failure;
use crate::limits::{BODIES_MEMORY, BODY_TIMEOUT, MAX_DISCARDED};

/// Unit in which memory is counted, in bytes.
const UNIT: usize = 1024;

/// Memory for all bodies that are being received or worked on.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BODIES_MEMORY / UNIT)))
    }
}

/// A body, and its share of the memory until it is dropped.
#[derive(Debug)]
pub struct Received {
    /// The body.
    pub bytes: Vec<u8>,
    _share: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// Receives a body from `peer`.
    ///
    /// # Errors
    /// When it is too large, too slow, breaks off, or there is no memory for it now.
    pub async fn receive(&self, body: Body, peer: SocketAddr) -> Result<Received, Failure> {
        let announced = body.size_hint().lower();
        let Ok(parts) = tokio::time::timeout(BODY_TIMEOUT, self.collect(body)).await else {
            let error = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            let remedy = "Check the network, then send it again.";
            return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "too_slow", error, remedy));
        };
        let parts = parts.map_err(|error| {
            let error = format!("the body broke off: {error}");
            Failure::new(StatusCode::BAD_REQUEST, "body_broke_off", error, "Send it again.")
        })?;
        if parts.starved {
            tracing::warn!(%peer, "refused a check-in: bodies of {} MiB are being received", BODIES_MEMORY >> 20);
            let error = "the server is receiving as many bodies as it has memory for";
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "busy", error, "Send it again in some seconds."));
        }
        if parts.total > MAX_CHECKIN_BODY {
            let size = announced.max(parts.total as u64);
            let error = format!("the body has {size} bytes or more; at most {MAX_CHECKIN_BODY} are taken");
            let remedy = "Exclude facts with mk_fact_excl_pattern.";
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error, remedy));
        }
        Ok(Received { bytes: parts.bytes, _share: parts.share })
    }

    /// What is over the limit is thrown away up to a limit of its own, since a client that is cut off while it sends does
    /// not get to read why.
    async fn collect(&self, mut body: Body) -> Result<Parts, axum::Error> {
        let mut parts = Parts::default();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            parts.total += data.len();
            if parts.total > MAX_CHECKIN_BODY || parts.starved || !self.grow(&mut parts, data.len()) {
                (parts.bytes, parts.share) = (Vec::new(), None);
            } else {
                parts.bytes.extend_from_slice(&data);
            }
            if parts.total > MAX_CHECKIN_BODY + MAX_DISCARDED {
                break;
            }
        }
        Ok(parts)
    }

    /// Takes the share for so many further bytes, if it is to be had.
    fn grow(&self, parts: &mut Parts, more: usize) -> bool {
        let units = |bytes: usize| bytes.div_ceil(UNIT);
        let wanted = units(parts.bytes.len() + more) - units(parts.bytes.len());
        let share = u32::try_from(wanted).ok().and_then(|n| Arc::clone(&self.0).try_acquire_many_owned(n).ok());
        match (share, &mut parts.share) {
            (Some(share), Some(held)) => held.merge(share),
            (Some(share), none) => *none = Some(share),
            (None, _) => parts.starved = true,
        }
        !parts.starved
    }
}

/// What came of a body so far.
#[derive(Debug, Default)]
struct Parts {
    /// As much of it as is taken.
    bytes: Vec<u8>,
    /// Bytes that came.
    total: usize,
    share: Option<OwnedSemaphorePermit>,
    /// There was no memory for it.
    starved: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(bytes: usize) -> Budget {
        Budget(Arc::new(Semaphore::new(bytes / UNIT)))
    }

    async fn receive(budget: &Budget, bytes: usize) -> Result<Received, String> {
        let body = Body::from(vec![b'x'; bytes]);
        budget.receive(body, SocketAddr::from(([127, 0, 0, 1], 1))).await.map_err(|f| f.problem().code.clone())
    }

    #[tokio::test]
    async fn all_bodies_together_have_a_limit() {
        let budget = budget(64 * UNIT);
        let first = receive(&budget, 40_000).await.unwrap();
        assert_eq!(first.bytes.len(), 40_000);
        assert_eq!(receive(&budget, 40_000).await.unwrap_err(), "busy");
        let small = receive(&budget, 20_000).await.unwrap();
        drop((first, small));
        assert_eq!(receive(&budget, 60_000).await.unwrap().bytes.len(), 60_000, "what was refused took nothing");
        assert_eq!(budget.0.available_permits(), 64);
    }
}
