//! Puts pushed and posted configuration in force: what is decided is in [`super::pushed`] and [`super::trial`]; this file
//! places files, asks the supervisor, and keeps the word about it.

use std::path::Path;
use std::time::Duration;

use wire::checkin::CheckinReply;
use wire::error::Problem;

use super::placed::{self, Files};
use super::pushed::{Outcome, Stage};
use super::trial::{self, Failed, Trial, Verdict};
use super::{Candidate, Pushed, Unit, outbox};
use crate::ext::signed;
use crate::init::client::{self, Reply, Request};
use crate::limits::CHECKIN_GAP;
use crate::state::{Extensions, Posted, Published as _, Units, uptime};
use crate::{facts, log, units};

impl Unit {
    /// Takes a pushed configuration, refuses it, or makes it a candidate. Tells whether that is to be told.
    pub(super) fn configure(&mut self, reply: &CheckinReply) -> bool {
        // Before a configuration that such an index is needed for.
        if self.pushed.raise(&reply.mirror_index, &signed::keys(&self.settings))
            && let Err(why) = self.pushed.publish()
        {
            tracing::warn!("{why:#}");
        }
        let offer = reply.config.as_ref().zip(reply.config_version).map(|(config, version)| {
            (version, Candidate::of_server(version, reply.config_digest.clone(), config.clone()))
        });
        let came = offer.and_then(|(version, offer)| Some((version, self.decide(|pushed| pushed.consider(offer))?)));
        if let Some((version, outcome)) = &came {
            self.wait.brought();
            self.came(&format!("pushed configuration {version}"), outcome);
        }
        self.have_done();
        came.is_some_and(|(_, outcome)| !matches!(outcome, Outcome::Tried(_)))
    }

    /// A configuration was posted that was not dealt with yet.
    pub(super) fn is_posted(&self) -> bool {
        let done = self.pushed.answer.as_ref().map_or(0, |answer| answer.number);
        Posted::read().is_some_and(|posted| posted.number > done)
    }

    /// Deals with a posted configuration as with a pushed one.
    pub(super) fn take_posted(&mut self) {
        let Some(Posted { number, config }) = Posted::read() else { return };
        if let Some(outcome) = self.decide(|pushed| pushed.post(number, &config)) {
            self.came("the configuration that was posted to this node", &outcome);
            self.have_done();
        }
    }

    /// A candidate whose extensions were dealt with, or whose units were on trial, is gone on with or left.
    pub(super) fn settle(&mut self) {
        let applied = self.pushed.candidate.as_ref().and_then(|_| Extensions::read()?.applied);
        if let Some(applied) = applied
            && let Some(outcome) = self.decide(|pushed| pushed.settle(&applied))
        {
            self.outbox.problems(applied.warnings);
            self.came(&format!("configuration {}", applied.version), &outcome);
            self.have_done();
        }
        match self.verdict() {
            Some((_, Verdict::Good)) => self.end_trial(Ok(())),
            Some((_, Verdict::Bad(failed))) => self.end_trial(Err(failed)),
            None | Some((_, Verdict::Open(_))) => {}
        }
    }

    /// Since when units are on trial, and what is to be thought of them.
    fn verdict(&mut self) -> Option<(f64, Verdict)> {
        let (since, units) = self.pushed.on_trial()?;
        // Without its word they are unknown to the supervisor: the trial ends in any case.
        let published = Units::read().unwrap_or_default().units;
        Some((since, self.trial.look(&units, &published, uptime() - since)))
    }

    /// Time until units on trial are to be looked at again, if nothing happens before; none once it is known what is to be
    /// thought of them.
    pub(super) fn trial_due(&mut self) -> Option<Duration> {
        Some(match self.verdict()? {
            (since, Verdict::Open(age_s)) => {
                Duration::from_secs_f64((since + age_s - uptime()).max(0.0)).max(CHECKIN_GAP)
            }
            (_, Verdict::Good | Verdict::Bad(_)) => Duration::ZERO,
        })
    }

    fn end_trial(&mut self, verdict: Result<(), Failed>) {
        // Before the unit is gone with what it wrote.
        let told = verdict.map_err(|failed| match client::request(&Request::Logs(failed.unit.clone())) {
            Ok(Reply::Lines(lines)) => trial::problem(&failed, &lines),
            _ => trial::problem(&failed, &[]),
        });
        self.tried(told);
    }

    /// This came of the units on trial.
    fn tried(&mut self, verdict: Result<(), Problem>) {
        if let Some(outcome) = self.decide(|pushed| pushed.end_trial(verdict)) {
            self.came("the configuration with units on trial", &outcome);
            self.have_done();
        }
    }

    /// Has this decided of a configuration. One whose facts cannot be placed is not in force.
    fn decide(&mut self, decision: impl FnOnce(&mut Pushed) -> Option<Outcome>) -> Option<Outcome> {
        let before = self.pushed.clone();
        let outcome = decision(&mut self.pushed)?;
        if outcome != Outcome::Taken {
            return Some(outcome);
        }
        let put = placed::put(Path::new(facts::PUSHED_DIR), &self.pushed.config.mk_facts_d);
        Some(put.map_or_else(|why| self.pushed.take_back(before, not_placed(&why)), |_| outcome))
    }

    /// This came of a configuration.
    fn came(&mut self, what: &str, outcome: &Outcome) {
        // It may exclude other facts, or bring some.
        self.stock = None;
        // Told first: the unit `ext` reads it there.
        if let Err(why) = self.pushed.publish() {
            tracing::warn!("{why:#}");
        }
        match outcome {
            Outcome::Tried(Stage::Extensions) => tracing::info!("{what} names extensions, which are fetched now"),
            Outcome::Tried(Stage::Units(_)) => tracing::info!("{what} has units, which run on trial now"),
            Outcome::Refused(problem) => {
                tracing::warn!("{what} is refused: {problem}");
                // One of the server's is told as its version.
                let posted = self.pushed.answer.as_ref().and_then(|answer| answer.refused.clone());
                self.outbox.problems(posted);
            }
            Outcome::Taken => {
                tracing::info!("{what} is in force");
                self.skew = true;
                log::set_level(self.pushed.level().unwrap_or_else(|| self.settings.level()));
                let unknown: Vec<Problem> =
                    self.pushed.config.other.keys().map(|key| outbox::unknown_key(key)).collect();
                self.outbox.problems(unknown);
            }
        }
    }

    /// Has others do what the configuration says. Tried again with each answer.
    fn have_done(&mut self) {
        self.start_applying();
        self.start_gems();
        self.place();
    }

    /// Has the unit `ext` apply the candidate, or take the former mirror back: one that ends just now hears nothing, and one
    /// that died waits until it is restarted.
    fn start_applying(&mut self) {
        let waits = self.pushed.candidate.as_ref().is_some_and(|c| c.stage == Stage::Extensions);
        if !waits && !self.pushed.mirror_returned {
            return;
        }
        match client::request(&Request::Want("ext".to_owned())) {
            Ok(_) => self.pushed.mirror_returned = false,
            Err(why) => tracing::warn!("the extensions of the pushed configuration wait: {why:#}"),
        }
    }

    /// Has the unit `gems` install what another pushed mirror or list of gems names, whatever it does now. A crash in between
    /// tells it twice at worst.
    fn start_gems(&mut self) {
        if !self.pushed.has_news_for_gems() {
            return;
        }
        let told = client::request(&Request::Restart("gems".to_owned())).and_then(|_| {
            self.pushed.gems_know();
            self.pushed.publish()
        });
        if let Err(why) = told {
            tracing::warn!("the gems of the pushed configuration wait: {why:#}");
        }
    }

    /// Puts the facts in force, and the units that are to run, where they are read, and has the supervisor read the units. If
    /// these cannot be placed it is told nothing, and a configuration that brings them is refused.
    pub(super) fn place(&mut self) {
        if let Err(why) = placed::put(Path::new(facts::PUSHED_DIR), &self.pushed.config.mk_facts_d) {
            self.warn(not_placed(&why));
        }
        match unit_files(&self.pushed).and_then(|files| placed::put(Path::new(units::PUSHED_DIR), &files)) {
            Ok(is_news) => {
                self.units_known &= !is_news;
                if !self.units_known || self.pushed.awaits_supervisor() {
                    self.reload();
                }
            }
            Err(why) if self.pushed.has_trial() => self.tried(Err(not_placed(&why))),
            Err(why) => self.warn(not_placed(&why)),
        }
    }

    fn warn(&mut self, problem: Problem) {
        tracing::warn!("{problem}");
        self.outbox.problems([problem]);
    }

    fn reload(&mut self) {
        let skipped = match client::request(&Request::Reload) {
            Ok(Reply::Skipped(problems)) => problems,
            Ok(_) => Vec::new(),
            Err(why) => return tracing::warn!("the units of the pushed configuration wait: {why:#}"),
        };
        self.units_known = true;
        if self.pushed.begin_trial(uptime()) {
            self.trial = Trial::default();
            if let Err(why) = self.pushed.publish() {
                tracing::warn!("{why:#}");
            }
        }
        // One that the supervisor skips is refused for what it says, not for being absent.
        let pushed = skipped.into_iter().find(|problem| problem.error.contains(units::PUSHED_DIR));
        if let Some(problem) = pushed {
            self.tried(Err(problem));
        }
    }
}

fn not_placed(why: &anyhow::Error) -> Problem {
    let text = format!("files of the configuration cannot be placed: {why:#}");
    Problem::new("config_files", text, "See whether /run on this node is full, and set the key again.")
}

/// Unit files by name.
fn unit_files(pushed: &Pushed) -> anyhow::Result<Files> {
    pushed.units().iter().map(|(name, unit)| Ok((format!("{name}.toml"), toml::to_string(unit)?))).collect()
}
