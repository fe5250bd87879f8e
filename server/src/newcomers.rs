//! How many nodes one source may make: a rack or a hall at once, then a few in a second. Whoever makes up machines fills
//! neither the list nor the disk, and the nodes that are there are not touched by it.
//!
//! Kept in memory, of each source one time: when all that it may make at once is to be had again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::http::peer::source;
use crate::limits::{NEW_NODE_PAUSE, NEW_NODES_AT_ONCE};
use crate::registry::Refusal;

/// Sources that made nodes lately.
#[derive(Debug, Clone, Default)]
pub struct Newcomers(Arc<Mutex<Sources>>);

/// By source, when it may make as many as ever.
#[derive(Debug, Default)]
struct Sources(HashMap<IpAddr, Instant>);

impl Sources {
    /// Counts a node of this source, unless it has made too many.
    fn take(&mut self, source: IpAddr, now: Instant) -> bool {
        self.0.retain(|_, rested| *rested > now);
        let rested = self.0.get(&source).copied().unwrap_or(now) + NEW_NODE_PAUSE;
        let fits = rested <= now + NEW_NODE_PAUSE * NEW_NODES_AT_ONCE;
        if fits {
            self.0.insert(source, rested);
        }
        fits
    }
}

/// What one request may make.
#[derive(Debug, Clone)]
pub struct Room(Option<(Newcomers, IpAddr)>);

impl Newcomers {
    /// For a request from this address.
    #[must_use]
    pub fn of(&self, peer: IpAddr) -> Room {
        Room(Some((self.clone(), source(peer))))
    }
}

impl Room {
    /// For what this machine's operators ask.
    pub const BOUNDLESS: Self = Self(None);

    /// Whether it is an operator who asks.
    #[must_use]
    pub fn is_boundless(&self) -> bool {
        self.0.is_none()
    }

    /// Takes room for one node.
    ///
    /// # Errors
    /// When the source has made too many.
    pub fn take(&self) -> Result<(), Refusal> {
        let Some((newcomers, source)) = &self.0 else { return Ok(()) };
        if newcomers.0.lock().unwrap_or_else(PoisonError::into_inner).take(*source, Instant::now()) {
            return Ok(());
        }
        let per_minute = 60_000 / NEW_NODE_PAUSE.as_millis();
        let error = format!(
            "{source} has shown {NEW_NODES_AT_ONCE} unknown machines in a short time; from one address, no more than \
             {per_minute} a minute become nodes then"
        );
        let remedy = "Try again in some minutes. If there are not so many machines, see who makes them up.";
        Err(Refusal::new(503, "too_many_new", error, remedy))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_hall_may_boot_at_once_and_then_a_few_in_a_second() {
        let (mut sources, start) = (Sources::default(), Instant::now());
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..NEW_NODES_AT_ONCE {
            assert!(sources.take(one, start));
        }
        assert!(!sources.take(one, start));
        assert!(sources.take(other, start), "nobody else is touched");
        let later = start + NEW_NODE_PAUSE;
        assert!(sources.take(one, later) && !sources.take(one, later));
        let hour = start + Duration::from_secs(3600);
        assert_eq!((0..).take_while(|_| sources.take(one, hour)).count(), NEW_NODES_AT_ONCE as usize);
        assert_eq!(sources.0.len(), 1, "who rests is forgotten");
    }
}
