//! Values that are compared are of bounded length: an index cannot hold a megabyte, and firmware gives no such numbers.

use crate::limits::MAX_COMPARED;

/// The value as it is kept and compared: a longer one is known by its digest, and stays recognisable by its beginning. The character
/// NUL, which not every database keeps, is replaced.
#[must_use]
pub fn kept(value: &str) -> String {
    if value.len() > MAX_COMPARED {
        let mut end = MAX_COMPARED / 2;
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        let digest = wire::digest::sha256_hex(value.as_bytes());
        return format!("{}… (sha256 {digest})", value[..end].replace('\0', "\u{fffd}"));
    }
    value.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_told_apart_by_their_end_too_and_short_ones_stay() {
        assert_eq!(kept("CZ1234"), "CZ1234");
        assert_eq!(kept("a\0b"), "a\u{fffd}b");
        let long = |end| kept(&format!("{}{end}", "é\0".repeat(MAX_COMPARED)));
        assert_ne!(long("1"), long("2"));
        assert!(long("1").len() <= MAX_COMPARED && kept(&long("1")) == long("1") && !long("1").contains('\0'));
    }
}
