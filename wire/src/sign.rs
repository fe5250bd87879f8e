//! What the per-boot key signs. The signature travels in headers ([`crate::routes::KEY_HEADER`],
//! [`crate::routes::SIGNATURE_HEADER`]) over the body's exact bytes, so that nobody has to agree on a canonical JSON.
//! The body carries `boot_id` and `seq`; a signed body cannot be replayed, since the server takes each `seq` once. Requests
//! with a query sign it as it goes over the wire, with the id of their path.

/// Separates these signatures from any other use of the key.
const CONTEXT: &[u8] = b"razor-mk check-in v1\n";
/// The same for bundles.
const BUNDLE: &str = "razor-mk bundle v1";
/// The same for questions that wait.
const WAIT: &str = "razor-mk wait v1";

/// Length of an Ed25519 public key in bytes.
pub const KEY_LEN: usize = 32;
/// Length of an Ed25519 signature in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// The bytes to sign for a check-in with this body.
#[must_use]
pub fn message(body: &[u8]) -> Vec<u8> {
    [CONTEXT, body].concat()
}

/// The bytes to sign for a bundle with this body that is sent to this node's path with this query.
#[must_use]
pub fn bundle(id: u64, query: &str, body: &[u8]) -> Vec<u8> {
    [format!("{BUNDLE}\n{id}\n{query}\n").as_bytes(), body].concat()
}

/// The bytes to sign for a question at this node's path with this query.
#[must_use]
pub fn wait(id: u64, query: &str) -> Vec<u8> {
    format!("{WAIT}\n{id}\n{query}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_signed_bytes_are_the_context_and_the_body() {
        assert_eq!(super::message(b"{}"), b"razor-mk check-in v1\n{}");
    }

    #[test]
    fn no_request_can_be_taken_for_one_of_another_kind() {
        assert_eq!(super::bundle(7, "boot_id=b", b"x"), b"razor-mk bundle v1\n7\nboot_id=b\nx");
        assert_eq!(super::wait(7, "boot_id=b"), b"razor-mk wait v1\n7\nboot_id=b\n");
    }
}
