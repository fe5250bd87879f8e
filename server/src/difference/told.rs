//! What a node's log says of a new report: the changes of its parts that somebody would want to hear of.
//!
//! Pure. A report is held against what the node is known to have, the [`Known`]: its last settled report and what that one lacked for
//! the time being. While a machine is still starting, a part that is not there yet is not gone, and while it was never seen settled,
//! a part that comes is not new. What a port was plugged into is remembered until it hears a switch again: a cable that is moved is
//! silent for a while.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Change, Component, Fields, Part, View, What, pair};
use crate::human;
use crate::limits::{MAX_REMEMBERED, MAX_TOLD};

/// How far the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It starts, and was never seen settled: what it lacks may come, and what comes was there.
    Young,
    /// It starts: what it lacks may come.
    Starting,
    /// All that it has is up.
    Settled,
}

/// What came of a report.
#[derive(Debug)]
pub struct Outcome {
    /// Severity and log entry of each change that is told.
    pub entries: Vec<(&'static str, Value)>,
    /// Parts, or values of parts, that the report lacks and the node is known to have all the same.
    pub missing: Vec<Part>,
    /// Some of it is gone unless it has come by the time that the machine is settled.
    pub is_awaited: bool,
}

/// What a node is known to have: the parts of a report, and those that it lacked for the time being.
#[must_use]
pub fn known(mut parts: Vec<Part>, missing: Vec<Part>) -> Vec<Part> {
    let places = parts.iter().enumerate().map(|(at, part)| ((part.component, part.key.clone()), at));
    let places: HashMap<(Component, String), usize> = places.collect();
    for lost in missing {
        let at = places.get(&(lost.component, lost.key.clone()));
        match at.and_then(|at| parts.get_mut(*at)) {
            Some(part) => {
                for (name, value) in lost.fields {
                    part.fields.entry(name).or_insert(value);
                }
                part.ids.extend(lost.ids);
            }
            None => parts.push(lost),
        }
    }
    parts
}

/// Holds the parts of a report against what the node is known to have.
#[must_use]
pub fn compare(known: Vec<Part>, report: Vec<Part>, phase: Phase) -> Outcome {
    let heard = |parts: Vec<Part>| parts.into_iter().filter(|part| !part.is_silent()).collect();
    let pairs = pair::pairs(heard(known), heard(report));
    let mut told: Vec<(&'static str, &'static str, Change)> = Vec::new();
    for change in pair::changes(&pairs, View::Time) {
        let may_come =
            matches!((change.what, phase), (What::Gone, Phase::Starting | Phase::Young) | (What::New, Phase::Young));
        if let Some((event, severity)) = event(&change).filter(|_| !may_come) {
            told.push((event, severity, change));
        }
    }
    let is_link = |part: &Part| part.component == Component::Link;
    let mut missing: Vec<Part> = pairs.gone.iter().filter(|part| is_link(part)).take(MAX_REMEMBERED).cloned().collect();
    if phase != Phase::Settled {
        missing.extend(pairs.gone.iter().filter(|part| !is_link(part)).cloned());
        missing.extend(pairs.both.iter().filter_map(|(old, new)| lost(old, new)));
    }
    let is_awaited = phase == Phase::Young || missing.iter().any(|part| !is_link(part));
    Outcome { entries: entries(&told), missing, is_awaited }
}

/// The values that a part had and does not have now.
fn lost(old: &Part, new: &Part) -> Option<Part> {
    if old.is_another(new) {
        return None;
    }
    let fields = old.fields.iter().filter(|(name, _)| !new.fields.contains_key(*name));
    let fields: Fields = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
    let ids = old.ids.iter().filter(|(name, _)| fields.contains_key(name)).cloned().collect();
    (!fields.is_empty()).then(|| Part { fields, ids, ..new.clone() })
}

/// The kind of event that a change is, and its severity; nothing where the log need not speak of it.
fn event(change: &Change) -> Option<(&'static str, &'static str)> {
    let field = change.field.as_deref().unwrap_or_default();
    let known = !change.before.is_null() && !change.after.is_null();
    Some(match (change.component, change.what, field) {
        (Component::Disk, What::Gone, _) => ("disk-gone", "warn"),
        (Component::Disk, What::New, _) => ("disk-new", "info"),
        (Component::Disk, What::Replaced, _) => ("disk-replaced", "warn"),
        (Component::Disk, What::Moved, _) => ("disk-moved", "info"),
        (Component::Disk, What::Changed, "size_bytes") if known => ("disk-changed", "warn"),
        (Component::Dimm, What::Gone, _) => ("dimm-gone", "warn"),
        (Component::Dimm, What::New, _) => ("dimm-new", "info"),
        (Component::Dimm, What::Replaced, _) => ("dimm-changed", "warn"),
        (Component::Dimm, What::Changed, "size_bytes" | "configured_mts") if known => ("dimm-changed", "warn"),
        (Component::Dimm, What::Moved, _) => ("dimm-moved", "info"),
        (Component::Nic, What::Gone, _) => ("nic-gone", "warn"),
        (Component::Nic, What::New, _) => ("nic-new", "info"),
        (Component::Nic, What::Replaced, _) => ("nic-replaced", "warn"),
        (Component::Nic, What::Moved, _) => ("nic-moved", "info"),
        (Component::Link, What::Replaced | What::Moved, _) => ("link-moved", "warn"),
        (Component::Pci, What::Gone, _) if is_of_its_own(change) => ("pci-gone", "warn"),
        (Component::Pci, What::New, _) if is_of_its_own(change) => ("pci-new", "info"),
        (Component::Pci, What::Replaced, _) if is_of_its_own(change) => ("pci-replaced", "warn"),
        (Component::Pci, What::Changed, "link_width") if known => ("pci-link-changed", "warn"),
        (Component::Board, What::Replaced, _) => ("board-replaced", "warn"),
        (Component::Bmc, What::Replaced, _) => ("bmc-replaced", "warn"),
        (Component::Tpm, What::Replaced, _) => ("tpm-replaced", "warn"),
        (Component::Cpu, What::Changed, "model" | "packages" | "cores" | "threads") if known => ("cpu-changed", "warn"),
        (Component::Bios, What::Changed, "version") | (_, What::Changed, "firmware" | "microcode" | "gpu.vbios")
            if known =>
        {
            ("firmware-updated", "info")
        }
        _ => return None,
    })
}

/// PCI functions that no other component stands for: network ports and USB are components of their own, bridges only connect others.
fn is_of_its_own(change: &Change) -> bool {
    let class = |object: &Value| object["class"].as_str().map(str::to_owned);
    let class = class(&change.after).or_else(|| class(&change.before)).unwrap_or_default();
    !["02", "06", "0c"].iter().any(|other| class.starts_with(other))
}

/// Log entries; where there are many, the first of them and how many more.
fn entries(told: &[(&'static str, &'static str, Change)]) -> Vec<(&'static str, Value)> {
    let entry = |(event, severity, change): &(&'static str, &'static str, Change)| {
        let key = human::part(&change.key);
        (*severity, json!({"event": event, "component": change.component, "key": key, "msg": change.text}))
    };
    let mut entries: Vec<_> = told.iter().take(MAX_TOLD).map(entry).collect();
    let more = told.len().saturating_sub(MAX_TOLD);
    if more > 0 {
        let msg = format!("and {more} further parts differ from what the node had");
        entries.push(("warn", json!({"event": "parts-changed", "component": "all", "more": more, "msg": msg})));
    }
    entries
}
