//! What is known of a node, in words and tables for people. Pure: the API's document in, text out. Terminal and page show
//! the same, each in its own way.
//!
//! Sizes are in the units of [`crate::human`]; a value that nobody could read is an empty cell. Strings are as the machine
//! gave them: who shows them makes them harmless with [`crate::human::plain`].

mod hardware;
mod machine;
mod network;
mod pci;

use anyhow::Context as _;
use serde_json::Value;
use wire::card::{Card, Step, spelled};
use wire::checkin::Agent;
use wire::inventory::{Inventory, Stable, Volatile};

use crate::human;
pub(crate) use pci::device;
pub(crate) use pci::device as device_name;

/// A node's document with its typed parts.
#[derive(Debug)]
pub struct Node {
    /// As `/api/collections/nodes/NAME` gives it.
    pub document: Value,
    /// Newest inventory, once an agent of ours has reported one.
    pub inventory: Option<Inventory>,
    /// The agent that spoke last.
    pub agent: Option<Agent>,
    /// How long the stages of its newest boot took.
    pub card: Option<Card>,
}

/// A node in a few words.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Brief {
    /// Maker and product.
    pub machine: String,
    /// Serial number of the system.
    pub serial: String,
    /// Processors as the operating system counts them.
    pub cpus: String,
    /// Memory.
    pub memory: String,
    /// Disks of equal size together, largest first.
    pub disks: Vec<String>,
    /// MACs in order of place.
    pub macs: Vec<String>,
    /// Firmware mode and image.
    pub booted: String,
}

/// A table about one kind of component.
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    /// Name for links.
    pub id: &'static str,
    /// Heading.
    pub title: &'static str,
    /// What a row is about: head of the first column below the heading.
    pub noun: &'static str,
    /// Columns.
    pub columns: Vec<Column>,
    /// Cells, as many in each row as there are columns.
    pub rows: Vec<Vec<String>>,
    /// The whole table is left out where there is little room.
    pub detail: bool,
}

/// A column of a [`Section`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its head; that of the first column says what the table is about where there is no heading.
    pub head: &'static str,
    /// It holds values that one compares or copies letter by letter.
    pub code: bool,
    /// It is left out where there is little room.
    pub detail: bool,
}

/// A column of words.
const fn text(head: &'static str) -> Column {
    Column { head, code: false, detail: false }
}

/// A column of serial numbers, addresses and the like.
const fn code(head: &'static str) -> Column {
    Column { head, code: true, detail: false }
}

impl Column {
    /// The same column, left out where there is little room.
    const fn detail(self) -> Self {
        Self { detail: true, ..self }
    }
}

impl Node {
    /// Reads the typed parts of a node's document.
    ///
    /// # Errors
    /// When its inventory has another form than this version's.
    pub fn read(document: Value) -> anyhow::Result<Self> {
        let inventory = document
            .get("inventory")
            .map(|value| serde_json::from_value(value.clone()).context("the server sent an inventory of another form"));
        let agent = document.get("agent").and_then(|a| serde_json::from_value(a.clone()).ok());
        let card = document.get("boot").and_then(|boot| serde_json::from_value(boot["stages"].clone()).ok());
        Ok(Self { inventory: inventory.transpose()?, agent, card, document })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.document["name"].as_str().unwrap_or_default()
    }

    /// `normal`, `held` or `pending`.
    #[must_use]
    pub fn state(&self) -> &str {
        self.document["identity"]["state"].as_str().unwrap_or_default()
    }

    /// Why the state is not normal, and what to do.
    #[must_use]
    pub fn reason(&self) -> Option<(&str, &str)> {
        let reason = self.document["identity"].get("reason")?;
        Some((reason["error"].as_str().unwrap_or_default(), reason["remedy"].as_str().unwrap_or_default()))
    }

    /// What the operator's list of expected machines calls it.
    #[must_use]
    pub fn expected(&self) -> Option<&str> {
        self.document["expected"]["name"].as_str()
    }

    /// What is odd at it among the machines of its product, a sentence each.
    #[must_use]
    pub fn odd(&self) -> Vec<String> {
        let outlier = &self.document["outlier"];
        let told = outlier["odd"].as_array().into_iter().flatten().filter_map(|odd| odd["text"].as_str());
        let more = outlier["more"].as_u64().filter(|more| *more > 0).map(|more| format!("and {more} more"));
        told.map(str::to_owned).chain(more).collect()
    }

    /// A time of the document, RFC 3339.
    #[must_use]
    pub fn time(&self, name: &str) -> Option<&str> {
        self.document[name].as_str()
    }

    /// One sentence where there is no hardware to show yet.
    #[must_use]
    pub fn nothing_yet(&self) -> Option<&'static str> {
        (self.inventory.is_none() && self.document.get("facts").is_none())
            .then_some("Only the boot of this machine was seen; its hardware follows with its first check-in.")
    }

    /// The machine in a few words, for a line of a list.
    #[must_use]
    pub fn brief(&self) -> Brief {
        machine::brief(self)
    }

    /// The machine as a whole, as names and values; values that are not known are left out.
    #[must_use]
    pub fn summary(&self) -> Vec<(&'static str, String)> {
        let mut lines = match &self.inventory {
            Some(inventory) => machine::of_inventory(&inventory.stable),
            None => machine::of_facts(&self.document["facts"]),
        };
        let slot = labelled("slot", self.document["expected"]["slot"].as_str().map(str::to_owned).as_ref());
        lines.push(("Expected as", join(&[self.expected().map(str::to_owned).as_ref(), slot.as_ref()])));
        lines.push(("Boot time", self.card.as_ref().and_then(Card::summary).unwrap_or_default()));
        lines.push(("Agent", self.agent.as_ref().map(machine::agent).unwrap_or_default()));
        lines.push(("Key", self.key().unwrap_or_default().to_owned()));
        lines.push(("Accepted", self.accepted()));
        lines.push(("Installed", self.installed()));
        lines.push(("Told to", self.told()));
        lines.push(("Configuration", self.configuration()));
        lines.retain(|(_, value)| !value.is_empty());
        lines
    }

    /// Fingerprint of the key that its machine signs with, as on the machine's own screen.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.document["key_fingerprint"].as_str()
    }

    /// By whom, where that was no matter of course.
    fn accepted(&self) -> String {
        let enrolment = &self.document["enrolment"];
        match (enrolment["accepted"].as_str(), enrolment["by"].as_str()) {
            (Some(at), Some(by)) if by != "open" => format!("by {by}, {}", human::stamp(at)),
            _ => String::new(),
        }
    }

    fn installed(&self) -> String {
        match self.document["state"]["installed"].as_str() {
            Some(what) => format!("{what}: it boots from its own disk until reinstall-node releases it"),
            None => String::new(),
        }
    }

    /// The commands that wait for it.
    fn told(&self) -> String {
        let told = |command: &Value| {
            let kind = command["kind"].as_str().unwrap_or_default();
            let until = human::stamp(command["expires"].as_str().unwrap_or_default());
            match command["sent"].as_str() {
                Some(at) => format!("{kind}: sent {}, not acknowledged yet", human::stamp(at)),
                None => format!("{kind}: sent with its next check-in until {until}"),
            }
        };
        let commands: Vec<String> = self.document["commands"].as_array().into_iter().flatten().map(told).collect();
        commands.join("; ")
    }

    fn configuration(&self) -> String {
        let config = &self.document["config"];
        let is_posted = config["reported"]["posted"] == true;
        if config["version"].as_u64().is_none_or(|version| version == 0) && !is_posted {
            String::new()
        } else {
            configuration(config)
        }
    }

    /// Names of the nodes that were merged into it.
    #[must_use]
    pub fn aliases(&self) -> Vec<&str> {
        self.document["identity"]["aliases"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// All tables that have rows, in the order in which one looks for trouble.
    #[must_use]
    pub fn sections(&self) -> Vec<Section> {
        let mut all = Vec::new();
        if let Some(Inventory { stable, volatile }) = &self.inventory {
            let none = Volatile::default();
            all = components(stable, volatile.as_ref().unwrap_or(&none));
        }
        all.extend(self.card.as_ref().map(stages));
        if let Some(agent) = &self.agent {
            all.push(units(agent));
            all.push(drift(&self.document));
            all.push(extensions(agent));
        }
        all.push(claims(&self.document));
        all.retain(|section| !section.rows.is_empty());
        all
    }
}

fn components(stable: &Stable, volatile: &Volatile) -> Vec<Section> {
    vec![
        findings(stable),
        not_read(volatile),
        hardware::dimms(stable, volatile),
        hardware::disks(stable, volatile),
        network::nics(stable, volatile),
        network::neighbours(stable, volatile),
        pci::pci(stable, volatile),
        hardware::usb(stable),
        hardware::numa(stable),
        hardware::temperatures(volatile),
    ]
}

fn findings(stable: &Stable) -> Section {
    let cells = |f: &wire::inventory::Finding| {
        vec![f.component.clone(), f.text.clone(), word(f.file.as_ref()), word(f.extension.as_ref())]
    };
    Section {
        id: "findings",
        title: "Missing",
        noun: "Component",
        columns: vec![code("Missing"), text("What"), code("File").detail(), code("Extension").detail()],
        rows: stable.findings.iter().map(cells).collect(),
        detail: false,
    }
}

fn not_read(volatile: &Volatile) -> Section {
    Section {
        id: "not-read",
        title: "Not read",
        noun: "Collector",
        columns: vec![code("Not read"), text("Why")],
        rows: volatile.failures.iter().map(|(name, why)| vec![name.clone(), why.clone()]).collect(),
        detail: false,
    }
}

/// The stages of the newest boot; where time is usually lost is said of the slowest alone.
fn stages(card: &Card) -> Section {
    let slowest = card.slowest();
    let cells = |step: Step| {
        let hint = if Some(step) == slowest { step.hint } else { "" };
        vec![step.what.to_owned(), spelled(step.span.begin_ms), spelled(step.span.took_ms), hint.to_owned()]
    };
    Section {
        id: "boot",
        title: "Newest boot",
        noun: "Stage",
        columns: vec![text("Newest boot"), text("Begun after"), text("Took"), text("Slowest, often due to")],
        rows: card.steps().into_iter().map(cells).collect(),
        detail: false,
    }
}

fn units(agent: &Agent) -> Section {
    let cells = |u: &wire::checkin::Unit| {
        vec![u.name.clone(), u.state.clone(), u.restarts.to_string(), word(u.last_exit.as_ref())]
    };
    Section {
        id: "units",
        title: "Units of the agent",
        noun: "Unit",
        columns: vec![text("Unit"), text("State"), text("Restarts"), text("Last end")],
        rows: agent.units.iter().map(cells).collect(),
        detail: false,
    }
}

/// Extensions that are not what they should be.
fn drift(document: &Value) -> Section {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let cells = |d: &Value| vec![word(&d["extension"]), word(&d["kind"]), word(&d["what"]), word(&d["remedy"])];
    Section {
        id: "drift",
        title: "Extensions that differ",
        noun: "Extension",
        columns: vec![code("Extension that differs"), text("How"), text("What"), text("What to do")],
        rows: document["drift"].as_array().into_iter().flatten().map(cells).collect(),
        detail: false,
    }
}

fn extensions(agent: &Agent) -> Section {
    let cells = |e: &wire::checkin::Extension| {
        let state = e.error.clone().unwrap_or_else(|| "loaded".to_owned());
        vec![e.name.clone(), state, e.sha256.clone()]
    };
    Section {
        id: "extensions",
        title: "Extensions",
        noun: "Extension",
        columns: vec![text("Extension"), text("State"), code("SHA-256").detail()],
        rows: agent.extensions.iter().map(cells).collect(),
        detail: false,
    }
}

/// What the node is known by.
fn claims(document: &Value) -> Section {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let cells = |c: &Value| {
        let decides = if c["matching"] == true { "decides" } else { "" };
        let value = format!("{}={}", word(&c["kind"]), word(&c["value"]));
        vec![value, word(&c["state"]), decides.to_owned(), human::stamp(&word(&c["since"]))]
    };
    Section {
        id: "identity",
        title: "Known by",
        noun: "Value",
        columns: vec![code("Known by"), text("State"), text("Identity"), text("Since").detail()],
        rows: document["identity"]["claims"].as_array().into_iter().flatten().map(cells).collect(),
        detail: false,
    }
}

/// What became of a node's configuration. `document` has `version` and `reported`.
#[must_use]
pub fn configuration(document: &Value) -> String {
    let wanted = document["version"].as_u64().unwrap_or(0);
    let reported = &document["reported"];
    let has = reported["version"].as_u64().unwrap_or(0);
    let refused = reported.get("refused").filter(|r| r["version"] == wanted);
    match refused {
        _ if has == wanted && reported["posted"] == true => {
            format!(
                "in the place of version {wanted}, root on the node has posted another, which is in force until one is set here"
            )
        }
        _ if has == wanted && wanted == 0 => "nothing was ever set".to_owned(),
        _ if has == wanted => format!("version {wanted} is in force"),
        Some(refused) => {
            let problem = &refused["problem"];
            let why = problem["error"].as_str().unwrap_or_default();
            format!("version {wanted} was refused, version {has} is in force: {why}")
        }
        None => format!("version {wanted} waits for its next check-in, version {has} is in force"),
    }
}

/// What is there, joined by commas.
fn join(parts: &[Option<&String>]) -> String {
    parts.iter().flatten().filter(|p| !p.is_empty()).map(|p| human::part(p)).collect::<Vec<_>>().join(", ")
}

fn labelled(label: &str, value: Option<&String>) -> Option<String> {
    value.filter(|v| !v.is_empty()).map(|v| format!("{label} {}", human::part(v)))
}

fn word(value: Option<&String>) -> String {
    value.cloned().unwrap_or_default()
}
