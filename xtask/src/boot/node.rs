//! The server as its own command line shows it: which nodes there are, and one of them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::place;

/// Client of a running server.
pub(crate) struct Client {
    url: String,
    program: PathBuf,
}

impl Client {
    /// Client of the server at a base URL.
    pub(crate) fn new(url: String) -> Self {
        Self { url, program: place::program("mk-server") }
    }

    /// Name of the first node that has checked in, if one has.
    ///
    /// # Errors
    /// When the server does not answer or answers something else than nodes.
    pub(crate) fn checked_in(&self) -> anyhow::Result<Option<String>> {
        checked_in(&self.json(&["nodes", "list"])?)
    }

    /// A node with all that is known of it.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(crate) fn node(&self, name: &str) -> anyhow::Result<Value> {
        self.json(&["nodes", "show", name])
    }

    /// A node for people.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(crate) fn table(&self, name: &str) -> anyhow::Result<String> {
        self.ask(&["nodes", "show", name])
    }

    /// Gives the server an image, which machines that boot by PXE get from then on.
    ///
    /// # Errors
    /// When the server refuses it.
    pub(crate) fn add_image(&self, iso: &Path) -> anyhow::Result<()> {
        let (sh, program, url) = (Shell::new()?, &self.program, &self.url);
        let added = cmd!(sh, "{program} --server {url} image add {iso}").quiet().ignore_stdout().run();
        added.with_context(|| format!("the server does not take the image {}", place::shown(iso)))
    }

    /// Where a node is seen with a browser.
    pub(crate) fn address(&self, name: &str) -> String {
        format!("{}/nodes/{name}", self.url)
    }

    fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let text = self.ask(&[arguments, &["--json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("mk-server {} printed no JSON", arguments.join(" ")))
    }

    fn ask(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let (sh, program, url) = (Shell::new()?, &self.program, &self.url);
        Ok(cmd!(sh, "{program} --server {url} {arguments...}").quiet().read()?)
    }
}

/// Reads the nodes collection.
fn checked_in(list: &Value) -> anyhow::Result<Option<String>> {
    let Some(items) = list.get("items").unwrap_or(list).as_array() else {
        bail!("the server's list of nodes is none: {list}");
    };
    let seen = items.iter().find(|node| node.get("last_checkin").is_some_and(|time| !time.is_null()));
    Ok(seen.and_then(|node| node.get("name")?.as_str()).map(str::to_owned))
}

/// How many of a kind of component a node's inventory has.
pub(crate) fn count(node: &Value, kind: &str) -> usize {
    node.pointer(&format!("/inventory/stable/{kind}")).and_then(Value::as_array).map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_node_that_has_spoken_counts() {
        let list = json!({"items": [
            {"name": "node1", "last_checkin": null},
            {"name": "node2"},
            {"name": "node3", "last_checkin": "2026-01-01T00:00:00Z"},
        ]});
        assert_eq!(checked_in(&list).unwrap().as_deref(), Some("node3"));
        assert_eq!(checked_in(&json!([])).unwrap(), None);
        assert!(checked_in(&json!({"error": "x"})).is_err());
    }

    #[test]
    fn components_are_counted_where_there_is_an_inventory() {
        let node = json!({"inventory": {"stable": {"disks": [{}, {}]}}});
        assert_eq!((count(&node, "disks"), count(&node, "nics"), count(&json!({}), "disks")), (2, 0, 0));
    }
}
