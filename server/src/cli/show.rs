//! A node on a terminal. Pure: the API's document in, text out.

use serde_json::Value;

use crate::cli::table::table;
use crate::describe::{Node, Section};
use crate::human;

/// Everything about a node.
///
/// # Errors
/// When the document is not a node's.
pub fn node(document: Value) -> anyhow::Result<String> {
    let node = Node::read(document)?;
    let mut lines = vec![("Node", node.name().to_owned()), ("State", node.state().to_owned())];
    if let Some((error, remedy)) = node.reason() {
        lines.push(("Why", format!("{} {}", human::plain(error), human::plain(remedy))));
    }
    lines.extend(node.odd().iter().map(|odd| ("Odd", human::plain(odd).into_owned())));
    lines.push(("Aliases", node.aliases().join(", ")));
    lines.extend(node.summary().into_iter().map(|(name, value)| (name, human::plain(&value).into_owned())));
    for (label, time) in [("First seen", "first_seen"), ("Last check-in", "last_checkin")] {
        lines.push((label, node.time(time).map(human::time).unwrap_or_default()));
    }
    lines.retain(|(_, value)| !value.is_empty());
    let mut text: String = lines.iter().map(|(name, value)| format!("{name:<14}{value}\n")).collect();
    if let Some(nothing) = node.nothing_yet() {
        text += &format!("\n{nothing}\n");
    }
    text.extend(node.sections().iter().filter(|s| !s.detail).map(section));
    Ok(text)
}

fn section(section: &Section) -> String {
    let columns: Vec<usize> = (0..section.columns.len()).filter(|i| !section.columns[*i].detail).collect();
    let heads: Vec<&str> = columns.iter().map(|i| section.columns[*i].head).collect();
    let cells = |row: &Vec<String>| columns.iter().filter_map(|i| row.get(*i).cloned()).collect();
    let rows: Vec<Vec<String>> = section.rows.iter().map(cells).collect();
    format!("\n{}", table(&heads, &rows))
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
        let text = node(document).unwrap();
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
    fn a_machine_cannot_move_the_cursor() {
        let evil = "a\u{1b}[2J\u{7}\r\nb";
        let document = json!({
            "name": "node1", "identity": {"state": "held", "reason": {"error": evil, "remedy": evil},
                "claims": [{"kind": "serial", "value": evil, "state": "current", "matching": true}]},
            "agent": {"version": evil, "variant": evil, "image": evil, "units": [{"name": evil, "state": evil, "last_exit": evil}]},
            "inventory": {"stable": {
                "system": {"manufacturer": evil, "serial": evil, "uuid": evil},
                "disks": [{"key": evil, "model": evil, "serial": evil}],
                "nics": [{"key": evil, "mac": evil, "lldp": {"neighbours": [{"port": evil, "system_name": evil}]}}],
                "site": {"rack": evil}
            }}
        });
        let text = node(document).unwrap();
        assert!(text.contains("\u{fffd}[2J") && !text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    }

    #[test]
    fn a_node_that_only_booted_is_shown() {
        let document = json!({"name": "node1", "first_seen": "2026-11-22T01:02:03Z", "identity": {"state": "normal", "aliases": []}});
        assert!(node(document).unwrap().contains("first check-in"));
    }
}
