//! Rows 1 to 5: a machine boots, or somebody asks for its id.

use std::sync::Arc;

use serde_json::json;
use wire::checkin::NodeState;

use crate::config::Config;
use crate::identity::canonical::HwInfo;
use crate::identity::decide::{self, Decision, Verdict};
use crate::identity::evidence::{Evidence, Group};
use crate::identity::keys;
use crate::identity::report::Context;
use crate::newcomers::Room;
use crate::registry::enrolment::Gate;
use crate::registry::{Refusal, reason};
use crate::store::candidates::{self, Search};
use crate::store::nodes::{self, Node};
use crate::store::sql::Connection;
use crate::store::writer::Work;
use crate::store::{claims, foreign, history};

/// What `protect_new_nodes` marks a node with.
pub const PROTECTED: &str = "+protected";

/// A look-up, which makes the node where there is none.
#[derive(Debug)]
pub struct Lookup {
    /// Settings in force.
    pub config: Arc<Config>,
    /// Milliseconds since 1970.
    pub now: i64,
    /// What is known of the machine.
    pub info: HwInfo,
    /// The MAC that iPXE got its address with, as sent.
    pub dhcp_mac: Option<String>,
    /// What is asked for.
    pub asked: Asked,
    /// For a node that is made.
    pub room: Room,
}

/// What a look-up is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The node's id alone.
    Id,
    /// What to boot, which is written to the node's log.
    Boot {
        /// There is an image to boot.
        image: bool,
    },
}

/// The node that was found or made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub id: i64,
    /// It shall start what is installed on it.
    pub boot_local: bool,
}

impl Work for Lookup {
    type Output = Result<Found, Refusal>;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<Self::Output> {
        let found = match self.weigh(&mut *db).await? {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.carry_out(db, &found).await
    }
}

impl Lookup {
    /// Makes the node, or teaches it what the boot shows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn carry_out(&self, db: &mut Connection, found: &Weighing) -> anyhow::Result<Result<Found, Refusal>> {
        let Weighing { decision, claims, evidence } = found;
        let gate = Gate { enrolment: self.config.enrolment, now: self.now, token: None };
        let id = match &decision.verdict {
            Verdict::Create { .. } => {
                if let Err(refusal) = gate.room(&mut *db, &self.room, decision).await? {
                    return Ok(Err(refusal));
                }
                self.create(&mut *db, gate, decision, claims, evidence).await?
            }
            Verdict::Node { id, .. } => {
                self.learn(&mut *db, *id, claims).await?;
                *id
            }
            Verdict::Ambiguous { nodes, .. } => return self.refuse(db, nodes, &keys::matching(claims)).await.map(Err),
        };
        let node = Node::get(&mut *db, id).await?;
        let boot_local = match &node {
            Some(node) if self.asked != Asked::Id && node.boots_from_its_disk() => {
                self.is_certain(&mut *db, node, found).await?
            }
            _ => false,
        };
        if let Asked::Boot { image } = self.asked {
            let (task, template) = if boot_local { ("noop", "boot_local") } else { ("microkernel", "boot") };
            let mut entry = json!({"event": "boot", "task": task, "template": template});
            let severity = if boot_local || image { "info" } else { "warn" };
            if severity == "warn" {
                entry["error"] = "no_image".into();
            }
            history::log_said(&mut *db, self.now, id, severity, &entry).await?;
        }
        Ok(Ok(Found { id, boot_local }))
    }
}

/// A decision with what it was made from.
#[derive(Debug)]
pub struct Weighing {
    /// Rows 2 to 5.
    pub decision: Decision,
    /// The machine's values.
    claims: Vec<keys::Claim>,
    /// What tells it from others.
    evidence: Evidence,
}

impl Lookup {
    /// Decides which node it is, and changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn weigh(&self, db: &mut Connection) -> anyhow::Result<Result<Weighing, Refusal>> {
        let foreign_macs = foreign::among(&mut *db, &self.info).await?;
        let context = Context { foreign_macs, ..Context::default() };
        let claims = keys::claims(&self.info, &self.config.match_nodes_on, &context);
        let keys = keys::matching(&claims);
        if keys.is_empty() {
            return Ok(Err(Refusal::no_match_value(&self.config.match_nodes_on)));
        }
        let evidence = Evidence::of_info(&self.info, None, &context);
        let weak = keys::weak_macs(&self.info, &self.config.match_nodes_on, &context);
        let search = Search {
            keys: &keys,
            weak: &weak,
            boot_id: None,
            now: self.now,
            own: None,
            evidence: &evidence,
            by_parts: false,
            usual_s: self.config.checkin_interval,
        };
        let decision = decide::boot(&candidates::find(db, &search).await?, &evidence);
        Ok(Ok(Weighing { decision, claims, evidence }))
    }

    /// Rows 2 and 4: a new node, held where others have its keys.
    async fn create(
        &self,
        db: &mut Connection,
        gate: Gate<'_>,
        decision: &Decision,
        claims: &[keys::Claim],
        evidence: &Evidence,
    ) -> anyhow::Result<i64> {
        let installed = self.config.protect_new_nodes.then_some(PROTECTED);
        let dhcp_mac = self.dhcp_mac.as_deref();
        let id = nodes::create(&mut *db, self.now, &self.info, dhcp_mac, installed, decision).await?;
        claims::add(&mut *db, self.now, id, claims).await?;
        candidates::learn(&mut *db, id, evidence, false).await?;
        if let Some(reason) = reason::held(decision, &[]) {
            nodes::set_state(&mut *db, id, NodeState::Held, Some(&reason), decision).await?;
        } else if let Some(node) = Node::get(&mut *db, id).await? {
            let (state, why) = gate.at_rest(&node);
            nodes::set_standing(&mut *db, id, state, why.as_ref()).await?;
        }
        history::event(&mut *db, self.now, "node-created", Some(id), &json!({"hw_info": self.info})).await?;
        Ok(id)
    }

    /// Row 3: of a known machine a boot teaches only facts and `dhcp_mac`, since iPXE sees a part of its hardware.
    async fn learn(&self, db: &mut Connection, id: i64, claims: &[keys::Claim]) -> anyhow::Result<()> {
        let Some(node) = Node::get(&mut *db, id).await? else { return Ok(()) };
        let known = node.hw_info()?;
        let info = known.overlaid(&self.info.facts());
        if info != known || (self.dhcp_mac.is_some() && self.dhcp_mac != node.dhcp_mac) {
            nodes::set_hardware(&mut *db, id, &info, self.dhcp_mac.as_deref()).await?;
            let facts: Vec<_> = claims.iter().filter(|c| c.key.is_fact()).cloned().collect();
            claims::add(db, self.now, id, &facts).await?;
        }
        Ok(())
    }

    /// Whether the boot may be sent to the node's own disk, where no check-in follows that could correct it: nothing that it
    /// shows is another machine's, or a check-in has confirmed a boot that showed just this. Any other boot gets the
    /// microkernel, and what it shows is noted for that check-in. So does one of a node whose last report may have been
    /// another machine's.
    async fn is_certain(&self, db: &mut Connection, node: &Node, found: &Weighing) -> anyhow::Result<bool> {
        let Weighing { decision, claims, evidence } = found;
        let weighed = decision.evidence.iter().find(|w| w.node == node.id);
        let same_numbers = weighed.is_none_or(|w| w.differ.iter().all(|group| *group == Group::Nic));
        let known = claims::of_node(&mut *db, node.id).await?;
        let has = |key: &keys::Key| {
            known.iter().any(|c| c.state != "former" && (&c.kind, &c.value) == (&key.kind, &key.value))
        };
        let same_ports = claims.iter().map(|c| &c.key).filter(|key| key.kind == "mac").all(has);
        if same_numbers && same_ports && !node.is_provisional(self.now) {
            nodes::set_doubt(db, node.id, None).await?;
            return Ok(true);
        }
        let shown = serde_json::to_string(&evidence.iter().collect::<Vec<_>>())?;
        if nodes::is_assured(&mut *db, node.id, &shown).await? {
            return Ok(true);
        }
        nodes::set_doubt(db, node.id, Some(&shown)).await?;
        Ok(false)
    }

    /// Row 5: every node in question gets to know.
    async fn refuse(&self, db: &mut Connection, ids: &[i64], keys: &[keys::Key]) -> anyhow::Result<Refusal> {
        let keys: Vec<String> = keys.iter().map(keys::Key::to_string).collect();
        log_duplicate(db, self.now, ids, &keys).await?;
        Ok(Refusal::ambiguous(ids, &keys))
    }
}

/// Writes to each node's log that a machine may be any of them, in razor-server's words.
///
/// # Errors
/// When the database fails.
pub async fn log_duplicate(db: &mut Connection, now: i64, ids: &[i64], keys: &[String]) -> anyhow::Result<()> {
    let list: Vec<_> = ids.iter().map(|id| json!({"name": nodes::name(*id), "id": id})).collect();
    let entry = json!({"event": "boot", "error": "duplicate_node", "nodes": list, "hw_info": keys});
    for id in ids {
        history::log_said(&mut *db, now, *id, "error", &entry).await?;
    }
    Ok(())
}
