//! What is only ever added to: reports (content-addressed, compressed), log entries of nodes, events.

use anyhow::Context as _;
use serde_json::Value;
use sqlx::SqliteConnection;

use crate::limits::{MAX_REPORT, REPORT_ZSTD_LEVEL};

/// A report as it is stored.
#[derive(Debug)]
pub struct Content {
    /// `inventory` or `facts`.
    pub kind: &'static str,
    /// The agent's name for it.
    pub digest: String,
    /// SHA-256 (hex) of its JSON.
    pub address: String,
    /// Length of its JSON in bytes.
    pub bytes: usize,
    /// The JSON, compressed.
    pub packed: Vec<u8>,
}

impl Content {
    /// Packs `json`. `name` is the agent's own for it; without one, its digest serves.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn new(kind: &'static str, name: Option<String>, json: &[u8]) -> anyhow::Result<Self> {
        let address = wire::digest::sha256_hex(json);
        let packed = zstd::bulk::compress(json, REPORT_ZSTD_LEVEL).context("compressing a report")?;
        Ok(Self { kind, digest: name.unwrap_or_else(|| address.clone()), address, bytes: json.len(), packed })
    }
}

/// A report to remember.
#[derive(Debug)]
pub struct Report<'a> {
    /// What it says.
    pub content: &'a Content,
    /// The boot that sent it.
    pub boot_id: Option<&'a str>,
    /// Seconds since that boot's kernel started.
    pub uptime_s: Option<i64>,
}

/// Stores a report as the node's newest.
///
/// # Errors
/// When the database fails.
pub async fn add_report(db: &mut SqliteConnection, at: i64, node: i64, report: &Report<'_>) -> anyhow::Result<()> {
    let Report { content, boot_id, uptime_s } = report;
    sqlx::query("INSERT INTO contents (digest, bytes, zstd) VALUES (?1, ?2, ?3) ON CONFLICT (digest) DO NOTHING")
        .bind(&content.address)
        .bind(i64::try_from(content.bytes).unwrap_or(i64::MAX))
        .bind(&content.packed)
        .execute(&mut *db)
        .await?;
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO reports (node, origin, kind, digest, content, at, boot_id, uptime_s)
         VALUES (?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING id",
    )
    .bind(node)
    .bind(content.kind)
    .bind(&content.digest)
    .bind(&content.address)
    .bind(at)
    .bind(boot_id)
    .bind(uptime_s)
    .fetch_one(&mut *db)
    .await?;
    sqlx::query("UPDATE nodes SET report = ?2 WHERE id = ?1").bind(node).bind(id).execute(db).await?;
    Ok(())
}

/// Unpacks a stored report.
///
/// # Errors
/// When it is damaged.
pub fn unpack(packed: &[u8]) -> anyhow::Result<Value> {
    let json = zstd::bulk::decompress(packed, MAX_REPORT).context("a stored report is damaged")?;
    serde_json::from_slice(&json).context("a stored report is damaged")
}

/// Adds an entry (a JSON object) to a node's log.
///
/// # Errors
/// When the database fails.
pub async fn log(db: &mut SqliteConnection, at: i64, node: i64, severity: &str, entry: &Value) -> anyhow::Result<()> {
    sqlx::query("INSERT INTO node_log (node, origin, at, severity, entry) VALUES (?1, ?1, ?2, ?3, ?4)")
        .bind(node)
        .bind(at)
        .bind(severity)
        .bind(entry.to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// Adds an event (its detail is a JSON object) to the feed.
///
/// # Errors
/// When the database fails.
pub async fn event(
    db: &mut SqliteConnection,
    at: i64,
    kind: &str,
    node: Option<i64>,
    detail: &Value,
) -> anyhow::Result<()> {
    sqlx::query("INSERT INTO events (at, kind, node, detail) VALUES (?1, ?2, ?3, ?4)")
        .bind(at)
        .bind(kind)
        .bind(node)
        .bind(detail.to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// Version of the configuration that a node should have; 0 when none was ever set.
///
/// # Errors
/// When the database fails.
pub async fn config_version(db: &mut SqliteConnection, node: Option<i64>) -> anyhow::Result<i64> {
    let select = "SELECT coalesce(max(version), 0) FROM configs WHERE node IS NULL OR node = ?1";
    Ok(sqlx::query_scalar(select).bind(node).fetch_one(db).await?)
}
