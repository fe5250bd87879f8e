//! What the API shows: documents read from the database, in razor-server's form with ours added.

use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use sqlx::FromRow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wire::card::Card;
use wire::checkin::{Agent, ConfigState};
use wire::enrolment::fingerprint;

use crate::drift::{self, Difference, Said};
use crate::identity::canonical::HwInfo;
use crate::limits::COMPARED;
use crate::registry::configs::Wanted;
use crate::store::sql::{self, Connection, Pool};
use crate::store::{commands, configs, history, nodes};

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Entries to skip.
    pub start: i64,
    /// Entries to give at most.
    pub limit: i64,
}

/// RFC 3339 in UTC.
#[must_use]
pub fn timestamp(ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    time.ok().and_then(|t| t.format(&Rfc3339).ok()).unwrap_or_default()
}

#[derive(FromRow)]
struct Row {
    id: i64,
    first_seen: i64,
    last_checkin: Option<i64>,
    interval: Option<i64>,
    hw_info: String,
    dhcp_mac: Option<String>,
    facts: Option<String>,
    installed: Option<String>,
    installed_at: Option<i64>,
    state: String,
    reason: Option<String>,
    decision: String,
    volatile: Option<String>,
    agent: Option<String>,
    boot_id: Option<String>,
    config: Option<String>,
    kind: Option<String>,
    report: Option<Vec<u8>>,
    card: Option<String>,
    accepted: Option<i64>,
    accepted_by: Option<String>,
    refused: Option<i64>,
    key: Option<Vec<u8>>,
    hostname: Option<String>,
}

const SELECT: &str =
    "SELECT n.id, n.first_seen, n.last_checkin, n.interval, n.hw_info, n.dhcp_mac, n.facts, n.installed,
    n.installed_at, n.state, n.reason, n.decision, n.volatile, n.agent, n.boot_id, n.config, r.kind, c.zstd AS report, b.card,
    n.accepted, n.accepted_by, n.refused, b.key, a.hostname
    FROM nodes n LEFT JOIN reports r ON r.id = n.report LEFT JOIN contents c ON c.digest = r.content
    LEFT JOIN boots b ON b.boot_id = n.boot_id AND b.node = n.id LEFT JOIN adopted a ON a.node = n.id WHERE n.id = $1";

/// What the extensions of a node are compared with.
const PEERS: &str = "SELECT agent, config FROM nodes
    WHERE id <> $1 AND agent IS NOT NULL AND accepted IS NOT NULL AND state = 'normal' ORDER BY id DESC LIMIT $2";

/// Number of nodes, and the ids of a page of them in order.
///
/// # Errors
/// When the database fails.
pub async fn ids(db: &Pool, page: Page) -> anyhow::Result<(i64, Vec<i64>)> {
    let total = sql::query_scalar("SELECT count(*) FROM nodes").fetch_one(db).await?;
    let ids = sql::query_scalar("SELECT id FROM nodes ORDER BY id LIMIT $1 OFFSET $2");
    Ok((total, ids.bind(page.limit).bind(page.start).fetch_all(db).await?))
}

/// The node that an id stands for, through aliases.
///
/// # Errors
/// When the database fails.
pub async fn resolve(db: &Pool, id: i64) -> anyhow::Result<Option<i64>> {
    let mut connection = db.acquire().await?;
    nodes::resolve(&mut connection, id).await
}

/// A whole node, without URLs.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn node(db: &Pool, id: i64) -> anyhow::Result<Option<Map<String, Value>>> {
    let row: Option<Row> = sql::query_as(SELECT).bind(id).fetch_optional(db).await?;
    let Some(row) = row else { return Ok(None) };
    let claims: Vec<(String, String, String, bool, i64)> = sql::query_as(
        "SELECT kind, value, state, matching = 1, since FROM claims WHERE node = $1 ORDER BY kind, value",
    )
    .bind(id)
    .fetch_all(db)
    .await?;
    let aliases: Vec<i64> =
        sql::query_scalar("SELECT alias FROM aliases WHERE node = $1 ORDER BY alias").bind(id).fetch_all(db).await?;
    let reported = row.config.as_deref().map(serde_json::from_str::<Value>).transpose()?;
    let mut document = document(row, claims, &aliases)?;
    let mut connection = db.acquire().await?;
    let commands = waiting(&mut connection, id).await?;
    if !commands.is_empty() {
        document.insert("commands".into(), commands.into());
    }
    let version = configs::version(&mut connection, id).await?;
    let drift = drift(&mut connection, id, &document, reported.as_ref()).await?;
    if !drift.is_empty() {
        document.insert("drift".into(), serde_json::to_value(drift)?);
    }
    document.insert("config".into(), json!({"version": version, "reported": reported}));
    Ok(Some(document))
}

/// How the extensions of a node differ from what they should be. It is compared with the newest nodes that were let in and that
/// nothing disputes: all of a large fleet would be much to read for one page, and anybody can make up nodes that wait.
async fn drift(
    db: &mut Connection,
    id: i64,
    document: &Map<String, Value>,
    reported: Option<&Value>,
) -> anyhow::Result<Vec<Difference>> {
    let Some(agent) = document.get("agent").and_then(|agent| Agent::deserialize(agent).ok()) else {
        return Ok(Vec::new());
    };
    let config = reported.and_then(|config| ConfigState::deserialize(config).ok()).unwrap_or_default();
    let node = Said { agent, config };
    let wanted = Wanted::of(&mut *db, id).await?;
    let is_in_force = !node.config.posted && i64::try_from(node.config.version).is_ok_and(|v| v == wanted.version());
    let digests = wanted.keys().remove(configs::DIGESTS).filter(|_| is_in_force).unwrap_or_default();
    let digests = serde_json::from_value(digests).unwrap_or_default();
    let rows: Vec<(String, Option<String>)> = sql::query_as(PEERS).bind(id).bind(COMPARED).fetch_all(db).await?;
    let said = |(agent, config): &(String, Option<String>)| {
        let config = config.as_deref().and_then(|config| serde_json::from_str(config).ok()).unwrap_or_default();
        serde_json::from_str(agent).ok().map(|agent| Said { agent, config })
    };
    let others: Vec<Said> = rows.iter().filter_map(said).collect();
    Ok(drift::of(&node, &digests, &others))
}

/// The commands that wait for a node, oldest first.
async fn waiting(db: &mut Connection, node: i64) -> anyhow::Result<Vec<Value>> {
    let shown = |c: commands::Waiting| {
        let args: Value = serde_json::from_str(&c.args)?;
        let (expires, sent) = (timestamp(c.expires), c.sent.map(timestamp));
        Ok(json!({"id": c.id, "kind": c.kind, "args": args, "expires": expires, "sent": sent}))
    };
    commands::of_node(db, node).await?.into_iter().map(shown).collect()
}

fn document(
    row: Row,
    claims: Vec<(String, String, String, bool, i64)>,
    aliases: &[i64],
) -> anyhow::Result<Map<String, Value>> {
    let parse = |text: Option<String>| text.as_deref().map(serde_json::from_str::<Value>).transpose();
    let info: HwInfo = serde_json::from_str(&row.hw_info)?;
    let claims: Vec<Value> = claims
        .into_iter()
        .map(|(kind, value, state, matching, since)| {
            json!({"kind": kind, "value": value, "state": state, "matching": matching, "since": timestamp(since)})
        })
        .collect();
    let mut identity = json!({
        "state": row.state,
        "aliases": aliases.iter().map(|id| nodes::name(*id)).collect::<Vec<_>>(),
        "decision": serde_json::from_str::<Value>(&row.decision)?,
        "claims": claims,
    });
    let enrolment = json!({
        "accepted": row.accepted.map(timestamp), "by": row.accepted_by, "refused": row.refused.map(timestamp),
    });
    if let (Some(reason), Some(identity)) = (parse(row.reason)?, identity.as_object_mut()) {
        identity.insert("reason".into(), reason);
    }
    let stable = match (&row.kind, &row.report) {
        (Some(kind), Some(packed)) if kind == "inventory" => Some(history::unpack(packed)?),
        _ => None,
    };
    let volatile = parse(row.volatile)?;
    let inventory = stable.map(|stable| json!({"stable": stable, "volatile": volatile}));
    let installed = row.installed.map_or(Value::Bool(false), Value::String);
    let state = match row.installed_at {
        Some(at) => json!({"installed": installed, "installed_at": timestamp(at)}),
        None => json!({"installed": installed}),
    };
    let fields: [(&str, Option<Value>); 17] = [
        ("name", Some(nodes::name(row.id).into())),
        ("node_id", Some(row.id.into())),
        ("hw_info", Some(info.to_json())),
        ("dhcp_mac", row.dhcp_mac.map(Value::from)),
        ("hostname", row.hostname.map(Value::from)),
        ("facts", parse(row.facts)?),
        ("state", Some(state)),
        ("last_checkin", row.last_checkin.map(|t| timestamp(t).into())),
        ("interval_s", row.interval.map(Value::from)),
        ("first_seen", Some(timestamp(row.first_seen).into())),
        ("boot_id", row.boot_id.map(Value::from)),
        ("key_fingerprint", row.key.map(|key| fingerprint(&key).into())),
        ("enrolment", Some(enrolment)),
        ("identity", Some(identity)),
        ("inventory", inventory),
        ("agent", parse(row.agent)?),
        ("boot", row.card.as_deref().map(boot).transpose()?),
    ];
    // As in the original, what is not known is left out.
    Ok(fields.into_iter().filter_map(|(name, value)| value.map(|v| (name.to_owned(), v))).collect())
}

/// How long the stages of the newest boot took, and which was the slowest.
fn boot(card: &str) -> anyhow::Result<Value> {
    let card: Card = serde_json::from_str(card)?;
    let slowest = card.slowest().map(|step| step.key);
    Ok(json!({"stages": card, "slowest": slowest}))
}

/// A page of a node's log, newest first, and the number of all entries.
///
/// # Errors
/// When the database fails.
pub async fn log(db: &Pool, id: i64, page: Page) -> anyhow::Result<(i64, Vec<Value>)> {
    let total = sql::query_scalar("SELECT count(*) FROM node_log WHERE node = $1").bind(id).fetch_one(db).await?;
    let rows: Vec<(i64, String, String, i64, i64, Option<i64>)> = sql::query_as(
        "SELECT at, severity, entry, origin, times, since FROM node_log WHERE node = $1 ORDER BY id DESC LIMIT $2 OFFSET $3",
    )
    .bind(id)
    .bind(page.limit)
    .bind(page.start)
    .fetch_all(db)
    .await?;
    let mut entries = Vec::with_capacity(rows.len());
    for (at, severity, entry, origin, times, since) in rows {
        let mut object: Map<String, Value> = serde_json::from_str(&entry)?;
        object.insert("timestamp".into(), timestamp(at).into());
        object.insert("severity".into(), severity.into());
        if let Some(since) = since {
            object.insert("times".into(), times.into());
            object.insert("since".into(), timestamp(since).into());
        }
        if origin != id {
            object.insert("written_as".into(), nodes::name(origin).into());
        }
        entries.push(object.into());
    }
    Ok((total, entries))
}

/// A page of a node's reports, newest first, and the number of all.
///
/// # Errors
/// When the database fails.
pub async fn reports(db: &Pool, id: i64, page: Page) -> anyhow::Result<(i64, Vec<Value>)> {
    let total = sql::query_scalar("SELECT count(*) FROM reports WHERE node = $1").bind(id).fetch_one(db).await?;
    let rows: Vec<(i64, i64, String, String, i64, Option<String>)> = sql::query_as(
        "SELECT r.id, r.at, r.kind, r.digest, c.bytes, r.boot_id FROM reports r JOIN contents c ON c.digest = r.content
         WHERE r.node = $1 ORDER BY r.id DESC LIMIT $2 OFFSET $3",
    )
    .bind(id)
    .bind(page.limit)
    .bind(page.start)
    .fetch_all(db)
    .await?;
    let list = rows.into_iter().map(|(report, at, kind, digest, bytes, boot_id)| {
        json!({"id": report, "timestamp": timestamp(at), "kind": kind, "digest": digest, "bytes": bytes, "boot_id": boot_id})
    });
    Ok((total, list.collect()))
}

/// The content of one of a node's reports.
///
/// # Errors
/// When the database fails or the report is damaged.
pub async fn report(db: &Pool, id: i64, report: i64) -> anyhow::Result<Option<Value>> {
    let select = "SELECT c.zstd FROM reports r JOIN contents c ON c.digest = r.content WHERE r.node = $1 AND r.id = $2";
    let packed: Option<Vec<u8>> = sql::query_scalar(select).bind(id).bind(report).fetch_optional(db).await?;
    packed.map(|p| history::unpack(&p)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }
}
