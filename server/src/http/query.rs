//! The query that iPXE sends to say which machine it is. Pure.

use crate::identity::canonical::{FACT_PREFIX, HwInfo};

/// Decoded pairs in order.
pub type Pairs = Vec<(String, String)>;

/// What a boot tells of its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Canonical hardware information.
    pub info: HwInfo,
    /// The MAC that got its address by DHCP, as sent.
    pub dhcp_mac: Option<String>,
}

/// Reads a machine from a query. Unknown keys are left out, as a serial with `&` makes them.
#[must_use]
pub fn machine(pairs: &Pairs) -> Machine {
    let dhcp_mac = pairs.iter().find(|(key, value)| key == "dhcp_mac" && !value.trim().is_empty());
    let named: Pairs = pairs.iter().map(|(key, value)| (plain_key(key), value.clone())).collect();
    Machine {
        info: HwInfo::canonicalize(named.iter().map(|(k, v)| (k.as_str(), v.as_str()))),
        dhcp_mac: dhcp_mac.map(|(_, value)| value.clone()),
    }
}

/// `facts[x]` is `fact_x` and `mac[]` is `mac`, as web frameworks nest them.
fn plain_key(key: &str) -> String {
    if let Some(name) = key.strip_prefix("facts[").and_then(|k| k.strip_suffix(']')) {
        return format!("{FACT_PREFIX}{name}");
    }
    key.strip_suffix("[]").unwrap_or(key).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Machine {
        machine(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn a_full_query_is_read() {
        let got = read(&[
            ("net0", "00-11-22-33-44-55"),
            ("net1", ""),
            ("dhcp_mac", "00:11:22:33:44:55"),
            ("serial", "A"),
            ("facts[x]", "1"),
            ("mac[]", "AA"),
            ("1", "rest of a serial with &"),
        ]);
        assert_eq!(Vec::<String>::from(got.info), ["fact_x=1", "mac=00-11-22-33-44-55", "mac=aa", "serial=a"]);
        assert_eq!(got.dhcp_mac.as_deref(), Some("00:11:22:33:44:55"), "as given");
    }

    #[test]
    fn an_empty_dhcp_mac_is_none() {
        assert_eq!(read(&[("dhcp_mac", "")]).dhcp_mac, None);
    }
}
