//! Claims: which node has which hardware value, and since when.

use std::collections::BTreeSet;

use serde_json::json;
use sqlx::FromRow;

use crate::identity::keys::{Claim, Key};
use crate::store::sql::{self, Connection};

/// A stored claim.
#[derive(Debug, Clone, FromRow)]
pub struct Stored {
    /// The node.
    pub node: i64,
    /// Key.
    pub kind: String,
    /// Value.
    pub value: String,
    /// `current`, `former` or `contested`.
    pub state: String,
    /// It decides which node a machine is.
    pub matching: bool,
}

/// All claims of a node.
///
/// # Errors
/// When the database fails.
pub async fn of_node(db: &mut Connection, node: i64) -> anyhow::Result<Vec<Stored>> {
    let select =
        "SELECT node, kind, value, state, matching = 1 AS matching FROM claims WHERE node = $1 ORDER BY kind, value";
    Ok(sql::query_as(select).bind(node).fetch_all(db).await?)
}

/// Keys that a change moved from one node to another.
pub type Moved = Vec<(Key, i64)>;

/// Makes `claims` the node's current ones. Its other claims of the kinds in `speaks_of` become former. A matching value
/// that another node holds is contested; one that a single contender is left for becomes its own, and is returned with
/// that node.
///
/// # Errors
/// When the database fails.
pub async fn replace(
    db: &mut Connection,
    at: i64,
    node: i64,
    claims: &[Claim],
    speaks_of: &BTreeSet<String>,
) -> anyhow::Result<Moved> {
    let mut moved = Moved::new();
    let known = of_node(&mut *db, node).await?;
    for old in &known {
        let key = Key { kind: old.kind.clone(), value: old.value.clone() };
        let gone = speaks_of.contains(&key.kind) && claims.iter().all(|c| c.key != key);
        if gone && old.state != "former" {
            put(&mut *db, at, node, &key, "former", old.matching).await?;
            if let Some(heir) = sole_contender(&mut *db, &key).await? {
                put(&mut *db, at, heir, &key, "current", true).await?;
                moved.push((key, heir));
            }
        }
    }
    let elsewhere = held_elsewhere(&mut *db, node, claims).await?;
    for Claim { key, matching } in claims {
        let state = if *matching && elsewhere.contains(key) { "contested" } else { "current" };
        let same = |old: &Stored| {
            (&old.kind, &old.value) == (&key.kind, &key.value) && old.state == state && old.matching == *matching
        };
        if !known.iter().any(same) {
            put(&mut *db, at, node, key, state, *matching).await?;
        }
    }
    Ok(moved)
}

/// Adds claims without touching the others: a boot sees only a part of the machine.
///
/// # Errors
/// When the database fails.
pub async fn add(db: &mut Connection, at: i64, node: i64, claims: &[Claim]) -> anyhow::Result<()> {
    replace(db, at, node, claims, &BTreeSet::new()).await.map(|_| ())
}

/// Adds values that the node had once.
///
/// # Errors
/// When the database fails.
pub async fn add_former(db: &mut Connection, at: i64, node: i64, claims: &[Claim]) -> anyhow::Result<()> {
    for Claim { key, matching } in claims {
        put(&mut *db, at, node, key, "former", *matching).await?;
    }
    Ok(())
}

async fn put(db: &mut Connection, at: i64, node: i64, key: &Key, state: &str, matching: bool) -> anyhow::Result<()> {
    let upsert = sql::query(
        "INSERT INTO claims (node, kind, value, state, matching, since) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (node, kind, value) DO UPDATE SET since = CASE WHEN claims.state = $4 THEN claims.since ELSE $6 END,
         state = $4, matching = $5 WHERE claims.state <> $4 OR claims.matching <> $5",
    );
    upsert.bind(node).bind(&key.kind).bind(&key.value).bind(state).bind(matching).bind(at).execute(db).await?;
    Ok(())
}

/// Those of the deciding keys that another node holds.
async fn held_elsewhere(db: &mut Connection, node: i64, claims: &[Claim]) -> anyhow::Result<BTreeSet<Key>> {
    let keys: Vec<&Key> = claims.iter().filter(|c| c.matching).map(|c| &c.key).collect();
    let rows: Vec<(String, String)> = sql::query_as(
        "SELECT c.kind, c.value FROM json_each($1) k
         JOIN claims c ON c.kind = k.value ->> 'kind' AND c.value = k.value ->> 'value'
         WHERE c.node <> $2 AND c.state = 'current' AND c.matching = 1",
    )
    .bind(json!(keys).to_string())
    .bind(node)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(kind, value)| Key { kind, value }).collect())
}

/// The only node that contests a value which nobody holds.
async fn sole_contender(db: &mut Connection, key: &Key) -> anyhow::Result<Option<i64>> {
    let contenders: Vec<(i64, String)> = sql::query_as(
        "SELECT node, state FROM claims WHERE kind = $1 AND value = $2 AND matching = 1 AND state <> 'former' LIMIT 2",
    )
    .bind(&key.kind)
    .bind(&key.value)
    .fetch_all(db)
    .await?;
    Ok(match contenders.as_slice() {
        [(node, state)] if state == "contested" => Some(*node),
        _ => None,
    })
}

/// The held nodes that contest what `node` holds, in order of id.
///
/// # Errors
/// When the database fails.
pub async fn held_rivals(db: &mut Connection, node: i64) -> anyhow::Result<Vec<i64>> {
    let select = "SELECT DISTINCT c.node FROM claims mine
                  JOIN claims c ON c.kind = mine.kind AND c.value = mine.value AND c.node <> mine.node AND c.state = 'contested'
                  JOIN nodes n ON n.id = c.node AND n.state = 'held'
                  WHERE mine.node = $1 AND mine.matching = 1 ORDER BY c.node";
    Ok(sql::query_scalar(select).bind(node).fetch_all(db).await?)
}

/// The nodes that have a value now, or contest it.
///
/// # Errors
/// When the database fails.
pub async fn holders(db: &mut Connection, key: &Key) -> anyhow::Result<Vec<i64>> {
    let select = "SELECT node FROM claims WHERE kind = $1 AND value = $2 AND state <> 'former' ORDER BY node";
    Ok(sql::query_scalar(select).bind(&key.kind).bind(&key.value).fetch_all(db).await?)
}

/// The node's deciding values (`kind=value`) that other nodes claim now too, with those; not of nodes that an operator
/// told apart from it.
///
/// # Errors
/// When the database fails.
pub async fn shared(db: &mut Connection, node: i64) -> anyhow::Result<Vec<(String, i64)>> {
    let select = "SELECT mine.kind || '=' || mine.value, c.node FROM claims mine
                  JOIN claims c ON c.kind = mine.kind AND c.value = mine.value AND c.node <> mine.node
                  WHERE mine.node = $1 AND mine.matching = 1 AND c.matching = 1
                  AND mine.state <> 'former' AND c.state <> 'former' AND NOT EXISTS (
                      SELECT 1 FROM distinct_nodes d WHERE d.one = min(mine.node, c.node) AND d.other = max(mine.node, c.node))
                  ORDER BY mine.kind, mine.value, c.node";
    Ok(sql::query_as(select).bind(node).fetch_all(db).await?)
}

/// True when the node has one of these values, now or once.
///
/// # Errors
/// When the database fails.
pub async fn has_any(db: &mut Connection, node: i64, keys: &[Key]) -> anyhow::Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM json_each($1) k JOIN claims c
                  ON c.node = $2 AND c.kind = k.value ->> 'kind' AND c.value = k.value ->> 'value')";
    Ok(sql::query_scalar(select).bind(json!(keys).to_string()).bind(node).fetch_one(db).await?)
}

/// Drops what a node had once, so that it leads nowhere any more.
///
/// # Errors
/// When the database fails.
pub async fn drop_former(db: &mut Connection, node: i64) -> anyhow::Result<()> {
    sql::query("DELETE FROM claims WHERE node = $1 AND state = 'former'").bind(node).execute(db).await?;
    Ok(())
}

/// Takes a value from a node, its evidence included; a sole contender gets it. False when the node does not have it.
///
/// # Errors
/// When the database fails.
pub async fn forget(db: &mut Connection, at: i64, node: i64, key: &Key) -> anyhow::Result<bool> {
    let delete = "DELETE FROM claims WHERE node = $1 AND kind = $2 AND value = $3";
    let deleted = sql::query(delete).bind(node).bind(&key.kind).bind(&key.value).execute(&mut *db).await? > 0;
    if deleted {
        let delete = "DELETE FROM evidence WHERE node = $1 AND kind = $2 AND value = $3";
        sql::query(delete).bind(node).bind(key.group()).bind(&key.value).execute(&mut *db).await?;
        if let Some(heir) = sole_contender(&mut *db, key).await? {
            put(db, at, heir, key, "current", true).await?;
        }
    }
    Ok(deleted)
}
