//! `set-config`: configuration for all nodes, or for one.

use std::collections::BTreeMap;

use serde_json::Value;
use wire::config::{ABOUT_EXTENSIONS, UNITS};

use crate::human;
use crate::limits::MAX_RIVALS;
use crate::registry::operate::{Done, Operate, named};
use crate::registry::{Refusal, configs as keys};
use crate::store::configs::{self, DIGESTS, Keys, MIRROR};
use crate::store::nodes;
use crate::store::sql::Connection;

/// A change of keys.
pub(super) struct Change<'a> {
    /// Name of the node that it is for; none for all.
    pub(super) node: Option<&'a str>,
    /// Keys with their values.
    pub(super) set: &'a Keys,
    /// Keys that are taken back.
    pub(super) unset: &'a [String],
    /// Digests of nodes that have their own.
    pub(super) renewed: &'a BTreeMap<i64, Option<Value>>,
}

impl Operate {
    /// Sets and unsets keys; all of them or none.
    pub(super) async fn set_config(
        &self,
        db: &mut Connection,
        change: &Change<'_>,
    ) -> anyhow::Result<Result<Done, Refusal>> {
        let Change { node, set, unset, renewed } = *change;
        let node = match node {
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
        // A node that refused a mirror, since that was away, is to try it again when it is told the same again; and so for units.
        let again = set.keys().any(|key| ABOUT_EXTENSIONS.contains(&key.as_str()));
        if after == before.keys && !again && !set.contains_key(UNITS) {
            return Ok(Ok(Done::new(node, format!("{whose}: it was so already; nothing was changed"))));
        }
        let version = configs::put(&mut *db, node, self.now, &after).await?;
        let result = format!("configuration {version} for {whose}: {}; sent with the next check-in", words(&after));
        let others = match node {
            None if again || !renewed.is_empty() => self.renew(db, renewed).await?,
            _ => String::new(),
        };
        Ok(Ok(Done::new(node, result + &others)))
    }

    /// Gives nodes with digests of their own the new ones; says who they are, and who keeps the former.
    async fn renew(&self, db: &mut Connection, renewed: &BTreeMap<i64, Option<Value>>) -> anyhow::Result<String> {
        let (mut done, mut kept) = (Vec::new(), Vec::new());
        for (id, mut keys) in configs::with_digests(&mut *db).await? {
            match renewed.get(&id) {
                // It has another mirror, which has not changed.
                None if keys.contains_key(MIRROR) => continue,
                None => {
                    kept.push(nodes::name(id));
                    continue;
                }
                Some(Some(digests)) => drop(keys.insert(DIGESTS.to_owned(), digests.clone())),
                Some(None) => drop(keys.remove(DIGESTS)),
            }
            configs::put(&mut *db, Some(id), self.now, &keys).await?;
            done.push(nodes::name(id));
        }
        let mut text = String::new();
        if !done.is_empty() {
            text += &format!("; so are the digests of {}, renewed too", list(&done));
        }
        if !kept.is_empty() {
            text += &format!(
                "; {} has digests of its own, which come before these: `mk-server config unset --node NODE {DIGESTS}` \
                 takes them back",
                list(&kept)
            );
        }
        Ok(text)
    }
}

/// Names, the first few of them.
fn list(names: &[String]) -> String {
    let shown = names.iter().take(MAX_RIVALS).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_RIVALS) {
        0 => shown,
        more => format!("{shown} and {more} more"),
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
    keys.iter().map(|(key, value)| format!("{key}={}", human::setting(key, value))).collect::<Vec<_>>().join(" ")
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
