//! `mk-server config`: what nodes are sent.

use serde_json::{Value, json};
use wire::config::APPLIED;

use crate::cli::args::Config;
use crate::cli::client::Client;
use crate::cli::setting::pairs;
use crate::cli::{give, print, print_json, table};
use crate::{describe, human};

/// Carries out a command.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn run(client: &Client, command: Config) -> anyhow::Result<()> {
    match command {
        Config::Show { name, json } => {
            let query = name.as_ref().map(|name| format!("?node={name}")).unwrap_or_default();
            let document = client.get(&format!("/api/collections/config{query}")).await?;
            if json { print_json(&document) } else { print(&shown(&document)) }
        }
        Config::Set { node, values, how } => {
            give(client, "set-config", json!({"node": node, "set": pairs(&values)?}), how).await
        }
        Config::Unset { node, keys, how } => {
            give(client, "set-config", json!({"node": node, "unset": keys}), how).await
        }
    }
}

fn shown(document: &Value) -> String {
    match document["name"].as_str() {
        Some(name) => of_node(name, document),
        None => of_all(document),
    }
}

fn of_all(document: &Value) -> String {
    let all = &document["all"];
    let rows: Vec<Vec<String>> = rows(&all["config"]).map(|(key, value)| vec![key, value]).collect();
    let mut text = if rows.is_empty() {
        format!("Nothing is set for all nodes: they do as their image says. Keys are {}.\n", APPLIED.join(", "))
    } else {
        let changed = human::stamp(all["changed"].as_str().unwrap_or_default());
        format!("Version {}, set {changed}\n{}", all["version"], table::table(&["Key", "All nodes"], &rows))
    };
    let own = &document["nodes"];
    let names: Vec<&str> = own["items"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !names.is_empty() {
        text += &format!("Keys of their own: {}\n", names.join(", "));
    }
    text
}

fn of_node(name: &str, document: &Value) -> String {
    let own = &document["own"]["config"];
    let rows: Vec<Vec<String>> = rows(&document["config"])
        .map(|(key, value)| {
            let from = if own.get(&key).is_some() { name } else { "all nodes" };
            vec![key, value, from.to_owned()]
        })
        .collect();
    let keys = if rows.is_empty() {
        "Nothing is set for it: it does as its image says.\n".to_owned()
    } else {
        table::table(&["Key", "Value", "Set for"], &rows)
    };
    format!("{name}: {}\n{keys}", human::plain(&describe::configuration(document)))
}

fn rows(config: &Value) -> impl Iterator<Item = (String, String)> {
    config.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), human::setting(key, value)))
}
