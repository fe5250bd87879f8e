//! What check-ins that say nothing new need, read and written for many of them at once: a statement costs more than what it does.

use std::collections::BTreeMap;

use sqlx::FromRow;

use crate::limits::UNCHANGED_AT_ONCE;
use crate::store::sql::{self, Connection};

/// A boot that speaks as its node, which is in no way remarkable: accepted, in no dispute, not installed, and nothing waits for it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Standing {
    /// Kernel's boot id.
    pub boot_id: String,
    /// The node.
    pub node: i64,
    /// Public key; `None` for a boot that does not sign.
    pub key: Option<Vec<u8>>,
    /// Number of the last request.
    pub seq: i64,
    /// JSON of the agent, as it said last.
    pub agent: Option<String>,
    /// JSON of what it said of its configuration last.
    pub config: Option<String>,
    /// Digest of the newest report.
    pub digest: String,
    /// What it lacks is gone once its machine has run for some time.
    pub awaited: bool,
}

/// What a check-in leaves behind.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Kernel's boot id.
    pub boot_id: String,
    /// The node.
    pub node: i64,
    /// Public key.
    pub key: Option<Vec<u8>>,
    /// Number of the request.
    pub seq: i64,
    /// SHA-256 of its body.
    pub body: String,
    /// JSON of the answer.
    pub reply: String,
    /// Seconds since the kernel started.
    pub uptime_s: Option<i64>,
    /// When it was heard, in milliseconds since 1970: how long a boot was silent tells a reboot from another machine.
    pub at: i64,
}

/// Joined in this order, whatever other indexes promise.
const SELECT: &str = "SELECT b.boot_id, n.id AS node, b.key, b.seq, n.agent, n.config, r.digest, s.awaited = 1 AS awaited FROM boots b
         CROSS JOIN nodes n CROSS JOIN reports r CROSS JOIN settled s
         WHERE s.node = n.id AND s.content = r.content AND n.id = b.node AND n.boot_id = b.boot_id AND r.id = n.report AND n.state = 'normal' AND n.reason IS NULL AND n.accepted IS NOT NULL AND n.facts_digest IS NOT NULL
         AND n.installed IS NULL AND n.reboots = 0
         AND NOT EXISTS (SELECT 1 FROM provisional p WHERE p.node = n.id)
         AND NOT EXISTS (SELECT 1 FROM commands c WHERE c.node = n.id)
         AND NOT EXISTS (SELECT 1 FROM configs g WHERE g.node = n.id)
         AND b.boot_id IN (";

/// Those of at most [`UNCHANGED_AT_ONCE`] boots that stand so, by their ids.
///
/// # Errors
/// When the database fails.
pub async fn standing(db: &mut Connection, boot_ids: &[&str]) -> anyhow::Result<BTreeMap<String, Standing>> {
    let mut select = sql::query(SELECT);
    // As long as any other list, by repetition, so that one statement serves all.
    let list = boot_ids.iter().chain(boot_ids.last().into_iter().cycle()).take(UNCHANGED_AT_ONCE);
    for (place, boot_id) in list.enumerate() {
        select.push(comma(place)).push_bind(*boot_id);
    }
    select.push(")");
    let rows: Vec<Standing> = select.rows().fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (row.boot_id.clone(), row)).collect())
}

/// Stores what at most [`UNCHANGED_AT_ONCE`] of them leave behind, each of another boot; they were heard at the same time, and told the
/// same interval.
///
/// # Errors
/// When the database fails.
pub async fn put(db: &mut Connection, at: i64, interval: i64, heard: &[Heard]) -> anyhow::Result<()> {
    for heard in powers(heard) {
        let mut boots = sql::query(
            "INSERT INTO boots (boot_id, node, key, seq, body, reply, uptime_s, first_seen, last_seen) VALUES ",
        );
        for (place, h) in heard.iter().enumerate() {
            boots.push(comma(place)).push("(").push_bind(&h.boot_id).push(", ").push_bind(h.node);
            boots.push(", ").push_bind(&h.key).push(", ").push_bind(h.seq).push(", ").push_bind(&h.body);
            boots.push(", ").push_bind(&h.reply).push(", ").push_bind(h.uptime_s);
            boots.push(", ").push_bind(h.at).push(", ").push_bind(h.at).push(")");
        }
        // They are all there: this finds each by its id.
        boots.push(
            " ON CONFLICT (boot_id) DO UPDATE SET seq = excluded.seq, body = excluded.body, reply = excluded.reply,
             uptime_s = excluded.uptime_s, last_seen = excluded.last_seen",
        );
        boots.execute(&mut *db).await?;
        let mut nodes = sql::query("UPDATE nodes SET last_checkin = ");
        nodes.push_bind(at).push(", interval = ").push_bind(interval).push(" WHERE id IN (");
        for (place, h) in heard.iter().enumerate() {
            nodes.push(comma(place)).push_bind(h.node);
        }
        nodes.push(")");
        nodes.execute(&mut *db).await?;
    }
    Ok(())
}

/// What stands before this place of a list.
fn comma(place: usize) -> &'static str {
    if place == 0 { "" } else { ", " }
}

/// Cut into parts of 64, 32, 16, … , so that few statements serve lists of any length.
fn powers<T>(mut list: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = 1 << list.len().checked_ilog2()?;
        let (part, rest) = list.split_at_checked(length)?;
        list = rest;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory;

    #[test]
    fn lists_are_cut_into_few_lengths() {
        let lengths = |n: usize| powers(&vec![0; n]).map(<[i32]>::len).collect::<Vec<_>>();
        assert_eq!([lengths(0), lengths(1), lengths(37), lengths(64)], [vec![], vec![1], vec![32, 4, 1], vec![64]]);
    }

    #[tokio::test]
    async fn no_table_is_read_through() {
        let mut select = sql::query("EXPLAIN QUERY PLAN ");
        select.push(SELECT).push("'a', 'b')");
        let plan: Vec<(i64, i64, i64, String)> = select.rows().fetch_all(&mut in_memory().await).await.unwrap();
        assert!(plan.len() > 5 && plan.iter().all(|(.., step)| !step.contains("SCAN")), "{plan:?}");
        assert!(plan[0].3.contains("boots"), "{plan:?}");
    }
}
