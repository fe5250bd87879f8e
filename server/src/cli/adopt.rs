//! `mk-server adopt`: reads the nodes of a razor-server, and has the server take them over. Of each node only what is taken over
//! is sent on: a dump holds root passwords too.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value, json};

use crate::cli::args::Adopt;
use crate::cli::client::{self, Client};
use crate::cli::{print, print_json};
use crate::human;
use crate::limits::{CLIENT_CONNECT_TIMEOUT, CLIENT_TIMEOUT};

/// What is taken over of a node.
const TAKEN: [&str; 7] = ["name", "hw_info", "dhcp_mac", "facts", "state", "hostname", "last_checkin"];
/// What every node has and nobody misses.
const LINKS: [&str; 3] = ["spec", "id", "log"];
/// Where a razor-server has its nodes.
const NODES: &str = "/api/collections/nodes";
/// Nodes in one answer of it.
const PAGE: usize = 500;

/// Takes them over, and says what of them was not.
///
/// # Errors
/// When they cannot be read, or the server refuses.
pub async fn run(client: &Client, options: &Adopt) -> anyhow::Result<()> {
    let from = options.from.as_str();
    let nodes = match from.starts_with("http://") || from.starts_with("https://") {
        true => from_server(from.trim_end_matches('/')).await?,
        false => from_path(Path::new(from))?,
    };
    ensure!(!nodes.is_empty(), "{from} has no nodes; nothing was changed");
    let (nodes, left) = slim(nodes).with_context(|| format!("{from} cannot be taken over"))?;
    let body = json!({"nodes": nodes, "dry_run": options.how.dry_run});
    let mut answer = client.command("/api/commands/adopt-nodes", &body).await?;
    answer["left_out"] = json!(left);
    if options.how.json {
        return print_json(&answer);
    }
    let trial = if options.how.dry_run { "Trial only, nothing was changed: " } else { "" };
    print(&format!("{trial}{}\n", human::plain(answer["result"].as_str().unwrap_or_default())))?;
    for (field, count) in left {
        print(&format!("Not taken over: {} of {count} nodes\n", human::part(&field)))?;
    }
    Ok(())
}

/// All nodes of a running razor-server, page by page.
async fn from_server(base: &str) -> anyhow::Result<Vec<Value>> {
    // A second call finds a provider installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().connect_timeout(CLIENT_CONNECT_TIMEOUT).timeout(CLIENT_TIMEOUT).no_proxy();
    let http = if base.starts_with("https:") { http } else { http.tls_certs_only([]) };
    let http = http.build().context("cannot set up an HTTP client")?;
    let mut nodes: Vec<Value> = Vec::new();
    loop {
        let url = format!("{base}{NODES}?depth=1&limit={PAGE}&start={}", nodes.len());
        let failed = |why: &dyn std::fmt::Display| format!("no nodes from {url}: {why}. Is it a razor-server's URL?");
        let answer = http.get(&url).send().await;
        let answer = answer.map_err(|error| anyhow::anyhow!(failed(&client::innermost(&error))))?;
        if !answer.status().is_success() {
            bail!(failed(&format!("it answered {}", answer.status())));
        }
        let document: Value = answer.json().await.map_err(|error| anyhow::anyhow!(failed(&error)))?;
        let total = document["total"].as_u64();
        let page = items(document)?;
        let last = page.is_empty() || total.is_none();
        nodes.extend(page);
        if last || total.is_some_and(|total| nodes.len() as u64 >= total) {
            return Ok(nodes);
        }
    }
}

/// All nodes of a file, or of all files in a folder.
fn from_path(path: &Path) -> anyhow::Result<Vec<Value>> {
    let cannot = |path: &Path| format!("cannot read {}; check --from", path.display());
    if !path.is_dir() {
        let text = std::fs::read(path).with_context(|| cannot(path))?;
        let document = serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))?;
        return items(document).with_context(|| format!("{} cannot be taken over", path.display()));
    }
    let entries = std::fs::read_dir(path).with_context(|| cannot(path))?;
    let mut files: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    files.retain(|file| file.is_file());
    files.sort();
    let nodes: Vec<Vec<Value>> = files.iter().map(|file| from_path(file)).collect::<anyhow::Result<_>>()?;
    Ok(nodes.into_iter().flatten().collect())
}

/// The nodes of a document: a collection, a list, or one node.
fn items(document: Value) -> anyhow::Result<Vec<Value>> {
    Ok(match document {
        Value::Array(nodes) => nodes,
        Value::Object(mut object) => match object.remove("items") {
            Some(Value::Array(nodes)) => nodes,
            Some(_) => bail!("its items are no list"),
            None => vec![object.into()],
        },
        _ => bail!("it is neither a node nor a list of nodes"),
    })
}

/// What is taken over of each node, and how many nodes have what is not.
fn slim(nodes: Vec<Value>) -> anyhow::Result<(Vec<Value>, BTreeMap<String, usize>)> {
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    let mut slim = Vec::with_capacity(nodes.len());
    for node in nodes {
        let Value::Object(node) = node else { bail!("{node} is no node") };
        let name = node.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        ensure!(
            node.contains_key("hw_info") || node.contains_key("state"),
            "{name:?} has neither hw_info nor state: ask the razor-server for {NODES}?depth=1, and not for the names alone"
        );
        let mut kept = Map::new();
        for (field, value) in node {
            if TAKEN.contains(&field.as_str()) {
                kept.insert(field, value);
            } else if !LINKS.contains(&field.as_str()) && !is_empty(&value) {
                *left.entry(field).or_default() += 1;
            }
        }
        slim.push(kept.into());
    }
    Ok((slim, left))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_over_is_counted_and_not_sent() {
        let node = |name: &str| json!({"spec": "s", "id": "u", "name": name, "hw_info": {"mac": ["a"]}, "tags": [], "root_password": "secret"});
        let mut one = node("node1");
        one["metadata"] = json!({"rack": 3});
        let (nodes, left) = slim(vec![one, node("node2")]).unwrap();
        assert_eq!(nodes[0], json!({"name": "node1", "hw_info": {"mac": ["a"]}}));
        assert_eq!(left, [("metadata".to_owned(), 1), ("root_password".to_owned(), 2)].into());
    }

    #[test]
    fn names_alone_are_refused_with_what_to_ask_for() {
        let error = slim(vec![json!({"name": "node1", "spec": "s", "id": "u"})]).unwrap_err().to_string();
        assert!(error.contains("node1") && error.contains("depth=1"), "{error}");
    }
}
