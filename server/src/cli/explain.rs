//! `mk-server explain`: which node a machine is, or would be, and why.

use serde_json::Value;

use crate::cli::args::ExplainArgs;
use crate::cli::client::Client;
use crate::cli::{list, plain, print, print_json};

/// Asks and shows the answer.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn run(client: &Client, args: ExplainArgs) -> anyhow::Result<()> {
    let document = client.get(&format!("/api/explain?{}", query(&args))).await?;
    if args.json { print_json(&document) } else { print(&text(&document)) }
}

/// A name, or values; and changes.
fn query(args: &ExplainArgs) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for what in &args.what {
        match what.split_once('=') {
            Some((kind, value)) => query.append_pair(kind, value),
            None => query.append_pair("node", what),
        };
    }
    query.extend_pairs(args.what_if.iter().map(|change| ("what_if", change)));
    query.finish()
}

fn text(document: &Value) -> String {
    let mut out: Vec<String> = list(&document["decisions"]).map(decision).collect();
    let follows: Vec<String> = list(&document["follows"]).map(|line| format!("  {}\n", plain(line))).collect();
    if !follows.is_empty() {
        out.push(format!("Besides:\n{}", follows.concat()));
    }
    out.join("\n")
}

fn decision(decision: &Value) -> String {
    let moment = match decision["moment"].as_str() {
        Some("boot") => "At a boot",
        Some("check-in") => "At its check-in",
        _ => "The last decision",
    };
    let mut lines = vec![
        format!("{moment}: {}", plain(&decision["outcome"])),
        format!("  row {}: {}", decision["row"], plain(&decision["rule"])),
    ];
    for node in list(&decision["nodes"]) {
        lines.push(format!("  {}: {}", plain(&node["name"]), plain(&node["why"])));
        for (title, field) in [("match keys", "keys"), ("the same", "agree"), ("other", "differ")] {
            let words: Vec<String> = list(&node[field]).map(plain).collect();
            if !words.is_empty() {
                lines.push(format!("    {title:11}{}", words.join(", ")));
            }
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_decision_is_shown_with_its_evidence() {
        let document = json!({
            "decisions": [{"moment": "check-in", "row": 7, "rule": "Its own node fits.", "outcome": "It is node2.", "nodes": [
                {"name": "node1", "why": "Left out.", "keys": ["mac=a"], "agree": [], "differ": ["uuid", "serial"]}]}],
            "follows": ["mac=a is claimed twice.\u{1b}"]
        });
        let want = "At its check-in: It is node2.\n  row 7: Its own node fits.\n  node1: Left out.\n    match keys mac=a\n    \
                    other      uuid, serial\n\nBesides:\n  mac=a is claimed twice.\u{fffd}\n";
        assert_eq!(text(&document), want);
    }

    #[test]
    fn names_values_and_changes_become_a_query() {
        let what_if = vec!["+mac=00:11".to_owned()];
        let args = ExplainArgs { what: vec!["node2".into()], what_if, json: false };
        assert_eq!(query(&args), "node=node2&what_if=%2Bmac%3D00%3A11");
        let args =
            ExplainArgs { what: vec!["net0=00:11".into(), "serial=a&b".into()], what_if: Vec::new(), json: false };
        assert_eq!(query(&args), "net0=00%3A11&serial=a%26b");
    }
}
