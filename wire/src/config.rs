//! Configuration that the server pushes. Keys keep the original's `mk_*` names; `None` means "as the image has it".

mod files;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::limits::{MAX_EXTENSION_NAME, MAX_EXTENSIONS, MAX_INTERVAL_S, MIN_INTERVAL_S};

/// Log levels that the original accepts.
pub const LOG_LEVELS: [&str; 5] = ["Logger::FATAL", "Logger::ERROR", "Logger::WARN", "Logger::INFO", "Logger::DEBUG"];

/// Keys that agents of this version apply. The others are the original's; agents keep them without effect.
pub const APPLIED: [&str; 14] = [
    "mk_checkin_interval",
    "mk_checkin_skew",
    "mk_fact_excl_pattern",
    "mk_log_level",
    "mk_tce_mirror_uri",
    "mk_tce_install_list_uri",
    "mk_kmod_install_list_uri",
    "mk_tce_repository",
    "mk_tce_kernel",
    "mk_tce_sha256",
    "mk_gem_mirror_uri",
    "mk_gemlist_uri",
    FACTS_D,
    UNITS,
];
/// The key of files with facts. Not the original's.
pub const FACTS_D: &str = "mk_facts_d";
/// The key of supervised programs. Not the original's.
pub const UNITS: &str = "mk_units";
/// Those of them that say which extensions are loaded, and from where.
pub const ABOUT_EXTENSIONS: [&str; 6] = [APPLIED[4], APPLIED[5], APPLIED[6], APPLIED[7], APPLIED[8], APPLIED[9]];

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
    /// URL of the extension mirror; without a host, it is on the server that the configuration came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_tce_mirror_uri: Option<String>,
    /// URL of the list of extensions to load; without a host, it is on the mirror.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_tce_install_list_uri: Option<String>,
    /// URL of the list of kernel modules to load; without a host, it is on the mirror.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_kmod_install_list_uri: Option<String>,
    /// URL of the gem mirror.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_gem_mirror_uri: Option<String>,
    /// URL of the gem list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_gemlist_uri: Option<String>,
    /// Release and architecture of the extensions on an external mirror, such as `17.x/x86_64`. Not the original's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_tce_repository: Option<String>,
    /// Kernel release that `KERNEL` stood for when the extensions were hashed. Not the original's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mk_tce_kernel: Option<String>,
    /// SHA-256 (hex) by extension file name, for extensions from an external mirror.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mk_tce_sha256: BTreeMap<String, String>,
    /// Files with facts, by name, with their text; see [`crate::fact_file`]. Not the original's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mk_facts_d: BTreeMap<String, String>,
    /// Supervised programs by the name of their unit, each with the fields of [`crate::unit::UnitFile`]; see [`Self::units`].
    /// A field that this version does not know makes the configuration one to be refused, not an answer that cannot be read.
    /// Not the original's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mk_units: BTreeMap<String, serde_json::Value>,
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
        let refuse = |key: &str, value: &str, want: &str| Err(wrong(key, value, want));
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
            ("mk_gem_mirror_uri", &self.mk_gem_mirror_uri),
            ("mk_gemlist_uri", &self.mk_gemlist_uri),
        ];
        for (key, url) in urls {
            if let Some(url) = url.as_deref().filter(|url| !is_url(url)) {
                return refuse(key, url, "an http:// or https:// URL");
            }
        }
        self.validate_extensions(refuse)?;
        self.validate_facts()?;
        self.units().map(drop)
    }

    fn validate_extensions(&self, refuse: impl Fn(&str, &str, &str) -> Result<(), Problem>) -> Result<(), Problem> {
        let urls = [
            ("mk_tce_mirror_uri", &self.mk_tce_mirror_uri, "on this server, such as /svc/repo/tce"),
            ("mk_tce_install_list_uri", &self.mk_tce_install_list_uri, "on the mirror, such as /tce-install-list"),
            ("mk_kmod_install_list_uri", &self.mk_kmod_install_list_uri, "on the mirror, such as /kmod-install-list"),
        ];
        for (key, url, place) in urls {
            if let Some(url) = url.as_deref().filter(|url| !is_url(url) && !is_path(url)) {
                return refuse(key, url, &format!("an http:// or https:// URL, or a path {place}"));
            }
        }
        let two_names = |text: &&str| text.split('/').count() == 2 && text.split('/').all(is_name);
        if let Some(text) = self.mk_tce_repository.as_deref().filter(|text| !two_names(text)) {
            return refuse("mk_tce_repository", text, "a release and an architecture, such as 17.x/x86_64");
        }
        if let Some(text) = self.mk_tce_kernel.as_deref().filter(|text| !is_name(text)) {
            return refuse("mk_tce_kernel", text, "a kernel release as `uname -r` prints it");
        }
        let digests = &self.mk_tce_sha256;
        if digests.len() > MAX_EXTENSIONS {
            return refuse(
                "mk_tce_sha256",
                &format!("a list of {}", digests.len()),
                &format!("at most {MAX_EXTENSIONS} long"),
            );
        }
        let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let is_file = |name: &str| name.ends_with(".tcz") && is_name(name);
        if let Some((name, digest)) = digests.iter().find(|(name, digest)| !is_file(name) || !is_digest(digest)) {
            let value = format!("{digest:.70} for {name:.260}");
            return refuse("mk_tce_sha256", &value, "a SHA-256 in hex for the name of a .tcz file");
        }
        Ok(())
    }
}

fn wrong(key: &str, value: &str, want: &str) -> Problem {
    Problem::new(
        "bad_config",
        format!("configuration key {key} is {value}; it must be {want}"),
        "Correct it on the server and it is pushed again.",
    )
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// A path on some server; `//host/…` would name another one.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.starts_with("//")
}

/// A file name that needs no quoting and leads nowhere else.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-~".contains(c);
    !text.is_empty() && text.len() <= MAX_EXTENSION_NAME && !text.starts_with('.') && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn keys_about_extensions() {
        let of = |json: serde_json::Value| serde_json::from_value::<Config>(json).unwrap().validate();
        let sha = "a".repeat(64);
        for good in [
            json!({"mk_tce_mirror_uri": "/svc/repo/tce", "mk_tce_install_list_uri": "/tce-install-list"}),
            json!({"mk_tce_mirror_uri": "http://m/tc", "mk_kmod_install_list_uri": "https://m/k"}),
            json!({"mk_tce_repository": "17.x/x86_64", "mk_tce_kernel": "6.18.2-tinycore64"}),
            json!({"mk_tce_sha256": {"bash.tcz": sha, "gtk+3-6.1_1.tcz": sha}}),
        ] {
            assert_eq!(of(good.clone()), Ok(()), "{good}");
        }
        for (bad, words) in [
            (json!({"mk_tce_mirror_uri": "ftp://m/"}), "mk_tce_mirror_uri is ftp://m/"),
            (json!({"mk_tce_mirror_uri": "//m/"}), "mk_tce_mirror_uri"),
            (json!({"mk_tce_install_list_uri": "list"}), "mk_tce_install_list_uri is list"),
            (json!({"mk_tce_repository": "../x"}), "mk_tce_repository"),
            (json!({"mk_tce_repository": "17.x"}), "17.x/x86_64"),
            (json!({"mk_tce_kernel": "6/1"}), "mk_tce_kernel"),
            (json!({"mk_tce_sha256": {"../bash.tcz": sha}}), "../bash.tcz"),
            (json!({"mk_tce_sha256": {"bash": sha}}), "for bash"),
            (json!({"mk_tce_sha256": {"bash.tcz": "abc"}}), "abc for bash.tcz"),
        ] {
            let problem = of(bad.clone()).unwrap_err();
            assert!(problem.error.contains(words), "{bad}: {problem}");
        }
    }
}
