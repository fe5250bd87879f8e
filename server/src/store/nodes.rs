//! Rows of nodes, and the ids that became aliases of them.

use serde_json::Value;
use sqlx::FromRow;
use wire::checkin::NodeState;
use wire::error::Problem;

use crate::identity::canonical::HwInfo;
use crate::identity::decide::Decision;
use crate::identity::evidence::{Evidence, Group};
use crate::limits::{ALIVE_INTERVALS, PARTS_AWAITED_S, PROVISIONAL_MS};
use crate::store::makeups;
use crate::store::sql::{self, Connection};

/// What the decisions need of a node.
#[derive(Debug, Clone, FromRow)]
pub struct Node {
    /// Id.
    pub id: i64,
    /// JSON list of `key=value`.
    pub hw_info: String,
    /// As sent by iPXE.
    pub dhcp_mac: Option<String>,
    /// Digest of the stored facts; absent while unregistered.
    pub facts_digest: Option<String>,
    /// What is installed on it.
    pub installed: Option<String>,
    /// Reboots ordered in a row.
    pub reboots: i64,
    /// `normal`, `held` or `pending`.
    pub state: String,
    /// JSON problem: why the state is not normal.
    pub reason: Option<String>,
    /// JSON of the last decision.
    pub decision: String,
    /// The boot of the agent of ours that spoke last; nothing when an original client did.
    pub boot_id: Option<String>,
    /// When it last spoke, in milliseconds since 1970.
    pub last_checkin: Option<i64>,
    /// JSON of what it said of its configuration last.
    pub config: Option<String>,
    /// Digest of the newest report.
    pub report_digest: Option<String>,
    /// JSON list of what the newest boot showed, where that may be another machine's.
    pub doubt: Option<String>,
    /// When it was accepted, in milliseconds since 1970; nothing for one that never was.
    pub accepted: Option<i64>,
    /// When an operator refused it.
    pub refused: Option<i64>,
    /// When a report came that showed other hardware, and not yet the memory or disks that the node had.
    pub provisional: Option<i64>,
    /// It is not told yet what changed by its newest report.
    pub unsettled: bool,
}

const SELECT: &str = "SELECT n.id, n.hw_info, n.dhcp_mac, n.facts_digest, n.installed, n.reboots, n.state, n.reason, n.decision, \
     n.boot_id, n.last_checkin, n.config, r.digest AS report_digest, n.doubt, n.accepted, n.refused, p.at AS provisional, \
     CASE WHEN r.kind = 'inventory' AND (s.node IS NULL OR s.awaited = 1 OR s.content <> r.content) THEN 1 ELSE 0 END = 1 AS unsettled \
     FROM nodes n LEFT JOIN reports r ON r.id = n.report LEFT JOIN provisional p ON p.node = n.id \
     LEFT JOIN settled s ON s.node = n.id WHERE n.id = $1";

impl Node {
    /// The node with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get(db: &mut Connection, id: i64) -> anyhow::Result<Option<Self>> {
        Ok(sql::query_as(SELECT).bind(id).fetch_optional(db).await?)
    }

    /// Canonical hardware information as it was sent.
    ///
    /// # Errors
    /// When the row holds something else.
    pub fn hw_info(&self) -> anyhow::Result<HwInfo> {
        Ok(serde_json::from_str(&self.hw_info)?)
    }

    /// How the node is seen, and why that is not normal.
    ///
    /// # Errors
    /// When the row holds something else.
    pub fn standing(&self) -> anyhow::Result<(NodeState, Option<Problem>)> {
        let state = serde_json::from_value(Value::String(self.state.clone()))?;
        Ok((state, self.reason.as_deref().map(serde_json::from_str).transpose()?))
    }

    /// True once facts are stored.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.facts_digest.is_some()
    }

    /// True when it shall start what is installed on it.
    #[must_use]
    pub fn boots_from_its_disk(&self) -> bool {
        self.installed.is_some() && self.is_registered() && !self.is_held()
    }

    /// True while parts may come that show the machine which spoke as the node to be another one.
    #[must_use]
    pub fn is_provisional(&self, now: i64) -> bool {
        self.provisional.is_some_and(|at| at >= now - PROVISIONAL_MS)
    }

    /// True while the machine that speaks as the node, and whose kernel runs for so long, may be another one: it has not shown all
    /// parts that the node had, and other hardware. Not for ever, since the parts may be gone.
    #[must_use]
    pub fn awaits_parts(&self, now: i64, uptime_s: Option<i64>) -> bool {
        self.is_provisional(now) && uptime_s.unwrap_or(0) < PARTS_AWAITED_S
    }

    /// True where the boot that is doubted was one of this machine, by a port that both show; a boot that showed no port, by
    /// any value. Another machine may have booted as the node since.
    ///
    /// # Errors
    /// When the row holds something else.
    pub fn doubts_boot_of(&self, machine: &Evidence) -> anyhow::Result<bool> {
        let Some(doubt) = &self.doubt else { return Ok(false) };
        let shown: Vec<(Group, String)> = serde_json::from_str(doubt)?;
        let by_port = shown.iter().any(|(group, _)| *group == Group::Nic);
        let has = |(group, value): &(Group, String)| {
            (*group == Group::Nic || !by_port) && machine.values(*group).is_some_and(|values| values.contains(value))
        };
        Ok(shown.iter().any(has))
    }

    /// True while its identity is disputed.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.state == "held"
    }

    /// True while it is told nothing but what helps to find out what it is: its identity is disputed, or it waits to be accepted.
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        self.state != "normal"
    }
}

/// The name of a node.
#[must_use]
pub fn name(id: i64) -> String {
    format!("node{id}")
}

/// The id in a node's name; nothing for any other word.
#[must_use]
pub fn parse_name(name: &str) -> Option<i64> {
    name.strip_prefix("node")
        .filter(|digits| !digits.starts_with(['0', '+', '-']))
        .and_then(|digits| digits.parse().ok())
}

/// The node that an id stands for: itself, or the one that it was merged into.
///
/// # Errors
/// When the database fails.
pub async fn resolve(db: &mut Connection, id: i64) -> anyhow::Result<Option<i64>> {
    let found = sql::query_scalar(
        "SELECT id FROM nodes WHERE id = $1 UNION ALL SELECT node FROM aliases WHERE alias = $1 LIMIT 1",
    );
    Ok(found.bind(id).fetch_optional(db).await?)
}

/// Makes a node; gives its id.
///
/// # Errors
/// When the database fails.
pub async fn create(
    db: &mut Connection,
    at: i64,
    info: &HwInfo,
    dhcp_mac: Option<&str>,
    installed: Option<&str>,
    decision: &Decision,
) -> anyhow::Result<i64> {
    let insert = sql::query_scalar(
        "INSERT INTO nodes (first_seen, hw_info, dhcp_mac, installed, installed_at, decision)
         VALUES ($1, $2, $3, $4, CASE WHEN $4 IS NULL THEN NULL ELSE $1 END, $5) RETURNING id",
    );
    let insert = insert.bind(at).bind(serde_json::to_string(info)?).bind(dhcp_mac).bind(installed);
    Ok(insert.bind(serde_json::to_string(decision)?).fetch_one(db).await?)
}

/// Stores hardware information and the MAC that iPXE got its address with.
///
/// # Errors
/// When the database fails.
pub async fn set_hardware(db: &mut Connection, id: i64, info: &HwInfo, dhcp_mac: Option<&str>) -> anyhow::Result<()> {
    let update = sql::query("UPDATE nodes SET hw_info = $2, dhcp_mac = coalesce($3, dhcp_mac) WHERE id = $1");
    update.bind(id).bind(serde_json::to_string(info)?).bind(dhcp_mac).execute(db).await?;
    Ok(())
}

/// Stores facts; the node is registered from now on.
///
/// # Errors
/// When the database fails.
pub async fn set_facts(db: &mut Connection, id: i64, facts: &str, digest: &str) -> anyhow::Result<()> {
    let update = sql::query("UPDATE nodes SET facts = $2, facts_digest = $3 WHERE id = $1");
    update.bind(id).bind(facts).bind(digest).execute(db).await?;
    Ok(())
}

/// Stores how the node is seen and the decision behind it.
///
/// # Errors
/// When the database fails.
pub async fn set_state(
    db: &mut Connection,
    id: i64,
    state: NodeState,
    reason: Option<&Problem>,
    decision: &Decision,
) -> anyhow::Result<()> {
    let reason = reason.map(serde_json::to_string).transpose()?;
    let update = sql::query("UPDATE nodes SET state = $2, reason = $3, decision = $4 WHERE id = $1");
    update.bind(id).bind(state_word(state)).bind(reason).bind(serde_json::to_string(decision)?).execute(db).await?;
    Ok(())
}

/// The same, while the decision about it stands.
///
/// # Errors
/// When the database fails.
pub async fn set_standing(
    db: &mut Connection,
    id: i64,
    state: NodeState,
    reason: Option<&Problem>,
) -> anyhow::Result<()> {
    let reason = reason.map(serde_json::to_string).transpose()?;
    let update = sql::query("UPDATE nodes SET state = $2, reason = $3 WHERE id = $1");
    update.bind(id).bind(state_word(state)).bind(reason).execute(db).await?;
    Ok(())
}

/// What every accepted check-in leaves behind.
#[derive(Debug)]
pub struct Contact {
    /// When.
    pub at: i64,
    /// The boot that spoke.
    pub boot_id: Option<String>,
    /// The agent that spoke, as JSON.
    pub agent: Option<Value>,
    /// Newest volatile inventory, as JSON.
    pub volatile: Option<Value>,
    /// What the agent said of its configuration, as JSON.
    pub config: Option<Value>,
    /// Reboots ordered in a row.
    pub reboots: i64,
    /// Seconds until the next one, if the node was told.
    pub interval: Option<u32>,
}

/// Stores a contact.
///
/// # Errors
/// When the database fails.
pub async fn set_contact(db: &mut Connection, id: i64, contact: &Contact) -> anyhow::Result<()> {
    let update = sql::query(
        "UPDATE nodes SET last_checkin = $2, boot_id = $3, agent = coalesce($4, agent),
         volatile = coalesce($5, volatile), reboots = $6, config = coalesce($7, config), interval = $8 WHERE id = $1",
    );
    let update = update.bind(id).bind(contact.at).bind(&contact.boot_id);
    let update = update.bind(contact.agent.as_ref().map(Value::to_string));
    let update = update.bind(contact.volatile.as_ref().map(Value::to_string)).bind(contact.reboots);
    let update = update.bind(contact.config.as_ref().map(Value::to_string)).bind(contact.interval);
    update.execute(db).await?;
    Ok(())
}

/// Silence of a node in milliseconds after which nobody speaks as it any more: several of the intervals that it was told last,
/// or of the usual one, where that is longer.
#[must_use]
pub fn alive_ms(told_s: Option<i64>, usual_s: u32) -> i64 {
    ALIVE_INTERVALS * 1000 * told_s.unwrap_or(0).max(usual_s.into())
}

/// The interval that a node was told last, in seconds.
///
/// # Errors
/// When the database fails.
pub async fn told_interval(db: &mut Connection, id: i64) -> anyhow::Result<Option<i64>> {
    let select = sql::query_scalar("SELECT interval FROM nodes WHERE id = $1");
    Ok(select.bind(id).fetch_optional(db).await?.flatten())
}

/// The node counts as installed.
///
/// # Errors
/// When the database fails.
pub async fn set_installed(db: &mut Connection, id: i64, what: &str, at: i64) -> anyhow::Result<()> {
    let update = "UPDATE nodes SET installed = $2, installed_at = $3 WHERE id = $1 AND installed IS NULL";
    sql::query(update).bind(id).bind(what).bind(at).execute(db).await?;
    Ok(())
}

/// Deletes a node with all that belongs to it; false when there is none.
///
/// # Errors
/// When the database fails.
pub async fn delete(db: &mut Connection, id: i64) -> anyhow::Result<bool> {
    makeups::give_up(&mut *db, id).await?;
    let deleted = sql::query("DELETE FROM nodes WHERE id = $1").bind(id).execute(db).await?;
    Ok(deleted > 0)
}

/// Notes an operator's word that two nodes are two machines; false when it was said before.
///
/// # Errors
/// When the database fails.
pub async fn set_distinct(db: &mut Connection, at: i64, one: i64, other: i64) -> anyhow::Result<bool> {
    let insert = "INSERT INTO distinct_nodes (one, other, since) VALUES (min($1, $2), max($1, $2), $3)
                  ON CONFLICT (one, other) DO NOTHING";
    Ok(sql::query(insert).bind(one).bind(other).bind(at).execute(db).await? > 0)
}

/// Takes that word back; false when it was never said.
///
/// # Errors
/// When the database fails.
pub async fn drop_distinct(db: &mut Connection, one: i64, other: i64) -> anyhow::Result<bool> {
    let delete = "DELETE FROM distinct_nodes WHERE one = min($1, $2) AND other = max($1, $2)";
    Ok(sql::query(delete).bind(one).bind(other).execute(db).await? > 0)
}

/// The nodes that an operator said to be other machines than this one.
///
/// # Errors
/// When the database fails.
pub async fn told_apart(db: &mut Connection, id: i64) -> anyhow::Result<Vec<i64>> {
    let select =
        "SELECT other FROM distinct_nodes WHERE one = $1 UNION ALL SELECT one FROM distinct_nodes WHERE other = $1";
    Ok(sql::query_scalar(select).bind(id).fetch_all(db).await?)
}

/// The node no longer counts as installed.
///
/// # Errors
/// When the database fails.
pub async fn release(db: &mut Connection, id: i64) -> anyhow::Result<()> {
    let update = "UPDATE nodes SET installed = NULL, installed_at = NULL, reboots = 0 WHERE id = $1";
    sql::query(update).bind(id).execute(db).await?;
    Ok(())
}

/// What a node's facts say about being a virtual machine; nothing while they are not known.
///
/// # Errors
/// When the database fails.
pub async fn is_virtual(db: &mut Connection, id: i64) -> anyhow::Result<Option<bool>> {
    let select = "SELECT CAST(facts ->> '$.is_virtual' AS TEXT) IN ('1', 'true') FROM nodes WHERE id = $1";
    Ok(sql::query_scalar(select).bind(id).fetch_optional(db).await?.flatten())
}

/// True when no other boot than this, and no original client, ever reported as the node.
///
/// # Errors
/// When the database fails.
pub async fn only_boot(db: &mut Connection, id: i64, boot_id: &str) -> anyhow::Result<bool> {
    let select = "SELECT NOT EXISTS (SELECT 1 FROM boots WHERE node = $1 AND boot_id <> $2)
                  AND NOT EXISTS (SELECT 1 FROM reports WHERE node = $1 AND boot_id IS DISTINCT FROM $2)";
    Ok(sql::query_scalar(select).bind(id).bind(boot_id).fetch_one(db).await?)
}

/// Notes what a boot showed that may be another machine's, for the check-in that decides; `None` when a boot showed the
/// node's own.
///
/// # Errors
/// When the database fails.
pub async fn set_doubt(db: &mut Connection, id: i64, shown: Option<&str>) -> anyhow::Result<()> {
    let update = "UPDATE nodes SET doubt = $2 WHERE id = $1 AND doubt IS DISTINCT FROM $2";
    sql::query(update).bind(id).bind(shown).execute(db).await?;
    Ok(())
}

/// A check-in of the boot that was doubted was found to be the node: what it showed is the node's.
///
/// # Errors
/// When the database fails.
pub async fn assure(db: &mut Connection, id: i64) -> anyhow::Result<()> {
    let update = "UPDATE nodes SET assured = doubt, doubt = NULL WHERE id = $1 AND doubt IS NOT NULL";
    sql::query(update).bind(id).execute(db).await?;
    Ok(())
}

/// Nothing that a boot showed is known to be the node's or doubted any more.
///
/// # Errors
/// When the database fails.
pub async fn forget_boots(db: &mut Connection, id: i64) -> anyhow::Result<()> {
    let update = "UPDATE nodes SET doubt = NULL, assured = NULL
                  WHERE id = $1 AND (doubt IS NOT NULL OR assured IS NOT NULL)";
    sql::query(update).bind(id).execute(db).await?;
    Ok(())
}

/// True when a check-in confirmed a boot that showed this.
///
/// # Errors
/// When the database fails.
pub async fn is_assured(db: &mut Connection, id: i64, shown: &str) -> anyhow::Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM nodes WHERE id = $1 AND assured = $2)";
    Ok(sql::query_scalar(select).bind(id).bind(shown).fetch_one(db).await?)
}

/// How a state is written in the database.
#[must_use]
pub fn state_word(state: NodeState) -> &'static str {
    match state {
        NodeState::Normal => "normal",
        NodeState::Held => "held",
        NodeState::Pending => "pending",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_id() {
        assert_eq!(parse_name(&name(42)), Some(42));
        for other in
            ["", "node", "42", "node042", "node-1", "node+1", "node1x", "hello there", "node99999999999999999999"]
        {
            assert_eq!(parse_name(other), None, "{other:?}");
        }
    }
}
