//! Enrolment: the form of a token that a site puts into its images, and the short form of a boot's key by which a person
//! knows a machine again on another screen.

use crate::digest::sha256_hex;

/// What every enrolment token begins with, so that another secret is not taken for one.
pub const PREFIX: &str = "mke-";
/// Random bytes in a token: nobody guesses them.
pub const TOKEN_BYTES: usize = 16;

/// Digits of a fingerprint, and of a group of them.
const DIGITS: usize = 16;
const GROUP: usize = 4;

/// A token made of random bytes.
#[must_use]
pub fn token(random: &[u8; TOKEN_BYTES]) -> String {
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{digits}")
}

/// True for what has the form of a token.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix(PREFIX).is_some_and(|rest| rest.len() == 2 * TOKEN_BYTES && rest.bytes().all(digit))
}

/// The short form of a public key: the first 16 digits of its SHA-256, in groups of four.
#[must_use]
pub fn fingerprint(key: &[u8]) -> String {
    let digits = sha256_hex(key);
    let groups: Vec<&str> = (0..DIGITS).step_by(GROUP).filter_map(|at| digits.get(at..at + GROUP)).collect();
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_form() {
        let made = token(&[0xab; TOKEN_BYTES]);
        assert_eq!(made, "mke-abababababababababababababababab");
        assert!(is_token(&made));
        for other in ["", "mke-", "tok", &made[4..], &made.to_uppercase(), &format!("{made}0"), &format!("{made}\n")] {
            assert!(!is_token(other), "{other:?}");
        }
    }

    #[test]
    fn a_fingerprint_is_the_same_wherever_it_is_made() {
        assert_eq!(fingerprint(&[7; 32]), "4bb0-6f8e-4e3a-7715");
        assert_ne!(fingerprint(&[7; 32]), fingerprint(&[8; 32]));
    }
}
