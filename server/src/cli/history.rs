//! `mk-server nodes history` and `nodes diff`: what changed by each report, and what differs between two.

use anyhow::bail;
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::{print, print_json};
use crate::human;

/// Prints each report of a node, newest first, with what changed by it.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub(super) async fn history(client: &Client, name: &str, json: bool) -> anyhow::Result<()> {
    let path = |start: usize| format!("/api/collections/nodes/{name}/reports?changes=1&start={start}");
    let mut document = client.get(&path(0)).await?;
    let total = document["total"].as_u64().unwrap_or(0);
    while let Some(items) = document["items"].as_array_mut().filter(|items| (items.len() as u64) < total) {
        let mut next = client.get(&path(items.len())).await?;
        let Some(more) = next["items"].as_array_mut().filter(|more| !more.is_empty()) else { break };
        items.append(more);
    }
    if json { print_json(&document) } else { print(&reports(name, &document)) }
}

/// Prints what differs between two reports; of one alone, what changed by it.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub(super) async fn diff(client: &Client, one: &str, other: Option<&str>, json: bool) -> anyhow::Result<()> {
    let document = client.get(&path(one, other)?).await?;
    if json { print_json(&document) } else { print(&changes(&document)) }
}

/// Where the API has the comparison of `NAME` or `NAME@REPORT` with another of the same form.
fn path(one: &str, other: Option<&str>) -> anyhow::Result<String> {
    let (name, number) = one.split_once('@').map_or((one, None), |(name, number)| (name, Some(number)));
    if number.is_some_and(|number| number.is_empty() || number.contains(|c: char| !c.is_ascii_digit())) {
        bail!(
            "{one:?} is no report\nWrite NAME or NAME@REPORT, such as node1@17; `mk-server nodes history {name}` has the numbers."
        );
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(number) = number {
        query.append_pair(if other.is_some() { "from" } else { "to" }, number);
    }
    if let Some(other) = other {
        query.append_pair("with", other);
    }
    Ok(format!("/api/collections/nodes/{name}/diff?{}", query.finish()))
}

fn reports(name: &str, document: &Value) -> String {
    let items = document["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return format!("{name} has not reported yet.\n");
    }
    let mut text = String::new();
    for report in items {
        let word = |field: &str| report[field].as_str().unwrap_or_default();
        let boot: String = word("boot_id").chars().take(BOOT_SHOWN).collect();
        let boot = if boot.is_empty() { "-".to_owned() } else { human::part(&boot).into_owned() };
        let size = human::disk(report["bytes"].as_u64().unwrap_or(0));
        text +=
            &format!("{:<8} {}  boot {boot:<8}  {size}\n", report["id"].to_string(), human::stamp(word("timestamp")));
        match report["changes"].as_array() {
            None => text += "         the first report that there is\n",
            Some(changes) if changes.is_empty() => text += "         nothing that is compared\n",
            Some(changes) => text.extend(changes.iter().map(|change| format!("         {}\n", sentence(change)))),
        }
    }
    text
}

/// Characters of a boot's name that are shown: enough to see that it is another one.
const BOOT_SHOWN: usize = 8;

fn sentence(change: &Value) -> String {
    human::plain(change["text"].as_str().unwrap_or_default()).into_owned()
}

fn changes(document: &Value) -> String {
    let side = |report: &Value| {
        let word = |field: &str| report[field].as_str().unwrap_or_default();
        format!("{} report {} of {}", word("node"), report["report"], human::stamp(word("timestamp")))
    };
    let mut text = format!("From {}\nto   {}\n\n", side(&document["from"]), side(&document["to"]));
    let changes = document["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if changes.is_empty() {
        text += "Nothing differs.\n";
    }
    text.extend(changes.iter().map(|change| format!("{}\n", sentence(change))));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reports_are_named_with_their_node() {
        for (one, other, want) in [
            ("node1", None, "node1/diff?"),
            ("node1@3", None, "node1/diff?to=3"),
            ("node1", Some("node2"), "node1/diff?with=node2"),
            ("node1@3", Some("node1@7"), "node1/diff?from=3&with=node1%407"),
        ] {
            assert_eq!(path(one, other).unwrap(), format!("/api/collections/nodes/{want}"));
        }
        for bad in ["node1@", "node1@x", "node1@1&to=2"] {
            assert!(path(bad, None).unwrap_err().to_string().contains("nodes history node1"), "{bad}");
        }
    }

    #[test]
    fn a_machine_cannot_move_the_cursor() {
        let change = json!({"text": "a\u{1b}[2J"});
        let report = json!({"id": 1, "boot_id": "\u{1b}[2J", "timestamp": "2026-11-22T01:02:03Z", "bytes": 9, "changes": [change]});
        let shown = reports("node1", &json!({"items": [report]})) + &changes(&json!({"changes": [change]}));
        assert!(shown.contains("\u{fffd}[2J") && !shown.contains('\u{1b}'), "{shown:?}");
    }
}
