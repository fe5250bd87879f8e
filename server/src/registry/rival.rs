//! Rows 12 and 13: two machines that no value tells apart, found out by the order in which they speak; and requests without
//! a signature while a node's own agent speaks.

use serde_json::json;
use wire::checkin::NodeState;

use crate::identity::comparison::Comparison;
use crate::identity::decide::{Decision, Verdict};
use crate::identity::keys::{Claim, Key};
use crate::registry::{Refusal, queue, reason};
use crate::store::boots::Boot;
use crate::store::nodes::{self, Node};
use crate::store::sql::{self, Connection};
use crate::store::{candidates, claims, history};

/// Row 12: `boot` is known as a node for which another boot has spoken since. A machine that rebooted is silent for ever,
/// so these are two. The one that started later is held, as a node of its own. Gives the node that `boot` is from now on.
///
/// # Errors
/// When the database fails.
pub async fn overtaken(db: &mut Connection, now: i64, boot: &Boot) -> anyhow::Result<Option<i64>> {
    let Some(node) = boot.node else { return Ok(None) };
    let Some(other) = Boot::successor(&mut *db, node, &boot.boot_id).await? else { return Ok(Some(node)) };
    let Some(incumbent) = Node::get(&mut *db, node).await? else { return Ok(None) };
    let newcomer = if other.started() >= boot.started() { &other } else { boot };
    let decision =
        Decision { row: 12, verdict: Verdict::Ambiguous { nodes: vec![node], held_as: None }, evidence: Vec::new() };
    let held = match held_copy(&mut *db, node).await? {
        Some(id) => id,
        None => hold(&mut *db, now, &incumbent, &decision).await?,
    };
    nodes::set_state(&mut *db, held, NodeState::Held, Some(&reason::two_machines(node)), &decision).await?;
    Boot::assign(&mut *db, &newcomer.boot_id, held).await?;
    queue::take_back(&mut *db, node, &newcomer.boot_id).await?;
    let entry = json!({
        "event": "two-machines", "node": nodes::name(node), "held": nodes::name(held), "decision": decision,
        "boot_ids": [boot.boot_id, other.boot_id], "started": [boot.started(), other.started()],
        "msg": format!("two machines speak as {}; the one that started later is held as {}", nodes::name(node), nodes::name(held)),
    });
    for id in [node, held] {
        history::log_decision(&mut *db, now, id, "warn", &entry).await?;
    }
    history::event(db, now, "identity-conflict", Some(held), &entry).await?;
    Ok(Some(if newcomer.boot_id == boot.boot_id { held } else { node }))
}

/// The node that a copy of `node`'s machine is held as already: it is in dispute with nobody else, and nothing of its
/// machine is another's.
async fn held_copy(db: &mut Connection, node: i64) -> anyhow::Result<Option<i64>> {
    for id in claims::held_rivals(&mut *db, node).await? {
        let Some(held) = Node::get(&mut *db, id).await? else { continue };
        let decision: Decision = serde_json::from_str(&held.decision)?;
        let known = candidates::evidence_of(&mut *db, &json!([node, id]).to_string()).await?;
        let of = |id: i64| known.get(&id).cloned().unwrap_or_default();
        if decision.others() == [node] && Comparison::of(&of(node), &of(id), &[]).is_without_difference() {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// A held node with the incumbent's values, which it contests.
async fn hold(db: &mut Connection, now: i64, incumbent: &Node, decision: &Decision) -> anyhow::Result<i64> {
    let info = incumbent.hw_info()?;
    let id = nodes::create(&mut *db, now, &info, None, None, decision).await?;
    let values = claims::of_node(&mut *db, incumbent.id).await?;
    let contested: Vec<Claim> = values
        .into_iter()
        .filter(|c| c.state != "former")
        .map(|c| Claim { key: Key { kind: c.kind, value: c.value }, matching: c.matching })
        .collect();
    claims::add(&mut *db, now, id, &contested).await?;
    history::event(db, now, "node-created", Some(id), &json!({"hw_info": info})).await?;
    Ok(id)
}

/// Nobody without its key speaks as a node whose own agent was heard within the last `window_ms`: gives the refusal, which
/// the node's log counts. Where the machine was booted into an original image, that silence comes by itself.
///
/// # Errors
/// When the database fails.
pub async fn spoken_for(db: &mut Connection, now: i64, node: i64, window_ms: i64) -> anyhow::Result<Option<Refusal>> {
    if !Boot::signed_since(&mut *db, node, now - window_ms).await? {
        return Ok(None);
    }
    let problem = reason::spoken_for(node, window_ms / 1000);
    let entry = json!({
        "event": "problem", "code": problem.code, "error": problem.error, "remedy": problem.remedy,
    });
    history::log_said(db, now, node, "warn", &entry).await?;
    Ok(Some(Refusal { status: 400, problem }))
}

/// Row 13: original clients have no boot id. One that speaks as `node` again after another did, all within `window_ms`,
/// is not the same machine as that one.
///
/// # Errors
/// When the database fails.
pub async fn alternates(db: &mut Connection, now: i64, node: i64, hw_id: &str, window_ms: i64) -> anyhow::Result<bool> {
    // A stranger's name may be megabytes long.
    let hw_id = wire::digest::sha256_hex(hw_id.as_bytes());
    let select = "SELECT EXISTS (
        SELECT 1 FROM legacy_speakers mine JOIN legacy_speakers other ON other.node = mine.node AND other.hw_id <> mine.hw_id
        WHERE mine.node = $1 AND mine.hw_id = $2 AND other.last_seen >= mine.last_seen AND mine.last_seen > $3)";
    let alternates =
        sql::query_scalar(select).bind(node).bind(&hw_id).bind(now - window_ms).fetch_one(&mut *db).await?;
    let upsert = "INSERT INTO legacy_speakers (node, hw_id, last_seen) VALUES ($1, $2, $3)
                  ON CONFLICT (node, hw_id) DO UPDATE SET last_seen = $3";
    sql::query(upsert).bind(node).bind(&hw_id).bind(now).execute(&mut *db).await?;
    sql::query("DELETE FROM legacy_speakers WHERE node = $1 AND last_seen <= $2")
        .bind(node)
        .bind(now - window_ms)
        .execute(db)
        .await?;
    Ok(alternates)
}
