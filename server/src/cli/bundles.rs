//! `mk-server nodes bundles` and `bundle`: the logs and state that a node sent.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::{print, print_json, table};
use crate::human;

/// Shows which there are.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn list(client: &Client, name: &str, json: bool) -> anyhow::Result<()> {
    let document = client.get(&path(name)).await?;
    if json { print_json(&document) } else { print(&shown(name, &document)) }
}

/// Saves one as a file: that of this command, or the newest.
///
/// # Errors
/// When there is none, the server cannot be reached or refuses, or the file cannot be written.
pub async fn save(client: &Client, name: &str, command: Option<u64>, out: Option<PathBuf>) -> anyhow::Result<()> {
    let command = match command {
        Some(command) => command,
        None => match client.get(&path(name)).await?["items"][0]["command"].as_u64() {
            Some(newest) => newest,
            None => bail!("{name} has sent no bundle\nHave it send one with: mk-server nodes collect {name}"),
        },
    };
    let bytes = client.download(&format!("{}/{command}", path(name))).await?;
    let out = out.unwrap_or_else(|| format!("{name}-{command}.tar.gz").into());
    write(&out, &bytes)?;
    let size = human::disk(bytes.len() as u64);
    print(&format!("Saved {} ({size}). Unpack it with: tar -xzf {0}\n", out.display()))
}

fn path(name: &str) -> String {
    format!("/api/collections/nodes/{name}/bundles")
}

/// Whole or not at all.
fn write(out: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let put = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(out)?;
        Ok(())
    };
    put().with_context(|| format!("cannot write {}", out.display()))
}

fn shown(name: &str, document: &Value) -> String {
    let items = document["items"].as_array().into_iter().flatten();
    let row = |item: &Value| {
        let when = human::stamp(item["timestamp"].as_str().unwrap_or_default());
        vec![item["command"].to_string(), when, human::disk(item["bytes"].as_u64().unwrap_or(0))]
    };
    let rows: Vec<Vec<String>> = items.map(row).collect();
    if rows.is_empty() {
        return format!("{name} has sent no bundle. Have it send one with: mk-server nodes collect {name}\n");
    }
    table::table(&["Command", "When", "Size"], &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bundles_are_listed_or_how_to_get_one() {
        let item = json!({"command": 12, "timestamp": "2026-11-22T01:02:03.4Z", "bytes": 4200, "sha256": "aa"});
        let text = shown("node1", &json!({"items": [item]}));
        assert!(text.contains("12") && text.contains("2026-11-22 01:02:03 UTC") && text.contains("4.2 kB"), "{text}");
        assert!(shown("node1", &json!({"items": []})).contains("nodes collect node1"));
    }

    #[test]
    fn a_file_is_written_whole_or_named() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("b.tar.gz"), b"x").unwrap();
        assert_eq!(std::fs::read(dir.path().join("b.tar.gz")).unwrap(), b"x");
        let error = format!("{:#}", write(&dir.path().join("none/b"), b"x").unwrap_err());
        assert!(error.contains("none/b"), "{error}");
    }
}
