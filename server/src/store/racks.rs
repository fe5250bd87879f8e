//! The expected machines as they were set, and what nodes claim and hear, to compare with them.

use std::collections::BTreeMap;

use anyhow::Context as _;

use crate::limits::{MAX_RACK_FILE, REPORT_ZSTD_LEVEL};
use crate::rack::matching::Matching;
use crate::rack::{Rack, Row};
use crate::store::sql::{self, Connection, Pool};

/// Rows take more room as JSON than in their file: each has the names of its columns.
const MAX_ROWS: usize = 8 * MAX_RACK_FILE;

/// Nodes that wait to be accepted may be made up, and are nobody yet.
const NOT_PENDING: &str = "node NOT IN (SELECT id FROM nodes WHERE state = 'pending')";
/// Nodes of a JSON list.
const LISTED: &str = "node IN (SELECT CAST(k.value AS BIGINT) FROM json_each($1) k)";

/// Rows ready to be stored.
///
/// # Errors
/// When memory runs out.
pub fn pack(rows: &[Row]) -> anyhow::Result<Vec<u8>> {
    zstd::bulk::compress(&serde_json::to_vec(rows)?, REPORT_ZSTD_LEVEL).context("compressing the expected machines")
}

/// Puts these rows in the place of those before; without any, no machines are expected.
///
/// # Errors
/// When the database fails.
pub async fn put(db: &mut Connection, at: i64, packed: Option<&[u8]>) -> anyhow::Result<()> {
    sql::query("DELETE FROM racks").execute(&mut *db).await?;
    if let Some(packed) = packed {
        sql::query("INSERT INTO racks (at, rows) VALUES ($1, $2)").bind(at).bind(packed.to_vec()).execute(db).await?;
    }
    Ok(())
}

/// The version in force; nothing where no machines are expected.
///
/// # Errors
/// When the database fails.
pub async fn version(db: &Pool) -> anyhow::Result<Option<i64>> {
    Ok(sql::query_scalar("SELECT version FROM racks").fetch_optional(db).await?)
}

/// The rows in force.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn get(db: &Pool) -> anyhow::Result<Option<Rack>> {
    let select = "SELECT version, at, rows FROM racks";
    let row: Option<(i64, i64, Vec<u8>)> = sql::query_as(select).fetch_optional(db).await?;
    let Some((version, at, packed)) = row else { return Ok(None) };
    let read = move || -> anyhow::Result<Rack> {
        let json = zstd::bulk::decompress(&packed, MAX_ROWS)?;
        Ok(Rack::new(version, at, serde_json::from_slice(&json)?))
    };
    Ok(Some(tokio::task::spawn_blocking(read).await?.context("the stored expected machines are damaged")?))
}

/// Compares the rows with all nodes.
///
/// # Errors
/// When the database fails.
pub async fn match_all(db: &Pool, matching: &mut Matching<'_>) -> anyhow::Result<()> {
    let mut claims = sql::query("SELECT node, kind, value FROM claims WHERE state <> 'former' AND ");
    claims.push("kind IN ('mac', 'serial', 'uuid', 'asset') AND ").push(NOT_PENDING);
    let claims: Vec<(i64, String, String)> = claims.rows().fetch_all(db).await?;
    for (node, kind, value) in &claims {
        matching.claim(*node, kind, value);
    }
    let mut ports = sql::query("SELECT node, port FROM node_ports WHERE ");
    ports.push(NOT_PENDING);
    let ports: Vec<(i64, String)> = ports.rows().fetch_all(db).await?;
    for (node, port) in &ports {
        matching.port(*node, port);
    }
    Ok(())
}

/// All nodes that a rack may hold, in order.
///
/// # Errors
/// When the database fails.
pub async fn nodes(db: &Pool) -> anyhow::Result<Vec<i64>> {
    Ok(sql::query_scalar("SELECT id FROM nodes WHERE state <> 'pending' ORDER BY id").fetch_all(db).await?)
}

/// Compares the rows with these few nodes, and with all others that lead to the same rows: what is found of these nodes is what
/// [`match_all`] finds.
///
/// # Errors
/// When the database fails.
pub async fn match_some(db: &Pool, rack: &Rack, nodes: &[i64], matching: &mut Matching<'_>) -> anyhow::Result<()> {
    let listed = serde_json::to_string(nodes)?;
    let mut claims = sql::query("SELECT kind, value FROM claims WHERE state <> 'former' AND ");
    claims.push(LISTED);
    let claims: Vec<(String, String)> = claims.bind(&listed).rows().fetch_all(db).await?;
    let mut ports = sql::query("SELECT port FROM node_ports WHERE ");
    ports.push(LISTED);
    let ports: Vec<String> = ports.bind(&listed).scalars().fetch_all(db).await?;
    let by_key = claims.iter().filter_map(|(kind, value)| rack.by_key(kind, value));
    let rows: Vec<usize> = by_key.chain(ports.iter().filter_map(|port| rack.by_place(port))).collect();
    let mut others: Vec<i64> = nodes.to_vec();
    for row in rows.into_iter().filter_map(|row| rack.rows.get(row)) {
        for key in row.keys() {
            let mut select =
                sql::query("SELECT node FROM claims WHERE kind = $1 AND value = $2 AND state <> 'former' AND ");
            select.push(NOT_PENDING);
            others.extend(select.bind(key.kind).bind(key.value).scalars::<i64>().fetch_all(db).await?);
        }
        if let Some(place) = row.place() {
            let mut select = sql::query("SELECT node FROM node_ports WHERE port = $1 AND ");
            select.push(NOT_PENDING);
            others.extend(select.bind(place).scalars::<i64>().fetch_all(db).await?);
        }
    }
    others.sort_unstable();
    others.dedup();
    for some in others.chunks(NODES_AT_ONCE) {
        let listed = serde_json::to_string(some)?;
        let mut claims = sql::query("SELECT node, kind, value FROM claims WHERE state <> 'former' AND ");
        claims.push(NOT_PENDING).push(" AND ").push(LISTED);
        let claims: Vec<(i64, String, String)> = claims.bind(&listed).rows().fetch_all(db).await?;
        claims.iter().for_each(|(node, kind, value)| matching.claim(*node, kind, value));
        let mut ports = sql::query("SELECT node, port FROM node_ports WHERE ");
        ports.push(NOT_PENDING).push(" AND ").push(LISTED);
        let ports: Vec<(i64, String)> = ports.bind(&listed).rows().fetch_all(db).await?;
        ports.iter().for_each(|(node, port)| matching.port(*node, port));
    }
    Ok(())
}

/// Nodes that are asked for at once.
const NODES_AT_ONCE: usize = 1000;

/// When these nodes were heard last, in milliseconds since 1970.
///
/// # Errors
/// When the database fails.
pub async fn seen(db: &Pool, nodes: &[i64]) -> anyhow::Result<BTreeMap<i64, i64>> {
    let mut found = BTreeMap::new();
    for some in nodes.chunks(NODES_AT_ONCE) {
        let select = "SELECT id, coalesce(last_checkin, first_seen) FROM nodes
                      WHERE id IN (SELECT CAST(k.value AS BIGINT) FROM json_each($1) k)";
        let rows: Vec<(i64, i64)> = sql::query_as(select).bind(serde_json::to_string(some)?).fetch_all(db).await?;
        found.extend(rows);
    }
    Ok(found)
}
