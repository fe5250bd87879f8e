//! `mk-server rack`: which machines are expected, and which of them were found.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cli::args::Rack;
use crate::cli::client::Client;
use crate::cli::{give, print, print_json, table};
use crate::human;

/// Carries out a command.
///
/// # Errors
/// When the server cannot be reached or refuses, and where a check finds something.
pub async fn run(client: &Client, command: Rack) -> anyhow::Result<()> {
    match command {
        Rack::Set { file, how } => {
            let is_toml = file.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("toml"));
            let format = if is_toml { "toml" } else { "csv" };
            give(client, "set-rack", json!({"file": read(&file)?, "format": format}), how).await
        }
        Rack::Unset { how } => give(client, "unset-rack", json!({}), how).await,
        Rack::Show { json } => {
            let document = client.all("/api/collections/rack?show=all").await?;
            if json { print_json(&document) } else { print(&list(&document, OffsetDateTime::now_utc())) }
        }
        Rack::Check { json } => check(client, json).await,
    }
}

async fn check(client: &Client, json: bool) -> anyhow::Result<()> {
    let document = client.all("/api/collections/rack?show=wrong").await?;
    if json {
        print_json(&document)?;
    } else {
        print(&list(&document, OffsetDateTime::now_utc()))?;
    }
    let count = |word: &str| document["counts"][word].as_u64().unwrap_or(0);
    let wrong = count("expected") - count("present");
    if wrong + count("unexpected") > 0 {
        bail!(
            "{wrong} of {} expected machines are not as expected, {} nodes are not expected\nSee /rack on the server's page.",
            count("expected"),
            count("unexpected")
        );
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn list(document: &Value, now: OffsetDateTime) -> String {
    if document["set"].is_null() {
        return "No machines are expected. `mk-server rack set FILE` says which ones.\n".to_owned();
    }
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |item: &Value| {
        let name = if item["name"].is_null() { "-".to_owned() } else { word(&item["name"]) };
        let seen = item["seen"].as_str().map(|seen| human::age(seen, now)).unwrap_or_default();
        vec![name, word(&item["slot"]), word(&item["standing"]), word(&item["node"]), seen, word(&item["text"])]
    };
    let rows: Vec<Vec<String>> = document["items"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return "All expected machines are present, and no others.\n".to_owned();
    }
    table::table(&["Name", "Slot", "Standing", "Node", "Seen", "What is not as expected"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_expected_machine_is_a_line() {
        let document = json!({"set": "2026-11-22T01:02:03Z", "items": [
            {"name": "web1", "slot": "R1 U1", "standing": "present", "node": "node1", "seen": "2026-11-22T01:02:03Z", "text": ""},
            {"standing": "unexpected", "node": "node7\u{1b}", "seen": null, "text": "no row of the file is about it"}]});
        let now = OffsetDateTime::from_unix_timestamp(1_795_309_323).unwrap();
        let text = list(&document, now);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("web1") && lines[1].contains("R1 U1") && lines[1].contains("node1"), "{text}");
        assert!(lines[2].trim_start().starts_with('-') && lines[2].contains("node7\u{fffd}"), "{text}");
        assert!(list(&json!({"set": null}), now).contains("rack set FILE"));
        assert!(list(&json!({"set": "x", "items": []}), now).contains("All expected"));
    }
}
