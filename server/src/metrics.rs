//! What the server counts while it runs. Counting costs a check-in a few additions; the table of refusals is for those that are
//! refused alone.

pub mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wire::checkin::NodeState;

/// Bounds of the times that are counted, in microseconds.
const TIMES_US: [u64; 12] =
    [1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000];

/// Numbers by size: how many were at most as large as each bound, and all.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than bounds, for what is larger than all of them.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Histogram {
    /// With these bounds, smallest first.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    /// Counts a number.
    pub fn add(&self, number: u64) {
        let place = self.bounds.partition_point(|bound| *bound < number);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(number, Relaxed);
    }

    /// For each bound how many were at most so large; last, how many there were, and their sum.
    #[must_use]
    pub fn read(&self) -> (Vec<(u64, u64)>, u64, u64) {
        let mut so_far = 0;
        let mut up_to = |count: &AtomicU64| {
            so_far += count.load(Relaxed);
            so_far
        };
        let buckets: Vec<(u64, u64)> =
            self.bounds.iter().zip(&self.counts).map(|(bound, n)| (*bound, up_to(n))).collect();
        let all = self.counts.last().map_or(0, &mut up_to);
        (buckets, all, self.sum.load(Relaxed))
    }
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// Check-ins, by protocol A.
    Checkin,
    /// Boots by the network.
    Boot,
    /// Protocol B.
    Legacy,
    /// What else machines ask.
    Svc,
    /// Programs of operators.
    Api,
    /// Browsers of operators.
    Page,
}

impl Route {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Checkin, Self::Boot, Self::Legacy, Self::Svc, Self::Api, Self::Page];

    /// Its label.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Checkin => "checkin",
            Self::Boot => "boot",
            Self::Legacy => "legacy",
            Self::Svc => "svc",
            Self::Api => "api",
            Self::Page => "page",
        }
    }
}

/// What became of a check-in.
pub const RESULTS: [&str; 5] = ["normal", "held", "pending", "refused", "failed"];

/// All that is counted.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    /// By [`RESULTS`].
    checkins: [AtomicU64; RESULTS.len()],
    /// Microseconds, by [`Route::ALL`].
    times: [Histogram; Route::ALL.len()],
    /// By route and code. Codes are words of this program.
    refusals: Mutex<BTreeMap<(Route, String), u64>>,
}

impl Default for Counts {
    fn default() -> Self {
        let times = std::array::from_fn(|_| Histogram::new(&TIMES_US));
        Self { checkins: Default::default(), times, refusals: Mutex::default() }
    }
}

impl Metrics {
    /// A check-in was taken; original clients are told no state.
    pub fn checked_in(&self, state: Option<NodeState>) {
        self.count(match state {
            None | Some(NodeState::Normal) => "normal",
            Some(NodeState::Held) => "held",
            Some(NodeState::Pending) => "pending",
        });
    }

    fn count(&self, result: &str) {
        if let Some(count) = RESULTS.iter().position(|r| *r == result).and_then(|place| self.0.checkins.get(place)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// A request was answered after this time.
    pub fn answered(&self, route: Route, time: Duration) {
        if let Some(times) = Route::ALL.iter().position(|r| *r == route).and_then(|place| self.0.times.get(place)) {
            times.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// A request was refused with this status and code.
    pub fn refused(&self, route: Route, status: u16, code: &str) {
        if route == Route::Checkin {
            self.count(if matches!(status, 500 | 507) { "failed" } else { "refused" });
        }
        let mut refusals = self.0.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals.entry((route, code.to_owned())).or_default() += 1;
    }

    /// Check-ins by result.
    #[must_use]
    pub fn checkins(&self) -> Vec<(&'static str, u64)> {
        RESULTS.into_iter().zip(self.0.checkins.iter().map(|n| n.load(Relaxed))).collect()
    }

    /// Times of answers by route, in microseconds.
    pub fn times(&self) -> impl Iterator<Item = (Route, &Histogram)> {
        Route::ALL.into_iter().zip(&self.0.times)
    }

    /// Refusals by route and code.
    #[must_use]
    pub fn refusals(&self) -> Vec<((Route, String), u64)> {
        let refusals = self.0.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.iter().map(|(key, n)| (key.clone(), *n)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_for_each_bound_that_it_does_not_exceed() {
        let histogram = Histogram::new(&[1, 10, 100]);
        for number in [0, 1, 2, 10, 11, 1000] {
            histogram.add(number);
        }
        assert_eq!(histogram.read(), (vec![(1, 2), (10, 4), (100, 5)], 6, 1024));
    }

    #[test]
    fn refusals_and_results_are_told_apart() {
        let metrics = Metrics::default();
        for state in [None, Some(NodeState::Normal), Some(NodeState::Held), Some(NodeState::Pending)] {
            metrics.checked_in(state);
        }
        for (route, status, code) in
            [(Route::Checkin, 409, "replay"), (Route::Checkin, 507, "disk_full"), (Route::Api, 401, "no_token")]
        {
            metrics.refused(route, status, code);
        }
        let expected = [("normal", 2), ("held", 1), ("pending", 1), ("refused", 1), ("failed", 1)];
        assert_eq!(metrics.checkins(), expected);
        assert_eq!(metrics.refusals().len(), 3);
    }
}
