//! Checksum files as Tiny Core's mirrors have them: `NAME.md5.txt`, one line of 32 hexadecimal digits, blanks, and a file
//! name. Pure: text in, digest out.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use md5::{Digest as _, Md5};

/// An MD5 digest. It tells damage, not malice: what must be trusted is pinned by SHA-256.
pub type Md5Sum = [u8; 16];

/// The digest of `file` in the text of its checksum file. Folders before the name, `*` (binary mode) and CRLF are
/// tolerated, other files' lines are passed over.
///
/// # Errors
/// No line speaks of `file`, or its digest is none: an error page, a truncated file.
pub fn parse(text: &str, file: &str) -> Result<Md5Sum> {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(digest), name) = (words.next(), words.next()) else { continue };
        let name = name.map(|n| n.trim_start_matches('*').rsplit('/').next().unwrap_or(n));
        // A line without a name can only mean the file that it stands beside.
        if name.is_none_or(|n| n == file)
            && let Some(digest) = digest_of(digest)
        {
            return Ok(digest);
        }
    }
    bail!("holds no MD5 digest of {file}")
}

fn digest_of(hex: &str) -> Option<Md5Sum> {
    let digits = hex.as_bytes();
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut digest = [0; 16];
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// The digest of some bytes.
#[must_use]
pub fn md5(bytes: &[u8]) -> Md5Sum {
    Md5::digest(bytes).into()
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn forms_seen_on_mirrors() {
        for text in [
            format!("{EMPTY}  bash.tcz\n"),
            format!("{EMPTY} *bash.tcz\r\n"),
            format!("{EMPTY}  ./bash.tcz"),
            format!("\n{EMPTY}\n"),
            format!("0123456789abcdef0123456789abcdef  other.tcz\n{}  bash.tcz\n", EMPTY.to_uppercase()),
        ] {
            assert_eq!(parse(&text, "bash.tcz").unwrap(), md5(b""), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let cut = format!("{}  bash.tcz", &EMPTY[1..]);
        for text in ["", "<!DOCTYPE html><html>", cut.as_str(), "zz1d8cd98f00b204e9800998ecf8427e  bash.tcz"] {
            assert!(parse(text, "bash.tcz").is_err(), "{text:?}");
        }
        assert!(parse(&format!("{EMPTY}  other.tcz"), "bash.tcz").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*", name in ".*") {
            let _ = parse(&text, &name);
        }

        #[test]
        fn what_hex_writes_is_read_back(bytes in any::<[u8; 16]>()) {
            prop_assert_eq!(parse(&format!("{}  a.tcz", hex(&bytes)), "a.tcz").unwrap(), bytes);
        }
    }
}
