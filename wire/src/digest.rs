//! Digests that agent and server compare.

use sha2::{Digest, Sha256};

use crate::inventory::Stable;

/// SHA-256 (lower-case hex) of `bytes`.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Digest of the stable inventory, hex. Struct order and sorted maps make equal inventories equal bytes. To the server
/// it is a name for what it was sent, so a newer agent's unknown fields do no harm.
#[must_use]
pub fn stable(stable: &Stable) -> String {
    // A struct of strings, numbers and maps with string keys always has a JSON form.
    sha256_hex(&serde_json::to_vec(stable).unwrap_or_default())
}
