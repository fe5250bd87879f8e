//! Receiving the body of a check-in or bundle within its limits: size, time, and the memory that all bodies together, and
//! those of one address, may take.
//!
//! Without the last two, clients that send half a body each would take `connections × size` of memory, or one of them all
//! that there is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, HttpBody as _};
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use wire::limits::{MAX_BUNDLE, MAX_CHECKIN_BODY};

use crate::http::peer::source;
use crate::http::problem::Failure;
use crate::limits::{BODIES_MEMORY, BODY_TIMEOUT, MAX_DISCARDED, MAX_LOGIN_BODY, PEER_BODIES_MEMORY};

/// What a body may be.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Most bytes.
    bytes: usize,
    /// What to do where there are more.
    remedy: &'static str,
}

/// Of a check-in.
pub const CHECKIN: Most = Most { bytes: MAX_CHECKIN_BODY, remedy: "Exclude facts with mk_fact_excl_pattern." };
/// Of a bundle.
pub const BUNDLE: Most = Most { bytes: MAX_BUNDLE, remedy: "Leave out the oldest, as mk-agent does." };

/// Of the form of the log-in.
pub const LOGIN: Most = Most { bytes: MAX_LOGIN_BODY, remedy: "Send a token alone." };

/// Memory for all bodies that are being received or worked on.
#[derive(Debug, Clone)]
pub struct Budget {
    taken: Arc<Mutex<Taken>>,
    /// Most bytes of all bodies together.
    all: usize,
    /// Most bytes of the bodies of one address.
    peer: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { taken: Arc::default(), all: BODIES_MEMORY, peer: PEER_BODIES_MEMORY }
    }
}

/// Bytes that are taken.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
}

/// Who has taken all that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    /// All together.
    Server,
    /// The address itself.
    Peer,
}

/// Memory of one body; it is free again once this is dropped.
#[derive(Debug)]
struct Share {
    budget: Budget,
    peer: IpAddr,
    bytes: usize,
}

impl Share {
    /// Takes so many further bytes, if they are to be had.
    fn grow(&mut self, more: usize) -> Result<(), Full> {
        let mut taken = self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by_peer.get(&self.peer).copied().unwrap_or(0) + more;
        if own > self.budget.peer {
            return Err(Full::Peer);
        }
        if taken.all + more > self.budget.all {
            return Err(Full::Server);
        }
        taken.all += more;
        taken.by_peer.insert(self.peer, own);
        self.bytes += more;
        Ok(())
    }

    /// Gives back all of it.
    fn clear(&mut self) {
        let mut taken = self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= self.bytes;
        if let Entry::Occupied(mut own) = taken.by_peer.entry(self.peer) {
            *own.get_mut() -= self.bytes;
            if *own.get() == 0 {
                own.remove();
            }
        }
        self.bytes = 0;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A body, and its share of the memory until it is dropped.
#[derive(Debug)]
pub struct Received {
    /// The body.
    pub bytes: Vec<u8>,
    _share: Share,
}

impl Budget {
    /// Receives a body of at most so much from `peer`.
    ///
    /// # Errors
    /// When it is too large, too slow, breaks off, or there is no memory for it now.
    pub async fn receive(&self, body: Body, peer: SocketAddr, most: Most) -> Result<Received, Failure> {
        let announced = body.size_hint().lower();
        let Ok(parts) = tokio::time::timeout(BODY_TIMEOUT, self.collect(body, source(peer.ip()), most.bytes)).await
        else {
            let error = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            let remedy = "Check the network, then send it again.";
            return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "too_slow", error, remedy));
        };
        let parts = parts.map_err(|error| {
            let error = format!("the body broke off: {error}");
            Failure::new(StatusCode::BAD_REQUEST, "body_broke_off", error, "Send it again.")
        })?;
        if let Some(full) = parts.starved {
            return Err(busy(full, peer));
        }
        if parts.total > most.bytes {
            let size = announced.max(parts.total as u64);
            let error = format!("the body has {size} bytes or more; at most {} are taken", most.bytes);
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error, most.remedy));
        }
        Ok(Received { bytes: parts.bytes, _share: parts.share })
    }

    /// What is over the limit is thrown away up to a limit of its own, since a client that is cut off while it sends does
    /// not get to read why.
    async fn collect(&self, mut body: Body, peer: IpAddr, most: usize) -> Result<Parts, axum::Error> {
        let share = Share { budget: self.clone(), peer, bytes: 0 };
        let mut parts = Parts { bytes: Vec::new(), total: 0, share, starved: None };
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            parts.total += data.len();
            if parts.total <= most && parts.starved.is_none() {
                parts.starved = parts.share.grow(data.len()).err();
            }
            if parts.total > most || parts.starved.is_some() {
                parts.bytes = Vec::new();
                parts.share.clear();
            } else {
                parts.bytes.extend_from_slice(&data);
            }
            if parts.total > most + MAX_DISCARDED {
                break;
            }
        }
        Ok(parts)
    }
}

fn busy(full: Full, peer: SocketAddr) -> Failure {
    let error = match full {
        Full::Server => {
            tracing::warn!(%peer, "refused a body: others of {} MiB are being received", BODIES_MEMORY >> 20);
            "the server is receiving as many bodies as it has memory for"
        }
        Full::Peer => {
            let most = PEER_BODIES_MEMORY >> 20;
            tracing::warn!(%peer, "refused a body: this address is sending bodies of {most} MiB already");
            "the server is receiving as many bodies of this address as it takes from one"
        }
    };
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, "busy", error, "Send it again in some seconds.")
}

/// What came of a body so far.
#[derive(Debug)]
struct Parts {
    /// As much of it as is taken.
    bytes: Vec<u8>,
    /// Bytes that came.
    total: usize,
    share: Share,
    /// There was no memory for it.
    starved: Option<Full>,
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn receive(budget: &Budget, peer: u8, bytes: usize) -> Result<Received, String> {
        let body = Body::from(vec![b'x'; bytes]);
        budget
            .receive(body, SocketAddr::from(([127, 0, 0, peer], 1)), CHECKIN)
            .await
            .map_err(|f| f.problem().error.clone())
    }

    #[tokio::test]
    async fn all_bodies_together_and_those_of_one_address_have_a_limit() {
        let budget = Budget { taken: Arc::default(), all: 100_000, peer: 60_000 };
        let first = receive(&budget, 1, 40_000).await.unwrap();
        assert_eq!(first.bytes.len(), 40_000);
        assert!(receive(&budget, 1, 20_001).await.unwrap_err().contains("of this address"));
        let second = receive(&budget, 1, 20_000).await.unwrap();
        assert!(receive(&budget, 2, 40_001).await.unwrap_err().contains("memory"));
        let other = receive(&budget, 2, 40_000).await.unwrap();
        drop((first, second, other));
        assert_eq!(receive(&budget, 1, 60_000).await.unwrap().bytes.len(), 60_000, "what was refused took nothing");
        let taken = budget.taken.lock().unwrap();
        assert_eq!((taken.all, taken.by_peer.len()), (0, 0));
    }
}
