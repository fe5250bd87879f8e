//! Canonical form of hardware information, as razor-server has it: sorted `key=value` entries, lower case, `:` as `-`.
//!
//! Nothing is judged here. Duplicates, placeholders and malformed addresses stay, since `hw_info` keeps what was sent.

use serde::{Deserialize, Serialize};

/// Keys that describe hardware; any `fact_…` is one too.
pub const KEYS: [&str; 4] = ["asset", "mac", "serial", "uuid"];
/// Prefix of facts among hardware keys.
pub const FACT_PREFIX: &str = "fact_";
/// Says how the machine booted, not which machine it is.
pub const BOOT_TYPE: &str = "fact_boot_type";

/// One `key=value` entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// `mac`, `serial`, `asset`, `uuid` or `fact_…`.
    pub key: String,
    /// Lower case, trimmed, not empty.
    pub value: String,
}

/// Canonical hardware information: sorted by key, then value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", from = "Vec<String>")]
pub struct HwInfo(Vec<Entry>);

impl From<HwInfo> for Vec<String> {
    fn from(info: HwInfo) -> Self {
        info.0.into_iter().map(|e| format!("{}={}", e.key, e.value)).collect()
    }
}

impl From<Vec<String>> for HwInfo {
    fn from(lines: Vec<String>) -> Self {
        Self::canonicalize(lines.iter().filter_map(|l| l.split_once('=')))
    }
}

impl HwInfo {
    /// The canonical form of `pairs`, as they come from iPXE, from a command or from facts.
    pub fn canonicalize<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut entries: Vec<Entry> = pairs.into_iter().filter_map(|(key, value)| entry(key, value)).collect();
        entries.sort();
        Self(entries)
    }

    /// All entries in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// True without any entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These entries, with all entries of each key that `new` has replaced by those of `new`.
    #[must_use]
    pub fn overlaid(&self, new: &Self) -> Self {
        let kept = self.0.iter().filter(|old| new.0.iter().all(|n| n.key != old.key));
        let mut entries: Vec<Entry> = kept.chain(&new.0).cloned().collect();
        entries.sort();
        Self(entries)
    }

    /// These entries and those of `pairs`.
    pub fn with<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut entries: Vec<Entry> = self.0.iter().cloned().chain(Self::canonicalize(pairs).0).collect();
        entries.sort();
        entries.dedup();
        Self(entries)
    }

    /// These entries but for those of `key` whose value is `gone`.
    #[must_use]
    pub fn without(&self, key: &str, gone: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|e| e.key != key || !gone(&e.value)).cloned().collect())
    }

    /// Only the `fact_…` entries.
    #[must_use]
    pub fn facts(&self) -> Self {
        Self(self.0.iter().filter(|e| e.key.starts_with(FACT_PREFIX)).cloned().collect())
    }

    /// The API's form: `mac` as a list, the last value of every other key as a string.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut map = serde_json::Map::new();
        for Entry { key, value } in &self.0 {
            if key == "mac" {
                let list = map.entry("mac").or_insert_with(|| serde_json::json!([]));
                if let Some(list) = list.as_array_mut() {
                    list.push(value.clone().into());
                }
            } else {
                map.insert(key.clone(), value.clone().into());
            }
        }
        map.into()
    }
}

/// One entry, or nothing for a blank value or an unknown key.
fn entry(key: &str, value: &str) -> Option<Entry> {
    let value = value.trim();
    if value.is_empty() {
        return None;
    }
    let key = if names_port(key) { "mac".to_owned() } else { key.to_lowercase() };
    if !KEYS.contains(&key.as_str()) && !key.starts_with(FACT_PREFIX) {
        return None;
    }
    Some(Entry { key, value: value.to_lowercase().replace(':', "-") })
}

/// `net` followed by a digit, anywhere in the key and in lower case only: the original's rule.
fn names_port(key: &str) -> bool {
    key.match_indices("net").any(|(at, _)| key.as_bytes().get(at + 3).is_some_and(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pairs: &[(&str, &str)]) -> Vec<String> {
        HwInfo::canonicalize(pairs.iter().copied()).into()
    }

    #[test]
    fn matrix_1_numbered_ports_become_mac() {
        assert_eq!(lines(&[("net0", "b"), ("net1", "a")]), ["mac=a", "mac=b"]);
    }

    #[test]
    fn matrix_2_macs_are_lower_case_and_sorted() {
        assert_eq!(lines(&[("mac", "B"), ("mac", "a")]), ["mac=a", "mac=b"]);
    }

    #[test]
    fn matrix_3_keys_are_sorted() {
        let want = ["asset=2", "serial=1", "uuid=3"];
        assert_eq!(lines(&[("serial", "1"), ("asset", "2"), ("uuid", "3")]), want);
        assert_eq!(lines(&[("uuid", "3"), ("asset", "2"), ("serial", "1")]), want);
    }

    #[test]
    fn matrix_4_blank_values_are_dropped() {
        assert!(lines(&[("net0", ""), ("serial", " "), ("asset", "\t"), ("uuid", "\n")]).is_empty());
    }

    #[test]
    fn matrix_5_hash_form_reads_back() {
        let info = HwInfo::canonicalize([("mac", "B"), ("mac", "a"), ("serial", "1")]);
        assert_eq!(info.to_json(), serde_json::json!({"mac": ["a", "b"], "serial": "1"}));
        assert_eq!(Vec::<String>::from(info), ["mac=a", "mac=b", "serial=1"]);
    }

    #[test]
    fn the_originals_odd_rules_hold() {
        assert_eq!(lines(&[("subnet0", "1"), ("fact_x_net1", "2")]), ["mac=1", "mac=2"], "unanchored");
        assert!(
            lines(&[("NET0", "1"), ("nic_max", "4"), ("network", "x")]).is_empty(),
            "case-sensitive, known keys only"
        );
        assert_eq!(lines(&[("Serial", " A:B ")]), ["serial=a-b"], "every value is trimmed, lower case and has - for :");
        assert_eq!(lines(&[("mac", "1"), ("mac", "1")]), ["mac=1", "mac=1"], "duplicates stay");
    }

    proptest::proptest! {
        #[test]
        fn canonical_form_is_stable(pairs in proptest::collection::vec((".*", ".*"), 0..8)) {
            let once = HwInfo::canonicalize(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            let again = HwInfo::from(Vec::<String>::from(once.clone()));
            // A fact's name may hold "=" or change its meaning by its case; all else reads back as itself.
            if once.entries().iter().all(|e| KEYS.contains(&e.key.as_str())) {
                proptest::prop_assert_eq!(once, again);
            }
        }
    }
}
