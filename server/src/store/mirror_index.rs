//! The highest numbers of signed indexes that a node ever said, by the public key that signed them: it takes no index with a lower
//! one. They come from outside, and once said they stay; so only what has the form of a key counts, and only so many keys.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wire::limits::MAX_MIRROR_KEYS;

use crate::store::sql::{self, Connection};

/// Characters of a public key of minisign.
const KEY_CHARS: usize = 56;

/// Those of a node.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn of_node(db: &mut Connection, id: i64) -> anyhow::Result<BTreeMap<String, u64>> {
    let select = sql::query_scalar("SELECT agent -> '$.mirror_index' FROM nodes WHERE id = $1");
    let text: Option<String> = select.bind(id).fetch_one(db).await?;
    let stored = text.as_deref().map(serde_json::from_str).transpose()?.unwrap_or_default();
    let mut known = BTreeMap::new();
    raise(&mut known, &stored);
    Ok(known)
}

/// Raises the numbers that are known by what is said. A further key is only taken where there is room: who makes up keys
/// drives out none.
pub fn raise(known: &mut BTreeMap<String, u64>, said: &BTreeMap<String, u64>) {
    for (key, number) in said.iter().filter(|(key, _)| is_key(key)) {
        if let Some(highest) = known.get_mut(key) {
            *highest = (*highest).max(*number);
        } else if known.len() < MAX_MIRROR_KEYS {
            known.insert(key.clone(), *number);
        }
    }
}

/// Gives two nodes, of which one is merged into the other, what both know, whichever of them spoke last.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn unite(db: &mut Connection, from: i64, into: i64) -> anyhow::Result<()> {
    let mut known = of_node(&mut *db, into).await?;
    raise(&mut known, &of_node(&mut *db, from).await?);
    if known.is_empty() {
        return Ok(());
    }
    let select = "SELECT id, agent FROM nodes WHERE id IN ($1, $2)";
    let agents: Vec<(i64, Option<String>)> = sql::query_as(select).bind(from).bind(into).fetch_all(&mut *db).await?;
    let other = agents.iter().find_map(|(_, agent)| agent.clone());
    for (id, agent) in agents {
        let Some(agent) = agent.or_else(|| other.clone()) else { continue };
        let mut agent: Value = serde_json::from_str(&agent)?;
        agent["mirror_index"] = json!(known);
        let update = sql::query("UPDATE nodes SET agent = $2 WHERE id = $1").bind(id);
        update.bind(agent.to_string()).execute(&mut *db).await?;
    }
    Ok(())
}

/// Whether it has the form of a public key of minisign, which begins with the name of its kind.
fn is_key(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    text.len() == KEY_CHARS && text.starts_with("RW") && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> String {
        format!("RW{n:054}")
    }

    #[test]
    fn numbers_only_rise_and_further_keys_are_taken_while_there_is_room() {
        let mut known = BTreeMap::from([(key(900), 7)]);
        raise(&mut known, &BTreeMap::from([(key(900), 5), ("other".to_owned(), 1), (format!("{}=", key(1)), 1)]));
        assert_eq!(known, BTreeMap::from([(key(900), 7)]), "no lower number, and no key that is none");
        raise(&mut known, &(0..100).map(|n| (key(n), 1)).collect());
        assert_eq!((known.len(), known[&key(900)]), (MAX_MIRROR_KEYS, 7), "what is known stays");
        raise(&mut known, &BTreeMap::from([(key(900), 9), (key(950), 9)]));
        assert_eq!((known.len(), known[&key(900)]), (MAX_MIRROR_KEYS, 9));
    }
}
