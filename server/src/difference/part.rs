//! An inventory taken apart: each component with its key, its place, and what it is known by wherever it is.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Fields;
use crate::identity::placeholders::is_placeholder;

/// Kinds of components, in the order in which one looks for trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// The machine as a whole, by its firmware.
    System,
    /// Main board.
    Board,
    /// Chassis.
    Chassis,
    /// BIOS or UEFI.
    Bios,
    /// Processors as a whole.
    Cpu,
    /// Memory as a whole.
    Memory,
    /// Memory module.
    Dimm,
    /// Disk.
    Disk,
    /// Network port.
    Nic,
    /// Pluggable module of a network port.
    Module,
    /// What a network port is plugged into, as LLDP says.
    Link,
    /// PCI function.
    Pci,
    /// USB device.
    Usb,
    /// Baseboard management controller.
    Bmc,
    /// Trusted platform module.
    Tpm,
    /// NUMA node.
    Numa,
    /// How the machine booted.
    Boot,
    /// Virtualisation.
    Virtualization,
    /// Kernel.
    Kernel,
    /// What is absent and should not be.
    Finding,
    /// A fact of the site.
    Site,
    /// A fact of an original client.
    Fact,
    /// What a later version's inventory has.
    Other,
}

/// How components of a kind are told from each other.
struct Shape {
    /// Values that make its key.
    key: &'static [&'static str],
    /// The value that says where it is; without one, its key does.
    place: &'static str,
    /// Values that it has wherever it is, each by itself.
    ids: &'static [&'static str],
    /// Further values that no two machines have in common.
    own: &'static [&'static str],
}

impl Component {
    fn shape(self) -> Shape {
        let (key, place, ids, own): (&[&str], &str, &[&str], &[&str]) = match self {
            Self::Disk => (&["key"], "path", &["wwn", "serial"], &[]),
            Self::Dimm => (&["slot"], "slot", &["serial"], &[]),
            Self::Nic => (&["key"], "key", &["mac"], &["current_mac"]),
            Self::Module => (&["nic"], "nic", &["serial"], &[]),
            Self::Link => (&["nic", "chassis", "port"], "nic", &[HEARD], &[]),
            Self::Pci => (&["address"], "address", &["gpu.serial", "gpu.unique_id", "id"], &[]),
            Self::Usb => (&["path"], "path", &["serial", "id"], &[]),
            Self::Numa => (&["id"], "id", &[], &[]),
            Self::Finding => (&["component", "code", "file"], "", &[], &[]),
            Self::System => (&[], "", &[], &["serial", "uuid"]),
            Self::Board | Self::Chassis => (&[], "", &["serial"], &["asset"]),
            Self::Bmc => (&[], "", &["mac"], &["ipv4", "ipv6", "guid"]),
            Self::Tpm => (&[], "", &["ek_sha256"], &[]),
            Self::Boot => (&[], "", &[], &["interface"]),
            _ => (&[], "", &[], &[]),
        };
        Shape { key, place, ids, own }
    }

    /// The value that says where such a component is.
    pub(super) fn place(self) -> &'static str {
        self.shape().place
    }

    /// Names of the values that such a component has wherever it is, the best first.
    pub(super) fn ids(self) -> &'static [&'static str] {
        self.shape().ids
    }

    /// Whether this value is one that no two machines have in common.
    pub(super) fn is_own(self, field: &str) -> bool {
        let Shape { ids, own, .. } = self.shape();
        let is_model = matches!(self, Self::Pci | Self::Usb) && field == "id";
        !is_model && (ids.contains(&field) || own.contains(&field))
    }
}

/// The value by which a switch port is known: made of the neighbour's two names.
const HEARD: &str = "heard";
/// The same where nobody was heard.
const NOBODY: &str = "nobody";
/// All that an LLDP neighbour sent. The other values were read from it, and it holds counters of some switches.
const RAW: &str = "raw";

/// A component as a report has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Of what kind.
    pub component: Component,
    /// Which one.
    pub key: String,
    /// Where it is.
    pub place: String,
    /// What it is known by wherever it is: names of values, and these. Placeholders are none.
    pub ids: Vec<(String, String)>,
    /// All its values.
    pub fields: Fields,
}

impl Part {
    fn new(component: Component, object: &Map<String, Value>) -> Self {
        let mut fields = Fields::new();
        flatten(&mut fields, "", object);
        let Shape { key, place, ids, .. } = component.shape();
        let words: Vec<String> = key.iter().filter_map(|name| fields.get(*name)).map(word).collect();
        let key = words.join(" ");
        let place = fields.get(place).map_or_else(|| key.clone(), word);
        let id = |name: &&str| {
            let value = word(fields.get(*name)?);
            let comparable = value.to_lowercase().replace(':', "-");
            (!is_placeholder(&comparable)).then(|| ((*name).to_owned(), value))
        };
        let ids = ids.iter().filter_map(id).collect();
        Self { component, key, place, ids, fields }
    }

    /// A thing with a name and a value.
    fn named(component: Component, name: &str, value: &Value) -> Self {
        let mut fields = Fields::new();
        match value {
            Value::Object(object) if component == Component::Other => flatten(&mut fields, "", object),
            value => drop(fields.insert("value".to_owned(), sorted(value))),
        }
        Self { component, key: name.to_owned(), place: name.to_owned(), ids: Vec::new(), fields }
    }

    /// One of its values as a word; empty where it has none.
    #[must_use]
    pub fn word(&self, field: &str) -> String {
        self.fields.get(field).map(word).unwrap_or_default()
    }

    /// True for a port that listened and heard no switch.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.component == Component::Link && self.word(HEARD) == NOBODY
    }

    /// True where both are known by something, and by nothing that is the same.
    pub(super) fn is_another(&self, other: &Self) -> bool {
        let named = |name: &str| other.ids.iter().find(|(n, _)| n == name);
        let mut both = self.ids.iter().filter_map(|(name, value)| Some((value, &named(name)?.1))).peekable();
        both.peek().is_some() && both.all(|(one, other)| one != other)
    }

    /// The same part without what no two machines have in common.
    pub(super) fn without_own(mut self) -> Self {
        let component = self.component;
        self.fields.retain(|name, _| !component.is_own(name));
        self.ids.clear();
        self
    }
}

/// The components of a stable inventory, each key once.
#[must_use]
pub fn parts(inventory: &Value) -> Vec<Part> {
    let mut parts = Vec::new();
    match inventory {
        Value::Object(object) => object.iter().for_each(|(name, value)| take(&mut parts, name, value)),
        Value::Null => {}
        other => parts.push(Part::named(Component::Other, "", other)),
    }
    unique(parts)
}

/// The facts of an original client.
#[must_use]
pub fn facts(facts: &Value) -> Vec<Part> {
    let named = |(name, value): (&String, &Value)| Part::named(Component::Fact, name, value);
    unique(facts.as_object().into_iter().flatten().map(named).collect())
}

/// Takes one member of an inventory apart.
fn take(parts: &mut Vec<Part>, name: &str, value: &Value) {
    let component = match (name, value) {
        ("disks", Value::Array(_)) => Component::Disk,
        ("nics", Value::Array(_)) => Component::Nic,
        ("pci", Value::Array(_)) => Component::Pci,
        ("usb", Value::Array(_)) => Component::Usb,
        ("numa", Value::Array(_)) => Component::Numa,
        ("findings", Value::Array(_)) => Component::Finding,
        ("system", Value::Object(_)) => Component::System,
        ("board", Value::Object(_)) => Component::Board,
        ("chassis", Value::Object(_)) => Component::Chassis,
        ("bios", Value::Object(_)) => Component::Bios,
        ("boot", Value::Object(_)) => Component::Boot,
        ("virtualization", Value::Object(_)) => Component::Virtualization,
        ("kernel", Value::Object(_)) => Component::Kernel,
        ("cpu", Value::Object(_)) => Component::Cpu,
        ("memory", Value::Object(_)) => Component::Memory,
        ("bmc", Value::Object(_)) => Component::Bmc,
        ("tpm", Value::Object(_)) => Component::Tpm,
        ("site", Value::Object(_)) => Component::Site,
        _ => Component::Other,
    };
    match (component, value) {
        (Component::Other, value) => parts.push(Part::named(Component::Other, name, value)),
        (Component::Site, Value::Object(facts)) => {
            parts.extend(facts.iter().map(|(name, value)| Part::named(Component::Site, name, value)));
        }
        (Component::Memory, Value::Object(memory)) => {
            let mut memory = memory.clone();
            each(parts, Component::Dimm, memory.remove("dimms").as_ref());
            parts.push(Part::new(Component::Memory, &memory));
        }
        (component, Value::Object(object)) => parts.push(Part::new(component, object)),
        (component, list) => each(parts, component, Some(list)),
    }
}

/// Takes a list of components of one kind apart.
fn each(parts: &mut Vec<Part>, component: Component, list: Option<&Value>) {
    for entry in list.and_then(Value::as_array).into_iter().flatten() {
        let Value::Object(object) = entry else {
            parts.push(Part::named(component, "", entry));
            continue;
        };
        if component == Component::Nic {
            nic(parts, object.clone());
        } else {
            parts.push(Part::new(component, object));
        }
    }
}

/// A port, the module in it, and what it is plugged into.
fn nic(parts: &mut Vec<Part>, mut port: Map<String, Value>) {
    let nic = port.get("key").cloned().unwrap_or_default();
    if let Some(Value::Object(mut module)) = port.remove("transceiver") {
        module.insert("nic".to_owned(), nic.clone());
        parts.push(Part::new(Component::Module, &module));
    }
    links(parts, &nic, port.remove("lldp"));
    parts.push(Part::new(Component::Nic, &port));
}

/// What a port is plugged into: each neighbour, or that there is none.
fn links(parts: &mut Vec<Part>, nic: &Value, lldp: Option<Value>) {
    let Some(Value::Object(lldp)) = lldp else { return };
    let neighbours: Vec<&Map<String, Value>> =
        lldp.get("neighbours").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).collect();
    let mut add = |mut link: Map<String, Value>, heard: String| {
        link.remove(RAW);
        link.insert("nic".to_owned(), nic.clone());
        link.insert(HEARD.to_owned(), heard.into());
        parts.push(Part::new(Component::Link, &link));
    };
    if neighbours.is_empty() {
        add(Map::new(), NOBODY.to_owned());
    }
    for neighbour in neighbours {
        let name = |name: &str| neighbour.get(name).map(word).unwrap_or_default();
        add(neighbour.clone(), format!("{} port {}", name("chassis"), name("port")));
    }
}

/// Each key once: what several have gets a number, in an order that does not depend on that of the list.
fn unique(mut parts: Vec<Part>) -> Vec<Part> {
    parts.sort_by(|a, b| {
        let rest = |part: &Part| format!("{:?}", part.fields);
        let known = (a.component, &a.key, &a.place, &a.ids).cmp(&(b.component, &b.key, &b.place, &b.ids));
        known.then_with(|| rest(a).cmp(&rest(b)))
    });
    let mut seen: HashMap<(Component, String), usize> = HashMap::new();
    for part in &mut parts {
        let count = seen.entry((part.component, part.key.clone())).or_default();
        *count += 1;
        if *count > 1 {
            part.key = format!("{} #{count}", part.key);
        }
    }
    parts
}

fn flatten(fields: &mut Fields, prefix: &str, object: &Map<String, Value>) {
    for (name, value) in object {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Null => {}
            Value::Object(inner) => flatten(fields, &name, inner),
            value => drop(fields.insert(name, sorted(value))),
        }
    }
}

/// A list of words is a set: its order says nothing.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(list) if list.iter().all(Value::is_string) => {
            let mut list = list.clone();
            list.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            list.into()
        }
        other => other.clone(),
    }
}

/// A value as a word.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
