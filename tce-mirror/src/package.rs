//! One Debian package as a lock or a list names it, and whether bytes are that package.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::checksum::hex;

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// Where it comes from.
    pub uri: String,
}

impl Package {
    /// Checks that bytes are this package.
    ///
    /// # Errors
    /// They are cut short, or others.
    pub fn verify(&self, bytes: &[u8]) -> Result<()> {
        let Self { name, version, size, sha256, uri } = self;
        if bytes.len() as u64 != *size {
            bail!("{name} {version} is cut short: {} of {size} bytes", bytes.len());
        }
        let found = hex(&Sha256::digest(bytes));
        if found != *sha256 {
            bail!("{name} {version} from {uri} has the wrong checksum: SHA-256 is {found}, expected is {sha256}");
        }
        Ok(())
    }
}
