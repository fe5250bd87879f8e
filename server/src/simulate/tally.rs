//! What is counted: answers, how long each took, errors by code, and what the server got wrong. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits::SIMULATED_EXAMPLES;
use crate::simulate::node::Wrong;

/// Steps of a time within one power of two: a time is known to within 1/32 of itself.
const STEPS: u32 = 32;

/// How often which time was taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    /// By step of microseconds.
    counts: BTreeMap<u32, u64>,
    longest: Duration,
}

impl Times {
    fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        let power = micros.ilog2();
        let within = ((u128::from(micros) * u128::from(STEPS)) >> power) - u128::from(STEPS);
        let within = u32::try_from(within).unwrap_or(STEPS - 1);
        *self.counts.entry(power * STEPS + within).or_default() += 1;
        self.longest = self.longest.max(time);
    }

    fn join(&mut self, other: &Self) {
        for (step, count) in &other.counts {
            *self.counts.entry(*step).or_default() += count;
        }
        self.longest = self.longest.max(other.longest);
    }

    /// The time that so many of a thousand did not exceed, rounded up to its step.
    pub(super) fn at(&self, per_mille: u64) -> Duration {
        let all: u64 = self.counts.values().sum();
        let wanted = (all * per_mille).div_ceil(1000);
        let mut seen = 0;
        let step = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= wanted
        });
        let Some((step, _)) = step else { return Duration::ZERO };
        let (power, within) = (step / STEPS, u128::from(step % STEPS));
        let micros = (u128::from(STEPS) + within + 1) << power;
        Duration::from_micros(u64::try_from(micros / u128::from(STEPS)).unwrap_or(u64::MAX)).min(self.longest)
    }

    /// The longest of all.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }
}

/// What came of requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Good answers.
    pub(super) answers: u64,
    /// Whole reports among them.
    pub(super) reports: u64,
    /// How long they took.
    pub(super) times: Times,
    /// Requests without a good answer, by code.
    pub(super) errors: BTreeMap<String, u64>,
    /// What the server got wrong, by code.
    pub(super) wrong: BTreeMap<&'static str, u64>,
    /// Some of it in words.
    pub(super) examples: Vec<String>,
    /// Machines that never got in.
    pub(super) outside: u64,
}

impl Tally {
    /// A good answer after so long.
    pub(super) fn answer(&mut self, took: Duration, whole: bool) {
        self.answers += 1;
        self.reports += u64::from(whole);
        self.times.add(took);
    }

    /// No good answer.
    pub(super) fn error(&mut self, code: &str) {
        *self.errors.entry(code.to_owned()).or_default() += 1;
    }

    /// A wrong one.
    pub(super) fn wrong(&mut self, wrong: Wrong) {
        *self.wrong.entry(wrong.code).or_default() += 1;
        if self.examples.len() < SIMULATED_EXAMPLES {
            self.examples.push(wrong.what);
        }
    }

    /// Adds another one's counts.
    pub(super) fn add(&mut self, other: &Self) {
        self.answers += other.answers;
        self.reports += other.reports;
        self.outside += other.outside;
        self.times.join(&other.times);
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
        for (code, count) in &other.wrong {
            *self.wrong.entry(code).or_default() += count;
        }
        self.examples.extend(
            other.examples.iter().take(SIMULATED_EXAMPLES - self.examples.len().min(SIMULATED_EXAMPLES)).cloned(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_known_to_within_a_thirtieth_and_the_longest_whole() {
        let mut times = Times::default();
        for millis in 1..=1000 {
            times.add(Duration::from_millis(millis));
        }
        for per_mille in [1, 10, 500, 990, 999] {
            let (is, shown) = (Duration::from_millis(per_mille), times.at(per_mille));
            assert!(shown >= is && shown <= is * 31 / 30, "{per_mille}: {shown:?}");
        }
        assert_eq!((times.at(1000), times.longest()), (Duration::from_secs(1), Duration::from_secs(1)));
        assert_eq!(Times::default().at(990), Duration::ZERO);
        times.add(Duration::ZERO);
        times.add(Duration::MAX);
        assert_eq!(times.longest(), Duration::MAX);
    }

    #[test]
    fn counts_of_all_are_joined_and_a_few_examples_kept() {
        let mut all = Tally::default();
        for n in 0..10 {
            let mut one = Tally::default();
            one.answer(Duration::from_millis(n), n % 2 == 0);
            one.error("disk_full");
            (0..10).for_each(|_| one.wrong(Wrong { code: "lost", what: "x".to_owned() }));
            all.add(&one);
        }
        assert_eq!((all.answers, all.reports, all.errors["disk_full"], all.wrong["lost"]), (10, 5, 10, 100));
        assert_eq!(all.examples.len(), SIMULATED_EXAMPLES);
    }
}
