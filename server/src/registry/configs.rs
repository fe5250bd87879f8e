//! Configuration for nodes: which keys there are, what a node is sent, and what it says of it.

use regex_lite::Regex;
use serde_json::{Value, json};
use wire::checkin::ConfigState;
use wire::config::{APPLIED, Config};
use wire::digest::sha256_hex;
use wire::error::Problem;
use wire::limits::MAX_PATTERN;

use crate::registry::Refusal;
use crate::store::configs::{self, Keys, Stored};
use crate::store::history;
use crate::store::nodes::Node;
use crate::store::sql::Connection;

/// Hex digits of a configuration's digest: it only tells two of one version apart.
const DIGEST_DIGITS: usize = 16;

/// What a node should have.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The keys of all nodes.
    pub all: Stored,
    /// Its own, which come before those.
    pub own: Stored,
}

impl Wanted {
    /// What this node should have.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(db: &mut Connection, node: i64) -> anyhow::Result<Self> {
        let (all, own) = configs::both(db, node).await?;
        Ok(Self { all, own })
    }

    /// Its version; 0 when nothing was ever configured.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.all.version.max(self.own.version)
    }

    /// Its keys.
    #[must_use]
    pub fn keys(&self) -> Keys {
        let mut keys = self.all.keys.clone();
        keys.extend(self.own.keys.clone());
        keys
    }

    /// Tells it from another configuration of the same version: a restored database counts on from an earlier one.
    #[must_use]
    pub fn digest(&self) -> String {
        // Keys of a map are in order.
        let mut digest = sha256_hex(Value::from(self.keys()).to_string().as_bytes());
        digest.truncate(DIGEST_DIGITS);
        digest
    }

    /// Its keys, if the node is to be sent them: it neither has nor refused this one. Agents of before know versions only.
    ///
    /// # Errors
    /// When the database holds something damaged.
    pub fn news(&self, said: Option<&ConfigState>) -> anyhow::Result<Option<Config>> {
        let version = u64::try_from(self.version())?;
        let is_this = |said: u64, other: Option<&String>| said == version && other.is_none_or(|o| *o == self.digest());
        let has = said.map_or(version == 0, |s| is_this(s.version, s.digest.as_ref()));
        let refused = said.and_then(|s| s.refused.as_ref()).is_some_and(|r| is_this(r.version, r.digest.as_ref()));
        if has || refused {
            return Ok(None);
        }
        Ok(Some(serde_json::from_value(self.keys().into())?))
    }

    /// Seconds between its check-ins, unless that is left to `usual`.
    #[must_use]
    pub fn interval(&self, usual: u32) -> u32 {
        let pushed = self.keys().get("mk_checkin_interval").and_then(Value::as_u64);
        pushed.and_then(|s| u32::try_from(s).ok()).unwrap_or(usual)
    }
}

/// Reads a key and its value; text is taken for what it spells where the key wants no text.
///
/// # Errors
/// `bad_config` for a key that there is not, that no agent applies, or whose value is wrong.
pub fn read(key: &str, value: &Value) -> Result<Value, Refusal> {
    known(key)?;
    if value.is_null() {
        return Err(bad(format!("configuration key {key} is null; unset it instead")));
    }
    let parse = |value: &Value| {
        let mut keys = Keys::new();
        keys.insert(key.to_owned(), value.clone());
        serde_json::from_value::<Config>(keys.into())
    };
    let spelt = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    let (value, config) = match (parse(value), spelt) {
        (Ok(config), _) => (value.clone(), config),
        (Err(error), None) => return Err(bad(format!("configuration key {key} is {value}: {error}"))),
        (Err(_), Some(spelt)) => {
            let config = parse(&spelt).map_err(|e| bad(format!("configuration key {key} is {spelt}: {e}")))?;
            (spelt, config)
        }
    };
    config.validate().map_err(|problem| bad(problem.error))?;
    pattern(config.mk_fact_excl_pattern.as_deref()).map_err(|why| bad(format!("configuration key {key}: {why}")))?;
    Ok(value)
}

/// Refuses a key that agents do not apply.
///
/// # Errors
/// `bad_config`.
pub fn known(key: &str) -> Result<(), Refusal> {
    if APPLIED.contains(&key) {
        return Ok(());
    }
    Err(bad(format!("there is no configuration key {key:?} that the microkernel applies")))
}

fn pattern(text: Option<&str>) -> Result<(), String> {
    let text = text.unwrap_or_default();
    if text.len() > MAX_PATTERN {
        return Err(format!("it has {} bytes, more than {MAX_PATTERN}", text.len()));
    }
    Regex::new(text).map(drop).map_err(|why| format!("`{text}` is no regular expression: {why}"))
}

fn bad(error: String) -> Refusal {
    let remedy = format!("Keys are {}; docs/OPERATORS.md has their values. Nothing was changed.", APPLIED.join(", "));
    Refusal::new(422, "bad_config", error, remedy)
}

/// Writes to the node's log what it says of its configuration, where that is news.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn note(db: &mut Connection, now: i64, node: &Node, said: &ConfigState) -> anyhow::Result<()> {
    let before: ConfigState = node.config.as_deref().map(serde_json::from_str).transpose()?.unwrap_or_default();
    let version = |state: &ConfigState| (state.version, state.digest.clone(), state.posted);
    if version(said) != version(&before) && (said.version > 0 || said.posted) {
        let entry = match said.posted {
            true => json!({"event": "config", "version": said.version, "posted": true}),
            false => json!({"event": "config", "version": said.version}),
        };
        history::log_said(&mut *db, now, node.id, "info", &entry).await?;
    }
    if let Some(refused) = said.refused.as_ref().filter(|r| before.refused.as_ref() != Some(r)) {
        let Problem { error, remedy, .. } = &refused.problem;
        let entry = json!({"event": "config", "version": refused.version, "error": error, "remedy": remedy});
        history::log_said(db, now, node.id, "warn", &entry).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wire::checkin::RefusedConfig;

    use super::*;

    fn keys(value: Value) -> Keys {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn values_are_read_as_their_key_wants_them() {
        assert_eq!(read("mk_checkin_interval", &json!("15")).unwrap(), json!(15));
        assert_eq!(read("mk_checkin_interval", &json!(15)).unwrap(), json!(15));
        assert_eq!(read("mk_fact_excl_pattern", &json!("15")).unwrap(), json!("15"), "text that looks like a number");
        for (key, value, words) in [
            ("mk_checkin_interval", json!("soon"), "mk_checkin_interval is \"soon\""),
            ("mk_checkin_interval", json!("0"), "from 1 to 86400"),
            ("mk_checkin_interval", json!(-1), "mk_checkin_interval is -1"),
            ("mk_log_level", json!("LOUD"), "Logger::DEBUG"),
            ("mk_log_level", json!(null), "mk_log_level"),
            ("mk_fact_excl_pattern", json!("("), "no regular expression"),
            ("mk_fact_excl_pattern", json!("x".repeat(MAX_PATTERN + 1)), "more than 4096"),
            ("mk_chekin_interval", json!(1), "\"mk_chekin_interval\""),
            ("mk_tce_mirror_uri", json!("m"), "mk_tce_mirror_uri is m"),
            ("mk_uri", json!("http://m/"), "mk_uri"),
        ] {
            let problem = read(key, &value).unwrap_err().problem;
            assert!(problem.error.contains(words), "{words}: {problem}");
            assert!(problem.remedy.contains("mk_checkin_skew"), "names the keys: {problem}");
        }
    }

    #[test]
    fn a_nodes_own_keys_come_before_those_of_all() {
        let all = Stored { version: 4, at: 0, keys: keys(json!({"mk_checkin_interval": 30, "mk_checkin_skew": 1})) };
        let own = Stored { version: 3, at: 0, keys: keys(json!({"mk_checkin_interval": 5})) };
        let wanted = Wanted { all, own };
        assert_eq!((wanted.version(), wanted.interval(60)), (4, 5));
        assert_eq!(Value::from(wanted.keys()), json!({"mk_checkin_interval": 5, "mk_checkin_skew": 1}));
        let none = Wanted { all: Stored::default(), own: Stored::default() };
        assert_eq!((none.version(), none.interval(60)), (0, 60));
    }

    #[test]
    fn one_of_the_same_version_from_another_database_is_sent() {
        let wanted = |version, skew: u32| {
            let keys = keys(json!({"mk_checkin_skew": skew}));
            Wanted { all: Stored { version, at: 0, keys }, own: Stored::default() }
        };
        let (former, restored) = (wanted(4, 1), wanted(4, 2));
        let problem = Problem::new("bad_config", "e", "r");
        let refused = RefusedConfig { version: 4, digest: Some(former.digest()), problem };
        let has = ConfigState { version: 4, digest: Some(former.digest()), ..ConfigState::default() };
        let refuses = ConfigState { version: 3, refused: Some(refused), ..ConfigState::default() };
        for said in [has, refuses] {
            assert_eq!(former.news(Some(&said)).unwrap(), None);
            assert!(restored.news(Some(&said)).unwrap().is_some(), "{said:?}");
        }
    }

    #[test]
    fn it_is_sent_to_who_neither_has_nor_refused_it() {
        let all = Stored { version: 4, at: 0, keys: keys(json!({"mk_checkin_skew": 1})) };
        let wanted = Wanted { all, own: Stored::default() };
        let said = |version, refused: Option<u64>| {
            let problem = Problem::new("bad_config", "e", "r");
            let refused = refused.map(|version| RefusedConfig { version, digest: None, problem });
            ConfigState { version, refused, ..ConfigState::default() }
        };
        for (said, sent) in [
            (None, true),
            (Some(said(3, None)), true),
            (Some(said(4, None)), false),
            (Some(said(9, None)), true),
            (Some(said(3, Some(4))), false),
            (Some(said(3, Some(3))), true),
        ] {
            assert_eq!(wanted.news(said.as_ref()).unwrap().is_some(), sent, "{said:?}");
        }
        let never = Wanted { all: Stored::default(), own: Stored::default() };
        assert_eq!(never.news(None).unwrap(), None);
        assert_eq!(
            never.news(Some(&said(9, None))).unwrap(),
            Some(Config::default()),
            "another server's is taken back"
        );
    }
}
