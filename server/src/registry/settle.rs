//! Rows 6, 7, 9 and 10: a check-in that brings facts settles which node the machine is, and what that node claims.

use serde_json::json;
use sqlx::SqliteConnection;
use wire::checkin::NodeState;
use wire::error::Problem;

use crate::config::Config;
use crate::identity::decide::{self, Decision, Own, Verdict};
use crate::identity::keys::{self, Key};
use crate::identity::report::Report;
use crate::limits::ALIVE_INTERVALS;
use crate::registry::lookup::{PROTECTED, log_duplicate};
use crate::registry::{Refusal, conflict};
use crate::store::nodes::{self, Node};
use crate::store::{claims, history, merge};

/// A machine that reports, and what is known of who it is.
#[derive(Debug)]
pub struct Speaker<'a> {
    /// Settings in force.
    pub config: &'a Config,
    /// Milliseconds since 1970.
    pub now: i64,
    /// The node that it says it is.
    pub own: Option<Own>,
    /// Its boot, if it is an agent of ours. Others are refused where ours are held.
    pub boot_id: Option<&'a str>,
    /// Its hardware.
    pub report: &'a Report,
}

/// The node that a machine was found to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Its id.
    pub id: i64,
    /// How it is seen.
    pub state: NodeState,
    /// Why that is not normal.
    pub reason: Option<Problem>,
}

/// Decides which node the machine is and makes that node's claims those of the report.
///
/// # Errors
/// When the database fails.
pub async fn settle(db: &mut SqliteConnection, speaker: &Speaker<'_>) -> anyhow::Result<Result<Settled, Refusal>> {
    let Speaker { config, now, report, .. } = *speaker;
    let all = keys::claims(&report.info, &config.match_nodes_on, &report.context);
    let keys = keys::matching(&all);
    if keys.is_empty() && speaker.own.is_none_or(|own| !own.proven) {
        return Ok(Err(Refusal::no_match_value(&config.match_nodes_on)));
    }
    let alive_since = now - ALIVE_INTERVALS * 1000 * i64::from(config.checkin_interval);
    let candidates = claims::candidates(&mut *db, &keys, speaker.boot_id, alive_since).await?;
    let decision = decide::checkin(speaker.own, &candidates);
    let settled = match apply(&mut *db, speaker, &decision, &keys).await? {
        Ok(settled) => settled,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Some(node) = Node::get(&mut *db, settled.id).await? else {
        anyhow::bail!("node {} vanished while it checked in", settled.id)
    };
    let known = node.hw_info()?;
    let info = known.overlaid(&report.info);
    if info != known {
        nodes::set_hardware(&mut *db, settled.id, &info, None).await?;
    }
    for (key, heir) in claims::replace(&mut *db, now, settled.id, &all, &report.speaks_of).await? {
        let detail = json!({"key": key.to_string(), "from": nodes::name(settled.id), "to": nodes::name(heir)});
        history::event(&mut *db, now, "hardware-moved", Some(heir), &detail).await?;
    }
    let changed = node.state != nodes::state_word(settled.state);
    if changed || node.decision != serde_json::to_string(&decision)? {
        if changed || decision.is_news() {
            announce(&mut *db, now, &settled, &decision).await?;
        }
        nodes::set_state(db, settled.id, settled.state, settled.reason.as_ref(), &decision).await?;
    }
    Ok(Ok(settled))
}

/// Makes, merges or holds, as decided.
async fn apply(
    db: &mut SqliteConnection,
    speaker: &Speaker<'_>,
    decision: &Decision,
    keys: &[Key],
) -> anyhow::Result<Result<Settled, Refusal>> {
    let (id, state, reason) = match &decision.verdict {
        Verdict::Create => (create(db, speaker, decision).await?, NodeState::Normal, None),
        Verdict::Node { id, merge, conflict } => {
            for duplicate in merge {
                merge::merge(&mut *db, speaker.now, *duplicate, *id, decision).await?;
            }
            // A held node stays so while the others still claim its hardware.
            let node = Node::get(db, *id).await?.filter(|n| n.is_held() && !conflict.is_empty());
            match node {
                Some(node) => {
                    let (state, reason) = node.standing()?;
                    (*id, state, reason)
                }
                None => (*id, NodeState::Normal, None),
            }
        }
        Verdict::Ambiguous { nodes, held_as } => {
            let keys: Vec<String> = keys.iter().map(Key::to_string).collect();
            if speaker.boot_id.is_none() {
                log_duplicate(db, speaker.now, nodes, &keys).await?;
                return Ok(Err(Refusal::ambiguous(nodes, &keys)));
            }
            let id = match held_as {
                Some(id) => *id,
                None => create(db, speaker, decision).await?,
            };
            (id, NodeState::Held, Some(conflict(nodes, &keys)))
        }
    };
    Ok(Ok(Settled { id, state, reason }))
}

async fn create(db: &mut SqliteConnection, speaker: &Speaker<'_>, decision: &Decision) -> anyhow::Result<i64> {
    let installed = speaker.config.protect_new_nodes.then_some(PROTECTED);
    let info = &speaker.report.info;
    let id = nodes::create(&mut *db, speaker.now, info, None, installed, decision).await?;
    history::event(db, speaker.now, "node-created", Some(id), &json!({"hw_info": info})).await?;
    Ok(id)
}

/// Writes a changed decision to the logs of all nodes that it concerns.
async fn announce(db: &mut SqliteConnection, now: i64, settled: &Settled, decision: &Decision) -> anyhow::Result<()> {
    let others: &[i64] = match &decision.verdict {
        Verdict::Create => &[],
        Verdict::Node { conflict, .. } => conflict,
        Verdict::Ambiguous { nodes, .. } => nodes,
    };
    let severity = if others.is_empty() { "info" } else { "warn" };
    let entry = json!({
        "event": "identity", "node": nodes::name(settled.id), "state": settled.state, "decision": decision,
        "conflict": others.iter().map(|id| nodes::name(*id)).collect::<Vec<_>>(),
    });
    history::log(&mut *db, now, settled.id, severity, &entry).await?;
    for other in others {
        history::log(&mut *db, now, *other, severity, &entry).await?;
    }
    if !others.is_empty() {
        history::event(db, now, "identity-conflict", Some(settled.id), &entry).await?;
    }
    Ok(())
}
