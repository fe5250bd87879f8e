//! What came of a simulation, for people and for programs. Pure, but for asking what this process has used.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde_json::{Value, json};

use crate::simulate::tally::Tally;

/// Processor time of this process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent(Duration);

impl Spent {
    /// Until now.
    ///
    /// # Errors
    /// When the system does not say.
    pub(super) fn now() -> anyhow::Result<Self> {
        let usage = getrusage(UsageWho::RUSAGE_SELF).context("cannot ask how much processor time was used")?;
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Ok(Self(Duration::from_micros(u64::try_from(micros).unwrap_or(0))))
    }

    /// Since an earlier time.
    pub(super) fn since(self, former: &Self) -> Duration {
        self.0.saturating_sub(former.0)
    }
}

/// A phase that is over.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) name: &'static str,
    pub(super) took: Duration,
    pub(super) tally: Tally,
    /// Processor time of this process.
    pub(super) spent: Duration,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Machines.
    pub(super) nodes: u32,
    /// Least bytes of facts and inventory in a whole report.
    pub(super) report_bytes: usize,
    pub(super) phases: Vec<Done>,
    /// Ids that several machines were given.
    pub(super) shared_ids: u64,
}

impl Report {
    /// Counts ids that several machines have.
    pub(super) fn take_ids(&mut self, ids: &mut [u64]) {
        ids.sort_unstable();
        self.shared_ids = ids.windows(2).filter(|pair| pair.first() == pair.last()).count() as u64;
    }

    /// Says so where the server lost or mixed up something.
    ///
    /// # Errors
    /// When it did.
    pub fn verdict(&self) -> anyhow::Result<()> {
        let wrong: u64 = self.phases.iter().flat_map(|phase| phase.tally.wrong.values()).sum();
        let outside = self.phases.last().map_or(0, |phase| phase.tally.outside);
        if wrong == 0 && outside == 0 && self.shared_ids == 0 {
            return Ok(());
        }
        bail!(
            "the server got something wrong: {wrong} answers that cannot be, {} ids with several machines, {outside} machines that \
             were not served in the end",
            self.shared_ids
        )
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{} machines, whole reports of {} bytes and more\n", self.nodes, self.report_bytes);
        for phase in &self.phases {
            let Tally { answers, reports, times, errors, wrong, examples, .. } = &phase.tally;
            let (p50, p99, longest) = (millis(times.at(500)), millis(times.at(990)), millis(times.longest()));
            // A text takes all.
            let _ = writeln!(
                text,
                "{:<10} {answers} answers ({reports} whole reports) in {:.1} s: {:.0}/s; p50 {p50:.1} ms, p99 {p99:.1} ms, longest \
                 {longest:.1} ms; this program took {:.0} % of all processors",
                phase.name,
                phase.took.as_secs_f64(),
                phase.rate(answers),
                phase.share() * 100.0
            );
            for (code, count) in errors {
                let _ = writeln!(text, "  refused or unanswered, {code}: {count}");
            }
            for (code, count) in wrong {
                let _ = writeln!(text, "  WRONG, {code}: {count}");
            }
            for example in examples {
                let _ = writeln!(text, "    {example}");
            }
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let phase = |phase: &Done| {
            let Tally { answers, reports, times, errors, wrong, examples, outside } = &phase.tally;
            json!({
                "phase": phase.name, "seconds": phase.took.as_secs_f64(), "answers": answers, "reports": reports,
                "answers_per_s": phase.rate(answers), "reports_per_s": phase.rate(reports),
                "p50_ms": millis(times.at(500)), "p99_ms": millis(times.at(990)), "max_ms": millis(times.longest()),
                "errors": errors, "wrong": wrong, "examples": examples, "not_served": outside,
                "generator_share": phase.share(),
            })
        };
        let phases: Vec<Value> = self.phases.iter().map(phase).collect();
        json!({
            "nodes": self.nodes, "report_bytes": self.report_bytes, "shared_ids": self.shared_ids, "phases": phases,
            "sound": self.verdict().is_ok(),
        })
    }
}

impl Done {
    #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
    fn rate(&self, count: &u64) -> f64 {
        *count as f64 / self.took.as_secs_f64()
    }

    /// This process's part of what all processors could do.
    #[expect(clippy::cast_precision_loss, reason = "nobody has so many processors")]
    fn share(&self) -> f64 {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.spent.as_secs_f64() / (self.took.as_secs_f64() * processors as f64)
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_or_mixed_up_is_no_success() {
        let mut report = Report::default();
        report.take_ids(&mut [3, 1, 2]);
        assert!(report.verdict().is_ok());
        report.take_ids(&mut [3, 1, 3]);
        assert!(report.verdict().is_err());
        report.shared_ids = 0;
        let tally = Tally { outside: 1, ..Tally::default() };
        report.phases.push(Done { name: "audit", took: Duration::from_secs(1), tally, spent: Duration::ZERO });
        assert!(report.verdict().is_err());
        let mut tally = Tally::default();
        tally.wrong(crate::simulate::node::Wrong { code: "lost", what: "machine 1".to_owned() });
        report.phases.insert(0, Done { name: "arrival", took: Duration::from_secs(1), tally, spent: Duration::ZERO });
        report.phases.truncate(1);
        assert!(
            report.verdict().is_err() && report.text().contains("WRONG, lost: 1") && report.json()["sound"] == false
        );
    }
}
