//! When the next check-in is due. Pure: random numbers come in.

use std::time::{Duration, Instant};

use wire::limits::{DEFAULT_INTERVAL_S, DEFAULT_SKEW_S, MAX_INTERVAL_S, MIN_INTERVAL_S};

use crate::limits::{
    CHECKIN_BURST, CHECKIN_GAP, CHECKIN_HURRIES, CHECKIN_RETRY, CHECKIN_RETRY_ASKED, CHECKIN_RETRY_MAX,
};

/// How often a node checks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Seconds between check-ins.
    pub(super) interval_s: u32,
    /// Largest random delay in seconds, added once after start and after each new configuration.
    pub(super) skew_s: u32,
}

impl Pace {
    /// What was pushed, else what the kernel line says, else the defaults.
    pub(super) fn of(pushed: &wire::config::Config, line: Option<u32>) -> Self {
        Self {
            interval_s: pushed.mk_checkin_interval.or(line).unwrap_or(DEFAULT_INTERVAL_S),
            skew_s: pushed.mk_checkin_skew.unwrap_or(DEFAULT_SKEW_S),
        }
    }

    /// The wait after an answered check-in. The server may name another interval for this one time. A twentieth of
    /// jitter keeps machines that were switched on together from checking in together for ever.
    pub(super) fn after_answer(self, asked_s: Option<u32>, skew: bool, random: u64) -> Duration {
        let seconds = asked_s.unwrap_or(self.interval_s).clamp(MIN_INTERVAL_S, MAX_INTERVAL_S);
        let interval = Duration::from_secs(seconds.into());
        let jitter = share(interval / 10, random);
        let skew = if skew { share(Duration::from_secs(self.skew_s.into()), random >> 32) } else { Duration::ZERO };
        interval * 19 / 20 + jitter + skew
    }
}

/// The wait after so many failures in a row: doubles up to a ceiling, half of it random; for ever. A server that asks
/// for a longer wait gets it within reason, and a quarter more at random, so that a rack does not come back in step.
pub(super) fn after_failure(failures: u32, asked: Option<Duration>, random: u64) -> Duration {
    let wait = CHECKIN_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(CHECKIN_RETRY_MAX);
    let asked = asked.unwrap_or_default().min(CHECKIN_RETRY_ASKED);
    (wait / 2 + share(wait / 2, random)).max(asked + share(asked / 4, random))
}

/// Waits that changes on the node may still cut short. A wait that runs its whole time gives all of them back, so that a
/// port that flaps for hours costs a few requests more in each wait and not one a second.
#[derive(Debug)]
pub(super) struct Hurries(u32);

impl Default for Hurries {
    fn default() -> Self {
        Self(CHECKIN_HURRIES)
    }
}

impl Hurries {
    /// Takes one, if there is one left.
    pub(super) fn take(&mut self) -> bool {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }

    /// Whether one is left.
    pub(super) fn is_left(&self) -> bool {
        self.0 > 0
    }

    /// A wait ran its whole time.
    pub(super) fn waited(&mut self) {
        *self = Self::default();
    }
}

/// Requests that a server is the cause of: [`CHECKIN_BURST`] of them at once, and [`CHECKIN_GAP`] apart in the long run. So
/// what comes after a quiet while is quick, and a server that always has something makes no busy loop.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    /// When all that were taken will have been given back.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one, and says how long it is to be waited for.
    pub(super) fn take(&mut self, now: Instant) -> Duration {
        let full_at = self.full_at.unwrap_or(now).max(now) + CHECKIN_GAP;
        self.full_at = Some(full_at);
        (full_at - now).saturating_sub(CHECKIN_GAP * CHECKIN_BURST)
    }
}

/// A random share of a duration.
fn share(whole: Duration, random: u64) -> Duration {
    whole * u32::try_from(random & 0x3ff).unwrap_or(0) / 1024
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::config::Config;

    use super::*;

    #[test]
    fn pushed_beats_the_kernel_line_beats_the_default() {
        let pushed = Config { mk_checkin_interval: Some(15), ..Config::default() };
        assert_eq!(Pace::of(&pushed, Some(30)), Pace { interval_s: 15, skew_s: 5 });
        assert_eq!(Pace::of(&Config::default(), Some(30)).interval_s, 30);
        assert_eq!(Pace::of(&Config::default(), None), Pace { interval_s: 60, skew_s: 5 });
    }

    /// A thousand nodes lose their server in the same moment, for an hour.
    #[test]
    fn a_hall_of_nodes_neither_floods_its_server_nor_comes_back_in_step() {
        const NODES: u64 = 1000;
        const HOUR_S: usize = 3600;
        let mut arrivals = vec![0_u64; HOUR_S];
        for node in 0..NODES {
            let mut random = node;
            let (mut at, mut failures) = (Duration::ZERO, 0);
            while let Some(second) = usize::try_from(at.as_secs()).ok().filter(|s| *s < HOUR_S) {
                arrivals[second] += 1;
                failures += 1;
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                at += after_failure(failures, None, random >> 20);
            }
        }
        let each = arrivals.iter().sum::<u64>() / NODES;
        assert!((60..=130).contains(&each), "{each} requests of a node in an hour");
        // Evenly spread they would be 22 a second.
        let busiest = arrivals.iter().skip(300).max();
        assert!(busiest < Some(&60), "{busiest:?} nodes in one second after five minutes");
    }

    #[test]
    fn only_a_whole_wait_gives_hurries_back() {
        let mut hurries = Hurries::default();
        let taken = |hurries: &mut Hurries| (0..100).filter(|_| hurries.take()).count();
        assert_eq!((taken(&mut hurries), taken(&mut hurries)), (CHECKIN_HURRIES as usize, 0));
        assert!(!hurries.is_left());
        hurries.waited();
        assert!(hurries.is_left());
        assert!(hurries.take());
    }

    #[test]
    fn a_few_requests_go_at_once_and_then_one_a_second() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        let waits: Vec<Duration> = (0..=CHECKIN_BURST + 1).map(|_| bucket.take(now)).collect();
        let (burst, late) = waits.split_at(CHECKIN_BURST as usize);
        assert!(burst.iter().all(Duration::is_zero), "{waits:?}");
        assert_eq!(late, [CHECKIN_GAP, CHECKIN_GAP * 2]);
        let later = now + CHECKIN_GAP * 3;
        assert_eq!((bucket.take(later), bucket.take(later)), (Duration::ZERO, CHECKIN_GAP), "one was given back");
    }

    proptest! {
        #[test]
        fn no_more_than_a_burst_and_one_a_second_go_out(pauses in proptest::collection::vec(0_u64..3000, 1..100)) {
            let begin = Instant::now();
            let (mut bucket, mut now) = (Bucket::default(), begin);
            for (before, pause) in (0_u32..).zip(pauses) {
                now += Duration::from_millis(pause);
                // The next one is taken when this one has gone out.
                now += bucket.take(now);
                prop_assert!(CHECKIN_GAP * before.saturating_sub(CHECKIN_BURST - 1) <= now - begin);
            }
        }

        #[test]
        fn answers_keep_the_interval(interval in 1u32..86_400, asked in proptest::option::of(any::<u32>()), skew in any::<bool>(), random in any::<u64>()) {
            let pace = Pace { interval_s: interval, skew_s: 5 };
            let wait = pace.after_answer(asked, skew, random).as_secs_f64();
            let seconds = f64::from(asked.unwrap_or(interval).clamp(1, 86_400));
            let most = seconds * 1.05 + if skew { 5.0 } else { 0.0 };
            prop_assert!(wait >= seconds * 0.949 && wait <= most, "{wait} for {seconds}");
        }

        #[test]
        fn failures_wait_ever_longer_up_to_a_ceiling(failures in 1u32..100_000, random in any::<u64>()) {
            let wait = after_failure(failures, None, random);
            let full = CHECKIN_RETRY.saturating_mul(1 << (failures - 1).min(16)).min(CHECKIN_RETRY_MAX);
            prop_assert!(wait >= full / 2 && wait <= full);
            prop_assert!(wait <= CHECKIN_RETRY_MAX && wait >= CHECKIN_RETRY / 2);
        }

        #[test]
        fn a_server_that_asks_for_time_gets_it_but_cannot_mute_a_node(asked in any::<u32>(), random in any::<u64>()) {
            let wait = after_failure(1, Some(Duration::from_secs(asked.into())), random).as_secs();
            prop_assert!(wait >= u64::from(asked).min(CHECKIN_RETRY_ASKED.as_secs()));
            prop_assert!(wait <= CHECKIN_RETRY_ASKED.as_secs() * 5 / 4);
        }
    }
}
