//! Which hardware values may decide which node a machine is.
//!
//! The original compares every value of the keys in `match_nodes_on` and every `fact_*` but `fact_boot_type`. Here a value
//! that proves nothing is left out first, and weak MACs count only where nothing stronger is.

use serde::{Deserialize, Serialize};

use crate::identity::canonical::{BOOT_TYPE, Entry, FACT_PREFIX, HwInfo};
use crate::identity::length::kept;
use crate::identity::mac::{self, Worth};
use crate::identity::placeholders::is_placeholder;
use crate::identity::report::Context;

/// A hardware value in comparable form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// `mac`, `serial`, `asset`, `uuid` or `fact_…`.
    pub kind: String,
    /// The value, equal for equal hardware.
    pub value: String,
}

impl Key {
    /// The word of the group of evidence that it belongs to.
    #[must_use]
    pub fn group(&self) -> &str {
        if self.kind == "mac" { "nic" } else { &self.kind }
    }

    /// True for a fact of the site's own.
    #[must_use]
    pub fn is_fact(&self) -> bool {
        self.kind.starts_with(FACT_PREFIX)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.kind, self.value)
    }
}

/// A value that a node claims.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// The value.
    pub key: Key,
    /// True when it decides which node a machine is.
    pub matching: bool,
}

/// All values of `info` that are worth remembering, in order and each once, with those that decide marked.
#[must_use]
pub fn claims(info: &HwInfo, match_on: &[String], context: &Context) -> Vec<Claim> {
    let judged = judged(info, context);
    let selected = |key: &Key| {
        let fact = key.kind.starts_with(FACT_PREFIX) && key.kind != BOOT_TYPE;
        fact || (match_on.contains(&key.kind) && (!context.is_virtual || matches!(key.kind.as_str(), "mac" | "uuid")))
    };
    let strong = judged.iter().any(|(key, worth)| selected(key) && *worth == Worth::Strong);
    let least = if strong { Worth::Strong } else { Worth::Weak };
    let mut claims: Vec<Claim> = judged
        .into_iter()
        .filter(|(_, worth)| *worth != Worth::None)
        .map(|(key, worth)| Claim { matching: selected(&key) && worth == least, key })
        .collect();
    claims.sort();
    claims.dedup();
    claims
}

/// Weak MACs of a machine that shows no better one. They count where its other keys lead to nobody: iPXE sends a virtual
/// machine's serial number too, and only a full report says that it is its host's.
#[must_use]
pub fn weak_macs(info: &HwInfo, match_on: &[String], context: &Context) -> Vec<Key> {
    let macs = judged(info, context).into_iter().filter(|(key, worth)| key.kind == "mac" && *worth != Worth::None);
    let (strong, mut weak): (Vec<_>, Vec<_>) = macs.partition(|(_, worth)| *worth == Worth::Strong);
    if !strong.is_empty() || !match_on.iter().any(|key| key == "mac") {
        return Vec::new();
    }
    weak.sort_by(|a, b| a.0.cmp(&b.0));
    weak.dedup_by(|a, b| a.0 == b.0);
    weak.into_iter().map(|(key, _)| key).collect()
}

/// All values of `info` in comparable form, with what each is worth.
#[must_use]
pub fn judged(info: &HwInfo, context: &Context) -> Vec<(Key, Worth)> {
    info.entries().iter().map(|e| judge(e, context)).collect()
}

/// The keys of those claims that decide.
#[must_use]
pub fn matching(claims: &[Claim]) -> Vec<Key> {
    claims.iter().filter(|c| c.matching).map(|c| c.key.clone()).collect()
}

fn judge(entry: &Entry, context: &Context) -> (Key, Worth) {
    let (value, worth) = match entry.key.as_str() {
        "mac" => mac::judge(&entry.value),
        "uuid" => (kept(&either_order(&entry.value)), Worth::Strong),
        _ => (kept(&entry.value), Worth::Strong),
    };
    let foreign = entry.key == "mac" && context.foreign_macs.contains(&value);
    // A site's own facts may have any value; what firmware gives may be nobody's.
    let firmware = !entry.key.starts_with(FACT_PREFIX);
    let worth = if foreign || (firmware && is_placeholder(&entry.value)) { Worth::None } else { worth };
    (Key { kind: entry.key.clone(), value }, worth)
}

/// A UUID in whichever byte order of its first three fields sorts first: iPXE and SMBIOS readers disagree about it, and
/// it depends on the SMBIOS version. Other text stays.
fn either_order(value: &str) -> String {
    let fields: Vec<&str> = value.split('-').collect();
    let shape: Vec<usize> = fields.iter().map(|f| f.len()).collect();
    if shape != [8, 4, 4, 4, 12] || !value.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()) {
        return value.to_owned();
    }
    let swapped: Vec<String> = fields.iter().take(3).map(|f| reversed_bytes(f)).collect();
    let other = format!("{}-{}-{}", swapped.join("-"), fields[3], fields[4]);
    other.min(value.to_owned())
}

fn reversed_bytes(field: &str) -> String {
    (0..field.len()).step_by(2).rev().filter_map(|i| field.get(i..i + 2)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pairs: &[(&str, &str)], on: &[&str], context: &Context) -> Vec<String> {
        let on: Vec<String> = on.iter().map(|s| (*s).to_owned()).collect();
        let claims = claims(&HwInfo::canonicalize(pairs.iter().copied()), &on, context);
        matching(&claims).iter().map(Key::to_string).collect()
    }

    const ALL: [&str; 4] = ["mac", "serial", "asset", "uuid"];

    #[test]
    fn only_selected_keys_and_facts_decide() {
        let pairs = [("net0", "00:11:22:33:44:55"), ("serial", "s1"), ("fact_f", "1"), ("fact_boot_type", "pcbios")];
        let none = Context::default();
        assert_eq!(keys(&pairs, &["mac"], &none), ["fact_f=1", "mac=00-11-22-33-44-55"]);
        assert_eq!(keys(&pairs, &["serial"], &none), ["fact_f=1", "serial=s1"]);
    }

    #[test]
    fn weak_macs_decide_only_where_nothing_stronger_is() {
        let none = Context::default();
        assert_eq!(keys(&[("net0", "52:54:00:00:00:01")], &ALL, &none), ["mac=52-54-00-00-00-01"]);
        let both = [("net0", "52:54:00:00:00:01"), ("net1", "00:11:22:33:44:55")];
        assert_eq!(keys(&both, &ALL, &none), ["mac=00-11-22-33-44-55"]);
        let serial = [("net0", "52:54:00:00:00:01"), ("serial", "s1")];
        assert_eq!(keys(&serial, &ALL, &none), ["serial=s1"]);
        assert_eq!(keys(&serial, &["mac"], &none), ["mac=52-54-00-00-00-01"], "an unselected key is not stronger");
    }

    #[test]
    fn worthless_values_never_decide() {
        let pairs = [
            ("net0", "00:00:00:00:00:00"),
            ("net1", "ff:ff:ff:ff:ff:ff"),
            ("serial", "To Be Filled By O.E.M."),
            ("asset", "0000000000"),
            ("uuid", "03000200-0400-0500-0006-000700080009"),
        ];
        assert!(keys(&pairs, &ALL, &Context::default()).is_empty());
        let foreign = Context { foreign_macs: ["00-11-22-33-44-55".to_owned()].into(), ..Context::default() };
        assert!(keys(&[("net0", "00:11:22:33:44:55")], &ALL, &foreign).is_empty());
    }

    #[test]
    fn on_virtual_machines_only_mac_and_uuid_count() {
        let context = Context { is_virtual: true, ..Context::default() };
        let pairs = [("serial", "s1"), ("asset", "a1"), ("uuid", "u1"), ("net0", "00:11:22:33:44:55")];
        assert_eq!(keys(&pairs, &ALL, &context), ["mac=00-11-22-33-44-55", "uuid=u1"]);
    }

    #[test]
    fn uuids_compare_regardless_of_byte_order() {
        let one = either_order("11223344-5566-7788-99aa-bbccddeeff00");
        assert_eq!(one, either_order("44332211-6655-8877-99aa-bbccddeeff00"));
        assert_ne!(one, either_order("44332211-6655-8877-99aa-bbccddeeff01"));
        assert_eq!(either_order("not-a-uuid"), "not-a-uuid");
    }

    proptest::proptest! {
        #[test]
        fn any_values_give_sorted_distinct_claims(pairs in proptest::collection::vec(("mac|uuid|serial|fact_x", "\\PC*"), 0..6)) {
            let info = HwInfo::canonicalize(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            let claims = claims(&info, &ALL.map(str::to_owned), &Context::default());
            proptest::prop_assert!(claims.windows(2).all(|w| w[0].key < w[1].key));
        }
    }
}
