//! `config.toml`: the server's settings, under razor-server's names. A wrong one is refused with its key and value.

pub mod patterns;
pub mod webhook;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use wire::limits::{DEFAULT_INTERVAL_S, MAX_INTERVAL_S, MIN_INTERVAL_S};

use crate::identity::canonical::KEYS;
use patterns::Patterns;
use webhook::Webhook;

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// Keys by which nodes are told apart, sorted.
    pub match_nodes_on: Vec<String>,
    /// Which machines that were never accepted are.
    pub enrolment: Enrolment,
    /// Facts that identify a machine too.
    pub match_facts: Patterns,
    /// Facts that are not stored.
    pub blacklist: Patterns,
    /// A new node counts as installed until an operator says otherwise.
    pub protect_new_nodes: bool,
    /// Seconds between check-ins.
    pub checkin_interval: u32,
    /// Further arguments on the microkernel's command line.
    pub kernel_args: String,
    /// `quiet` or `debug` for the microkernel's command line; empty for neither.
    pub debug_level: String,
    /// What razor-el-mk clients put beside their own programs.
    pub extension_zip: Option<PathBuf>,
    /// Who is told what happens.
    pub webhooks: Vec<Webhook>,
    /// Which reports are kept.
    pub history: History,
}

/// Which reports of a node are kept, beside its first and its newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// So many of the newest.
    pub keep_reports: u32,
    /// Those of so many days; 0: however old.
    pub keep_days: u32,
}

impl Default for History {
    fn default() -> Self {
        Self { keep_reports: 200, keep_days: 0 }
    }
}

/// How a machine that this server has never accepted becomes a node that it works with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enrolment {
    /// By its first report.
    #[default]
    Open,
    /// By an operator's word.
    Approve,
    /// By an enrolment token that its image carries, or an operator's word.
    Token,
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    match_nodes_on: Vec<String>,
    enrolment: Enrolment,
    facts: FactsFile,
    protect_new_nodes: bool,
    checkin_interval: u32,
    microkernel: MicrokernelFile,
    webhook: Vec<Webhook>,
    history: History,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FactsFile {
    match_on: Vec<String>,
    blacklist: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MicrokernelFile {
    kernel_args: String,
    debug_level: String,
    #[serde(rename = "extension-zip", alias = "extension_zip")]
    extension_zip: Option<PathBuf>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            match_nodes_on: vec!["mac".to_owned()],
            enrolment: Enrolment::default(),
            facts: FactsFile::default(),
            protect_new_nodes: false,
            checkin_interval: DEFAULT_INTERVAL_S,
            microkernel: MicrokernelFile::default(),
            webhook: Vec::new(),
            history: History::default(),
        }
    }
}

impl Default for FactsFile {
    fn default() -> Self {
        let blacklist = [
            "domain",
            "filesystems",
            "fqdn",
            "hostname",
            "id",
            "/kernel.*/",
            "memoryfree",
            "memorysize",
            "memorytotal",
            "/operatingsystem.*/",
            "osfamily",
            "path",
            "ps",
            "rubysitedir",
            "rubyversion",
            "selinux",
            "sshdsakey",
            "/sshfp_[dr]sa/",
            "sshrsakey",
            "/swap.*/",
            "timezone",
            "/uptime.*/",
        ];
        Self { match_on: Vec::new(), blacklist: blacklist.map(str::to_owned).to_vec() }
    }
}

impl Config {
    /// Reads `file`, or gives the defaults without one.
    ///
    /// # Errors
    /// Names the file, and the key and value that cannot be used.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = file else { return Self::parse("") };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration {}; check --config", path.display()))?;
        Self::parse(&text).with_context(|| format!("the configuration {} cannot be used", path.display()))
    }

    /// Parses and checks a configuration.
    ///
    /// # Errors
    /// Names the key and value that cannot be used.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let file: File = toml::from_str(text)?;
        ensure!(
            !file.match_nodes_on.is_empty(),
            "match_nodes_on is empty; it needs at least one of {}",
            KEYS.join(", ")
        );
        for key in &file.match_nodes_on {
            ensure!(KEYS.contains(&key.as_str()), "match_nodes_on has {key:?}; it may only have {}", KEYS.join(", "));
        }
        let interval = file.checkin_interval;
        ensure!(
            (MIN_INTERVAL_S..=MAX_INTERVAL_S).contains(&interval),
            "checkin_interval is {interval}; it must be from {MIN_INTERVAL_S} to {MAX_INTERVAL_S} seconds"
        );
        ensure!(file.history.keep_reports > 0, "history.keep_reports is 0; it must be at least 1");
        let MicrokernelFile { kernel_args, debug_level, extension_zip } = file.microkernel;
        // It becomes part of a script that machines carry out line by line.
        if let Some(odd) = kernel_args.chars().find(|c| !matches!(c, ' '..='~') || *c == '$') {
            bail!("microkernel.kernel_args has {odd:?}; it must be one line of printable ASCII without $");
        }
        ensure!(
            matches!(debug_level.as_str(), "" | "quiet" | "debug"),
            "microkernel.debug_level is {debug_level:?}; it must be \"quiet\", \"debug\" or left out"
        );
        webhook::check(&file.webhook)?;
        let mut match_nodes_on = file.match_nodes_on;
        match_nodes_on.sort();
        match_nodes_on.dedup();
        Ok(Self {
            match_nodes_on,
            enrolment: file.enrolment,
            match_facts: Patterns::compile("facts.match_on", &file.facts.match_on)?,
            blacklist: Patterns::compile("facts.blacklist", &file.facts.blacklist)?,
            protect_new_nodes: file.protect_new_nodes,
            checkin_interval: interval,
            kernel_args: kernel_args.trim().to_owned(),
            debug_level,
            extension_zip,
            webhooks: file.webhook,
            history: file.history,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_originals_but_for_the_agents_interval() {
        let config = Config::parse("").unwrap();
        assert_eq!(config.match_nodes_on, ["mac"]);
        assert_eq!(config.checkin_interval, DEFAULT_INTERVAL_S);
        assert!(!config.protect_new_nodes);
        assert!(config.blacklist.matches("uptime_days") && !config.blacklist.matches("macaddress"));
        assert!(!config.match_facts.matches(""));
    }

    #[test]
    fn a_users_facts_block_replaces_its_own_keys_only() {
        let config = Config::parse("[facts]\nmatch_on = [\"f1\"]").unwrap();
        assert!(config.match_facts.matches("f1") && config.blacklist.matches("ps"));
    }

    #[test]
    fn wrong_values_are_named() {
        for (text, words) in [
            ("match_nodes_on = []", vec!["match_nodes_on"]),
            ("match_nodes_on = [\"ip\"]", vec!["match_nodes_on", "\"ip\"", "serial"]),
            ("enrolment = \"closed\"", vec!["enrolment", "closed", "approve"]),
            ("checkin_interval = 0", vec!["checkin_interval", "0", "86400"]),
            ("checkin_interval = \"x\"", vec!["checkin_interval"]),
            ("[microkernel]\ndebug_level = \"loud\"", vec!["debug_level", "loud"]),
            ("[microkernel]\nkernel_args = \"a\\nb\"", vec!["kernel_args"]),
            ("[facts]\nblacklist = [\"/[/\"]", vec!["facts.blacklist", "/[/"]),
            ("[history]\nkeep_reports = 0", vec!["history.keep_reports", "1"]),
            ("[history]\nkeep_days = -1", vec!["keep_days", "-1"]),
            ("[history]\nkeep = 5", vec!["keep", "keep_days"]),
            ("no_such_key = 1", vec!["no_such_key"]),
            ("[[webhook]]\nurl = \"ftp://h\"\nsecret_file = \"s\"", vec!["webhook.url", "ftp://h", "https://"]),
            ("[[webhook]]\nurl = \"h\"\nsecret_file = \"s\"", vec!["webhook.url", "\"h\""]),
            ("[[webhook]]\nurl = \"http://h\"", vec!["secret_file"]),
            ("[[webhook]]\nurl = \"http://h\"\nsecret_file = \"s\"\nca_file = \"c\"", vec!["ca_file", "http://h"]),
            (
                "[[webhook]]\nurl = \"http://h\"\nsecret_file = \"s\"\n[[webhook]]\nurl = \"http://h\"\nsecret_file = \"t\"",
                vec!["two webhooks", "http://h"],
            ),
        ] {
            let error = format!("{:#}", Config::parse(text).unwrap_err());
            for word in words {
                assert!(error.contains(word), "{text}: {error}");
            }
        }
    }
}
