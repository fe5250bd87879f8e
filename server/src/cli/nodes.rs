//! `mk-server nodes list` and `nodes show`.

use serde_json::Value;
use time::OffsetDateTime;
use wire::inventory::Stable;

use crate::cli::args::Nodes;
use crate::cli::client::Client;
use crate::cli::{human, print, print_json, show, table};

/// Carries out a command.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn run(client: &Client, command: Nodes) -> anyhow::Result<()> {
    match command {
        Nodes::List { json } => {
            let document = all(client).await?;
            if json { print_json(&document) } else { print(&list(&document)) }
        }
        Nodes::Show { name, json } => {
            let document = client.get(&format!("/api/collections/nodes/{name}")).await?;
            if json { print_json(&document) } else { print(&show::node(&document)?) }
        }
    }
}

/// All nodes, page by page.
async fn all(client: &Client) -> anyhow::Result<Value> {
    let mut document = client.get("/api/collections/nodes?depth=1").await?;
    let total = document["total"].as_u64().unwrap_or(0);
    while let Some(items) = document["items"].as_array_mut().filter(|i| (i.len() as u64) < total) {
        let next = client.get(&format!("/api/collections/nodes?depth=1&start={}", items.len())).await?;
        let more = next["items"].as_array().filter(|more| !more.is_empty());
        let Some(more) = more else { break };
        items.extend(more.iter().cloned());
    }
    Ok(document)
}

fn list(document: &Value) -> String {
    let now = OffsetDateTime::now_utc();
    let rows: Vec<Vec<String>> =
        document["items"].as_array().into_iter().flatten().map(|node| row(node, now)).collect();
    if rows.is_empty() {
        return "No machine has been seen yet. Boot one from the microkernel's ISO, or by PXE with the script at\n\
                /api/microkernel/bootstrap.\n"
            .to_owned();
    }
    table::table(&["Name", "State", "System", "Serial", "CPUs", "Memory", "MAC", "Check-in"], &rows)
}

fn row(node: &Value, now: OffsetDateTime) -> Vec<String> {
    let stable: Stable = serde_json::from_value(node["inventory"]["stable"].clone()).unwrap_or_default();
    let system = stable.system.unwrap_or_default();
    let fact = |name: &str| match &node["facts"][name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let memory = stable.memory.and_then(|m| m.installed_bytes).map_or_else(|| fact("memorysize"), human::memory);
    let last = node["last_checkin"].as_str().map_or_else(|| "none yet".to_owned(), |t| human::age(t, now));
    vec![
        node["name"].as_str().unwrap_or_default().to_owned(),
        node["identity"]["state"].as_str().unwrap_or_default().to_owned(),
        system.product.unwrap_or_else(|| fact("productname")),
        system.serial.unwrap_or_else(|| fact("serialnumber")),
        stable.cpu.and_then(|c| c.threads).map_or_else(|| fact("processorcount"), |n| n.to_string()),
        memory,
        node["hw_info"]["mac"][0].as_str().unwrap_or_default().to_owned(),
        last,
    ]
}
