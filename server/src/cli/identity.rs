//! `mk-server conflicts`: what is in dispute, and the commands that end it.

use serde_json::{Value, json};

use crate::cli::args::{Conflicts, Remedy};
use crate::cli::client::Client;
use crate::cli::{give, print, print_json};

/// Shows the nodes whose identity is disputed, or carries out a remedy and says what came of it.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn run(client: &Client, conflicts: Conflicts) -> anyhow::Result<()> {
    let Some(remedy) = conflicts.remedy else {
        let document = client.get("/api/collections/conflicts").await?;
        return if conflicts.how.json { print_json(&document) } else { print(&list(&document)) };
    };
    let (name, body) = request(remedy);
    give(client, name, body, conflicts.how).await
}

fn request(command: Remedy) -> (&'static str, Value) {
    match command {
        Remedy::Resolve { node, verdict, with } => ("resolve", json!({"node": node, "with": with, "verdict": verdict})),
        Remedy::Merge { from, into } => ("merge", json!({"from": from, "into": into})),
        Remedy::Split { name } => ("split", json!({"name": name})),
        Remedy::Undo { event } => ("undo", json!({"event": event})),
        Remedy::Forget { name, key } => ("forget", json!({"name": name, "key": key})),
        Remedy::MoveHardware { from, to, keys } => ("move-hardware", json!({"from": from, "to": to, "keys": keys})),
    }
}

fn list(document: &Value) -> String {
    let items: Vec<&Value> = document["items"].as_array().into_iter().flatten().collect();
    if items.is_empty() {
        return "No node's identity is disputed.\n".to_owned();
    }
    items.into_iter().map(conflict).collect::<Vec<_>>().join("\n")
}

/// One conflict: why, the evidence for each node, what to do.
fn conflict(item: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let words = |value: &Value| {
        let list: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if list.is_empty() { "-".to_owned() } else { list.join(", ") }
    };
    let mut lines = vec![format!("{}: {}", text(&item["name"]), text(&item["reason"]["error"]))];
    for other in item["evidence"].as_array().into_iter().flatten() {
        lines.push(format!("  {}", text(&other["name"])));
        for (title, field) in [("match keys", "keys"), ("the same", "agree"), ("other", "differ")] {
            lines.push(format!("    {title:11}{}", words(&other[field])));
        }
    }
    lines.push(format!("  {}", text(&item["reason"]["remedy"])));
    lines.extend(
        item["remedies"].as_array().into_iter().flatten().map(|r| format!("  mk-server conflicts {}", text(r))),
    );
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_shows_evidence_and_remedies() {
        let document = json!({"items": [{
            "name": "node5", "reason": {"error": "It has hardware of node1.", "remedy": "Boot node1."},
            "evidence": [{"name": "node1", "keys": ["mac=a"], "agree": ["disk"], "differ": []}],
            "remedies": ["resolve node5 same node1", "resolve node5 different node1"],
        }]});
        let want = "node5: It has hardware of node1.\n  node1\n    match keys mac=a\n    the same   disk\n    other      -\n  \
                    Boot node1.\n  mk-server conflicts resolve node5 same node1\n  mk-server conflicts resolve node5 different node1\n";
        assert_eq!(list(&document), want);
        assert_eq!(list(&json!({"items": []})), "No node's identity is disputed.\n");
    }
}
