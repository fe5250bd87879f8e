//! Configuration that the server pushed: checked whole, taken or refused, and kept as last-good for a restart of the
//! unit.

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use wire::checkin::{ConfigState, RefusedConfig};
use wire::config::Config;
use wire::error::Problem;
use wire::limits::MAX_PATTERN;

use crate::log::Level;
use crate::state::Published;

/// The configuration in force. Written by `checkin`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pushed {
    /// Its version; 0 when none was ever pushed.
    pub(crate) version: u64,
    /// Its keys.
    pub(crate) config: Config,
    /// A later one that was refused.
    pub(crate) refused: Option<RefusedConfig>,
}

impl Published for Pushed {
    const NAME: &'static str = "config";
}

impl Pushed {
    /// Takes a configuration if all of it can be taken. Tells whether something changed.
    pub(super) fn consider(&mut self, version: u64, config: &Config) -> bool {
        let known = self.refused.as_ref().map_or(self.version, |r| r.version);
        if version == self.version || version == known {
            return false;
        }
        match config.validate().and_then(|()| pattern(config).map(drop)) {
            Ok(()) => *self = Self { version, config: config.clone(), refused: None },
            Err(problem) => self.refused = Some(RefusedConfig { version, problem }),
        }
        true
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
}
