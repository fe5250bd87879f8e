//! Configuration that the server pushes. Keys keep the original's `mk_*` names; `None` means "as the image has it".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::limits::{MAX_INTERVAL_S, MIN_INTERVAL_S};

/// Log levels that the original accepts.
pub const LOG_LEVELS: [&str; 5] = ["Logger::FATAL", "Logger::ERROR", "Logger::WARN", "Logger::INFO", "Logger::DEBUG"];

/// Keys that agents of this version apply. The others are the original's; agents keep them without effect.
pub const APPLIED: [&str; 4] = ["mk_checkin_interval", "mk_checkin_skew", "mk_fact_excl_pattern", "mk_log_level"];

/// Pushed configuration. Unknown keys are kept in `other` and reported, never half-understood.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Seconds between check-ins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_checkin_interval: Option<u32>,
    /// Largest random delay in seconds, once per start and per configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_checkin_skew: Option<u32>,
    /// Regular expression of fact names that are not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_fact_excl_pattern: Option<String>,
    /// One of [`LOG_LEVELS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_log_level: Option<String>,
    /// URL of the server that the node should use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_uri: Option<String>,
    /// URL of the extension mirror.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_tce_mirror_uri: Option<String>,
    /// URL of the list of extensions to install.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_tce_install_list_uri: Option<String>,
    /// URL of the list of kernel modules to load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_kmod_install_list_uri: Option<String>,
    /// URL of the gem mirror.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_gem_mirror_uri: Option<String>,
    /// URL of the gem list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_gemlist_uri: Option<String>,
    /// SHA-256 (hex) by extension file name, for extensions from an external mirror.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mk_tce_sha256: BTreeMap<String, String>,
    /// Whatever else was pushed.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl Config {
    /// Checks all values that need no regular expression engine; the first wrong one is named. A configuration is
    /// taken as a whole or not at all.
    ///
    /// # Errors
    /// `bad_config` with the key, the value and the accepted range.
    pub fn validate(&self) -> Result<(), Problem> {
        let refuse = |key: &str, value: &str, want: &str| {
            Err(Problem::new(
                "bad_config",
                format!("configuration key {key} is {value}; it must be {want}"),
                "Correct it on the server and it is pushed again.",
            ))
        };
        if let Some(s) = self.mk_checkin_interval.filter(|s| !(MIN_INTERVAL_S..=MAX_INTERVAL_S).contains(s)) {
            let want = format!("from {MIN_INTERVAL_S} to {MAX_INTERVAL_S} seconds");
            return refuse("mk_checkin_interval", &s.to_string(), &want);
        }
        if let Some(s) = self.mk_checkin_skew.filter(|s| *s > MAX_INTERVAL_S) {
            return refuse("mk_checkin_skew", &s.to_string(), &format!("at most {MAX_INTERVAL_S} seconds"));
        }
        if let Some(level) = self.mk_log_level.as_deref().filter(|l| !LOG_LEVELS.contains(l)) {
            return refuse("mk_log_level", level, &format!("one of {}", LOG_LEVELS.join(", ")));
        }
        let urls = [
            ("mk_uri", &self.mk_uri),
            ("mk_tce_mirror_uri", &self.mk_tce_mirror_uri),
            ("mk_tce_install_list_uri", &self.mk_tce_install_list_uri),
            ("mk_kmod_install_list_uri", &self.mk_kmod_install_list_uri),
            ("mk_gem_mirror_uri", &self.mk_gem_mirror_uri),
            ("mk_gemlist_uri", &self.mk_gemlist_uri),
        ];
        for (key, url) in urls {
            if let Some(url) = url.as_deref().filter(|u| !u.starts_with("http://") && !u.starts_with("https://")) {
                return refuse(key, url, "an http:// or https:// URL");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_refused_by_key_and_value() {
        let cases = [
            (Config { mk_checkin_interval: Some(0), ..Config::default() }, "mk_checkin_interval is 0"),
            (Config { mk_checkin_skew: Some(90_000), ..Config::default() }, "mk_checkin_skew is 90000"),
            (Config { mk_log_level: Some("INFO".into()), ..Config::default() }, "mk_log_level is INFO"),
            (Config { mk_uri: Some("razor".into()), ..Config::default() }, "mk_uri is razor"),
        ];
        for (config, want) in cases {
            let problem = config.validate().unwrap_err();
            assert!(problem.error.contains(want), "{problem} does not say {want}");
        }
        assert_eq!(Config::default().validate(), Ok(()));
    }
}
