//! Claims: which node has which hardware value, and since when.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{FromRow, SqliteConnection};

use crate::identity::decide::Candidate;
use crate::identity::keys::{Claim, Key};

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
}

#[derive(FromRow)]
struct CandidateRow {
    node: i64,
    kind: String,
    value: String,
    state: String,
    registered: bool,
    held: bool,
    alive: bool,
}

/// Nodes that share one of `keys`, in order of id. Those that have it now come before those that had it once: the
/// latter count only when there is none of the former. `boot_id` speaks now; a node for which another boot spoke after
/// `alive_since` is alive.
///
/// # Errors
/// When the database fails.
pub async fn candidates(
    db: &mut SqliteConnection,
    keys: &[Key],
    boot_id: Option<&str>,
    alive_since: i64,
) -> anyhow::Result<Vec<Candidate>> {
    let rows: Vec<CandidateRow> = sqlx::query_as(
        "SELECT c.node, c.kind, c.value, c.state, n.facts_digest IS NOT NULL AS registered, n.state = 'held' AS held,
                EXISTS (SELECT 1 FROM boots b WHERE b.node = c.node AND b.last_seen > ?3 AND b.boot_id IS NOT ?2) AS alive
         FROM json_each(?1) k
         JOIN claims c ON c.kind = k.value ->> 'kind' AND c.value = k.value ->> 'value'
         JOIN nodes n ON n.id = c.node
         ORDER BY c.node, c.kind, c.value",
    )
    .bind(serde_json::to_string(keys)?)
    .bind(boot_id)
    .bind(alive_since)
    .fetch_all(db)
    .await?;
    let present: BTreeSet<i64> = rows.iter().filter(|r| r.state != "former").map(|r| r.node).collect();
    let mut found: BTreeMap<i64, Candidate> = BTreeMap::new();
    for row in rows.into_iter().filter(|r| present.is_empty() || present.contains(&r.node)) {
        let CandidateRow { node, registered, held, alive, .. } = row;
        let candidate =
            found.entry(node).or_insert(Candidate { id: node, registered, held, alive, shared: Vec::new() });
        candidate.shared.push(Key { kind: row.kind, value: row.value });
    }
    Ok(found.into_values().collect())
}

/// All claims of a node.
///
/// # Errors
/// When the database fails.
pub async fn of_node(db: &mut SqliteConnection, node: i64) -> anyhow::Result<Vec<Stored>> {
    let select = "SELECT node, kind, value, state FROM claims WHERE node = ?1 ORDER BY kind, value";
    Ok(sqlx::query_as(select).bind(node).fetch_all(db).await?)
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
    db: &mut SqliteConnection,
    at: i64,
    node: i64,
    claims: &[Claim],
    speaks_of: &BTreeSet<String>,
) -> anyhow::Result<Moved> {
    let mut moved = Moved::new();
    for old in of_node(&mut *db, node).await? {
        let key = Key { kind: old.kind, value: old.value };
        let gone = speaks_of.contains(&key.kind) && claims.iter().all(|c| c.key != key);
        if gone && old.state != "former" {
            put(&mut *db, at, node, &key, "former", false).await?;
            if let Some(heir) = sole_contender(&mut *db, &key).await? {
                put(&mut *db, at, heir, &key, "current", true).await?;
                moved.push((key, heir));
            }
        }
    }
    for claim in claims {
        let held = claim.matching && is_held_elsewhere(&mut *db, node, &claim.key).await?;
        put(&mut *db, at, node, &claim.key, if held { "contested" } else { "current" }, claim.matching).await?;
    }
    Ok(moved)
}

/// Adds claims without touching the others: a boot sees only a part of the machine.
///
/// # Errors
/// When the database fails.
pub async fn add(db: &mut SqliteConnection, at: i64, node: i64, claims: &[Claim]) -> anyhow::Result<()> {
    replace(db, at, node, claims, &BTreeSet::new()).await.map(|_| ())
}

async fn put(
    db: &mut SqliteConnection,
    at: i64,
    node: i64,
    key: &Key,
    state: &str,
    matching: bool,
) -> anyhow::Result<()> {
    let upsert = sqlx::query(
        "INSERT INTO claims (node, kind, value, state, matching, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (node, kind, value) DO UPDATE SET since = CASE WHEN state = ?4 THEN since ELSE ?6 END,
         state = ?4, matching = ?5 WHERE state <> ?4 OR matching <> ?5",
    );
    upsert.bind(node).bind(&key.kind).bind(&key.value).bind(state).bind(matching).bind(at).execute(db).await?;
    Ok(())
}

async fn is_held_elsewhere(db: &mut SqliteConnection, node: i64, key: &Key) -> anyhow::Result<bool> {
    let held = "SELECT EXISTS (SELECT 1 FROM claims WHERE kind = ?1 AND value = ?2 AND node <> ?3
                AND state = 'current' AND matching = 1)";
    Ok(sqlx::query_scalar(held).bind(&key.kind).bind(&key.value).bind(node).fetch_one(db).await?)
}

/// The only node that contests a value which nobody holds.
async fn sole_contender(db: &mut SqliteConnection, key: &Key) -> anyhow::Result<Option<i64>> {
    let contenders: Vec<(i64, String)> = sqlx::query_as(
        "SELECT node, state FROM claims WHERE kind = ?1 AND value = ?2 AND matching = 1 AND state <> 'former'",
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
