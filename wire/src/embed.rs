//! `mk/embed.json`: where an image can be changed without rebuilding it, and what it can honour.
//! It lies in the ISO, and beside the initrd for PXE with paths relative to itself.

use serde::{Deserialize, Serialize};

use crate::site::Site;

/// Path of the descriptor in the ISO.
pub const EMBED_PATH: &str = "mk/embed.json";

/// The descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embed {
    /// Version of this format, 1.
    pub format: u32,
    /// Version of the image.
    pub version: String,
    /// `production`, `development` or `debug`.
    pub variant: String,
    /// The slot for the site's configuration.
    pub site: Area,
    /// Boot lines that may be extended; all hold the same text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boot_lines: Vec<BootLine>,
    /// What the image honours.
    pub features: Features,
    /// What was in the slot when the image was built; nothing where it was empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<Built>,
}

/// A slot's content as the image was built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Built {
    /// The site's settings.
    pub site: Site,
    /// Public keys in OpenSSH's `authorized_keys` format; empty for none.
    pub authorized_keys: String,
}

impl Embed {
    /// The format that this crate describes.
    pub const FORMAT: u32 = 1;
}

/// A span of bytes within a file of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    /// The file: absolute within an ISO, relative to the descriptor beside a PXE initrd.
    pub path: String,
    /// First byte of the area within that file.
    pub offset: u64,
    /// Length of the area in bytes; zeros where it is unused.
    pub length: u64,
}

/// A span of text: the value, then `end`, then `pad` up to the area's length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootLine {
    /// The span.
    #[serde(flatten)]
    pub area: Area,
    /// One byte that fills the rest.
    pub pad: String,
    /// One byte that ends the line.
    pub end: String,
    /// The value as built.
    pub default: String,
}

/// What an image can honour; `mkiso customize` refuses the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Features {
    /// Log-in by ssh key: development and debug images.
    pub ssh_key: bool,
    /// A CA that the agent pins; images of before have no such word.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ca: bool,
    /// Unit files in the slot; images of before have no such word.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub units: bool,
    /// Keys of signed mirrors; images of before have no such word.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mirror_keys: bool,
}
