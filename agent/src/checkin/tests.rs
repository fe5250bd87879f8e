//! A day without a server, simulated by the rules that are in force: when it is asked again, what waits to be told, and how
//! soon all is well afterwards.

use std::time::Duration;

use wire::error::Problem;

use super::outbox::Outbox;
use super::pace::{Hurries, after_failure};
use crate::limits::{CHECKIN_GAP, CHECKIN_HURRIES, CHECKIN_PROBLEMS, CHECKIN_RETRY, CHECKIN_RETRY_MAX};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Most bytes of what waits to be told, as it is sent: a hundredth of what a check-in may have.
const TOLD: usize = 40 * 1024;

/// Random numbers, the same at each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 20
    }
}

/// When the server is asked on that day and once more, on a node that something happens to so often.
fn attempts(seed: u64, changes_every: Option<Duration>) -> Vec<Duration> {
    let (mut random, mut hurries) = (Random(seed), Hurries::default());
    let (mut at, mut failures, mut attempts) = (Duration::ZERO, 0, Vec::new());
    while attempts.last().is_none_or(|last| *last < DAY) {
        attempts.push(at);
        failures += 1;
        let wait = after_failure(failures, None, random.next());
        let change = changes_every.filter(|every| *every < wait && hurries.take());
        if change.is_none() {
            hurries.waited();
        }
        at += change.map_or(wait, |every| every.max(CHECKIN_GAP));
    }
    attempts
}

#[test]
fn the_server_is_asked_about_once_a_minute_and_found_again_within_one() {
    for seed in 0..20 {
        let times = attempts(seed, None);
        let asked = times.len() - 1;
        // Half of each minute's wait is random.
        assert!((1440..=2 * 1440 + 10).contains(&asked), "{asked} attempts");
        let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| *gap >= CHECKIN_RETRY / 2 && *gap <= CHECKIN_RETRY_MAX), "{gaps:?}");
        assert!(gaps[10..].iter().all(|gap| *gap >= CHECKIN_RETRY_MAX / 2), "the back-off holds all day");
        assert!(times[asked] <= DAY + CHECKIN_RETRY_MAX, "the server is back, and is asked at {:?}", times[asked]);
    }
}

#[test]
fn a_port_that_flaps_all_day_makes_no_flood() {
    let times = attempts(1, Some(Duration::from_millis(10)));
    let whole_waits = 2 * 1440 + 10;
    assert!(times.len() < whole_waits * (1 + CHECKIN_HURRIES as usize), "{} attempts", times.len());
    // Only where a wait has run its whole time are there hurries again.
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= CHECKIN_RETRY / 2));
}

#[test]
fn what_waits_to_be_told_is_bounded() {
    let mut outbox = Outbox::default();
    for failure in attempts(2, None) {
        // The same each time, and one that is never the same: a foreign server may quote anything.
        let text = format!("http://server answered HTTP 500: `{failure:?} {}`", "x".repeat(120));
        outbox.happened(Problem::new("connect", "http://server: no connection", "See whether the server runs."));
        outbox.happened(Problem::new("http_status", text, "See the server's log; the check-in is repeated."));
    }
    let told = outbox.pending().clone();
    let size = serde_json::to_vec(&told.problems).unwrap().len();
    assert!(told.problems.len() == CHECKIN_PROBLEMS && size < TOLD, "{} problems, {size} bytes", told.problems.len());
    assert_eq!(told.problems[0].code, "connect", "what came first is told");
    outbox.delivered(told);
    assert!(outbox.is_empty());
}
