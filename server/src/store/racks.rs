//! The expected machines as they were set, and what nodes claim and hear, to compare with them.

use std::collections::BTreeMap;

use anyhow::Context as _;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool};

use crate::limits::{MAX_RACK_FILE, REPORT_ZSTD_LEVEL};
use crate::rack::matching::Matching;
use crate::rack::{Rack, Row};

/// Rows take more room as JSON than in their file: each has the names of its columns.
const MAX_ROWS: usize = 8 * MAX_RACK_FILE;

/// Nodes that wait to be accepted may be made up, and are nobody yet.
const NOT_PENDING: &str = "node NOT IN (SELECT id FROM nodes WHERE state = 'pending')";

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
pub async fn put(db: &mut SqliteConnection, at: i64, packed: Option<&[u8]>) -> anyhow::Result<()> {
    sqlx::query("DELETE FROM racks").execute(&mut *db).await?;
    if let Some(packed) = packed {
        sqlx::query("INSERT INTO racks (at, rows) VALUES (?1, ?2)").bind(at).bind(packed).execute(db).await?;
    }
    Ok(())
}

/// The version in force; nothing where no machines are expected.
///
/// # Errors
/// When the database fails.
pub async fn version(db: &SqlitePool) -> anyhow::Result<Option<i64>> {
    Ok(sqlx::query_scalar("SELECT version FROM racks").fetch_optional(db).await?)
}

/// The rows in force.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn get(db: &SqlitePool) -> anyhow::Result<Option<Rack>> {
    let select = "SELECT version, at, rows FROM racks";
    let row: Option<(i64, i64, Vec<u8>)> = sqlx::query_as(select).fetch_optional(db).await?;
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
pub async fn match_all(db: &SqlitePool, matching: &mut Matching<'_>) -> anyhow::Result<()> {
    let claims = format!(
        "SELECT node, kind, value FROM claims WHERE state <> 'former' AND kind IN ('mac', 'serial', 'uuid', 'asset') AND {NOT_PENDING}"
    );
    let claims: Vec<(i64, String, String)> = sqlx::query_as(sqlx::AssertSqlSafe(claims)).fetch_all(db).await?;
    for (node, kind, value) in &claims {
        matching.claim(*node, kind, value);
    }
    let ports = format!("SELECT node, port FROM node_ports WHERE {NOT_PENDING}");
    let ports: Vec<(i64, String)> = sqlx::query_as(sqlx::AssertSqlSafe(ports)).fetch_all(db).await?;
    for (node, port) in &ports {
        matching.port(*node, port);
    }
    Ok(())
}

/// All nodes that a rack may hold, in order.
///
/// # Errors
/// When the database fails.
pub async fn nodes(db: &SqlitePool) -> anyhow::Result<Vec<i64>> {
    Ok(sqlx::query_scalar("SELECT id FROM nodes WHERE state <> 'pending' ORDER BY id").fetch_all(db).await?)
}

/// Compares the rows with these few nodes, and with all others that lead to the same rows: what is found of these nodes is what
/// [`match_all`] finds.
///
/// # Errors
/// When the database fails.
pub async fn match_some(
    db: &SqlitePool,
    rack: &Rack,
    nodes: &[i64],
    matching: &mut Matching<'_>,
) -> anyhow::Result<()> {
    let mut claims = QueryBuilder::new("SELECT kind, value FROM claims WHERE state <> 'former' AND node IN ");
    let claims: Vec<(String, String)> = list(&mut claims, nodes.iter().copied()).build_query_as().fetch_all(db).await?;
    let mut ports = QueryBuilder::new("SELECT port FROM node_ports WHERE node IN ");
    let ports: Vec<String> = list(&mut ports, nodes.iter().copied()).build_query_scalar().fetch_all(db).await?;
    let by_key = claims.iter().filter_map(|(kind, value)| rack.by_key(kind, value));
    let rows: Vec<usize> = by_key.chain(ports.iter().filter_map(|port| rack.by_place(port))).collect();
    let mut others: Vec<i64> = nodes.to_vec();
    for row in rows.into_iter().filter_map(|row| rack.rows.get(row)) {
        for key in row.keys() {
            let select = format!(
                "SELECT node FROM claims WHERE kind = ?1 AND value = ?2 AND state <> 'former' AND {NOT_PENDING}"
            );
            let select = sqlx::query_scalar(sqlx::AssertSqlSafe(select));
            others.extend(select.bind(key.kind).bind(key.value).fetch_all(db).await? as Vec<i64>);
        }
        if let Some(place) = row.place() {
            let select = format!("SELECT node FROM node_ports WHERE port = ?1 AND {NOT_PENDING}");
            let select = sqlx::query_scalar(sqlx::AssertSqlSafe(select));
            others.extend(select.bind(place).fetch_all(db).await? as Vec<i64>);
        }
    }
    others.sort_unstable();
    others.dedup();
    for some in others.chunks(BOUND_AT_ONCE) {
        let mut claims = QueryBuilder::new(format!(
            "SELECT node, kind, value FROM claims WHERE state <> 'former' AND {NOT_PENDING} AND node IN "
        ));
        let claims: Vec<(i64, String, String)> =
            list(&mut claims, some.iter().copied()).build_query_as().fetch_all(db).await?;
        claims.iter().for_each(|(node, kind, value)| matching.claim(*node, kind, value));
        let mut ports =
            QueryBuilder::new(format!("SELECT node, port FROM node_ports WHERE {NOT_PENDING} AND node IN "));
        let ports: Vec<(i64, String)> = list(&mut ports, some.iter().copied()).build_query_as().fetch_all(db).await?;
        ports.iter().for_each(|(node, port)| matching.port(*node, port));
    }
    Ok(())
}

/// Values in one statement: every database takes as many.
const BOUND_AT_ONCE: usize = 900;

fn list(sql: &mut QueryBuilder<Sqlite>, ids: impl Iterator<Item = i64>) -> &mut QueryBuilder<Sqlite> {
    sql.push("(");
    let mut list = sql.separated(", ");
    for id in ids {
        list.push_bind(id);
    }
    sql.push(")")
}

/// When these nodes were heard last, in milliseconds since 1970.
///
/// # Errors
/// When the database fails.
pub async fn seen(db: &SqlitePool, nodes: &[i64]) -> anyhow::Result<BTreeMap<i64, i64>> {
    let mut found = BTreeMap::new();
    for some in nodes.chunks(BOUND_AT_ONCE) {
        let mut select = QueryBuilder::new("SELECT id, coalesce(last_checkin, first_seen) FROM nodes WHERE id IN ");
        let rows: Vec<(i64, i64)> = list(&mut select, some.iter().copied()).build_query_as().fetch_all(db).await?;
        found.extend(rows);
    }
    Ok(found)
}
