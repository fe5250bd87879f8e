//! What an image was made of, and what came out: `<name>.manifest.json`, and without the files that came out, among which it
//! is itself, `mk/manifest.json` in the ISO.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::variant::Variant;

/// Path of the manifest in the ISO.
pub const PATH: &str = "mk/manifest.json";

/// The manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// Version of the image.
    pub version: String,
    /// Its variant.
    pub variant: Variant,
    /// Date of its source in seconds since 1970.
    pub source_date_epoch: u32,
    /// The program that made it.
    pub builder: String,
    /// The base.
    pub base: Base,
    /// What was put together, by role.
    pub inputs: Vec<Part>,
    /// What the image consists of: kernel and initrds, and in the ISO all further files, as they are before a site fills in
    /// what is its own.
    pub members: Vec<Part>,
    /// Files of the build, by name, with their digests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
}

/// The base of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Base {
    /// Name.
    pub name: String,
    /// SHA-256 of its ISO.
    pub sha256: String,
    /// What it says of itself: packages with versions, origins and digests, where `mkiso base` made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Value>,
}

/// One input or member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Name, or path in the image.
    pub name: String,
    /// Where it comes from.
    pub origin: String,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: u64,
}

impl Part {
    /// A part with these bytes.
    #[must_use]
    pub fn new(name: impl Into<String>, origin: impl Into<String>, bytes: &[u8]) -> Self {
        Self {
            name: name.into(),
            origin: origin.into(),
            sha256: crate::cache::sha256(bytes),
            bytes: bytes.len() as u64,
        }
    }
}
