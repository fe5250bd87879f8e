//! Configuration that the server pushed, or root on this machine posted: checked whole, taken or refused, and kept as
//! last-good for a restart of the unit. One that changes where extensions come from, or which units there are, is a candidate
//! until that has shown to work: first the unit `ext` applies it, then its units run on trial. If either fails, the one
//! before stays in force as a whole. Pure.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use wire::checkin::{ConfigState, RefusedConfig};
use wire::config::Config;
use wire::error::Problem;
use wire::extensions::differ;
use wire::limits::MAX_PATTERN;
use wire::unit::UnitFile;

use crate::log::Level;
use crate::state::{Applied, Published};

/// The configuration in force. Written by `checkin`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Pushed {
    /// Its version; 0 when none was ever pushed. A posted one has that of the one before.
    pub(crate) version: u64,
    /// The server's word for its content.
    pub(crate) digest: Option<String>,
    /// It was posted to this machine.
    pub(crate) posted: bool,
    /// Its keys.
    pub(crate) config: Config,
    /// A later one of the server that was refused.
    pub(crate) refused: Option<RefusedConfig>,
    /// A later one that is being tried.
    pub(crate) candidate: Option<Candidate>,
    /// Candidates that there were in this boot.
    candidates: u64,
    /// Mirror and list of gems that the unit `gems` was told of last. Kept here, so that a crash before it was told is
    /// made good.
    gems: [Option<String>; 2],
    /// The unit `ext` was not told yet that the mirror is the former one again.
    pub(super) mirror_returned: bool,
    /// Numbers of signed indexes that the server knows of this node's boots before, by key.
    pub(crate) mirror_index: BTreeMap<String, u64>,
    /// What became of the last one that was posted.
    pub(crate) answer: Option<Answer>,
}

/// A configuration that is good if what it says of extensions can be done, and its units run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Candidate {
    /// Its version.
    pub(crate) version: u64,
    /// The server's word for its content.
    pub(crate) digest: Option<String>,
    /// It was posted to this machine, under this number.
    pub(crate) posted: Option<u64>,
    /// Which one of this boot; versions of different servers may be the same.
    pub(crate) number: u64,
    /// Its keys.
    pub(crate) config: Config,
    /// What it waits for.
    pub(crate) stage: Stage,
}

/// What a candidate waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// The unit `ext`.
    #[default]
    Extensions,
    /// Its units, which the supervisor has known since this uptime; none while it does not.
    Units(Option<f64>),
}

/// What became of a posted configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Number under which it was posted.
    pub(crate) number: u64,
    /// Why it did not take.
    pub(crate) refused: Option<Problem>,
}

/// What came of a configuration just now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// It is in force.
    Taken,
    /// It is a candidate, which waits for this.
    Tried(Stage),
    /// The one before stays in force.
    Refused(Problem),
}

impl Published for Pushed {
    const NAME: &'static str = "config";
}

impl Candidate {
    /// One that the server pushed.
    pub(super) fn of_server(version: u64, digest: Option<String>, config: Config) -> Self {
        Self { version, digest, config, ..Self::default() }
    }
}

impl Pushed {
    /// Takes a configuration of the server if all of it can be taken, or makes it the candidate; `None` for one that is known.
    pub(super) fn consider(&mut self, offer: Candidate) -> Option<Outcome> {
        let is = |version: u64, digest: &Option<String>| version == offer.version && *digest == offer.digest;
        // While one is being tried, another server's or an operator's return to the former one counts as news.
        let known = match (&self.candidate, &self.refused) {
            (Some(candidate), _) => is(candidate.version, &candidate.digest),
            (None, refused) => {
                is(self.version, &self.digest) || refused.as_ref().is_some_and(|r| is(r.version, &r.digest))
            }
        };
        (!known).then(|| self.weigh(offer))
    }

    /// Takes one that was posted under this number, in the place of the one in force and until the server pushes another; `None`
    /// for one that was dealt with.
    pub(super) fn post(&mut self, number: u64, config: &Config) -> Option<Outcome> {
        if self.answer.as_ref().is_some_and(|a| a.number >= number) {
            return None;
        }
        self.answer = Some(Answer { number, refused: None });
        let (version, digest, posted) = (self.version, self.digest.clone(), Some(number));
        let offer = Candidate { version, digest, posted, config: config.clone(), ..Candidate::default() };
        Some(self.weigh(offer))
    }

    /// Takes over what the server says of signed indexes by these keys: numbers only rise. Tells whether one did.
    pub(super) fn raise(&mut self, told: &BTreeMap<String, u64>, keys: &[String]) -> bool {
        let mut is_news = false;
        for (key, number) in told.iter().filter(|(key, _)| keys.contains(key)) {
            let known = self.mirror_index.entry(key.clone()).or_default();
            is_news |= number > known;
            *known = (*known).max(*number);
        }
        is_news
    }

    fn weigh(&mut self, offer: Candidate) -> Outcome {
        self.candidate = None;
        match check(&offer.config) {
            Err(problem) => self.refuse(offer, problem),
            Ok(()) if differ(&offer.config, &self.config) => self.attempt(offer, Stage::Extensions),
            Ok(()) => self.extended(offer),
        }
    }

    /// What it says of extensions is done.
    fn extended(&mut self, offer: Candidate) -> Outcome {
        if offer.config.mk_units == self.config.mk_units {
            self.take(offer)
        } else {
            self.attempt(offer, Stage::Units(None))
        }
    }

    fn attempt(&mut self, offer: Candidate, stage: Stage) -> Outcome {
        if offer.number == 0 {
            self.candidates += 1;
        }
        self.candidate = Some(Candidate { number: self.candidates, stage, ..offer });
        Outcome::Tried(stage)
    }

    /// Goes on with the candidate, or without it, once the unit `ext` was there; `None` where that is another's word.
    pub(super) fn settle(&mut self, applied: &Applied) -> Option<Outcome> {
        let waits = |c: &mut Candidate| c.number == applied.number && c.stage == Stage::Extensions;
        let candidate = self.candidate.take_if(waits)?;
        Some(match &applied.refused {
            None => self.extended(candidate),
            Some(problem) => self.refuse(candidate, problem.clone()),
        })
    }

    /// The candidate's units are to run.
    pub(super) fn has_trial(&self) -> bool {
        self.candidate.as_ref().is_some_and(|c| matches!(c.stage, Stage::Units(_)))
    }

    /// The candidate's units are there, and the supervisor does not know them yet.
    pub(super) fn awaits_supervisor(&self) -> bool {
        self.candidate.as_ref().is_some_and(|c| c.stage == Stage::Units(None))
    }

    /// The supervisor knows the candidate's units from now on. Tells whether that is news.
    pub(super) fn begin_trial(&mut self, now_s: f64) -> bool {
        match self.candidate.as_mut().map(|c| &mut c.stage) {
            Some(Stage::Units(since @ None)) => {
                *since = Some(now_s);
                true
            }
            _ => false,
        }
    }

    /// Takes the candidate, or goes on without it, once its units were on trial; `None` where there was no trial.
    pub(super) fn end_trial(&mut self, verdict: Result<(), Problem>) -> Option<Outcome> {
        let candidate = self.candidate.take_if(|c| matches!(c.stage, Stage::Units(_)))?;
        Some(match verdict {
            Ok(()) => self.take(candidate),
            Err(problem) => {
                self.mirror_returned |= differ(&candidate.config, &self.config);
                self.refuse(candidate, problem)
            }
        })
    }

    /// Units that are on trial: since when, and those that are not as before.
    pub(super) fn on_trial(&self) -> Option<(f64, BTreeMap<String, UnitFile>)> {
        let candidate = self.candidate.as_ref()?;
        let Stage::Units(Some(since)) = candidate.stage else { return None };
        let before = &self.config.mk_units;
        let mut changed = candidate.config.units().unwrap_or_default();
        changed.retain(|name, _| before.get(name) != candidate.config.mk_units.get(name));
        Some((since, changed))
    }

    /// Goes back to how it was before a configuration was taken that cannot be in force after all.
    pub(super) fn take_back(&mut self, before: Self, problem: Problem) -> Outcome {
        let Self { version, digest, posted, config, answer, .. } = std::mem::replace(self, before);
        self.candidate = None;
        self.mirror_returned |= differ(&config, &self.config);
        let posted = answer.filter(|_| posted).map(|answer| answer.number);
        self.refuse(Candidate { version, digest, posted, ..Candidate::default() }, problem)
    }

    fn refuse(&mut self, offer: Candidate, problem: Problem) -> Outcome {
        let Candidate { version, digest, posted, .. } = offer;
        let why = problem.clone();
        match posted {
            Some(number) => self.answer = Some(Answer { number, refused: Some(problem) }),
            None => self.refused = Some(RefusedConfig { version, digest, problem }),
        }
        Outcome::Refused(why)
    }

    fn take(&mut self, offer: Candidate) -> Outcome {
        let Candidate { version, digest, posted, config, .. } = offer;
        // What is posted says nothing of what the server pushed.
        self.refused.take_if(|_| posted.is_none());
        (self.version, self.digest, self.posted, self.config) = (version, digest, posted.is_some(), config);
        Outcome::Taken
    }

    /// Units that are to run: those on trial, or those in force.
    pub(super) fn units(&self) -> BTreeMap<String, UnitFile> {
        let candidate = self.candidate.as_ref().filter(|c| matches!(c.stage, Stage::Units(_)));
        // Both were checked.
        candidate.map_or(&self.config, |c| &c.config).units().unwrap_or_default()
    }

    /// Whether the unit `gems` works with another mirror or list than this says.
    pub(super) fn has_news_for_gems(&self) -> bool {
        self.gems != self.wanted_gems()
    }

    /// The unit `gems` was told.
    pub(super) fn gems_know(&mut self) {
        self.gems = self.wanted_gems();
    }

    /// Its mirror and list of gems.
    fn wanted_gems(&self) -> [Option<String>; 2] {
        [self.config.mk_gem_mirror_uri.clone(), self.config.mk_gemlist_uri.clone()]
    }

    /// What the server is told about it.
    pub(super) fn state(&self) -> ConfigState {
        let Self { version, digest, posted, refused, .. } = self.clone();
        ConfigState { version, digest, posted, refused }
    }

    /// Seconds until the next check-in as the server wants them: a posted interval counts where it is shorter. With a longer
    /// one the server would take this machine for gone.
    pub(super) fn interval(&self, asked: Option<u32>) -> Option<u32> {
        let own = self.config.mk_checkin_interval.filter(|_| self.posted);
        asked.map(|asked| own.map_or(asked, |own| own.min(asked)))
    }

    /// Names of facts that are not sent.
    pub(super) fn excluded(&self) -> Option<Regex> {
        pattern(&self.config).ok().flatten()
    }

    /// How much is logged, if that was pushed.
    pub(crate) fn level(&self) -> Option<Level> {
        match self.config.mk_log_level.as_deref()? {
            "Logger::FATAL" | "Logger::ERROR" => Some(Level::Error),
            "Logger::WARN" => Some(Level::Warn),
            "Logger::INFO" => Some(Level::Info),
            "Logger::DEBUG" => Some(Level::Debug),
            _ => None,
        }
    }
}

/// Checks a configuration as a whole.
///
/// # Errors
/// `bad_config` with the first wrong key, its value and what it must be.
pub(crate) fn check(config: &Config) -> Result<(), Problem> {
    config.validate()?;
    pattern(config).map(drop)
}

fn pattern(config: &Config) -> Result<Option<Regex>, Problem> {
    let Some(text) = config.mk_fact_excl_pattern.as_deref().filter(|t| !t.is_empty()) else { return Ok(None) };
    let refuse = |why: String| {
        let text = format!("configuration key mk_fact_excl_pattern is `{text:.80}`: {why}");
        Problem::new("bad_config", text, "Correct it on the server and it is pushed again.")
    };
    if text.len() > MAX_PATTERN {
        return Err(refuse(format!("it has {} bytes, more than {MAX_PATTERN}", text.len())));
    }
    Regex::new(text).map(Some).map_err(|why| refuse(why.to_string()))
}

#[cfg(test)]
mod tests;
