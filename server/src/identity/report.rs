//! Hardware values out of a check-in: from flat facts as razor-server takes them, and from the typed inventory.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use wire::checkin::{CheckinRequest, Facts};
use wire::inventory::Stable;

use crate::config::patterns::Patterns;
use crate::identity::canonical::{FACT_PREFIX, HwInfo};
use crate::identity::evidence::Evidence;
use crate::identity::mac;

/// What a check-in says about the machine's identity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Hardware values in canonical form.
    pub info: HwInfo,
    /// Keys that such a report would contain if the machine had them: a value that is missing is gone.
    pub speaks_of: BTreeSet<String>,
    /// What is known about the values.
    pub context: Context,
    /// What tells this machine from others.
    pub evidence: Evidence,
}

/// What a full report tells about the worth of values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// On a virtual machine only MAC and UUID count.
    pub is_virtual: bool,
    /// MACs that belong to no machine for good: USB ports, the BMC's own, virtual interfaces; as comparable text.
    pub foreign_macs: BTreeSet<String>,
}

/// Flat facts of a check-in: those sent, completed by those that follow from the inventory. `None` without either.
#[must_use]
pub fn facts_of(request: &CheckinRequest) -> Option<Facts> {
    match (&request.facts, &request.inventory) {
        (None, None) => None,
        (Some(facts), None) => Some(facts.clone()),
        (sent, Some(inventory)) => {
            let mut facts = wire::facts::flatten(inventory);
            facts.extend(sent.clone().unwrap_or_default());
            Some(facts)
        }
    }
}

/// The identity of a machine by its `facts` and, where there is one, its inventory.
#[must_use]
pub fn read(facts: &Facts, stable: Option<&Stable>, match_on: &Patterns) -> Report {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let macs: BTreeSet<String> =
        facts.iter().filter(|(name, _)| name.starts_with("macaddress")).filter_map(|(_, v)| text(v)).collect();
    pairs.extend(macs.into_iter().map(|m| ("mac".to_owned(), m)));
    for (fact, key) in [("serialnumber", "serial"), ("uuid", "uuid")] {
        pairs.extend(facts.get(fact).and_then(text).map(|v| (key.to_owned(), v)));
    }
    // The original never takes the asset tag from facts; iPXE's `asset` is the chassis' one.
    let asset = stable.and_then(|s| s.chassis.as_ref()).and_then(|c| c.asset.clone());
    pairs.extend(asset.map(|v| ("asset".to_owned(), v)));
    let selected = facts.iter().filter(|(name, _)| match_on.matches(name));
    pairs.extend(selected.filter_map(|(n, v)| text(v).map(|v| (format!("{FACT_PREFIX}{n}"), v))));

    let info = HwInfo::canonicalize(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let mut speaks_of: BTreeSet<String> = ["mac", "serial", "uuid"].map(str::to_owned).into();
    speaks_of.extend(stable.map(|_| "asset".to_owned()));
    speaks_of.extend(info.entries().iter().map(|e| e.key.clone()));
    let context = context(facts, stable);
    let evidence = match stable {
        Some(stable) => Evidence::of_inventory(stable, &info, &context),
        None => Evidence::of_info(&info, Some(facts), &context),
    };
    Report { info, speaks_of, context, evidence }
}

fn context(facts: &Facts, stable: Option<&Stable>) -> Context {
    let by_fact = facts.get("is_virtual").and_then(text).is_some_and(|v| v == "true");
    let Some(stable) = stable else {
        return Context { is_virtual: by_fact, foreign_macs: foreign_by_name(facts) };
    };
    let comparable = |mac: &String| mac::judge(&mac.to_lowercase()).0;
    let usb = stable.nics.iter().filter(|n| n.bus.as_deref() == Some("usb"));
    let usb = usb.flat_map(|n| [&n.mac, &n.current_mac]).flatten();
    let bmc = stable.bmc.iter().filter_map(|b| b.mac.as_ref());
    // Some boards give the BMC the MAC of the port that it shares.
    let ports: BTreeSet<String> =
        wire::facts::identifying_nics(stable).iter().filter_map(|n| n.mac.as_ref()).map(comparable).collect();
    Context {
        is_virtual: by_fact || stable.virtualization.as_ref().is_some_and(|v| v.is_virtual),
        foreign_macs: usb.chain(bmc).map(comparable).filter(|m| !ports.contains(m)).collect(),
    }
}

/// What Facter reports beside ports: their MACs are made up, copied from a port, or those of USB.
const NO_PORTS: [&str; 19] = [
    "virbr", "vnet", "veth", "docker", "br-", "br_", "br0", "bond", "team", "dummy", "tap", "tun", "vlan", "vmnet",
    "lxc", "usb", "enx", "idrac", "wwan",
];

/// Original clients name interfaces only: MACs that no port bears, but something that is none does.
fn foreign_by_name(facts: &Facts) -> BTreeSet<String> {
    let named = facts.iter().filter_map(|(fact, value)| {
        let name = fact.strip_prefix("macaddress_")?;
        Some((NO_PORTS.iter().any(|prefix| name.starts_with(prefix)), mac::judge(&canonical(&text(value)?)).0))
    });
    let (others, ports): (Vec<_>, Vec<_>) = named.partition(|(no_port, _)| *no_port);
    let ports: BTreeSet<String> = ports.into_iter().map(|(_, mac)| mac).collect();
    others.into_iter().map(|(_, mac)| mac).filter(|mac| !ports.contains(mac)).collect()
}

fn canonical(value: &str) -> String {
    value.trim().to_lowercase().replace(':', "-")
}

/// A fact's value as text; nothing for null.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(s) => Some(s.clone()),
        other => Some(other.to_string()),
    }
}

/// Facts to store: all but the blacklisted ones.
#[must_use]
pub fn without_blacklisted(facts: Facts, blacklist: &Patterns) -> BTreeMap<String, Value> {
    facts.into_iter().filter(|(name, _)| !blacklist.matches(name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wire::inventory::{Bmc, Inventory, Nic};

    use super::*;

    fn facts(value: Value) -> Facts {
        serde_json::from_value(value).unwrap()
    }

    fn patterns(list: &[&str]) -> Patterns {
        Patterns::compile("test", &list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn values_come_from_the_originals_facts() {
        let facts = facts(json!({
            "macaddress": "AA:00:00:00:00:01", "macaddress_eth0": "AA:00:00:00:00:01", "macaddress_eth1": "AA:00:00:00:00:02",
            "serialnumber": "S1", "uuid": "U1", "f1": "a", "f10": 7, "g1": "no", "asset": "never"
        }));
        let report = read(&facts, None, &patterns(&["/f\\d+/"]));
        let lines: Vec<String> = report.info.into();
        let want =
            ["fact_f1=a", "fact_f10=7", "mac=aa-00-00-00-00-01", "mac=aa-00-00-00-00-02", "serial=s1", "uuid=u1"];
        assert_eq!(lines, want);
        assert!(!report.speaks_of.contains("asset"));
    }

    #[test]
    fn matrix_50_51_blacklisted_facts_are_not_stored() {
        let blacklist = patterns(&["a", "/b[0-9]+/"]);
        for gone in ["a", "b17"] {
            assert!(without_blacklisted(facts(json!({gone: 1})), &blacklist).is_empty(), "{gone}");
        }
        for kept in ["a1", "b", "blue", "x"] {
            assert_eq!(without_blacklisted(facts(json!({kept: 1})), &blacklist).len(), 1, "{kept}");
        }
    }

    #[test]
    fn interfaces_that_are_no_ports_are_foreign_unless_a_port_has_their_mac() {
        let facts = facts(json!({
            "macaddress": "00:11:22:33:44:55", "macaddress_eth0": "00:11:22:33:44:55", "macaddress_br0": "00:11:22:33:44:55",
            "macaddress_virbr0": "52:54:00:AA:BB:CC", "macaddress_docker0": "02:42:00:00:00:01"
        }));
        let report = read(&facts, None, &Patterns::default());
        let want = ["02-42-00-00-00-01", "52-54-00-aa-bb-cc"].map(str::to_owned);
        assert_eq!(report.context.foreign_macs, want.into());
        assert_eq!(report.info.entries().len(), 3, "hw_info keeps what was sent");
    }

    #[test]
    fn a_port_that_the_bmc_shares_stays_the_machines() {
        let mut inventory = Inventory::default();
        let mac = Some("00:11:22:33:44:55".to_owned());
        inventory.stable.nics = vec![Nic { key: "0000:01:00.0".into(), mac: mac.clone(), ..Nic::default() }];
        inventory.stable.bmc = Some(Bmc { mac, ..Bmc::default() });
        let report = read(&Facts::new(), Some(&inventory.stable), &Patterns::default());
        assert!(report.context.foreign_macs.is_empty());
    }

    #[test]
    fn ports_on_usb_and_the_bmc_are_foreign() {
        let mut inventory = Inventory::default();
        let nic = |bus: &str, mac: &str| Nic { bus: Some(bus.into()), mac: Some(mac.into()), ..Nic::default() };
        inventory.stable.nics = vec![nic("pci", "00:11:22:33:44:55"), nic("usb", "00:11:22:33:44:66")];
        inventory.stable.bmc = Some(Bmc { mac: Some("00:11:22:33:44:77".into()), ..Bmc::default() });
        let request = CheckinRequest { inventory: Some(inventory.clone()), ..CheckinRequest::default() };
        let report = read(&facts_of(&request).unwrap(), Some(&inventory.stable), &Patterns::default());
        let want = ["00-11-22-33-44-66", "00-11-22-33-44-77"].map(str::to_owned);
        assert_eq!(report.context.foreign_macs, want.into());
        assert_eq!(Vec::<String>::from(report.info), ["mac=00-11-22-33-44-55"]);
    }
}
