//! What the agent was compiled from: a list in JSON that whoever compiled it hands over. The builder itself needs no compiler.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::input;

/// A crate or library in the agent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Licence expression that it declares.
    pub license: Option<String>,
    /// SHA-256 of the archive that its source came in.
    pub sha256: Option<String>,
    /// URL of that archive.
    pub download: Option<String>,
    /// Package URL.
    pub purl: Option<String>,
}

/// Reads a list.
///
/// # Errors
/// It cannot be read, or is no such list.
pub fn read(path: &Path) -> Result<Vec<Part>> {
    let bytes = input::read(path, "list of the agent's parts")?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is no list of an agent's parts", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_anything_else_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parts.json");
        std::fs::write(&path, r#"[{"name": "ring", "version": "0.17.14", "license": "ISC"}]"#).unwrap();
        let parts = read(&path).unwrap();
        assert_eq!((parts[0].name.as_str(), parts[0].license.as_deref()), ("ring", Some("ISC")));
        std::fs::write(&path, r#"{"ring": "0.17.14"}"#).unwrap();
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("parts.json is no list"));
    }
}
