//! Configuration that nodes are sent: keys of all nodes, and of single ones.

use serde_json::{Map, Value};

use crate::store::sql::{self, Connection};
use crate::store::view::Page;

/// The key of the mirror that extensions are from.
pub const MIRROR: &str = "mk_tce_mirror_uri";
/// The key of their digests.
pub const DIGESTS: &str = "mk_tce_sha256";

/// Keys with their values.
pub type Keys = Map<String, Value>;

/// The keys of all nodes, or of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Rises with each change of any keys; 0 when there never were any.
    pub version: i64,
    /// When they were changed, in milliseconds since 1970.
    pub at: i64,
    /// The keys.
    pub keys: Keys,
}

/// The keys of all nodes, or those of one node's own.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn get(db: &mut Connection, node: Option<i64>) -> anyhow::Result<Stored> {
    let select = match node {
        Some(node) => sql::query_as("SELECT version, at, body FROM configs WHERE node = $1").bind(node),
        None => sql::query_as("SELECT version, at, body FROM configs WHERE node IS NULL"),
    };
    let row: Option<(i64, i64, String)> = select.fetch_optional(db).await?;
    let Some((version, at, body)) = row else { return Ok(Stored::default()) };
    Ok(Stored { version, at, keys: serde_json::from_str(&body)? })
}

/// The keys of all nodes, and those of one node's own.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn both(db: &mut Connection, node: i64) -> anyhow::Result<(Stored, Stored)> {
    let select = sql::query_as("SELECT node, version, at, body FROM configs WHERE node IS NULL OR node = $1");
    let rows: Vec<(Option<i64>, i64, i64, String)> = select.bind(node).fetch_all(db).await?;
    let (mut all, mut own) = (Stored::default(), Stored::default());
    for (node, version, at, body) in rows {
        let stored = Stored { version, at, keys: serde_json::from_str(&body)? };
        *(if node.is_none() { &mut all } else { &mut own }) = stored;
    }
    Ok((all, own))
}

/// Nodes with digests of their own, with all their own keys.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn with_digests(db: &mut Connection) -> anyhow::Result<Vec<(i64, Keys)>> {
    let select = "SELECT node, body FROM configs
         WHERE node IS NOT NULL AND body ->> '$.mk_tce_sha256' IS NOT NULL ORDER BY node";
    let rows: Vec<(i64, String)> = sql::query_as(select).fetch_all(db).await?;
    rows.into_iter().map(|(node, body)| Ok((node, serde_json::from_str(&body)?))).collect()
}

/// The version that a node should have.
///
/// # Errors
/// When the database fails.
pub async fn version(db: &mut Connection, node: i64) -> anyhow::Result<i64> {
    let select = "SELECT coalesce(max(version), 0) FROM configs WHERE node IS NULL OR node = $1";
    Ok(sql::query_scalar(select).bind(node).fetch_one(db).await?)
}

/// Puts these keys in the place of those before; gives their version.
///
/// # Errors
/// When the database fails.
pub async fn put(db: &mut Connection, node: Option<i64>, at: i64, keys: &Keys) -> anyhow::Result<i64> {
    let delete = match node {
        Some(node) => sql::query("DELETE FROM configs WHERE node = $1").bind(node),
        None => sql::query("DELETE FROM configs WHERE node IS NULL"),
    };
    delete.execute(&mut *db).await?;
    let insert = sql::query_scalar("INSERT INTO configs (node, at, body) VALUES ($1, $2, $3) RETURNING version");
    Ok(insert.bind(node).bind(at).bind(serde_json::to_string(keys)?).fetch_one(db).await?)
}

/// Gives the keys of a node that ends to the one that it merges into, unless that one has keys of its own.
///
/// # Errors
/// When the database fails.
pub async fn hand_over(db: &mut Connection, at: i64, from: i64, into: i64) -> anyhow::Result<()> {
    let keys = get(&mut *db, Some(from)).await?.keys;
    if !keys.is_empty() && get(&mut *db, Some(into)).await?.keys.is_empty() {
        put(db, Some(into), at, &keys).await?;
    }
    Ok(())
}

/// A page of the nodes that have keys of their own, and the number of all.
///
/// # Errors
/// When the database fails.
pub async fn nodes(db: &mut Connection, page: Page) -> anyhow::Result<(i64, Vec<i64>)> {
    let total = sql::query_scalar("SELECT count(*) FROM configs WHERE node IS NOT NULL AND body <> '{}'");
    let total = total.fetch_one(&mut *db).await?;
    let select = "SELECT node FROM configs WHERE node IS NOT NULL AND body <> '{}' ORDER BY node LIMIT $1 OFFSET $2";
    let select = sql::query_scalar(select);
    Ok((total, select.bind(page.limit).bind(page.start).fetch_all(db).await?))
}
