//! What differs between two reports, by component: which disk is gone, which memory module was replaced, which firmware is another.
//!
//! Pure. In: two stable inventories as they are stored (JSON), or two sets of facts. Out: a [`Change`] for everything that differs,
//! each with a sentence. [`part`] takes an inventory apart, [`pair`] finds the parts that belong together, [`sentence`] puts it in
//! words, [`told`] picks what the log says of a node's new report. Whatever the JSON is, it is compared; what a later version's
//! inventory has beyond this one's is compared as it stands.

mod pair;
pub mod part;
mod sentence;
pub mod told;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::Value;
use wire::inventory::{Inventory, Stable};

pub use part::{Component, Part};

/// Something that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Of what kind.
    pub component: Component,
    /// Which one, as the later report calls it: a disk's WWN, a module's slot, a port's PCI address. Empty where there is but one.
    pub key: String,
    /// What the earlier report called it, where that is another key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub former_key: Option<String>,
    /// How it differs.
    pub what: What,
    /// The value that differs; of what moved, the one that says where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The value then, or the whole component where it is gone or was replaced.
    pub before: Value,
    /// The value now, or the whole component where it is new or took another's place.
    pub after: Value,
    /// All of it in a sentence.
    pub text: String,
}

/// How a component differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It is no longer there.
    Gone,
    /// It was not there before.
    New,
    /// It is in another place.
    Moved,
    /// Another one is in its place.
    Replaced,
    /// One of its values is another.
    Changed,
}

/// Whose reports are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View<'a> {
    /// Those of one machine, the earlier one first.
    Time,
    /// Those of two machines, by their names. What tells any two machines apart, such as serial numbers, is left out.
    Machines(&'a str, &'a str),
}

/// A report as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// True for a stable inventory, false for the facts of an original client.
    pub is_inventory: bool,
    /// What it says.
    pub content: &'a Value,
}

/// What differs between two reports of any kind. Of an inventory and facts, the facts are compared that both have.
#[must_use]
pub fn between(from: Report<'_>, to: Report<'_>, view: View<'_>) -> Vec<Change> {
    if from.is_inventory && to.is_inventory {
        return inventories(from.content, to.content, view);
    }
    let (mut old, mut new) = (facts(from), facts(to));
    if from.is_inventory != to.is_inventory {
        let names = |parts: &[Part]| parts.iter().map(|part| part.key.clone()).collect::<HashSet<_>>();
        let (mine, theirs) = (names(&old), names(&new));
        old.retain(|part| theirs.contains(&part.key));
        new.retain(|part| mine.contains(&part.key));
    }
    pair::compare(old, new, view)
}

/// What differs between two stable inventories.
#[must_use]
pub fn inventories(from: &Value, to: &Value, view: View<'_>) -> Vec<Change> {
    pair::compare(part::parts(from), part::parts(to), view)
}

/// The facts of a report.
fn facts(report: Report<'_>) -> Vec<Part> {
    if !report.is_inventory {
        return part::facts(report.content);
    }
    let stable: Stable = serde_json::from_value(report.content.clone()).unwrap_or_default();
    let facts = wire::facts::flatten(&Inventory { stable, volatile: None });
    part::facts(&Value::Object(facts.into_iter().collect()))
}

/// The values of a component, by name; those of a value that has several stand under `NAME.NAME`.
type Fields = BTreeMap<String, Value>;
