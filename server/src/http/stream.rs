//! `GET /api/collections/events` as a stream of server-sent events: each entry with its place as `id`, from `Last-Event-ID` or
//! `after` on, else from now on; a comment now and then where nothing happens.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::channel::{Channel, Sender};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::time::{MissedTickBehavior, timeout};

use crate::http::problem::Failure;
use crate::http::{State, api};
use crate::limits::{HEARTBEAT, MAX_STREAMS, STALL_TIMEOUT, WATCHED_BATCH};
use crate::registry::caller::Caller;
use crate::store::feed::{self, Cursor, Feed, Part, Wanted};
use crate::store::{nodes, now_ms, operators};
use crate::watchers::{self, Batch, Item};

/// The media type that asks for a stream.
const MEDIA: &str = "text/event-stream";
/// Header in which a client that comes again says which entry it had last.
const LAST: &str = "last-event-id";
/// Frames that wait for the client to take them.
const FRAMES: usize = 4;
/// A line that clients leave alone.
const COMMENT: &str = ":\n\n";

/// Whether the client asks for a stream.
#[must_use]
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media| media.split(';').next().is_some_and(|m| m.trim() == MEDIA))
}

/// Begins a stream.
///
/// # Errors
/// When there are too many, or the feed does not go on from the place that is asked for.
pub async fn open(state: &State, caller: Caller, headers: &HeaderMap, mut wanted: Wanted) -> Result<Response, Failure> {
    let last = headers.get(LAST).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
    let place = match (last.map(api::cursor).transpose()?, wanted.part) {
        (Some(place), _) | (None, Part::After(place)) => place,
        _ if wanted.since.is_some() => Cursor::default(),
        _ => feed::newest(&state.store.readers).await?,
    };
    wanted.limit = WATCHED_BATCH;
    wanted.part = Part::After(place);
    let Some(permit) = state.watchers.enter() else {
        let error = format!("{MAX_STREAMS} streams of what happens are open already");
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "busy", error, "End one, or ask without a stream."));
    };
    // A client is told that its place is lost before anything is sent.
    if feed::read(&state.store.readers, &Wanted { limit: 1, ..wanted }).await?.is_lost {
        return Err(api::lost(place));
    }
    let (out, body) = Channel::<Bytes>::new(FRAMES);
    let node = wanted.node.map(nodes::name);
    tokio::spawn(Stream { state: state.clone(), wanted, place, node, out, caller, _permit: permit }.run());
    let headers = [(header::CONTENT_TYPE, MEDIA), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(body)).into_response())
}

/// A client that is being told.
struct Stream {
    state: State,
    wanted: Wanted,
    /// After the last entry that it was sent, or that does not concern it.
    place: Cursor,
    /// Name of the only node that it wants to hear of.
    node: Option<String>,
    out: Sender<Bytes>,
    caller: Caller,
    _permit: OwnedSemaphorePermit,
}

/// Why a stream ends: its client went away, takes nothing or lies too far behind, or the server ends.
struct Ended;

impl Stream {
    async fn run(mut self) {
        let told = async {
            self.send(COMMENT.to_owned()).await?;
            let live = self.catch_up().await?;
            self.follow(live).await
        };
        let Err(Ended) = told.await;
    }

    /// Sends what is there already; gives what comes after it.
    async fn catch_up(&mut self) -> Result<Receiver<Arc<Batch>>, Ended> {
        loop {
            // First in line, so that nothing falls between what is read and what comes.
            let live = self.state.watchers.join().await.map_err(failed)?.ok_or(Ended)?;
            let wanted = Wanted { part: Part::After(self.place), ..self.wanted };
            let feed: Feed = feed::read(&self.state.store.readers, &wanted).await.map_err(failed)?;
            let (last, more) = (feed.last, feed.more);
            // An answer tells by its place which run of the server it is of.
            self.place = self.place.of_run(last);
            self.tell(&watchers::items(feed)).await?;
            self.place = last;
            if !more {
                return Ok(live);
            }
        }
    }

    /// Goes on for as long as both sides are there.
    async fn follow(&mut self, mut live: Receiver<Arc<Batch>>) -> Result<std::convert::Infallible, Ended> {
        // Whatever comes meanwhile: of a client that is told of one node, only this tells that it has gone.
        let mut beat = tokio::time::interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                batch = live.recv() => {
                    let batch = batch.map_err(|_| Ended)?;
                    self.place = self.place.of_run(batch.last);
                    self.tell(&batch.items).await?;
                }
                _ = beat.tick() => {
                    self.is_still_let_in().await?;
                    self.send(COMMENT.to_owned()).await?;
                }
            }
        }
    }

    /// A token may end while its bearer listens.
    async fn is_still_let_in(&self) -> Result<(), Ended> {
        let Caller::Token { id, .. } = self.caller else { return Ok(()) };
        let is_good = operators::is_good(&self.state.store.readers, now_ms(), id).await.map_err(failed)?;
        if is_good { Ok(()) } else { Err(Ended) }
    }

    async fn tell(&mut self, items: &[Item]) -> Result<(), Ended> {
        let mut text = String::new();
        for item in items {
            if self.place.is_past(item.mark) {
                continue;
            }
            self.place = self.place.past(item.mark);
            if self.node.is_none() || item.node == self.node {
                text += &format!("id: {}\ndata: {}\n\n", self.place, item.json);
            }
        }
        if text.is_empty() { Ok(()) } else { self.send(text).await }
    }

    async fn send(&mut self, text: String) -> Result<(), Ended> {
        let sent = timeout(STALL_TIMEOUT, self.out.send_data(text.into())).await;
        sent.map_err(|_| Ended)?.map_err(|_| Ended)
    }
}

fn failed(error: anyhow::Error) -> Ended {
    tracing::error!("a stream of what happens ends: {error:#}");
    Ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_for_who_asks_for_it() {
        for (accept, asked) in [
            (vec!["text/event-stream"], true),
            (vec!["application/json, text/event-stream;q=0.9"], true),
            (vec!["application/json", "text/event-stream"], true),
            (vec!["*/*"], false),
            (vec!["text/event-streams"], false),
            (vec![], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in &accept {
                headers.append(header::ACCEPT, value.parse().unwrap());
            }
            assert_eq!(is_asked_for(&headers), asked, "{accept:?}");
        }
    }
}
