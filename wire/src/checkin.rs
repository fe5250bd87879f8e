//! Check-in: what an agent says about its machine, and what the server answers.
//!
//! `hw_id`, `facts` and `action` are the original protocol's. Everything else is ours and optional on the wire, so that
//! original clients and original servers still understand each other's counterpart here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::card::Card;
use crate::config::Config;
use crate::error::Problem;
use crate::inventory::Inventory;

/// Flat facts by name, as the original's Facter gave them. Mostly strings; some numbers and booleans.
pub type Facts = BTreeMap<String, Value>;

/// Body of `POST /svc/checkin` and `POST /svc/checkin/{id}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckinRequest {
    /// MAC addresses without separators, lower case, joined by `_` in the order of interface names.
    pub hw_id: String,
    /// Flat facts. Left out only after this server's reply carried `send_inventory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// Typed inventory. Left out while its digest is one that the server has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
    /// SHA-256 (hex) of the stable inventory, see [`crate::digest::stable`]; always sent by our agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory_digest: Option<String>,
    /// The kernel's `random/boot_id` of this boot: a UUID in lower case. Its presence marks one of our agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Number of this request within the boot, from 1, each used once; a repeat of the same body keeps its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Seconds since the kernel started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<u64>,
    /// The node's clock in seconds since 1970, which may be far off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_s: Option<i64>,
    /// The agent and what it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// Enrolment token from the image's site configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<String>,
    /// Version of the pushed configuration in force, and why a later one was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigState>,
    /// Commands that were carried out, refused or not understood since the last answered check-in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<CommandResult>,
    /// What went wrong on the node since the last answered check-in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// How long the stages of this boot took: with the first check-in, and once more when it is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<Card>,
}

/// The agent that speaks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Agent {
    /// Version of the agent.
    pub version: String,
    /// Variant of the image: `production`, `development` or `debug`.
    pub variant: String,
    /// Version of the image as `iso-metadata.yaml` gives it.
    pub image: String,
    /// Supervised units.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<Unit>,
    /// Loaded extensions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
    /// Highest number of a mirror's signed index that this node knows of, by the public key of minisign that signed it. Of
    /// others, and of more than [`crate::limits::MAX_MIRROR_KEYS`], the server keeps none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mirror_index: BTreeMap<String, u64>,
}

/// One supervised unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unit {
    /// Name, such as `net`.
    pub name: String,
    /// `waiting`, `starting`, `running`, `backoff`, `stopping`, `done` or `failed`.
    pub state: String,
    /// Restarts since boot.
    pub restarts: u32,
    /// Why it last ended, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<String>,
}

/// One loaded or refused extension.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extension {
    /// File name, such as `bash.tcz`.
    pub name: String,
    /// SHA-256 (hex) of the file.
    pub sha256: String,
    /// Why it is not loaded, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of pushed configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigState {
    /// Version in force; 0 when none was ever pushed.
    pub version: u64,
    /// [`CheckinReply::config_digest`] that came with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// It was changed on the node since, by who is root there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub posted: bool,
    /// A later version that was refused or rolled back, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedConfig>,
}

/// A configuration that did not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedConfig {
    /// Its version.
    pub version: u64,
    /// [`CheckinReply::config_digest`] that came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why it is not in force.
    pub problem: Problem,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// Id from [`Command::id`].
    pub id: u64,
    /// Outcome.
    pub outcome: Outcome,
    /// One sentence or the command's output, cut at a size that the agent states.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Accepted; the result follows (reboot and poweroff end here).
    Accepted,
    /// Carried out.
    Done,
    /// Tried and failed.
    Failed,
    /// This agent does not know it. Never guessed at.
    Unsupported,
    /// It arrived after its time.
    Expired,
}

/// Reply to a check-in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckinReply {
    /// `none` or `reboot`; any other word is reported back as unsupported, not guessed.
    pub action: String,
    /// The node that this machine is. It replaces the id that the machine booted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Name of that node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How the server sees the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<NodeState>,
    /// Why the state is not normal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Problem>,
    /// New configuration; absent when `config_version` is the one in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Config>,
    /// Version of the configuration that the node should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_version: Option<u64>,
    /// Tells configurations of one version apart: another database may count from the start again. The node sends it back,
    /// and needs not know how it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_digest: Option<String>,
    /// True: send the whole inventory and facts now. False: this server has them. Absent: an original server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_inventory: Option<bool>,
    /// Commands to carry out, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Command>,
    /// Seconds until the next check-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<u32>,
    /// What [`Agent::mirror_index`] was in this node's boots before: it takes no index with a lower number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mirror_index: BTreeMap<String, u64>,
    /// The server's clock in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_s: Option<i64>,
}

/// How the server sees a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Known, and nothing disputes it.
    Normal,
    /// Its identity is disputed: kept and shown, but nothing is done with it until that is settled.
    Held,
    /// Waiting for an operator's approval.
    Pending,
}

/// A command to a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Id, to be acknowledged in [`CommandResult::id`]; the same id is carried out once.
    pub id: u64,
    /// One of [`crate::command`].
    pub kind: String,
    /// Arguments, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, Value>,
    /// Seconds for which it is valid after it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u64>,
}

/// Answer to a question that waits ([`crate::routes::WAIT`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitReply {
    /// There is something to be told: check in now.
    pub due: bool,
}

/// Body of `GET /svc/hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Always `razor-mk`: a web server that happens to answer is not taken for ours.
    pub service: String,
    /// Protocol version, 1.
    pub protocol: u32,
    /// Version of the server.
    pub version: String,
}

impl Hello {
    /// The word that a server of ours says of itself.
    pub const SERVICE: &'static str = "razor-mk";
    /// The protocol version of this crate.
    pub const PROTOCOL: u32 = 1;
}
