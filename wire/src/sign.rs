//! What the per-boot key signs. The signature travels in headers ([`crate::routes::KEY_HEADER`],
//! [`crate::routes::SIGNATURE_HEADER`]) over the body's exact bytes, so that nobody has to agree on a canonical JSON.
//! The body carries `boot_id` and `seq`; a signed body cannot be replayed, since the server takes each `seq` once.

/// Separates these signatures from any other use of the key.
const CONTEXT: &[u8] = b"razor-mk check-in v1\n";

/// Length of an Ed25519 public key in bytes.
pub const KEY_LEN: usize = 32;
/// Length of an Ed25519 signature in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// The bytes to sign for a check-in with this body.
#[must_use]
pub fn message(body: &[u8]) -> Vec<u8> {
    [CONTEXT, body].concat()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_signed_bytes_are_the_context_and_the_body() {
        assert_eq!(super::message(b"{}"), b"razor-mk check-in v1\n{}");
    }
}
