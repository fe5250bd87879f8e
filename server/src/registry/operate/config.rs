//! `set-config`: configuration for all nodes, or for one.

use sqlx::SqliteConnection;
use wire::config::ABOUT_EXTENSIONS;

use crate::human;
use crate::registry::operate::{Done, Operate, named};
use crate::registry::{Refusal, configs as keys};
use crate::store::configs::{self, Keys};
use crate::store::nodes;

impl Operate {
    /// Sets and unsets keys; all of them or none.
    pub(super) async fn set_config(
        &self,
        db: &mut SqliteConnection,
        name: Option<&str>,
        set: &Keys,
        unset: &[String],
    ) -> anyhow::Result<Result<Done, Refusal>> {
        let node = match name {
            None => None,
            Some(name) => match named(&mut *db, name).await? {
                Ok(node) => Some(node.id),
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        let before = configs::get(&mut *db, node).await?;
        let after = match changed(&before.keys, set, unset) {
            Ok(after) => after,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let whose = node.map_or_else(|| "all nodes".to_owned(), nodes::name);
        // A node that refused a mirror, since that was away, is to try it again when it is told the same again.
        let again = set.keys().any(|key| ABOUT_EXTENSIONS.contains(&key.as_str()));
        if after == before.keys && !again {
            return Ok(Ok(Done::new(node, format!("{whose}: it was so already; nothing was changed"))));
        }
        let version = configs::put(db, node, self.now, &after).await?;
        let result = format!("configuration {version} for {whose}: {}; sent with the next check-in", words(&after));
        Ok(Ok(Done::new(node, result)))
    }
}

/// The keys after the change.
fn changed(before: &Keys, set: &Keys, unset: &[String]) -> Result<Keys, Refusal> {
    let refuse = |error: String| {
        let remedy = "Send {\"set\": {\"mk_checkin_interval\": 30}, \"unset\": [\"mk_log_level\"]}, with \"node\" for one alone.";
        Refusal::new(422, "bad_config", error, remedy)
    };
    if set.is_empty() && unset.is_empty() {
        return Err(refuse("no key is named".to_owned()));
    }
    let mut after = before.clone();
    for key in unset {
        keys::known(key)?;
        if set.contains_key(key) {
            return Err(refuse(format!("configuration key {key} is to be set and unset at once")));
        }
        after.remove(key);
    }
    for (key, value) in set {
        after.insert(key.clone(), keys::read(key, value)?);
    }
    Ok(after)
}

/// Keys and values in a line.
fn words(keys: &Keys) -> String {
    if keys.is_empty() {
        return "no keys".to_owned();
    }
    keys.iter().map(|(key, value)| format!("{key}={}", human::setting(value))).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn keys_of(value: Value) -> Keys {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_change_is_taken_whole_or_not_at_all() {
        let before = keys_of(json!({"mk_checkin_interval": 30, "mk_checkin_skew": 1}));
        let set = |value: Value, unset: &[&str]| {
            let unset: Vec<String> = unset.iter().map(ToString::to_string).collect();
            changed(&before, &keys_of(value), &unset).map(Value::from).map_err(|r| r.problem.error)
        };
        assert_eq!(
            set(json!({"mk_checkin_interval": "15"}), &["mk_checkin_skew", "mk_log_level"]),
            Ok(json!({"mk_checkin_interval": 15}))
        );
        for (value, unset, words) in [
            (json!({}), vec![], "no key is named"),
            (json!({"mk_checkin_interval": 15, "mk_other": 1}), vec![], "mk_other"),
            (json!({"mk_checkin_skew": 15}), vec!["mk_checkin_skew"], "set and unset at once"),
            (json!({}), vec!["mk_chekin_skew"], "mk_chekin_skew"),
        ] {
            let error = set(value, &unset).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
