//! A site's own settings inside an image: the file `/etc/razor-mk/site.json`, carried by the slot `site.img`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the agent finds [`Site`] in the running image.
pub const SITE_PATH: &str = "/etc/razor-mk/site.json";
/// Where the agent finds [`Image`] in the running image.
pub const IMAGE_PATH: &str = "/etc/razor-mk/image.json";
/// Where development and debug images keep the operator's public keys, in OpenSSH's `authorized_keys` format.
pub const AUTHORIZED_KEYS_PATH: &str = "/root/.ssh/authorized_keys";

/// Kernel arguments of ours, without `razor.`, that [`Site::args`] may carry; the server and facts have fields of their own.
pub const ARGUMENTS: [&str; 7] = ["interval", "log", "ip", "gw", "dns", "vlan", "bond"];

/// What `mkiso customize` writes into the slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Site {
    /// URL of the server, such as `http://10.0.0.1:8150`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// CA certificates in PEM. With one, the agent speaks to no other server, nor plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// Enrolment token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<String>,
    /// Kernel arguments of ours (`razor.*`), as they would stand on the kernel line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Public keys of minisign; a mirror's index that one of them signed is believed, besides those of the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirror_keys: Vec<String>,
    /// Facts by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// What the image says of itself, written by `mkiso build`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Version of the image.
    pub version: String,
    /// `production`, `development` or `debug`.
    pub variant: String,
    /// Name of the base and its version, such as `debian 12 (6.1.0-50-amd64)`.
    pub base: String,
    /// Release of its kernel, as `uname -r` prints it.
    pub kernel: String,
    /// Module names that are never loaded, with the reason.
    pub deny_modules: BTreeMap<String, String>,
    /// Extensions that carry modules or firmware, in order: mounted before any driver is loaded, since a driver that
    /// asks for firmware which is not there yet does not ask again.
    pub early: Vec<String>,
    /// SHA-256 (hex) of each extension in the image, by file name.
    pub extensions: BTreeMap<String, String>,
    /// Public keys of minisign by which a mirror's index is believed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirror_keys: Vec<String>,
    /// The lowest number of an index that is taken.
    #[serde(skip_serializing_if = "is_zero")]
    pub mirror_floor: u64,
    /// Time of the build's source in seconds since 1970: no clock that is earlier can be right.
    pub source_date_epoch: i64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
