//! How many wrong tokens one source may send: some at once, as somebody who mistypes does, then one in a while. Nobody guesses a
//! token; this keeps who tries from filling the log and the server's time.
//!
//! Kept in memory, of so many sources, of each one time: when all that it may send at once is to be had again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::http::StatusCode;

use crate::http::peer::source;
use crate::http::problem::Failure;
use crate::limits::{MAX_WRONG_SOURCES, WRONG_TOKEN_PAUSE, WRONG_TOKENS_AT_ONCE};

/// Sources that sent wrong tokens lately.
#[derive(Debug, Clone, Default)]
pub struct Attempts(Arc<Mutex<Sources>>);

/// By source, when it may send as many as ever.
#[derive(Debug, Default)]
struct Sources(HashMap<IpAddr, Instant>);

impl Sources {
    fn may(&self, source: IpAddr, now: Instant) -> bool {
        let rested = self.0.get(&source).copied().unwrap_or(now);
        rested + WRONG_TOKEN_PAUSE <= now + WRONG_TOKEN_PAUSE * WRONG_TOKENS_AT_ONCE
    }

    fn count(&mut self, source: IpAddr, now: Instant) {
        if !self.0.contains_key(&source) && self.0.len() >= MAX_WRONG_SOURCES {
            self.0.retain(|_, rested| *rested > now);
        }
        if !self.0.contains_key(&source) && self.0.len() >= MAX_WRONG_SOURCES {
            let first = self.0.iter().min_by_key(|(_, rested)| **rested).map(|(source, _)| *source);
            first.map(|source| self.0.remove(&source));
        }
        let rested = self.0.get(&source).copied().unwrap_or(now).max(now) + WRONG_TOKEN_PAUSE;
        self.0.insert(source, rested);
    }
}

impl Attempts {
    /// Whether this address may show a token.
    ///
    /// # Errors
    /// When its source has sent too many wrong ones.
    pub fn may_try(&self, peer: IpAddr) -> Result<(), Failure> {
        let source = source(peer);
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).may(source, Instant::now()) {
            return Ok(());
        }
        let error = format!("{source} has sent {WRONG_TOKENS_AT_ONCE} wrong tokens in a short time");
        let remedy = "Try again in a minute. Tokens of your own: `mk-server token list` on the server's machine.";
        Err(Failure::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", error, remedy))
    }

    /// This address has shown a wrong token.
    pub fn count(&self, peer: IpAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count(source(peer), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + n).into())
    }

    #[test]
    fn who_mistypes_may_try_again_and_who_guesses_waits() {
        let (mut sources, start) = (Sources::default(), Instant::now());
        for _ in 0..WRONG_TOKENS_AT_ONCE {
            assert!(sources.may(ip(1), start));
            sources.count(ip(1), start);
        }
        assert!(!sources.may(ip(1), start));
        assert!(sources.may(ip(2), start), "nobody else is touched");
        let later = start + WRONG_TOKEN_PAUSE;
        assert!(sources.may(ip(1), later));
        sources.count(ip(1), later);
        assert!(!sources.may(ip(1), later));
        let rested = later + WRONG_TOKEN_PAUSE * WRONG_TOKENS_AT_ONCE;
        for _ in 0..WRONG_TOKENS_AT_ONCE {
            assert!(sources.may(ip(1), rested));
            sources.count(ip(1), rested);
        }
        assert!(!sources.may(ip(1), rested));
    }

    #[test]
    fn so_many_sources_are_remembered_and_those_that_tried_most() {
        let (mut sources, now) = (Sources::default(), Instant::now());
        for _ in 0..WRONG_TOKENS_AT_ONCE {
            sources.count(ip(0), now);
        }
        for n in 1..=u32::try_from(2 * MAX_WRONG_SOURCES).unwrap() {
            sources.count(ip(n), now);
            assert!(sources.0.len() <= MAX_WRONG_SOURCES);
        }
        assert!(!sources.may(ip(0), now));
    }
}
