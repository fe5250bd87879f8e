//! `mk-base.json` in the base ISO: what the base was made of.

use anyhow::Result;
use serde::{Deserialize, Serialize};

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
}

/// The file's text.
///
/// # Errors
/// It cannot be written as JSON.
pub fn text(lock: &lock::Debian, kernel: &str, absent_firmware: Vec<String>) -> Result<Vec<u8>> {
    let manifest = Manifest {
        name: "debian".to_owned(),
        suite: lock.suite.clone(),
        kernel: kernel.to_owned(),
        taken: lock.taken,
        packages: lock.packages.clone(),
        absent_firmware,
    };
    let mut text = serde_json::to_vec_pretty(&manifest)?;
    text.push(b'\n');
    Ok(text)
}
