//! Keeps made-up machines out of a server that others use: they would stand among its nodes for ever.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::cli::client::Client;
use crate::limits::SIMULATED_LOOK;
use crate::simulate::machine::SERIAL;

/// Looks at the server's oldest and newest nodes.
///
/// # Errors
/// When one of them is no made-up machine, or the server does not show them.
pub async fn is_free(client: &Client) -> anyhow::Result<()> {
    let first = client.get(&format!("/api/collections/nodes?depth=1&limit={SIMULATED_LOOK}")).await?;
    let total = first["total"].as_i64().context("the server's list of nodes has no total")?;
    let start = (total - SIMULATED_LOOK).max(0);
    let last = client.get(&format!("/api/collections/nodes?depth=1&limit={SIMULATED_LOOK}&start={start}")).await?;
    let stranger = [&first, &last]
        .into_iter()
        .flat_map(|page| page["items"].as_array().into_iter().flatten())
        .find(|node| !is_ours(node));
    let name = stranger.map(|node| node["name"].as_str().unwrap_or("a node").to_owned()).unwrap_or_default();
    ensure!(
        stranger.is_none(),
        "the server has nodes that are no made-up machines, such as {name}. A simulation fills the database for good: use a server \
         of its own on an empty folder, or add --among-real-nodes"
    );
    Ok(())
}

fn is_ours(node: &Value) -> bool {
    node["hw_info"].to_string().contains(&SERIAL.to_lowercase())
}
