//! What is added to: reports (content-addressed, compressed), and log entries of nodes and events, of which the newest are
//! kept.

use anyhow::Context as _;
use serde_json::Value;

use crate::limits::{MAX_EVENTS, MAX_NODE_LOG, MAX_REPORT, REPEATS_AMONG, REPEATS_WITHIN_MS, REPORT_ZSTD_LEVEL};
use crate::store::sql::{self, Connection};

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
pub async fn add_report(db: &mut Connection, at: i64, node: i64, report: &Report<'_>) -> anyhow::Result<()> {
    let Report { content, boot_id, uptime_s } = report;
    sql::query("INSERT INTO contents (digest, bytes, zstd) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING")
        .bind(&content.address)
        .bind(i64::try_from(content.bytes).unwrap_or(i64::MAX))
        .bind(&content.packed)
        .execute(&mut *db)
        .await?;
    let id: i64 = sql::query_scalar(
        "INSERT INTO reports (node, origin, kind, digest, content, at, boot_id, uptime_s)
         VALUES ($1, $1, $2, $3, $4, $5, $6, $7) RETURNING id",
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
    sql::query("UPDATE nodes SET report = $2 WHERE id = $1").bind(node).bind(id).execute(db).await?;
    Ok(())
}

/// What a node reported last.
#[derive(Debug)]
pub struct Newest {
    /// JSON object of its facts.
    pub facts: String,
    /// The stable inventory, where an agent of ours reported it.
    pub inventory: Option<Value>,
}

/// What a node reported last; nothing for one that never did.
///
/// # Errors
/// When the database fails or the report is damaged.
pub async fn newest_report(db: &mut Connection, node: i64) -> anyhow::Result<Option<Newest>> {
    let select = "SELECT n.facts, c.zstd FROM nodes n LEFT JOIN reports r ON r.id = n.report AND r.kind = 'inventory'
                  LEFT JOIN contents c ON c.digest = r.content WHERE n.id = $1 AND n.facts IS NOT NULL";
    let row: Option<(String, Option<Vec<u8>>)> = sql::query_as(select).bind(node).fetch_optional(db).await?;
    let Some((facts, packed)) = row else { return Ok(None) };
    Ok(Some(Newest { facts, inventory: packed.as_deref().map(unpack).transpose()? }))
}

/// Unpacks a stored report.
///
/// # Errors
/// When it is damaged.
pub fn unpack(packed: &[u8]) -> anyhow::Result<Value> {
    let json = zstd::bulk::decompress(packed, MAX_REPORT).context("a stored report is damaged")?;
    serde_json::from_slice(&json).context("a stored report is damaged")
}

/// Adds what the server decided about a node (a JSON object) to the node's log.
///
/// # Errors
/// When the database fails.
pub async fn log_decision(
    db: &mut Connection,
    at: i64,
    node: i64,
    severity: &str,
    entry: &Value,
) -> anyhow::Result<()> {
    log(db, at, node, true, severity, entry).await
}

/// Adds what a machine, or anybody in its name, said or asked for (a JSON object) to the node's log. However much that is,
/// it takes no room of what was decided.
///
/// # Errors
/// When the database fails.
pub async fn log_said(db: &mut Connection, at: i64, node: i64, severity: &str, entry: &Value) -> anyhow::Result<()> {
    log(db, at, node, false, severity, entry).await
}

/// An entry that came lately is counted and moved to the end, under an id of its own, so that a reader who goes on from a
/// place sees it. The oldest one of the ring goes when there are more than [`MAX_NODE_LOG`].
async fn log(
    db: &mut Connection,
    at: i64,
    node: i64,
    decided: bool,
    severity: &str,
    entry: &Value,
) -> anyhow::Result<()> {
    let entry = entry.to_string();
    let take = "DELETE FROM node_log WHERE id = (
        SELECT id FROM (SELECT * FROM node_log WHERE node = $1 AND decided = $2 ORDER BY id DESC LIMIT $3) AS lately
        WHERE origin = $1 AND severity = $4 AND entry = $5 AND at > $6 ORDER BY id DESC LIMIT 1
    ) RETURNING times, coalesce(since, at)";
    let take = sql::query_as(take).bind(node).bind(decided).bind(REPEATS_AMONG).bind(severity).bind(&entry);
    let repeated: Option<(i64, i64)> = take.bind(at - REPEATS_WITHIN_MS).fetch_optional(&mut *db).await?;
    let (times, since) = repeated.map_or((1, None), |(times, since)| (times + 1, Some(since)));
    let insert = "INSERT INTO node_log (node, origin, at, severity, entry, decided, times, since)
                  VALUES ($1, $1, $2, $3, $4, $5, $6, $7)";
    let insert = sql::query(insert).bind(node).bind(at).bind(severity).bind(&entry);
    insert.bind(decided).bind(times).bind(since).execute(&mut *db).await?;
    if repeated.is_none() {
        let oldest = "DELETE FROM node_log WHERE node = $1 AND decided = $2 AND id <= (
                      SELECT id FROM node_log WHERE node = $1 AND decided = $2 ORDER BY id DESC LIMIT 1 OFFSET $3)";
        sql::query(oldest).bind(node).bind(decided).bind(MAX_NODE_LOG).execute(db).await?;
    }
    Ok(())
}

/// Adds an event (its detail is a JSON object) to the feed; gives its id. The oldest one goes when there are more than
/// [`MAX_EVENTS`].
///
/// # Errors
/// When the database fails.
pub async fn event(db: &mut Connection, at: i64, kind: &str, node: Option<i64>, detail: &Value) -> anyhow::Result<i64> {
    let insert = sql::query_scalar("INSERT INTO events (at, kind, node, detail) VALUES ($1, $2, $3, $4) RETURNING id");
    let id: i64 = insert.bind(at).bind(kind).bind(node).bind(detail.to_string()).fetch_one(&mut *db).await?;
    sql::query("DELETE FROM events WHERE id <= $1").bind(id - MAX_EVENTS).execute(db).await?;
    Ok(id)
}

/// What an operator's command left in its event; nothing when the event is none or no longer kept.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn operator_event(db: &mut Connection, id: i64) -> anyhow::Result<Option<Value>> {
    let select = "SELECT detail FROM events WHERE id = $1 AND kind = 'operator'";
    let detail: Option<String> = sql::query_scalar(select).bind(id).fetch_optional(db).await?;
    detail.map(|d| serde_json::from_str(&d).context("a stored event is damaged")).transpose()
}

/// Id of the newest event; 0 without any.
///
/// # Errors
/// When the database fails.
pub async fn newest_event(db: &mut Connection) -> anyhow::Result<i64> {
    Ok(sql::query_scalar("SELECT coalesce(max(id), 0) FROM events").fetch_one(db).await?)
}

/// The events after the one with this id, each with its kind as `event`.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn events_after(db: &mut Connection, id: i64) -> anyhow::Result<Vec<Value>> {
    let select = "SELECT kind, detail FROM events WHERE id > $1 ORDER BY id";
    let rows: Vec<(String, String)> = sql::query_as(select).bind(id).fetch_all(db).await?;
    let event = |(kind, detail): (String, String)| {
        let mut event: Value = serde_json::from_str(&detail).context("a stored event is damaged")?;
        event["event"] = kind.into();
        Ok(event)
    };
    rows.into_iter().map(event).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::in_memory;

    #[tokio::test]
    async fn what_comes_again_lately_is_counted() {
        let mut db = in_memory().await;
        let node = "INSERT INTO nodes (id, first_seen, hw_info, decision) VALUES (1, 0, '[]', '{}')";
        sql::query(node).execute(&mut db).await.unwrap();
        let (again, hour) = (json!({"msg": "again"}), REPEATS_WITHIN_MS);
        for at in [10, 20, 30, 30 + hour] {
            log_said(&mut db, at, 1, "info", &again).await.unwrap();
        }
        log_said(&mut db, 30 + hour, 1, "warn", &again).await.unwrap();
        log_decision(&mut db, 30 + hour, 1, "info", &again).await.unwrap();
        let select = "SELECT id, at, times, since FROM node_log ORDER BY id";
        let rows: Vec<(i64, i64, i64, Option<i64>)> = sql::query_as(select).fetch_all(&mut db).await.unwrap();
        let late = 30 + hour;
        assert_eq!(rows, [(3, 30, 3, Some(10)), (4, late, 1, None), (5, late, 1, None), (6, late, 1, None)]);

        for n in 0..REPEATS_AMONG {
            log_said(&mut db, late, 1, "info", &json!({"msg": n})).await.unwrap();
        }
        log_said(&mut db, late, 1, "info", &again).await.unwrap();
        let last = "SELECT times FROM node_log ORDER BY id DESC LIMIT 1";
        let times: i64 = sql::query_scalar(last).fetch_one(&mut db).await.unwrap();
        assert_eq!(times, 1, "much was said since");
    }

    #[tokio::test]
    async fn the_newest_events_are_kept() {
        let mut db = in_memory().await;
        for id in [1, 2, MAX_EVENTS] {
            let insert = sql::query("INSERT INTO events (id, at, kind, detail) VALUES ($1, 0, 'x', '{}')");
            insert.bind(id).execute(&mut db).await.unwrap();
        }
        event(&mut db, 1, "new", None, &json!({})).await.unwrap();
        let ids: Vec<i64> = sql::query_scalar("SELECT id FROM events ORDER BY id").fetch_all(&mut db).await.unwrap();
        assert_eq!(ids, [2, MAX_EVENTS, MAX_EVENTS + 1]);
    }
}
