//! Log entries and events as sentences that a tired person understands. Pure: the stored JSON in, text out.

use serde_json::{Map, Value};

use crate::human;

/// What an entry (a JSON object) says. One of a kind that is not known here is shown with all that it holds.
#[must_use]
pub fn sentence(entry: &Value) -> String {
    let said = match entry["event"].as_str() {
        Some("boot") => Some(boot(entry)),
        Some("node_log") => Some(text(&entry["msg"])),
        Some("problem") => Some(join(&text(&entry["error"]), &text(&entry["remedy"]))),
        Some("command") => {
            let kind = entry["kind"].as_str().map(|kind| format!(" ({kind})")).unwrap_or_default();
            Some(join(&format!("Command {}{kind} is {}.", entry["id"], text(&entry["outcome"])), &lines(&entry["msg"])))
        }
        Some("bundle") => {
            let size = human::disk(entry["bytes"].as_u64().unwrap_or(0));
            Some(format!("Its logs and state came with command {} ({size}).", entry["command"]))
        }
        Some("config") if entry.get("error").is_some() => Some(format!(
            "Configuration {} was refused: {}",
            entry["version"],
            join(&text(&entry["error"]), &text(&entry["remedy"]))
        )),
        Some("config") if entry["posted"] == true => Some(format!(
            "Root on the node has put another configuration in the place of {}, until another one is set here.",
            entry["version"]
        )),
        Some("config") => Some(format!("Configuration {} is in force.", entry["version"])),
        Some("identity" | "identity-conflict") => identity(entry),
        Some("node-created") => Some(format!("New machine: {}.", list(&entry["hw_info"], ", "))),
        Some("log-without-node") => {
            Some(format!("Something logs as node{}, which does not exist: {}", entry["id"], text(&entry["msg"])))
        }
        Some("node-registered") => Some("Checked in for the first time with its hardware.".to_owned()),
        Some("node-merged") => Some(format!(
            "{} turned out to be {} and was merged into it; its name goes on answering.",
            text(&entry["from"]),
            text(&entry["into"])
        )),
        Some("hardware-moved") => Some(format!(
            "Hardware moved: {} was at {} and is now at {}.",
            text(&entry["key"]),
            text(&entry["from"]),
            text(&entry["to"])
        )),
        Some("node-rejoined") => Some(format!("{} came back with other hardware.", text(&entry["node"]))),
        Some("operator") => Some(join(&order(&entry["by"]), &text(entry.get("msg").unwrap_or(&entry["result"])))),
        Some(_) if entry["component"].is_string() => Some(part(&text(&entry["msg"]))),
        None if entry["action"] == "reboot" => Some(join("Told to reboot:", &text(&entry["msg"]))),
        _ => None,
    };
    said.filter(|s| !s.is_empty()).unwrap_or_else(|| other(entry))
}

/// A sentence about what came several times, the first time at `since` (RFC 3339).
#[must_use]
pub fn repeated(sentence: &str, times: i64, since: &str) -> String {
    format!("{sentence} ({times} times since {})", human::stamp(since))
}

/// What changed of a machine's parts, as a sentence.
fn part(change: &str) -> String {
    let mut letters = change.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

fn boot(entry: &Value) -> String {
    if entry["error"] == "duplicate_node" {
        let (nodes, keys) = (names(&entry["nodes"]), list(&entry["hw_info"], ", "));
        return format!("A machine with {keys} may be any of {nodes}, so it was not given to one of them.");
    }
    if entry["error"] == "no_image" {
        return "Asked what to boot, but there was nothing: no image in use on this server.".to_owned();
    }
    match entry["task"].as_str() {
        Some("microkernel") => "Booted the microkernel from the network.".to_owned(),
        Some("noop") => "Sent to boot from its own disk, since it counts as installed.".to_owned(),
        _ => String::new(),
    }
}

fn identity(entry: &Value) -> Option<String> {
    if let Some(key) = entry["key"].as_str() {
        let nodes = list(&entry["nodes"], " and ");
        return Some(format!("{nodes} all have {key}, which decides since match_nodes_on was changed."));
    }
    let others = list(&entry["conflict"], " and ");
    let node = entry["node"].as_str()?;
    if let Some(like) = entry["like"].as_str() {
        let (agree, differ) = (list(&entry["agree"], ", "), list(&entry["differ"], ", "));
        return Some(format!(
            "{node} is a new machine with hardware of {like} (the same: {agree}; other: {differ}). If it is {like}, merge them."
        ));
    }
    let row = entry["decision"]["row"].as_u64();
    let merged = &entry["decision"]["verdict"]["node"]["merge"];
    Some(match (entry["state"].as_str()?, others.is_empty()) {
        ("held", false) if matches!(row, Some(11..=13)) => {
            format!("Two machines speak as {others}; the one that came later is held as {node}.")
        }
        ("held", true) => format!("{node} is held; its page says why."),
        ("held", false) => {
            format!("{node} is held: {others} claim the same hardware, and nothing tells which is right.")
        }
        (_, false) => format!("Recognised as {node}, but {others} claims the same hardware."),
        (_, true) if merged.as_array().is_some_and(|m| !m.is_empty()) => {
            let ids: Vec<String> = merged.as_array()?.iter().map(|id| format!("node{id}")).collect();
            format!("Recognised as {node}; its duplicate {} was merged into it.", ids.join(" and "))
        }
        (state, true) => format!("{node} is {state} again: its hardware is no longer disputed."),
    })
}

/// Whose command it was, if it was not given on the server's own machine.
fn order(by: &Value) -> String {
    match by.as_str() {
        None | Some("local") => "An operator's command:".to_owned(),
        Some(by) => format!("An operator's command, by {by}:"),
    }
}

/// An entry of another kind: its own words if it has any, else everything in it.
fn other(entry: &Value) -> String {
    for name in ["msg", "error"] {
        if let Some(words) = entry[name].as_str().filter(|w| !w.is_empty()) {
            return words.to_owned();
        }
    }
    let empty = Map::new();
    let known = ["timestamp", "severity", "written_as", "event", "node"];
    let fields = entry.as_object().unwrap_or(&empty).iter().filter(|(name, _)| !known.contains(&name.as_str()));
    let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={}", text(value))).collect();
    join(entry["event"].as_str().unwrap_or_default(), &fields.join(" "))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text of several lines, such as a table, as one.
fn lines(value: &Value) -> String {
    let line = |line: &str| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    text(value).lines().map(line).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ")
}

fn list(value: &Value, between: &str) -> String {
    value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(between)
}

/// Names of nodes that are objects with a name.
fn names(value: &Value) -> String {
    value.as_array().into_iter().flatten().map(|n| text(&n["name"])).collect::<Vec<_>>().join(" and ")
}

fn join(a: &str, b: &str) -> String {
    if a.is_empty() || b.is_empty() { format!("{a}{b}") } else { format!("{a} {b}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_is_a_sentence() {
        let decision = json!({"row": 6, "verdict": {"node": {"id": 1, "merge": [2], "conflict": []}}, "evidence": []});
        for (entry, words) in [
            (json!({"event": "boot", "task": "microkernel", "template": "boot"}), "Booted the microkernel"),
            (json!({"event": "boot", "task": "noop", "template": "boot_local"}), "own disk"),
            (json!({"event": "boot", "task": "microkernel", "error": "no_image"}), "no image in use"),
            (
                json!({"event": "boot", "error": "duplicate_node", "nodes": [{"name": "node1"}, {"name": "node2"}], "hw_info": ["mac=a"]}),
                "A machine with mac=a may be any of node1 and node2",
            ),
            (json!({"event": "node_log", "msg": "hello"}), "hello"),
            (
                json!({"event": "problem", "code": "c", "error": "It broke.", "remedy": "Mend it."}),
                "It broke. Mend it.",
            ),
            (json!({"event": "command", "id": 3, "outcome": "done", "msg": ""}), "Command 3 is done."),
            (
                json!({"event": "command", "id": 3, "kind": "reboot", "outcome": "accepted", "msg": ""}),
                "Command 3 (reboot) is accepted.",
            ),
            (json!({"event": "config", "version": 4}), "Configuration 4 is in force."),
            (json!({"event": "config", "version": 4, "posted": true}), "in the place of 4, until another"),
            (
                json!({"event": "config", "version": 4, "error": "It is wrong.", "remedy": "Mend it."}),
                "Configuration 4 was refused: It is wrong. Mend it.",
            ),
            (
                json!({"event": "identity", "node": "node3", "like": "node1", "agree": ["nic"], "differ": ["uuid", "disk"]}),
                "node3 is a new machine with hardware of node1 (the same: nic; other: uuid, disk)",
            ),
            (
                json!({"event": "identity", "node": "node3", "state": "held", "conflict": ["node1", "node2"]}),
                "node3 is held: node1 and node2 claim",
            ),
            (
                json!({"event": "identity", "node": "node1", "state": "normal", "conflict": [], "decision": decision}),
                "its duplicate node2 was merged",
            ),
            (json!({"event": "identity", "node": "node1", "state": "normal", "conflict": []}), "no longer disputed"),
            (
                json!({"event": "identity-conflict", "key": "uuid=u", "nodes": ["node1", "node2"]}),
                "node1 and node2 all have",
            ),
            (json!({"event": "node-created", "hw_info": ["mac=a", "serial=s"]}), "New machine: mac=a, serial=s."),
            (json!({"event": "node-merged", "from": "node2", "into": "node1"}), "node2 turned out to be node1"),
            (json!({"event": "hardware-moved", "key": "mac=a", "from": "node1", "to": "node2"}), "is now at node2"),
            (json!({"action": "reboot", "task": "noop", "msg": "why"}), "Told to reboot: why"),
            (json!({"event": "reboot-loop", "msg": "left alone"}), "left alone"),
            (json!({"event": "new-kind", "a": 1, "timestamp": "t"}), "new-kind a=1"),
            (
                json!({"event": "disk-gone", "component": "disk", "key": "naa.1", "msg": "disk S3X (480.1 GB, PM883) is gone"}),
                "Disk S3X (480.1 GB, PM883) is gone.",
            ),
            (json!({"event": "boot"}), "boot"),
            (json!({}), ""),
            (json!(7), ""),
        ] {
            let said = sentence(&entry);
            assert!(said.contains(words), "{entry}: {said}");
        }
    }
    #[test]
    fn what_came_of_a_command_is_one_line() {
        for (entry, words) in [
            (
                json!({"event": "command", "id": 4, "kind": "doctor", "outcome": "done", "msg": "link  ok  up\nname ok\n"}),
                "Command 4 (doctor) is done. link ok up; name ok",
            ),
            (
                json!({"event": "bundle", "command": 5, "bytes": 4200, "sha256": "aa"}),
                "Its logs and state came with command 5 (4.2 kB).",
            ),
        ] {
            assert_eq!(sentence(&entry), words);
        }
    }
}
