//! Check-ins and registrations of protocol B, mapped to the same nodes as all others.

use std::sync::Arc;

use serde_json::json;
use wire::checkin::NodeState;

use crate::config::Config;
use crate::identity::canonical::HwInfo;
use crate::identity::decide::{Decision, Verdict};
use crate::limits::LEGACY_SILENCE_MS;
use crate::newcomers::Room;
use crate::registry::checkin::Checkin;
use crate::registry::lookup::{Asked, Lookup};
use crate::registry::{Refusal, action, queue, reason, rival, settle};
use crate::store::history;
use crate::store::nodes::{self, Node};
use crate::store::sql::Connection;
use crate::store::writer::Work;

/// What an image is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Nothing is to be done.
    Acknowledge,
    /// Send all facts.
    Register,
    /// Boot anew.
    Reboot,
}

impl Command {
    /// How it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Register => "register",
            Self::Reboot => "reboot",
        }
    }
}

/// A check-in: names of the machine, no facts.
#[derive(Debug)]
pub struct Contact {
    /// Settings in force.
    pub config: Arc<Config>,
    /// Milliseconds since 1970.
    pub now: i64,
    /// What the image names itself by.
    pub info: HwInfo,
    /// The same as it wrote it.
    pub hw_id: String,
    /// The image says that it never registered.
    pub first: bool,
}

impl Work for Contact {
    type Output = Result<Command, Refusal>;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<Self::Output> {
        let (config, info) = (self.config.clone(), self.info.clone());
        let room = Room::BOUNDLESS;
        let lookup = Lookup { config, now: self.now, info, dhcp_mac: None, asked: Asked::Id, room };
        let found = match lookup.weigh(&mut *db).await? {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let id = match found.decision.verdict {
            Verdict::Node { id, .. } => id,
            // Its facts tell more than its ports do.
            Verdict::Create { .. } | Verdict::Ambiguous { .. } => return Ok(Ok(Command::Register)),
        };
        let Some(node) = Node::get(&mut *db, id).await? else { return Ok(Ok(Command::Register)) };
        self.told(db, &node).await.map(Ok)
    }
}

impl Contact {
    async fn told(&self, db: &mut Connection, node: &Node) -> anyhow::Result<Command> {
        let window_ms = settle::alive_ms(&mut *db, &self.config, node.id).await?;
        if rival::spoken_for(&mut *db, self.now, node.id, window_ms).await?.is_some() {
            return Ok(Command::Acknowledge);
        }
        if rival::alternates(&mut *db, self.now, node.id, &self.hw_id, window_ms).await? {
            let decision = Decision {
                row: 13,
                verdict: Verdict::Ambiguous { nodes: vec![node.id], held_as: Some(node.id) },
                evidence: Vec::new(),
            };
            let reason = reason::taking_turns(node.id);
            nodes::set_state(&mut *db, node.id, NodeState::Held, Some(&reason), &decision).await?;
            if node.decision != serde_json::to_string(&decision)? {
                let entry = json!({
                    "event": "identity", "node": nodes::name(node.id), "state": NodeState::Held, "decision": decision,
                });
                history::log_decision(&mut *db, self.now, node.id, "warn", &entry).await?;
                history::event(db, self.now, "identity-conflict", Some(node.id), &entry).await?;
            }
            return Ok(Command::Acknowledge);
        }
        let silence_ms = node.last_checkin.map(|last| self.now - last);
        let away = silence_ms.is_none_or(|silence| silence > LEGACY_SILENCE_MS.max(window_ms));
        // What a dispute was about may be over; its facts tell.
        if !node.is_registered() || node.is_left_alone() || self.first || away {
            return Ok(Command::Register);
        }
        let action = match queue::deliver(&mut *db, self.now, node, node.is_left_alone(), None).await? {
            Some(order) => action::ordered(&order, node.reboots),
            None => {
                action::choose(node.installed.as_deref(), node.is_left_alone(), node.reboots, silence_ms.unwrap_or(0))
            }
        };
        if let Some((severity, entry)) = &action.log {
            history::log_decision(&mut *db, self.now, node.id, severity, entry).await?;
        }
        let contact = nodes::Contact {
            at: self.now,
            boot_id: None,
            agent: None,
            volatile: None,
            config: None,
            reboots: action.reboots,
            interval: None,
        };
        nodes::set_contact(db, node.id, &contact).await?;
        Ok(if action.word == "reboot" { Command::Reboot } else { Command::Acknowledge })
    }
}

/// A registration: a check-in of protocol A without an id, whose action the image does not hear.
#[derive(Debug)]
pub struct Register {
    /// What is registered.
    pub checkin: Checkin,
}

impl Work for Register {
    /// The node.
    type Output = Result<i64, Refusal>;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<Self::Output> {
        self.checkin.register(db).await
    }
}
