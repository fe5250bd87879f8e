//! Changes in words. What a machine said is cut and made harmless, so that a sentence can be shown wherever there is room for a line.

use std::collections::BTreeSet;

use serde_json::Value;

use super::part::word;
use super::{Component, Part, View, What};
use crate::{describe, human};

/// Most entries of a list that a sentence names.
const MOST_NAMED: usize = 8;

/// A component that is gone, new or replaced.
pub(super) fn whole(what: What, old: Option<&Part>, new: Option<&Part>, view: View<'_>) -> String {
    let one = new.or(old);
    match (what, old, new, view) {
        (_, Some(old), None, View::Machines(from, _)) => format!("only {from} has {}", full(old)),
        (_, None, Some(new), View::Machines(_, to)) => format!("only {to} has {}", full(new)),
        _ if one.is_some_and(|part| part.component == Component::Link) => link(old, new),
        (_, Some(old), Some(new), _) => replaced(old, new),
        (_, Some(old), None, _) if old.component == Component::Finding => format!("no longer so: {}", full(old)),
        (_, Some(old), None, _) => format!("{} is gone", full(old)),
        (_, None, Some(new), _) if new.component == Component::Finding => full(new),
        (_, None, Some(new), _) => format!("{} is new", full(new)),
        (_, None, None, _) => String::new(),
    }
}

fn replaced(old: &Part, new: &Part) -> String {
    match (about(old), about(new)) {
        (a, b) if a.is_empty() || b.is_empty() => format!("{} was replaced", at(new)),
        (a, b) => format!("{} was replaced: {a} by {b}", at(new)),
    }
}

/// A port that is plugged into another switch port than before, or where that is not known.
fn link(old: Option<&Part>, new: Option<&Part>) -> String {
    let place = new.or(old).map(|part| human::part(&part.place).into_owned()).unwrap_or_default();
    let heard = |part: &Part| (!part.is_silent()).then(|| about(part));
    match (old.map(heard), new.map(heard)) {
        (Some(Some(before)), Some(Some(now))) => format!("port {place} is now plugged into {now}, before {before}"),
        (Some(Some(before)), Some(None)) => format!("port {place} hears no switch any more, before {before}"),
        (Some(None), Some(Some(now))) => format!("port {place} is now plugged into {now}, before it heard no switch"),
        (None, Some(Some(now))) => format!("port {place} is plugged into {now}"),
        (None, Some(None)) => format!("port {place} hears no switch"),
        (Some(Some(before)), None) => format!("port {place} has not heard a switch yet, before {before}"),
        _ => format!("port {place} has not listened for a switch yet"),
    }
}

/// A component that is elsewhere.
pub(super) fn moved(part: &Part, from: &str, to: &str) -> String {
    let (from, to) = (human::part(from), human::part(to));
    match part.component {
        Component::Link => format!("{} is now at port {to}, before at {from}", about(part)),
        _ => format!("{} {} moved from {from} to {to}", noun(part), about(part)),
    }
}

/// A value that is another.
pub(super) fn changed(
    part: &Part,
    field: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    view: View<'_>,
) -> String {
    let (name, place) = (field_word(part.component, field), at(part));
    let name = if field == "value" { place } else { format!("{name} of {place}") };
    if let (Some(Value::Array(old)), Some(Value::Array(new))) = (before, after)
        && let Some((lost, gained)) = lists(old, new)
    {
        return match view {
            View::Time => format!("{name}: {}", join(&lost, "lost ", &gained, "gained ")),
            View::Machines(from, to) => {
                format!("{name}: {}", join(&lost, &format!("only {from} has "), &gained, &format!("only {to} has ")))
            }
        };
    }
    let shown = |value: Option<&Value>| value.map(|value| value_word(part.component, field, value));
    match (shown(before), shown(after), view) {
        (before, after, View::Machines(from, to)) => {
            let word = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
            format!("{name}: {from} has {}, {to} has {}", word(before), word(after))
        }
        (Some(before), Some(after), View::Time) => format!("{name} went from {before} to {after}"),
        (None, Some(after), View::Time) => format!("{name} is {after}; before there was none"),
        (Some(before), None, View::Time) => format!("{name} is not known any more; before it was {before}"),
        (None, None, View::Time) => String::new(),
    }
}

/// What one list of words has and the other lacks; nothing for lists of something else.
fn lists(old: &[Value], new: &[Value]) -> Option<(Vec<String>, Vec<String>)> {
    let words = |list: &[Value]| list.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<BTreeSet<_>>>();
    let (old, new) = (words(old)?, words(new)?);
    Some((old.difference(&new).cloned().collect(), new.difference(&old).cloned().collect()))
}

fn join(lost: &[String], lost_word: &str, gained: &[String], gained_word: &str) -> String {
    let side = |list: &[String], word: &str| {
        let named: Vec<_> = list.iter().take(MOST_NAMED).map(|w| human::part(w).into_owned()).collect();
        let more = list.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!list.is_empty()).then(|| format!("{word}{}{more}", named.join(", ")))
    };
    [side(lost, lost_word), side(gained, gained_word)].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The component with its place and what it is.
fn full(part: &Part) -> String {
    let about = about(part);
    match part.component {
        Component::Finding => about,
        Component::Disk => format!("disk {about}"),
        Component::Site | Component::Fact => format!("{}: {about}", at(part)),
        _ if about.is_empty() => at(part),
        _ => format!("{} ({about})", at(part)),
    }
}

fn noun(part: &Part) -> &'static str {
    match part.component {
        Component::System => "system",
        Component::Board => "main board",
        Component::Chassis => "chassis",
        Component::Bios => "BIOS",
        Component::Cpu => "processors",
        Component::Memory => "memory",
        Component::Dimm => "DIMM",
        Component::Disk => "disk",
        Component::Nic => "port",
        Component::Module => "module",
        Component::Link => "switch",
        Component::Pci => "PCI device",
        Component::Usb => "USB device",
        Component::Bmc => "BMC",
        Component::Tpm => "TPM",
        Component::Numa => "NUMA node",
        Component::Boot => "boot",
        Component::Virtualization => "virtualization",
        Component::Kernel => "kernel",
        Component::Finding => "finding",
        Component::Site => "site fact",
        Component::Fact => "fact",
        Component::Other => "",
    }
}

/// The component by its place.
fn at(part: &Part) -> String {
    let (noun, place) = (noun(part), human::part(&part.place));
    match part.component {
        Component::Dimm => format!("DIMM in {place}"),
        Component::Disk if part.fields.contains_key("path") => format!("disk at {place}"),
        Component::Nic => match part.word("label") {
            label if label.is_empty() => format!("port {place}"),
            label => format!("port {} at {place}", human::part(&label)),
        },
        Component::Module => format!("module in port {place}"),
        Component::Link => format!("{} at port {place}", about(part)),
        Component::Finding => about(part),
        Component::Other => place.into_owned(),
        _ if place.is_empty() => noun.to_owned(),
        _ => format!("{noun} {place}"),
    }
}

/// What the component is, wherever it is.
fn about(part: &Part) -> String {
    let word = |field: &str| Some(human::part(&part.word(field)).into_owned()).filter(|w| !w.is_empty());
    let labelled = |label: &str, field: &str| word(field).map(|w| format!("{label} {w}"));
    let size = |field: &str| part.fields.get(field).map(|value| value_word(part.component, field, value));
    let all =
        |words: &[Option<String>], between: &str| words.iter().flatten().cloned().collect::<Vec<_>>().join(between);
    match part.component {
        Component::Dimm => all(&[size("size_bytes"), labelled("serial", "serial")], " "),
        Component::Disk => {
            let model = all(
                &[size("size_bytes"), Some(all(&[word("vendor"), word("model")], " ")).filter(|m| !m.is_empty())],
                ", ",
            );
            let name = word("serial").or_else(|| word("wwn")).unwrap_or_else(|| human::part(&part.key).into_owned());
            if model.is_empty() { name } else { format!("{name} ({model})") }
        }
        Component::Nic => all(&[labelled("MAC", "mac")], ""),
        Component::Module => all(&[word("vendor"), word("part"), labelled("serial", "serial")], " "),
        Component::Link => {
            let switch = word("system_name").or_else(|| word("chassis")).unwrap_or_default();
            format!("switch {switch} port {}", word("port").unwrap_or_default())
        }
        Component::Pci => {
            let name = describe::device(&part.word("id")).or_else(|| word("id"));
            all(&[name, labelled("serial", "gpu.serial")], " ")
        }
        Component::Usb => all(&[word("manufacturer"), word("product"), word("id"), labelled("serial", "serial")], " "),
        Component::System | Component::Board | Component::Chassis => {
            all(&[word("manufacturer"), word("product"), labelled("serial", "serial")], " ")
        }
        Component::Bios => all(&[word("vendor"), word("version")], " "),
        Component::Bmc => all(&[labelled("MAC", "mac")], ""),
        Component::Tpm => all(&[word("manufacturer"), labelled("key", "ek_sha256")], " "),
        Component::Cpu => all(&[word("model")], ""),
        Component::Finding => word("text").unwrap_or_else(|| format!("finding {}", human::part(&part.key))),
        Component::Site | Component::Fact => word("value").unwrap_or_default(),
        _ => String::new(),
    }
}

/// A value's name as one says it.
fn field_word(component: Component, field: &str) -> String {
    match (component, field) {
        (_, "size_bytes") => "size".to_owned(),
        (_, "memory_bytes") => "memory".to_owned(),
        (_, "installed_bytes") => "installed size".to_owned(),
        (_, "max_mbps") => "highest speed".to_owned(),
        (_, "max_mhz") => "highest frequency".to_owned(),
        (_, "speed_mts") => "rated speed".to_owned(),
        (_, "configured_mts") => "configured speed".to_owned(),
        (_, "max_link_mts") => "highest link speed".to_owned(),
        (_, "max_link_width") => "highest link width".to_owned(),
        (_, "mac" | "wwn" | "uuid" | "guid" | "vlan" | "mtu" | "sku") => field.to_uppercase(),
        (_, "ipv4") => "IPv4 address".to_owned(),
        (_, "ipv6") => "IPv6 addresses".to_owned(),
        (Component::Other, field) => human::part(field).into_owned(),
        (_, field) => human::part(field).replace(['_', '.'], " "),
    }
}

/// A value with its unit.
fn value_word(component: Component, field: &str, value: &Value) -> String {
    let number = value.as_u64();
    let small = number.and_then(|n| u32::try_from(n).ok());
    match (field, number, small) {
        ("size_bytes", Some(bytes), _) if component == Component::Disk => human::disk(bytes),
        ("size_bytes" | "memory_bytes" | "installed_bytes", Some(bytes), _) => human::memory(bytes),
        ("max_mbps", _, Some(mbps)) => human::speed(mbps),
        ("max_mhz", Some(mhz), _) => format!("{mhz} MHz"),
        ("speed_mts" | "configured_mts" | "max_link_mts", Some(mts), _) => format!("{mts} MT/s"),
        ("link_width" | "max_link_width", Some(lanes), _) => format!("x{lanes}"),
        _ => match value {
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "no".to_owned(),
            value => human::part(&word(value)).into_owned(),
        },
    }
}
