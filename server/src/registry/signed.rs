//! Requests beside check-ins that a boot signs with its key: whom they are from, and whether that is so.

use serde_json::json;

use crate::limits::{BUNDLES_BYTES, MAX_BUNDLES, MAX_NODE_BUNDLES};
use crate::registry::Refusal;
use crate::registry::kind::Kind;
use crate::store::boots::Boot;
use crate::store::bundles::{self, Bundle, Most};
use crate::store::nodes::{self, Node};
use crate::store::sql::Connection;
use crate::store::writer::Work;
use crate::store::{commands, history};

/// Who speaks, as the request says it. Its signature is by this key.
#[derive(Debug, Clone)]
pub struct Speaker {
    /// Id of the node, which may be an alias.
    pub id: i64,
    /// Kernel's boot id.
    pub boot_id: String,
    /// The key that signed the request.
    pub key: Vec<u8>,
}

impl Speaker {
    /// The node that speaks, if it is the one that was known by this boot and key.
    async fn node(&self, db: &mut Connection) -> anyhow::Result<Result<(Node, Boot), Refusal>> {
        let Some(boot) = Boot::get(&mut *db, &self.boot_id).await? else {
            let error = format!("no machine has checked in here from boot {}", self.boot_id);
            return Ok(Err(Refusal::new(404, "no_such_boot", error, "Check in first.")));
        };
        if boot.key.as_ref() != Some(&self.key) {
            let error = format!("the request is not from boot {}: it is signed with another key", self.boot_id);
            let remedy = "If the agent lost its key, reboot the machine; else another program speaks in its name.";
            return Ok(Err(Refusal::new(409, "wrong_key", error, remedy)));
        }
        let named = match nodes::resolve(&mut *db, self.id).await? {
            Some(id) => Node::get(db, id).await?,
            None => None,
        };
        let remedy = "Use the id that the answer to the last check-in gave.";
        Ok(match named {
            Some(node) if boot.node == Some(node.id) => Ok((node, boot)),
            Some(_) => {
                let error = format!("boot {} is not node {}", self.boot_id, self.id);
                Err(Refusal::new(409, "wrong_node", error, remedy))
            }
            None => Err(Refusal::new(404, "no_such_node", format!("there is no node {}", self.id), remedy)),
        })
    }

    /// The node that speaks, and this boot, if none has spoken as the node since: the requests of a boot that is over may have
    /// been overheard.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest(&self, db: &mut Connection) -> anyhow::Result<Result<(Node, Boot), Refusal>> {
        let found = self.node(db).await?;
        Ok(found.and_then(|(node, boot)| match node.boot_id.as_ref() == Some(&self.boot_id) {
            true => Ok((node, boot)),
            false => {
                let error = format!("boot {} is not the one that spoke last as {}", self.boot_id, nodes::name(node.id));
                Err(Refusal::new(409, "not_newest", error, "Check in first."))
            }
        }))
    }

    /// The node that was told by this command to send a bundle.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn collects(&self, db: &mut Connection, command: i64) -> anyhow::Result<Result<i64, Refusal>> {
        let node = match self.node(&mut *db).await? {
            Ok((node, _)) => node.id,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let waiting = commands::of_node(db, node).await?;
        let is_told = waiting.iter().any(|w| {
            let to_this_boot = w.sent.is_some() && w.boot_id.as_ref() == Some(&self.boot_id);
            w.id == command && w.kind == Kind::CollectLogs.word() && to_this_boot
        });
        if is_told {
            return Ok(Ok(node));
        }
        let error = format!("{} is not waited for with a bundle of command {command}", nodes::name(node));
        let remedy = "It came too late, or another command took its place: give `mk-server nodes collect` again.";
        Ok(Err(Refusal::new(409, "not_asked", error, remedy)))
    }
}

/// Takes down a bundle whose file is there.
#[derive(Debug)]
pub struct Keep {
    /// Milliseconds since 1970.
    pub now: i64,
    /// Who sent it.
    pub speaker: Speaker,
    /// The command that asked for it.
    pub command: i64,
    /// Size of the file.
    pub bytes: i64,
    /// SHA-256 (hex) of the file.
    pub sha256: String,
}

impl Work for Keep {
    type Output = Result<(), Refusal>;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<Self::Output> {
        let node = match self.speaker.collects(&mut *db, self.command).await? {
            Ok(node) => node,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Self { now: at, command, bytes, .. } = *self;
        let bundle = Bundle { command, node, at, bytes, sha256: self.sha256.clone() };
        bundle.put(&mut *db).await?;
        let most = Most { each: MAX_NODE_BUNDLES, all: MAX_BUNDLES, bytes: BUNDLES_BYTES };
        bundles::prune(&mut *db, &bundle, most).await?;
        let (boot_id, sha256) = (&self.speaker.boot_id, &self.sha256);
        let entry = json!({
            "event": "bundle", "command": command, "bytes": bytes, "sha256": sha256, "boot_id": boot_id,
        });
        // A node may send one again and again; that must not push out what was decided.
        history::log_said(db, at, node, "info", &entry).await?;
        Ok(Ok(()))
    }
}
