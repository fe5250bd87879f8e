//! `mk-server webhooks`: who is told what happens, and how that goes.

use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::{print, print_json, table};
use crate::human;

/// Shows them.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn run(client: &Client, json: bool) -> anyhow::Result<()> {
    let document = client.get("/api/collections/webhooks").await?;
    if json { print_json(&document) } else { print(&list(&document)) }
}

fn list(document: &Value) -> String {
    let rows: Vec<Vec<String>> = document["items"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return "No webhook is configured. docs/OPERATORS.md says how: [[webhook]] in config.toml.\n".to_owned();
    }
    table::table(&["URL", "State", "Kinds", "Told last", "What is wrong"], &rows)
}

fn row(hook: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kinds: Vec<String> = hook["kinds"].as_array().into_iter().flatten().map(word).collect();
    let told = hook["delivered"].as_str().map_or_else(|| "never".to_owned(), human::stamp);
    let failing = &hook["failing"];
    let trouble = failing["error"].as_str().map(|error| {
        let (failures, next) = (failing["failures"].as_u64().unwrap_or(0), human::stamp(&word(&failing["next"])));
        format!("{error}; {failures} times, next attempt {next}")
    });
    vec![word(&hook["url"]), word(&hook["state"]), kinds.join(", "), told, trouble.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_that_fails_says_why_and_when_it_is_tried_again() {
        let failing = json!({"since": "2026-11-22T01:00:00Z", "failures": 3, "error": "it answered 500", "next": "2026-11-22T01:02:03Z"});
        let hook =
            json!({"url": "http://h/", "kinds": ["boot"], "state": "failing", "delivered": null, "failing": failing});
        let text = list(&json!({"items": [hook]}));
        for words in ["http://h/", "failing", "boot", "never", "500", "3 times", "01:02:03"] {
            assert!(text.contains(words), "{words} is missing:\n{text}");
        }
        assert!(list(&json!({"items": []})).contains("[[webhook]]"));
    }
}
