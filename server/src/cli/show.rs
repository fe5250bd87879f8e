//! A node on a terminal. Pure: the API's document in, text out.

use anyhow::Context as _;
use serde_json::Value;
use wire::checkin::Agent;
use wire::inventory::{Inventory, Stable, Volatile};

use crate::cli::human;
use crate::cli::table::table;

/// Everything about a node.
///
/// # Errors
/// When the document is not a node's.
pub fn node(document: &Value) -> anyhow::Result<String> {
    let inventory: Option<Inventory> = match document.get("inventory") {
        Some(value) => {
            Some(serde_json::from_value(value.clone()).context("the server sent an inventory of another form")?)
        }
        None => None,
    };
    let agent: Option<Agent> = document.get("agent").and_then(|a| serde_json::from_value(a.clone()).ok());
    let mut text = summary(document, inventory.as_ref(), agent.as_ref());
    if let Some(Inventory { stable, volatile }) = &inventory {
        let none = Volatile::default();
        text += &components(stable, volatile.as_ref().unwrap_or(&none));
    } else if document.get("facts").is_none() {
        text += "\nOnly the boot of this machine was seen; its hardware follows with its first check-in.\n";
    }
    if let Some(agent) = &agent {
        text += &units(agent);
    }
    text += &claims(document);
    Ok(text)
}

fn summary(document: &Value, inventory: Option<&Inventory>, agent: Option<&Agent>) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let identity = &document["identity"];
    let mut lines = vec![("Node", word(&document["name"])), ("State", word(&identity["state"]))];
    if let Some(reason) = identity.get("reason") {
        lines.push(("Why", format!("{} {}", word(&reason["error"]), word(&reason["remedy"]))));
    }
    let aliases: Vec<&str> = identity["aliases"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    lines.push(("Aliases", aliases.join(", ")));
    lines.extend(inventory.map(|i| machine(&i.stable)).unwrap_or_else(|| machine_by_facts(document)));
    lines.push(("Agent", agent.map(describe_agent).unwrap_or_default()));
    lines.push(("First seen", human::time(&word(&document["first_seen"]))));
    lines.push(("Last check-in", human::time(&word(&document["last_checkin"]))));
    lines.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name:<14}{value}\n")).collect()
}

fn describe_agent(agent: &Agent) -> String {
    join(&[
        Some(&agent.version),
        Some(&agent.variant),
        Some(&format!("image {}", agent.image)).filter(|_| !agent.image.is_empty()),
    ])
}

/// What is there, joined by commas.
fn join(parts: &[Option<&String>]) -> String {
    parts.iter().flatten().filter(|p| !p.is_empty()).map(|p| p.as_str()).collect::<Vec<_>>().join(", ")
}

fn labelled(label: &str, value: Option<&String>) -> Option<String> {
    value.filter(|v| !v.is_empty()).map(|v| format!("{label} {v}"))
}

fn machine(stable: &Stable) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(s) = &stable.system {
        let serial = labelled("serial", s.serial.as_ref());
        lines.push((
            "System",
            join(&[s.manufacturer.as_ref(), s.product.as_ref(), s.version.as_ref(), serial.as_ref()]),
        ));
        lines.push(("UUID", s.uuid.clone().unwrap_or_default()));
    }
    if let Some(b) = &stable.board {
        let (serial, asset) = (labelled("serial", b.serial.as_ref()), labelled("asset", b.asset.as_ref()));
        lines.push(("Board", join(&[b.manufacturer.as_ref(), b.product.as_ref(), serial.as_ref(), asset.as_ref()])));
    }
    if let Some(c) = &stable.chassis {
        let (serial, asset) = (labelled("serial", c.serial.as_ref()), labelled("asset", c.asset.as_ref()));
        lines.push(("Chassis", join(&[c.manufacturer.as_ref(), serial.as_ref(), asset.as_ref()])));
    }
    if let Some(b) = &stable.bios {
        lines.push(("BIOS", join(&[b.vendor.as_ref(), b.version.as_ref(), b.date.as_ref()])));
    }
    if let Some(b) = &stable.boot {
        let secure = b.secure_boot.map(|on| format!("Secure Boot {}", if on { "on" } else { "off" }));
        let from = labelled("from", b.interface.as_ref());
        lines.push(("Boot", join(&[b.mode.as_ref(), secure.as_ref(), from.as_ref()])));
    }
    if let Some(v) = stable.virtualization.as_ref().filter(|v| v.is_virtual) {
        lines.push(("Virtual", v.kind.clone().unwrap_or_else(|| "yes".to_owned())));
    }
    lines.push(("CPU", cpu(stable)));
    lines.push(("Memory", memory(stable)));
    lines
}

fn machine_by_facts(document: &Value) -> Vec<(&'static str, String)> {
    let fact = |name: &str| document["facts"][name].as_str().map(str::to_owned);
    let serial = labelled("serial", fact("serialnumber").as_ref());
    vec![
        ("System", join(&[fact("manufacturer").as_ref(), fact("productname").as_ref(), serial.as_ref()])),
        ("UUID", fact("uuid").unwrap_or_default()),
        ("CPU", fact("processor0").unwrap_or_default()),
        ("Memory", fact("memorysize").unwrap_or_default()),
    ]
}

fn cpu(stable: &Stable) -> String {
    let Some(cpu) = &stable.cpu else { return String::new() };
    let count = |n: Option<u32>, one, many| n.map(|n| human::count(usize::try_from(n).unwrap_or(0), one, many));
    join(&[
        cpu.model.as_ref().or(cpu.vendor.as_ref()),
        count(cpu.packages, "package", "packages").as_ref(),
        count(cpu.cores, "core", "cores").as_ref(),
        count(cpu.threads, "thread", "threads").as_ref(),
    ])
}

fn memory(stable: &Stable) -> String {
    let Some(memory) = &stable.memory else { return String::new() };
    let modules = human::count(memory.dimms.len(), "module", "modules");
    let slots = memory.slots.map(|n| human::count(usize::try_from(n).unwrap_or(0), "slot", "slots"));
    join(&[memory.installed_bytes.map(human::memory).as_ref(), Some(&modules), slots.as_ref()])
}

/// Tables of memory modules, disks, ports and findings.
fn components(stable: &Stable, volatile: &Volatile) -> String {
    let mut text = dimms(stable) + &disks(stable, volatile) + &nics(stable, volatile);
    let rows: Vec<Vec<String>> = stable.findings.iter().map(|f| vec![f.component.clone(), f.text.clone()]).collect();
    text += &section(&["Missing", "What"], &rows);
    let rows: Vec<Vec<String>> = volatile.failures.iter().map(|(name, why)| vec![name.clone(), why.clone()]).collect();
    text + &section(&["Not read", "Why"], &rows)
}

fn section(heads: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() { String::new() } else { format!("\n{}", table(heads, rows)) }
}

fn text(value: Option<&String>) -> String {
    value.cloned().unwrap_or_default()
}

fn dimms(stable: &Stable) -> String {
    let dimms = stable.memory.iter().flat_map(|m| &m.dimms);
    let rows: Vec<Vec<String>> = dimms
        .map(|d| {
            vec![
                d.slot.clone(),
                d.size_bytes.map(human::memory).unwrap_or_default(),
                text(d.kind.as_ref()),
                d.configured_mts.or(d.speed_mts).map(|s| format!("{s} MT/s")).unwrap_or_default(),
                text(d.manufacturer.as_ref()),
                text(d.part.as_ref()),
                text(d.serial.as_ref()),
            ]
        })
        .collect();
    section(&["DIMM", "Size", "Type", "Speed", "Maker", "Part", "Serial"], &rows)
}

fn disks(stable: &Stable, volatile: &Volatile) -> String {
    let rows: Vec<Vec<String>> = stable
        .disks
        .iter()
        .map(|d| {
            vec![
                volatile.names.get(&d.key).cloned().unwrap_or_else(|| d.key.clone()),
                d.size_bytes.map(human::disk).unwrap_or_default(),
                text(d.transport.as_ref()),
                d.rotational.map(|r| if r { "spinning" } else { "solid" }.to_owned()).unwrap_or_default(),
                join(&[d.vendor.as_ref(), d.model.as_ref()]),
                text(d.serial.as_ref()),
                text(d.wwn.as_ref()),
            ]
        })
        .collect();
    section(&["Disk", "Size", "Bus", "Kind", "Model", "Serial", "WWN"], &rows)
}

fn nics(stable: &Stable, volatile: &Volatile) -> String {
    let rows: Vec<Vec<String>> = stable
        .nics
        .iter()
        .map(|n| {
            let link = volatile.links.get(&n.key);
            let state = link.map(|l| match (l.up, l.mbps) {
                (true, Some(mbps)) => human::speed(mbps),
                (true, None) => "up".to_owned(),
                (false, _) => "no link".to_owned(),
            });
            let neighbour = n.lldp.iter().flat_map(|l| &l.neighbours).next();
            vec![
                volatile.names.get(&n.key).or(n.label.as_ref()).cloned().unwrap_or_default(),
                text(n.mac.as_ref()),
                state.unwrap_or_default(),
                volatile.addresses.get(&n.key).map(|a| a.join(" ")).unwrap_or_default(),
                text(n.driver.as_ref()),
                n.key.clone(),
                neighbour.map(|p| format!("{} {}", text(p.system_name.as_ref()), p.port)).unwrap_or_default(),
            ]
        })
        .collect();
    section(&["NIC", "MAC", "Link", "Addresses", "Driver", "Place", "Switch port"], &rows)
}

fn units(agent: &Agent) -> String {
    let rows: Vec<Vec<String>> = agent
        .units
        .iter()
        .map(|u| vec![u.name.clone(), u.state.clone(), u.restarts.to_string(), text(u.last_exit.as_ref())])
        .collect();
    section(&["Unit", "State", "Restarts", "Last end"], &rows)
}

/// What the node is known by.
fn claims(document: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let claims = document["identity"]["claims"].as_array();
    let rows: Vec<Vec<String>> = claims
        .into_iter()
        .flatten()
        .map(|c| {
            let decides = if c["matching"] == true { "decides" } else { "" };
            vec![format!("{}={}", word(&c["kind"]), word(&c["value"])), word(&c["state"]), decides.to_owned()]
        })
        .collect();
    section(&["Known by", "State", "Identity"], &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_shown_whole_and_fits_80_columns() {
        let document = json!({
            "name": "node1", "first_seen": "2026-11-22T01:02:03.4Z", "last_checkin": "2026-11-22T01:02:04Z",
            "identity": {"state": "held", "aliases": ["node2"], "reason": {"code": "c", "error": "Two claim it.", "remedy": "Look."},
                "claims": [{"kind": "mac", "value": "52-54-00-00-00-01", "state": "current", "matching": true}]},
            "agent": {"version": "0.1.0", "variant": "production", "image": "0.1.0",
                "units": [{"name": "net", "state": "running", "restarts": 2, "last_exit": "signal 9"}]},
            "inventory": {
                "stable": {
                    "system": {"manufacturer": "QEMU", "product": "Standard PC (Q35 + ICH9, 2009)", "serial": "S1"},
                    "cpu": {"model": "QEMU Virtual CPU version 2.5+", "packages": 1, "cores": 2, "threads": 2},
                    "memory": {"installed_bytes": 536_870_912, "dimms": [{"slot": "DIMM 0", "size_bytes": 536_870_912,
                        "manufacturer": "A maker with a long name", "part": "PART-0123456789", "serial": "12345678"}]},
                    "disks": [{"key": "d", "size_bytes": 1_073_741_824u64, "model": "QEMU HARDDISK", "serial": "D1",
                        "wwn": "naa.5000c500a1b2c3d4", "transport": "sata"}],
                    "nics": [{"key": "0000:00:03.0", "mac": "52:54:00:00:00:01", "driver": "virtio_net"}],
                    "findings": [{"code": "no_firmware", "component": "0000:03:00.0", "text": "bnx2 misses bnx2/x.fw."}]
                },
                "volatile": {"names": {"d": "sda", "0000:00:03.0": "eth0"}, "links": {"0000:00:03.0": {"up": true, "mbps": 1000}},
                    "addresses": {"0000:00:03.0": ["10.0.2.15/24"]}}
            }
        });
        let text = node(&document).unwrap();
        for words in [
            "node1",
            "held",
            "Two claim it. Look.",
            "node2",
            "QEMU",
            "S1",
            "2 cores",
            "512 MiB",
            "DIMM 0",
            "12345678",
            "sda",
            "1.1 GB",
            "D1",
            "eth0",
            "52:54:00:00:00:01",
            "1 Gbit/s",
            "10.0.2.15/24",
            "net",
            "signal 9",
            "bnx2/x.fw",
            "mac=52-54-00-00-00-01",
        ] {
            assert!(text.contains(words), "{words} is missing:\n{text}");
        }
        let wide: Vec<&str> = text.lines().filter(|l| l.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{wide:?}");
    }

    #[test]
    fn a_node_that_only_booted_is_shown() {
        let document = json!({"name": "node1", "first_seen": "2026-11-22T01:02:03Z", "identity": {"state": "normal", "aliases": []}});
        assert!(node(&document).unwrap().contains("first check-in"));
    }
}
