//! Forms of answers in the description of the API. Handlers make them as JSON; the test with schemathesis holds each answer
//! against its form. What an object holds beside the fields that are named here is told where it says so.

use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// Every answer of 400 and above.
#[derive(Debug, ToSchema)]
pub struct Problem {
    /// Stable identifier for programs.
    pub code: String,
    /// What failed, on what, and why, for a person.
    pub error: String,
    /// What to do about it.
    pub remedy: String,
}

/// The way in: collections and commands.
#[derive(Debug, ToSchema)]
pub struct Root {
    /// Each with `name`, `rel` and `id`, its URL.
    pub collections: Vec<Link>,
    /// The same for commands, which are given with POST.
    pub commands: Vec<Link>,
    /// Versions; `server` is this server's.
    #[schema(value_type = Object)]
    pub version: Value,
}

/// A link.
#[derive(Debug, ToSchema)]
pub struct Link {
    /// Name.
    pub name: String,
    /// What it is in razor-server's words.
    pub rel: String,
    /// URL.
    pub id: String,
}

/// A page of a list.
#[derive(Debug, ToSchema)]
pub struct Page {
    /// Items altogether, also beyond this page.
    pub total: u64,
    /// Items of this page.
    #[schema(value_type = Vec<Object>)]
    pub items: Vec<Value>,
}

/// A list whose items are few.
#[derive(Debug, ToSchema)]
pub struct List {
    /// All of them.
    #[schema(value_type = Vec<Object>)]
    pub items: Vec<Value>,
}

/// A node, with what is known of it: `facts`, `inventory`, `agent`, `boot`, `commands`, `drift` and more, as far as there is any.
#[derive(Debug, ToSchema)]
pub struct Node {
    /// URL.
    pub id: String,
    /// `node` and its number.
    pub name: String,
    /// Type name, in razor-server's words.
    pub spec: String,
    /// Hardware values; `mac` is a list.
    #[schema(value_type = Object)]
    pub hw_info: Value,
    /// `installed` is false or what is installed, `installed_at` since when.
    #[schema(value_type = Object)]
    pub state: Value,
    /// How it is known: `state` (normal, held, pending), `reason`, `claims`, `aliases`, `decision`.
    #[schema(value_type = Object)]
    pub identity: Value,
    /// When it was seen first.
    #[schema(format = DateTime)]
    pub first_seen: String,
}

/// A part of what happened, oldest first.
#[derive(Debug, ToSchema)]
pub struct Feed {
    /// Type name, in razor-server's words.
    pub spec: String,
    /// Entries.
    pub items: Vec<Entry>,
    /// Place after the last entry, for `after`.
    pub cursor: String,
    /// There are more: after the place that was asked for, else before these.
    pub more: bool,
}

/// An entry of the log. In a stream each is the `data` of an event whose `id` is its place.
#[derive(Debug, ToSchema)]
pub struct Entry {
    /// When.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// Name of the node that it concerns.
    #[schema(required = true)]
    pub node: Option<String>,
    /// `info`, `warn`, `error`, or what a node's script says.
    pub severity: String,
    /// A sentence for a person.
    pub text: String,
    /// What was stored; its `event` is the kind.
    #[schema(value_type = Object)]
    pub entry: Value,
}

/// What came of a command.
#[derive(Debug, ToSchema)]
pub struct Done {
    /// A sentence.
    pub result: String,
    /// It was only tried.
    pub dry_run: bool,
    /// Name of the node, if it is about one.
    pub name: Option<String>,
    /// The event that it left.
    pub event: Option<i64>,
    /// A token that was made, which is shown this once.
    pub token: Option<String>,
}

/// Nodes of a razor-server.
#[derive(Debug, ToSchema)]
pub struct Adopt {
    /// As `GET /api/collections/nodes?depth=1` of a razor-server gives them.
    pub nodes: Vec<Offered>,
    /// Only say what would come of it.
    #[schema(required = false)]
    pub dry_run: bool,
}

/// A node of a razor-server; what it has besides is left out.
#[derive(Debug, ToSchema)]
pub struct Offered {
    /// `node` and its number, which it keeps.
    #[schema(pattern = "^node[1-9][0-9]*$")]
    pub name: String,
    /// Hardware values.
    #[schema(value_type = Option<Object>)]
    pub hw_info: Value,
    /// The MAC that got its address by DHCP.
    pub dhcp_mac: Option<String>,
    /// Facts.
    #[schema(value_type = Option<Object>)]
    pub facts: Value,
    /// `installed` and `installed_at`.
    #[schema(value_type = Option<Object>)]
    pub state: Value,
    /// Host name.
    pub hostname: Option<String>,
    /// When it spoke last.
    #[schema(format = DateTime)]
    pub last_checkin: Option<String>,
}

/// What was taken over.
#[derive(Debug, ToSchema)]
pub struct Adopted {
    /// A sentence.
    pub result: String,
    /// It was only tried.
    pub dry_run: bool,
    /// Nodes that were taken over.
    pub adopted: u64,
    /// Nodes that had been before.
    pub known: u64,
    /// New ones that no boot leads to.
    pub unreachable: u64,
}

/// An image to boot.
#[derive(Debug, ToSchema)]
pub struct UseImage {
    /// Its name, or as much of its beginning as tells it apart.
    pub version: String,
}

/// Which machines are expected.
#[derive(Debug, ToSchema)]
pub struct SetRack {
    /// The file as a text.
    pub file: String,
    /// `csv`, which it is where nothing is said, or `toml`.
    #[schema(required = false)]
    pub format: String,
    /// Only read it.
    #[schema(required = false)]
    pub dry_run: bool,
}

/// No machines are expected any more.
#[derive(Debug, ToSchema)]
pub struct UnsetRack {
    /// Only say what would come of it.
    #[schema(required = false)]
    pub dry_run: bool,
}

/// A node's number.
#[derive(Debug, ToSchema)]
pub struct NodeId {
    /// The number.
    pub id: i64,
}

/// A check-in. `wire::checkin` has all of it; razor-el-mk sends `hw_id` and `facts` alone.
#[derive(Debug, ToSchema)]
pub struct Checkin {
    /// MACs.
    pub hw_id: String,
    /// Facts by name.
    #[schema(value_type = Object)]
    pub facts: Value,
}

/// Answer to a check-in; agents of ours are told more.
#[derive(Debug, ToSchema)]
pub struct CheckinReply {
    /// `none` or `reboot`.
    pub action: String,
}

/// The hardware values of a machine, as iPXE sends them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Hardware {
    /// MAC of the first port; `net1` and so on for others.
    pub net0: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Asset tag.
    pub asset: Option<String>,
    /// SMBIOS UUID.
    pub uuid: Option<String>,
    /// MAC that got its address by DHCP.
    pub dhcp_mac: Option<String>,
}
