//! What if a part went in or out? Pure: words of an operator in, another report out.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::identity::canonical::{HwInfo, KEYS};
use crate::identity::evidence::{Evidence, Group};
use crate::identity::report::Report;

/// What `new` stands for: values that no machine has. MACs of the documentation range, which no vendor uses.
const NEW_MAC: &str = "00-00-5e-00-53-";
const NEW_UUID: &str = "7a1d5c1e-93b4-4f06-8d2a-5e0c46b1f9";
const NEW_NUMBER: &str = "never-seen-";

/// One change of a machine's hardware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `+kind=value`: this part goes in.
    In(Group, String),
    /// `-kind=value`: this part comes out.
    Out(Group, String),
    /// `kind=new`: all parts of the kind are replaced by ones that were never seen.
    New(Group),
    /// `kind=none`: no part of the kind is left, or firmware no longer says its number.
    None(Group),
}

/// Names of what can change: those of hardware values, and the groups of evidence.
const KINDS: [(&str, Group); 8] = [
    ("mac", Group::Nic),
    ("uuid", Group::Uuid),
    ("serial", Group::Serial),
    ("board", Group::Board),
    ("chassis", Group::Chassis),
    ("tpm", Group::Tpm),
    ("dimm", Group::Dimm),
    ("disk", Group::Disk),
];

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (sign, rest) = match text.chars().next() {
            Some(sign @ ('+' | '-')) => (Some(sign), &text[1..]),
            _ => (None, text),
        };
        let usage = || {
            format!(
                "{text:?} is no change; write +mac=00-11-22-33-44-55 for a part that goes in, -disk=SERIAL for one that \
                 comes out, board=new for one that is replaced, serial=none for one that is gone"
            )
        };
        let (kind, value) = rest.split_once('=').ok_or_else(usage)?;
        let group = KINDS.iter().find(|(word, _)| *word == kind).map(|(_, group)| *group).ok_or_else(|| {
            let kinds: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
            format!("{kind:?} is no kind of hardware; there are {}", kinds.join(", "))
        })?;
        let value = value.trim().to_lowercase().replace(':', "-");
        match (sign, value.as_str()) {
            (_, "") => Err(usage()),
            (Some('+'), _) => Ok(Self::In(group, value)),
            (Some(_), _) => Ok(Self::Out(group, value)),
            (None, "new") => Ok(Self::New(group)),
            (None, "none") => Ok(Self::None(group)),
            (None, _) => Err(usage()),
        }
    }
}

/// The word of an operator for a group.
#[must_use]
pub fn kind(group: Group) -> &'static str {
    KINDS.iter().find(|(_, g)| *g == group).map_or(group.word(), |(word, _)| word)
}

/// What the machine would report with these changes.
///
/// # Errors
/// When a part is to come out that the machine does not report; the text names it and those that it does.
pub fn apply(report: &Report, changes: &[Change]) -> Result<Report, String> {
    let mut changed = report.clone();
    for change in changes {
        changed = one(&changed, change)?;
    }
    Ok(changed)
}

fn one(report: &Report, change: &Change) -> Result<Report, String> {
    let group = match change {
        Change::In(group, _) | Change::Out(group, _) | Change::New(group) | Change::None(group) => *group,
    };
    let old: BTreeSet<String> = values(report, group);
    let new: BTreeSet<String> = match change {
        Change::In(_, value) if group.is_set() => old.iter().chain([value]).cloned().collect(),
        Change::In(_, value) => [value.clone()].into(),
        Change::Out(_, value) => {
            if !old.contains(value) {
                let all = if old.is_empty() { "none".to_owned() } else { Vec::from_iter(old).join(", ") };
                return Err(format!("the machine reports no {} {value:?}; it reports {all}", kind(group)));
            }
            old.iter().filter(|v| *v != value).cloned().collect()
        }
        Change::New(_) => (0..old.len().max(1)).map(|n| fresh(group, n)).collect(),
        Change::None(_) => BTreeSet::new(),
    };
    Ok(with(report, group, new))
}

/// The values of a group as a person writes them.
fn values(report: &Report, group: Group) -> BTreeSet<String> {
    match info_key(group) {
        Some(key) => report.info.entries().iter().filter(|e| e.key == key).map(|e| e.value.clone()).collect(),
        None => report.evidence.values(group).cloned().unwrap_or_default(),
    }
}

fn with(report: &Report, group: Group, values: BTreeSet<String>) -> Report {
    let info = match info_key(group) {
        Some(key) => report.info.without(key, |_| true).with(values.iter().map(|v| (key, v.as_str()))),
        None => report.info.clone(),
    };
    let mut evidence = Evidence::of_info(&info, None, &report.context);
    for other in Group::ALL.into_iter().filter(|g| info_key(*g).is_none()) {
        let kept = if other == group { Some(&values) } else { report.evidence.values(other) };
        evidence.add(other, kept.into_iter().flatten().cloned());
    }
    let evidence = evidence.fit(&report.context);
    Report { info, evidence, ..report.clone() }
}

/// The key of hardware information that has the values of a group.
fn info_key(group: Group) -> Option<&'static str> {
    match group {
        Group::Nic => Some("mac"),
        Group::Uuid => Some("uuid"),
        Group::Serial => Some("serial"),
        Group::Board | Group::Chassis | Group::Tpm | Group::Dimm | Group::Disk => None,
    }
}

fn fresh(group: Group, n: usize) -> String {
    match group {
        Group::Nic => format!("{NEW_MAC}{:02x}", n % 256),
        Group::Uuid => format!("{NEW_UUID}{:02x}", n % 256),
        _ => format!("{NEW_NUMBER}{}-{n}", kind(group)),
    }
}

/// The part of a report that iPXE would tell: ports and numbers, no facts.
#[must_use]
pub fn seen_by_ipxe(info: &HwInfo) -> HwInfo {
    let seen = info.entries().iter().filter(|e| KEYS.contains(&e.key.as_str()));
    HwInfo::canonicalize(seen.map(|e| (e.key.as_str(), e.value.as_str())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::patterns::Patterns;
    use crate::identity::report;

    fn machine() -> Report {
        let stable = serde_json::from_value(json!({
            "system": {"serial": "S1", "uuid": "11223344-5566-7788-99aa-bbccddeeff00"}, "board": {"serial": "B1"},
            "nics": [{"key": "a", "mac": "00:11:22:33:44:55", "bus": "pci"}, {"key": "b", "mac": "00:11:22:33:44:66", "bus": "pci"}],
            "disks": [{"key": "a", "serial": "D1"}, {"key": "b", "serial": "D2"}]
        }))
        .unwrap();
        let inventory = wire::inventory::Inventory { stable, ..Default::default() };
        report::read(&wire::facts::flatten(&inventory), Some(&inventory.stable), &Patterns::default())
    }

    fn changed(words: &[&str]) -> Result<Report, String> {
        let changes: Vec<Change> = words.iter().map(|w| w.parse().unwrap()).collect();
        apply(&machine(), &changes)
    }

    #[test]
    fn no_change_is_the_same_report() {
        let same = changed(&["+mac=00-11-22-33-44-55", "+serial=s1"]).unwrap();
        assert_eq!((same.info, same.evidence), (machine().info, machine().evidence));
    }

    #[test]
    fn parts_go_in_and_out() {
        let report = changed(&["+mac=00:AA:00:00:00:01", "-mac=00:11:22:33:44:66", "-disk=D2", "board=new"]).unwrap();
        let macs = ["00-11-22-33-44-55", "00-aa-00-00-00-01"].map(str::to_owned).into();
        assert_eq!(report.evidence.values(Group::Nic), Some(&macs));
        assert_eq!(report.evidence.values(Group::Disk), Some(&["d1".to_owned()].into()));
        assert_ne!(report.evidence.values(Group::Board), machine().evidence.values(Group::Board));
        assert_eq!(report.evidence.values(Group::Serial), machine().evidence.values(Group::Serial));
        let lines: Vec<String> = report.info.into();
        assert!(lines.contains(&"mac=00-aa-00-00-00-01".to_owned()) && !lines.iter().any(|l| l.ends_with("66")));
    }

    #[test]
    fn a_number_can_be_blanked_and_ports_all_be_new() {
        let report = changed(&["serial=none", "mac=new"]).unwrap();
        assert_eq!(report.evidence.values(Group::Serial), None);
        assert_eq!(report.evidence.values(Group::Nic).map(BTreeSet::len), Some(2));
        assert!(
            report.evidence.values(Group::Nic).unwrap().is_disjoint(machine().evidence.values(Group::Nic).unwrap())
        );
    }

    #[test]
    fn what_is_not_there_cannot_come_out() {
        let error = changed(&["-disk=D9"]).unwrap_err();
        assert_eq!(error, "the machine reports no disk \"d9\"; it reports d1, d2");
    }

    #[test]
    fn what_is_no_change_is_named() {
        for (text, words) in [
            ("mac=00-11", "is no change"),
            ("+mac=", "is no change"),
            ("mac", "is no change"),
            ("", "is no change"),
            ("+colour=blue", "there are mac, uuid"),
        ] {
            let error = text.parse::<Change>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_words_are_read_or_refused(text in "\\PC*") {
            let _ = text.parse::<Change>();
        }
    }
}
