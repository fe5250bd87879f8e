//! What operators do to nodes by hand: each in one transaction, as a trial on request, and written down as an event.

mod config;
mod enrol;
mod hardware;
mod sameness;
mod tell;
pub mod token;
mod undo;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::config::Config;
use crate::registry::Refusal;
use crate::registry::caller::Caller;
use crate::registry::kind::Kind;
use crate::registry::remedy::Remedy;
use crate::store::nodes::{self, Node};
use crate::store::sql::Connection;
use crate::store::undo::Undo;
use crate::store::writer::Work;
use crate::store::{history, merge};

/// A command, by its name in `/api/commands/NAME`.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Operation {
    /// Makes a node before its machine was ever seen, or says whether a known one is installed.
    RegisterNode {
        /// Hardware values, as iPXE or facts name them.
        #[serde(alias = "hw-info")]
        #[schema(value_type = Object)]
        hw_info: Map<String, Value>,
        /// It boots from its own disk.
        installed: bool,
    },
    /// A node no longer counts as installed: it boots the microkernel and stays there.
    ReinstallNode {
        /// Name of the node.
        name: String,
    },
    /// Tells a node to boot anew at its next check-in.
    RebootNode {
        /// Name of the node.
        name: String,
    },
    /// Tells a node to switch off at its next check-in.
    PoweroffNode {
        /// Name of the node.
        name: String,
    },
    /// Has a node take stock of its machine again at its next check-in.
    RefreshNode {
        /// Name of the node.
        name: String,
    },
    /// Has a node examine its way to this server, and say what it found.
    DoctorNode {
        /// Name of the node.
        name: String,
    },
    /// Has a node send a bundle of its logs and state.
    CollectLogs {
        /// Name of the node.
        name: String,
    },
    /// Has a light of a node's machine blink.
    IdentifyNode {
        /// Name of the node.
        name: String,
        /// For so many seconds; 0 switches the light off.
        #[serde(default)]
        seconds: Option<u32>,
    },
    /// Has a node load an extension of its image or of the mirror that it was told.
    LoadExtension {
        /// Name of the node.
        name: String,
        /// Name of the extension, with or without `.tcz`.
        extension: String,
    },
    /// Accepts a node that waits.
    ApproveNode {
        /// Name of the node.
        name: String,
        /// The key that its machine must have, as it is shown; without it, whatever key it has.
        #[serde(default)]
        fingerprint: Option<String>,
    },
    /// Does not accept a node, or not any more.
    RefuseNode {
        /// Name of the node.
        name: String,
    },
    /// Makes an enrolment token.
    CreateEnrolmentToken {
        /// Machines that it lets in.
        uses: u32,
        /// Seconds for which it is good.
        expires_s: u64,
        /// What it is for.
        #[serde(default)]
        note: String,
    },
    /// Takes an enrolment token back.
    RevokeEnrolmentToken {
        /// Its number.
        id: i64,
    },
    /// Makes a token for operators elsewhere.
    CreateToken {
        /// What it is for.
        #[serde(default)]
        note: String,
        /// Seconds for which it is good; without it, until it is revoked.
        #[serde(default)]
        expires_s: Option<u64>,
        /// It only sees.
        #[serde(default)]
        read_only: bool,
    },
    /// Takes such a token back.
    RevokeToken {
        /// Its number.
        id: i64,
    },
    /// Sets and unsets configuration keys.
    SetConfig {
        /// For this node alone; without it, for all nodes.
        #[serde(default)]
        node: Option<String>,
        /// Keys with their values.
        #[serde(default)]
        #[schema(value_type = Object)]
        set: Map<String, Value>,
        /// Keys that are taken back.
        #[serde(default)]
        unset: Vec<String>,
        /// Digests that nodes of their own keys get with it, by id; none takes theirs back.
        #[serde(skip)]
        renewed: BTreeMap<i64, Option<Value>>,
    },
    /// Replaces all hardware values of a node.
    SetNodeHwInfo {
        /// Name of the node.
        #[serde(alias = "name")]
        node: String,
        /// Hardware values, as iPXE or facts name them.
        #[serde(alias = "hw-info")]
        #[schema(value_type = Object)]
        hw_info: Map<String, Value>,
    },
    /// Deletes a node with its history. The machine becomes a new node when it is seen again.
    DeleteNode {
        /// Name of the node.
        name: String,
    },
    /// Two nodes are one machine: the first becomes an alias of the second.
    Merge {
        /// Name of the node that ends.
        from: String,
        /// Name of the node that stays.
        into: String,
    },
    /// Takes a merge back: the alias is a node of its own again.
    Split {
        /// Name of the alias.
        name: String,
    },
    /// Ends a dispute.
    Resolve {
        /// Name of the held node.
        node: String,
        /// Name of the node that it is in dispute with.
        with: String,
        /// `same` or `different`.
        verdict: Sameness,
    },
    /// Takes a command back.
    Undo {
        /// The event that it left.
        event: i64,
    },
    /// A node no longer has a hardware value.
    Forget {
        /// Name of the node.
        name: String,
        /// The value, as `kind=value`.
        key: String,
    },
    /// Hardware went from one node to another.
    MoveHardware {
        /// Values that moved, as `kind=value`.
        keys: Vec<String>,
        /// Name of the node that they were at.
        from: String,
        /// Name of the node that they are at now.
        to: String,
    },
}

impl Operation {
    /// The words under which what it takes back was offered, if it takes something back.
    fn takes_back(&self) -> Option<Remedy> {
        match self {
            Self::Undo { event } => Some(Remedy::Undo { event: *event }),
            Self::Split { name } => Some(Remedy::Split { node: name.clone() }),
            _ => None,
        }
    }
}

/// An operator's word about two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sameness {
    /// One machine.
    Same,
    /// Two machines.
    Different,
}

impl Sameness {
    /// How it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different => "different",
        }
    }

    /// What is written so.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Same, Self::Different].into_iter().find(|s| s.word() == word)
    }
}

/// Names of all commands.
pub const NAMES: [&str; 24] = [
    "approve-node",
    "collect-logs",
    "create-enrolment-token",
    "create-token",
    "delete-node",
    "doctor-node",
    "forget",
    "identify-node",
    "load-extension",
    "merge",
    "move-hardware",
    "poweroff-node",
    "reboot-node",
    "refresh-node",
    "refuse-node",
    "register-node",
    "reinstall-node",
    "resolve",
    "revoke-enrolment-token",
    "revoke-token",
    "set-config",
    "set-node-hw-info",
    "split",
    "undo",
];

/// A command with what it needs.
#[derive(Debug)]
pub struct Operate {
    /// Settings in force.
    pub config: Arc<Config>,
    /// Milliseconds since 1970.
    pub now: i64,
    /// Who wants it.
    pub by: Caller,
    /// What is to be done.
    pub operation: Operation,
    /// Only say what would come of it.
    pub dry_run: bool,
}

/// What came of a command: a sentence, and the nodes that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The node, if one is left.
    pub node: Option<i64>,
    /// Another one whose log tells it too.
    pub other: Option<i64>,
    /// One that ended in it, whose machine may wait to be told something.
    pub ended: Option<i64>,
    /// What was done.
    pub result: String,
    /// How it can be taken back.
    pub undo: Option<Undo>,
    /// The command that takes it back, where it is another one than `undo`.
    pub back: Option<Remedy>,
    /// The event that it left.
    pub event: Option<i64>,
    /// A token that was made, which is shown once and kept nowhere.
    pub token: Option<String>,
}

impl Done {
    fn new(node: impl Into<Option<i64>>, result: impl Into<String>) -> Self {
        let (node, result) = (node.into(), result.into());
        Self { node, other: None, ended: None, result, undo: None, back: None, event: None, token: None }
    }

    /// It is about this node as well.
    fn and(self, other: i64) -> Self {
        Self { other: Some(other), ..self }
    }

    /// It can be taken back so.
    fn undone_by(self, undo: Undo) -> Self {
        Self { undo: Some(undo), ..self }
    }

    /// Another command takes it back.
    fn taken_back_by(self, back: Remedy) -> Self {
        Self { back: Some(back), ..self }
    }
}

impl Work for Operate {
    type Output = Result<Done, Refusal>;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<Self::Output> {
        let mut trial = db.savepoint().await?;
        let done = self.carry_out(&mut trial).await?;
        let Ok(mut done) = done else {
            trial.rollback().await?;
            return Ok(done);
        };
        if self.dry_run {
            trial.rollback().await?;
            return Ok(Ok(Done { token: None, ..done }));
        }
        let mut detail = json!({"operation": self.operation, "by": self.by.to_string(), "result": done.result});
        if let Some(undo) = &done.undo {
            detail["undo"] = serde_json::to_value(undo)?;
        }
        let event = history::event(&mut trial, self.now, "operator", done.node, &detail).await?;
        done.event = Some(event);
        if done.undo.is_some() {
            done.result += &format!("; `mk-server conflicts undo {event}` takes it back");
        }
        let undo = done.undo.as_ref().map(|_| Remedy::Undo { event });
        let mut entry = json!({"event": "operator", "by": self.by.to_string(), "msg": done.result});
        for (name, remedy) in [("back", done.back.take().or(undo)), ("undoes", self.operation.takes_back())] {
            if let Some(remedy) = remedy {
                entry[name] = remedy.to_string().into();
            }
        }
        for id in done.node.into_iter().chain(done.other) {
            history::log_decision(&mut trial, self.now, id, "info", &entry).await?;
        }
        trial.commit().await?;
        Ok(Ok(done))
    }
}

impl Operate {
    async fn carry_out(&self, db: &mut Connection) -> anyhow::Result<Result<Done, Refusal>> {
        match &self.operation {
            Operation::RegisterNode { hw_info, installed } => self.register(db, hw_info, *installed).await,
            Operation::ReinstallNode { name } => self.reinstall(db, name).await,
            Operation::RebootNode { name } => self.tell(db, name, Kind::Reboot, Map::new()).await,
            Operation::PoweroffNode { name } => self.tell(db, name, Kind::Poweroff, Map::new()).await,
            Operation::RefreshNode { name } => self.tell(db, name, Kind::Refresh, Map::new()).await,
            Operation::DoctorNode { name } => self.tell(db, name, Kind::Doctor, Map::new()).await,
            Operation::CollectLogs { name } => self.tell(db, name, Kind::CollectLogs, Map::new()).await,
            Operation::IdentifyNode { name, seconds } => match tell::seconds(*seconds) {
                Ok(args) => self.tell(db, name, Kind::Identify, args).await,
                Err(refusal) => Ok(Err(refusal)),
            },
            Operation::LoadExtension { name, extension } => match tell::extension(extension) {
                Ok(args) => self.tell(db, name, Kind::LoadExtension, args).await,
                Err(refusal) => Ok(Err(refusal)),
            },
            Operation::ApproveNode { name, fingerprint } => self.approve(db, name, fingerprint.as_deref()).await,
            Operation::RefuseNode { name } => self.refuse(db, name).await,
            Operation::CreateEnrolmentToken { uses, expires_s, note } => {
                self.create_token(db, *uses, *expires_s, note).await
            }
            Operation::RevokeEnrolmentToken { id } => self.revoke_token(db, *id).await,
            Operation::CreateToken { note, expires_s, read_only } => {
                self.create_operator_token(db, note, *expires_s, *read_only).await
            }
            Operation::RevokeToken { id } => self.revoke_operator_token(db, *id).await,
            Operation::SetConfig { node, set, unset, renewed } => {
                let change = config::Change { node: node.as_deref(), set, unset, renewed };
                self.set_config(db, &change).await
            }
            Operation::SetNodeHwInfo { node, hw_info } => self.set_hardware(db, node, hw_info).await,
            Operation::DeleteNode { name } => self.delete(db, name).await,
            Operation::Merge { from, into } => self.merge(db, from, into).await,
            Operation::Split { name } => self.split(db, name).await,
            Operation::Resolve { node, with, verdict: Sameness::Same } => self.merge(db, node, with).await,
            Operation::Resolve { node, with, verdict: Sameness::Different } => self.differ(db, node, with).await,
            Operation::Undo { event } => self.undo(db, *event).await,
            Operation::Forget { name, key } => self.forget(db, name, key).await,
            Operation::MoveHardware { keys, from, to } => self.move_hardware(db, keys, from, to).await,
        }
    }

    async fn reinstall(&self, db: &mut Connection, name: &str) -> anyhow::Result<Result<Done, Refusal>> {
        let node = match find(&mut *db, name).await? {
            Ok(node) => node,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let name = nodes::name(node.id);
        let Some(installed) = node.installed else {
            return Ok(Ok(Done::new(node.id, format!("{name} does not count as installed; nothing was changed"))));
        };
        nodes::release(db, node.id).await?;
        Ok(Ok(Done::new(node.id, format!("{name} no longer counts as installed ({installed})"))))
    }

    async fn delete(&self, db: &mut Connection, name: &str) -> anyhow::Result<Result<Done, Refusal>> {
        // As in the original, a node that is not there is as good as deleted.
        let Some(id) = nodes::parse_name(name) else {
            return Ok(Ok(Done::new(None, format!("there is no node {name:?}; nothing was changed"))));
        };
        if !nodes::delete(db, id).await? {
            return Ok(Ok(Done::new(None, format!("there is no node {name:?}; nothing was changed"))));
        }
        Ok(Ok(Done::new(None, format!("{name} was deleted with its history"))))
    }
}

/// The node with this name; not one that it was merged into meanwhile, which the operator did not mean.
async fn named(db: &mut Connection, name: &str) -> anyhow::Result<Result<Node, Refusal>> {
    let found = find(db, name).await?;
    Ok(found.and_then(|node| {
        let now = nodes::name(node.id);
        if now == name {
            return Ok(node);
        }
        let error = format!("{name} is {now} now: it was merged into it, and nothing was changed");
        let remedy =
            format!("Name {now} if that is what you mean; `mk-server conflicts split {name}` takes the merge back.");
        Err(Refusal::new(409, "is_alias", error, remedy))
    }))
}

/// The node with this name, which may be an alias.
pub(super) async fn find(db: &mut Connection, name: &str) -> anyhow::Result<Result<Node, Refusal>> {
    let id = match nodes::parse_name(name) {
        Some(id) => nodes::resolve(&mut *db, id).await?,
        None => None,
    };
    let node = match id {
        Some(id) => Node::get(db, id).await?,
        None => None,
    };
    Ok(node.ok_or_else(|| {
        let error = format!("there is no node {name:?}");
        Refusal::new(404, "no_such_node", error, "List them with `mk-server nodes list`.")
    }))
}
