//! Takes over the nodes of a razor-server: all of them or, where one cannot be, none. What was taken over before is left as it
//! is, so that it can be asked for again.

mod offered;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use crate::config::Config;
use crate::human;
use crate::identity::decide;
use crate::identity::keys::{self, Claim, Key};
use crate::limits::MAX_NAMED_CONFLICTS;
use crate::registry::Refusal;
use crate::registry::caller::Caller;
use crate::store::adopted::{self, Row};
use crate::store::sql::Connection;
use crate::store::writer::Work;
use crate::store::{candidates, claims, foreign, history, nodes};
pub use offered::{Offered, Ready};

/// Nodes to take over.
#[derive(Debug)]
pub struct Adopt {
    /// Who asked for it.
    pub by: Caller,
    /// Settings in force.
    pub config: Arc<Config>,
    /// Milliseconds since 1970.
    pub now: i64,
    /// The nodes.
    pub nodes: Vec<Ready>,
    /// Only say what would come of it.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// Nodes that were taken over.
    pub new: usize,
    /// Nodes that had been before.
    pub known: usize,
    /// New ones that no boot leads to, since they have no value of `match_nodes_on`.
    pub unreachable: usize,
    /// All of it in a sentence.
    pub result: String,
}

impl Work for Adopt {
    type Output = Result<Adopted, Refusal>;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<Self::Output> {
        let mut trial = db.savepoint().await?;
        let done = self.carry_out(&mut trial).await?;
        if self.dry_run || done.is_err() {
            trial.rollback().await?;
        } else {
            trial.commit().await?;
        }
        Ok(done)
    }
}

impl Adopt {
    async fn carry_out(&self, db: &mut Connection) -> anyhow::Result<Result<Adopted, Refusal>> {
        let (mut new, mut conflicts) = (Vec::new(), Vec::new());
        let mut offered: BTreeMap<Key, i64> = BTreeMap::new();
        for node in &self.nodes {
            let claims = self.claims(&mut *db, node).await?;
            match self.obstacle(&mut *db, node, &claims, &mut offered).await? {
                Obstacle::None => new.push((node, claims)),
                Obstacle::Known => {}
                Obstacle::Conflict(what) => conflicts.extend(what),
            }
        }
        if !conflicts.is_empty() {
            return Ok(Err(refusal(&conflicts)));
        }
        for (node, claims) in &new {
            self.add(&mut *db, node, claims).await?;
        }
        let unreachable = new.iter().filter(|(_, claims)| keys::matching(claims).is_empty()).count();
        let (new, known) = (new.len(), self.nodes.len() - new.len());
        let mut result = format!("{new} nodes were taken over from a razor-server, and {known} had been before");
        if unreachable > 0 {
            let keys = self.config.match_nodes_on.join(", ");
            result +=
                &format!("; {unreachable} of them have no value of {keys} (match_nodes_on), by which boots are known");
        }
        let detail = json!({"operation": {"command": "adopt-nodes"}, "by": self.by.to_string(), "result": result});
        history::event(db, self.now, "operator", None, &detail).await?;
        Ok(Ok(Adopted { new, known, unreachable, result }))
    }

    async fn claims(&self, db: &mut Connection, node: &Ready) -> anyhow::Result<Vec<Claim>> {
        let mut context = node.context.clone();
        context.foreign_macs.extend(foreign::among(db, &node.info).await?);
        Ok(keys::claims(&node.info, &self.config.match_nodes_on, &context))
    }

    /// What stands in the way of a node. `offered` has the deciding values of those before it.
    async fn obstacle(
        &self,
        db: &mut Connection,
        node: &Ready,
        claims: &[Claim],
        offered: &mut BTreeMap<Key, i64>,
    ) -> anyhow::Result<Obstacle> {
        let name = nodes::name(node.id);
        let taken = adopted::taken(&mut *db, node.id).await?;
        if let Some(before) = &taken.adopted {
            return Ok(match *before == serde_json::to_string(&node.info)? {
                true => Obstacle::Known,
                false => Obstacle::Conflict(vec![format!("{name} was taken over before, with other hardware values")]),
            });
        }
        let mut conflicts = Vec::new();
        if taken.exists {
            conflicts.push(format!("{name} is here already, and is another machine's"));
        } else if taken.given {
            conflicts.push(format!("{name} was here and is gone; a number is never given twice"));
        }
        for key in keys::matching(claims) {
            // A machine may have said it, and a terminal will show it.
            let value = key.to_string();
            let shown = human::part(&value);
            if let Some(other) = offered.insert(key.clone(), node.id).filter(|other| *other != node.id) {
                conflicts.push(format!("{} and {name} of the dump both have {shown}", nodes::name(other)));
            }
            let holders = claims::holders(&mut *db, &key).await?;
            for holder in holders.into_iter().filter(|holder| *holder != node.id) {
                conflicts.push(format!("{shown} of {name} is {}'s here", nodes::name(holder)));
            }
        }
        Ok(if conflicts.is_empty() { Obstacle::None } else { Obstacle::Conflict(conflicts) })
    }

    async fn add(&self, db: &mut Connection, node: &Ready, claims: &[Claim]) -> anyhow::Result<()> {
        let decision = decide::boot(&[], &node.evidence);
        let row = Row {
            id: node.id,
            info: &node.info,
            dhcp_mac: node.dhcp_mac.as_deref(),
            installed: node.installed.as_deref(),
            installed_at: node.installed.as_ref().map(|_| node.installed_at.unwrap_or(self.now)),
            last_checkin: node.last_checkin,
            hostname: node.hostname.as_deref(),
            decision: &decision,
        };
        adopted::add(&mut *db, self.now, &row).await?;
        claims::add(&mut *db, self.now, node.id, claims).await?;
        candidates::learn(&mut *db, node.id, &node.evidence, node.context.is_virtual).await?;
        if let Some((facts, content)) = &node.facts {
            nodes::set_facts(&mut *db, node.id, facts, &content.digest).await?;
            let (at, report) =
                (node.last_checkin.unwrap_or(self.now), history::Report { content, boot_id: None, uptime_s: None });
            history::add_report(&mut *db, at, node.id, &report).await?;
        }
        let entry = json!({"event": "operator", "msg": "taken over from a razor-server"});
        history::log_decision(db, self.now, node.id, "info", &entry).await
    }
}

/// Why a node is not simply made.
enum Obstacle {
    /// It is.
    None,
    /// It was taken over before.
    Known,
    /// It cannot be, for these reasons.
    Conflict(Vec<String>),
}

fn refusal(conflicts: &[String]) -> Refusal {
    let mut named = conflicts.iter().take(MAX_NAMED_CONFLICTS).cloned().collect::<Vec<_>>().join("; ");
    if let Some(further) = conflicts.len().checked_sub(MAX_NAMED_CONFLICTS).filter(|n| *n > 0) {
        named += &format!("; and {further} more");
    }
    let error = format!("no node was taken over: {named}");
    let remedy = "Take them over into an empty data folder, before machines boot from this server; or leave these nodes out of \
                  the dump, or delete them here.";
    Refusal::new(409, "nodes_conflict", error, remedy)
}
