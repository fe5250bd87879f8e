//! `mk-base.json` in the base ISO: what the base was made of.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::firmware::Firmware;
use super::lock;

/// Its path in the ISO.
pub const PATH: &str = "mk-base.json";

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the distribution.
    pub name: String,
    /// Its release.
    pub suite: String,
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// When its packages were taken, in seconds since 1970.
    pub taken: u32,
    /// The packages.
    pub packages: Vec<lock::Package>,
    /// Firmware that drivers name and no package has.
    pub absent_firmware: Vec<String>,
    /// Which package each firmware file of the extensions comes from, by its name below `lib/firmware`.
    #[serde(default)]
    pub firmware: BTreeMap<String, String>,
    /// Debian's shared libraries in the initrd, by path: extensions made of packages for this base need not have them.
    #[serde(default)]
    pub libraries: Vec<String>,
    /// The root file system that was handed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<Source>,
}

/// A root file system that was handed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Name of the file.
    pub file: String,
    /// Its release.
    pub release: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// What the file says.
#[derive(Debug)]
pub struct Said<'a> {
    /// What was taken.
    pub lock: &'a lock::Debian,
    /// The kernel's release.
    pub kernel: &'a str,
    /// The firmware.
    pub firmware: Firmware,
    /// Shared libraries of the initrd.
    pub libraries: Vec<String>,
    /// The root file system that was handed in.
    pub rootfs: Option<&'a Source>,
}

/// The file's text.
///
/// # Errors
/// It cannot be written as JSON.
pub fn text(said: Said<'_>) -> Result<Vec<u8>> {
    let Said { lock, kernel, firmware, libraries, rootfs } = said;
    let manifest = Manifest {
        name: if rootfs.is_some() { "tinycore" } else { "debian" }.to_owned(),
        suite: rootfs.map_or(&lock.suite, |rootfs| &rootfs.release).clone(),
        kernel: kernel.to_owned(),
        taken: lock.taken,
        packages: lock.packages.clone(),
        absent_firmware: firmware.absent,
        firmware: firmware.packages,
        libraries,
        rootfs: rootfs.cloned(),
    };
    let mut text = serde_json::to_vec_pretty(&manifest)?;
    text.push(b'\n');
    Ok(text)
}
