//! Configuration that the server pushed: checked whole, taken or refused, and kept as last-good for a restart of the
//! unit. One that changes where extensions come from is a candidate until the unit `ext` has applied it; if that does
//! not work, the one before stays in force as a whole.

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use wire::checkin::{ConfigState, RefusedConfig};
use wire::config::Config;
use wire::error::Problem;
use wire::extensions::differ;
use wire::limits::MAX_PATTERN;

use crate::log::Level;
use crate::state::{Applied, Published};

/// The configuration in force. Written by `checkin`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pushed {
    /// Its version; 0 when none was ever pushed.
    pub(crate) version: u64,
    /// Its keys.
    pub(crate) config: Config,
    /// A later one that was refused.
    pub(crate) refused: Option<RefusedConfig>,
    /// A later one that the unit `ext` is applying.
    #[serde(default)]
    pub(crate) candidate: Option<Candidate>,
    /// Candidates that there were in this boot.
    #[serde(default)]
    candidates: u64,
    /// Mirror and list of gems that the unit `gems` was told of last. Kept here, so that a crash before it was told is
    /// made good.
    #[serde(default)]
    gems: [Option<String>; 2],
}

/// A configuration that is good if what it says of extensions can be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    /// Its version.
    pub(crate) version: u64,
    /// Which one of this boot; versions of different servers may be the same.
    #[serde(default)]
    pub(crate) number: u64,
    /// Its keys.
    pub(crate) config: Config,
}

impl Published for Pushed {
    const NAME: &'static str = "config";
}

impl Pushed {
    /// Takes a configuration if all of it can be taken, or makes it the candidate. Tells whether something changed.
    pub(super) fn consider(&mut self, version: u64, config: &Config) -> bool {
        let refused = self.refused.as_ref().map(|r| r.version);
        let candidate = self.candidate.as_ref().map(|c| c.version);
        // While one is being applied, another server's or an operator's return to the former one counts as news.
        let known = candidate.or(refused).unwrap_or(self.version);
        if version == known || (candidate.is_none() && version == self.version) {
            return false;
        }
        match config.validate().and_then(|()| pattern(config).map(drop)) {
            Ok(()) if differ(config, &self.config) => {
                self.candidates += 1;
                self.candidate = Some(Candidate { version, number: self.candidates, config: config.clone() });
            }
            Ok(()) => self.take(version, config.clone()),
            Err(problem) => {
                self.refused = Some(RefusedConfig { version, problem });
                self.candidate = None;
            }
        }
        true
    }

    /// Takes the candidate, or goes on without it, once it was applied. Tells whether something changed.
    pub(super) fn settle(&mut self, applied: &Applied) -> bool {
        let Some(candidate) = self.candidate.take_if(|c| c.number == applied.number) else { return false };
        let Candidate { version, config, .. } = candidate;
        match &applied.refused {
            None => self.take(version, config),
            Some(problem) => self.refused = Some(RefusedConfig { version, problem: problem.clone() }),
        }
        true
    }

    fn take(&mut self, version: u64, config: Config) {
        let (candidates, gems) = (self.candidates, std::mem::take(&mut self.gems));
        *self = Self { version, config, refused: None, candidate: None, candidates, gems };
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
        ConfigState { version: self.version, refused: self.refused.clone() }
    }

    /// Names of facts that are not sent.
    pub(super) fn excluded(&self) -> Option<Regex> {
        pattern(&self.config).ok().flatten()
    }

    /// How much is logged, if that was pushed.
    pub(super) fn level(&self) -> Option<Level> {
        match self.config.mk_log_level.as_deref()? {
            "Logger::FATAL" | "Logger::ERROR" => Some(Level::Error),
            "Logger::WARN" => Some(Level::Warn),
            "Logger::INFO" => Some(Level::Info),
            "Logger::DEBUG" => Some(Level::Debug),
            _ => None,
        }
    }
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
mod tests {
    use super::*;

    #[test]
    fn a_sound_configuration_replaces_the_one_before_as_a_whole() {
        let mut pushed = Pushed::default();
        let one =
            Config { mk_checkin_interval: Some(15), mk_fact_excl_pattern: Some("^x".into()), ..Config::default() };
        assert!(pushed.consider(1, &one));
        assert!(!pushed.consider(1, &one), "the same version once");
        assert!(pushed.excluded().unwrap().is_match("xyz"));
        assert!(pushed.consider(2, &Config { mk_log_level: Some("Logger::DEBUG".into()), ..Config::default() }));
        assert_eq!((pushed.config.mk_checkin_interval, pushed.level()), (None, Some(Level::Debug)));
        assert_eq!(pushed.state(), ConfigState { version: 2, refused: None });
    }

    #[test]
    fn a_wrong_one_is_refused_as_a_whole_and_reported() {
        let mut pushed = Pushed::default();
        pushed.consider(1, &Config { mk_checkin_interval: Some(15), ..Config::default() });
        let wrong = [
            Config { mk_checkin_interval: Some(20), mk_log_level: Some("LOUD".into()), ..Config::default() },
            Config { mk_fact_excl_pattern: Some("(".into()), ..Config::default() },
            Config { mk_fact_excl_pattern: Some("x".repeat(5000)), ..Config::default() },
        ];
        for (version, config) in (2..).zip(wrong) {
            assert!(pushed.consider(version, &config));
            assert!(!pushed.consider(version, &config), "no second judgement of the same version");
            let state = pushed.state();
            assert_eq!((state.version, pushed.config.mk_checkin_interval), (1, Some(15)));
            let refused = state.refused.unwrap();
            assert_eq!((refused.version, refused.problem.code.as_str()), (version, "bad_config"));
        }
        assert!(pushed.consider(9, &Config::default()));
        assert_eq!(pushed.state().refused, None);
    }

    #[test]
    fn a_gem_mirror_is_news_until_it_was_told() {
        let gems = |uri: Option<&str>| Config { mk_gem_mirror_uri: uri.map(str::to_owned), ..Config::default() };
        let mut pushed = Pushed::default();
        assert!(!pushed.has_news_for_gems());
        pushed.consider(1, &gems(Some("http://m")));
        let text = serde_json::to_string(&pushed).unwrap();
        let mut pushed: Pushed = serde_json::from_str(&text).unwrap();
        assert!(pushed.has_news_for_gems(), "after a crash too");
        pushed.gems_know();
        pushed.consider(2, &Config { mk_checkin_interval: Some(15), ..gems(Some("http://m")) });
        assert!(!pushed.has_news_for_gems(), "another key changed");
        pushed.consider(3, &gems(None));
        assert!(pushed.has_news_for_gems(), "back to the image's own");
    }

    #[test]
    fn a_mirror_is_taken_once_its_extensions_are_loaded_and_left_as_a_whole_otherwise() {
        let mirror = |uri: &str, interval| Config {
            mk_tce_mirror_uri: Some(uri.to_owned()),
            mk_checkin_interval: Some(interval),
            ..Config::default()
        };
        let applied = |number, works: bool| Applied {
            version: number + 1,
            number,
            refused: (!works).then(|| Problem::new("extensions", "a.tcz is refused", "r")),
            warnings: Vec::new(),
        };
        let mut pushed = Pushed::default();
        pushed.consider(1, &Config { mk_checkin_interval: Some(15), ..Config::default() });
        assert!(pushed.consider(2, &mirror("http://m", 20)));
        assert!(!pushed.consider(2, &mirror("http://m", 20)), "the server sends it again meanwhile");
        assert_eq!((pushed.state().version, pushed.config.mk_checkin_interval), (1, Some(15)), "not yet");
        assert!(!pushed.settle(&applied(0, true)), "that was another one");
        assert!(pushed.settle(&applied(1, true)) && !pushed.settle(&applied(1, true)));
        assert_eq!((pushed.state().version, pushed.config.mk_checkin_interval), (2, Some(20)));

        assert!(pushed.consider(3, &mirror("http://n", 30)) && pushed.settle(&applied(2, false)));
        assert_eq!((pushed.state().version, pushed.config.clone()), (2, mirror("http://m", 20)), "rolled back");
        assert_eq!(pushed.state().refused.unwrap().problem.error, "a.tcz is refused");
        assert!(!pushed.consider(3, &mirror("http://n", 30)), "not tried again by itself");
        assert!(pushed.consider(4, &mirror("http://n", 30)), "but when it is said again");
        assert!(pushed.consider(5, &mirror("http://m", 40)), "and a later one takes its place");
        assert_eq!((pushed.candidate.clone(), pushed.state().version), (None, 5));

        pushed.consider(6, &mirror("http://n", 30));
        assert!(pushed.consider(5, &mirror("http://m", 40)), "taken back before it was applied");
        assert_eq!((pushed.candidate.clone(), pushed.state().version), (None, 5));

        pushed.consider(3, &mirror("http://of-another-server", 30));
        let former = Applied { version: 3, ..applied(2, true) };
        assert!(!pushed.settle(&former), "the former server's version 3 is not this one's");
        assert_eq!(pushed.state().version, 5);
    }
}
