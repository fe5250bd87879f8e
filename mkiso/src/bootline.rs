//! The span at the end of each kernel line of a boot loader's configuration which `mkiso customize` may fill: further
//! arguments behind a blank, the line's end, then blanks up to [`LENGTH`] bytes. Both loaders take a line of blanks for none, and
//! the kernel never sees them.

use anyhow::{Context as _, Result, ensure};

/// Bytes of a span. What is built in takes some 250 of the 2047 bytes that isolinux hands on.
pub const LENGTH: usize = 1024;
/// Fills the rest.
pub const PAD: char = ' ';
/// Ends the line.
pub const END: char = '\n';

/// Beside letters and digits, what GRUB's script and isolinux both hand on as it is.
const PLAIN: &str = "_-.,:=/+@%~";

/// A span with these arguments.
///
/// # Errors
/// They need more than `length` bytes, or one has a character that a boot loader would not hand on as it is.
pub fn fill(arguments: &str, length: usize) -> Result<Vec<u8>> {
    let mut words: Vec<&str> = arguments.split_whitespace().collect();
    for word in &words {
        let odd = word.chars().find(|c| !(c.is_ascii_alphanumeric() || PLAIN.contains(*c)));
        ensure!(
            odd.is_none(),
            "kernel argument {word:?} has {:?}, which boot loaders do not hand on as it is; letters, digits and {PLAIN} may be \
             used",
            odd.unwrap_or_default()
        );
    }
    words.insert(0, "");
    let mut span = if words.len() > 1 { words.join(" ") } else { String::new() };
    span.push(END);
    let needed = span.len();
    ensure!(
        needed <= length,
        "the kernel arguments need {needed} bytes, the image's boot lines have {length}; leave something out"
    );
    span.extend(std::iter::repeat_n(PAD, length - needed));
    Ok(span.into_bytes())
}

/// The arguments in a span.
///
/// # Errors
/// It is none that [`fill`] has made.
pub fn read(span: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(span).ok().and_then(|text| text.split_once(END));
    let (arguments, rest) = text.context("a boot line of the image has no end where its arguments should be")?;
    ensure!(rest.chars().all(|c| c == PAD), "a boot line of the image is followed by something else than blanks");
    Ok(arguments.trim_start_matches(' ').to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arguments_stand_behind_a_blank_and_before_the_end() {
        assert_eq!(fill("", 4).unwrap(), b"\n   ");
        assert_eq!(
            fill(" nomodeset  console=ttyS1,115200n8 ", 40).unwrap(),
            b" nomodeset console=ttyS1,115200n8\n      "
        );
        assert_eq!(read(b" nomodeset quiet\n    ").unwrap(), "nomodeset quiet");
        assert_eq!(read(b"\n    ").unwrap(), "");
    }

    #[test]
    fn what_does_not_fit_or_would_be_changed_is_refused() {
        let error = fill("quiet", 6).unwrap_err().to_string();
        assert!(error.contains("need 7 bytes") && error.contains("have 6"), "{error}");
        for odd in ["a=$b", "a=\"b\"", "a;b", "a{b", "a\\b", "a#b", "ü"] {
            assert!(fill(odd, 100).unwrap_err().to_string().contains("hand on"), "{odd}");
        }
    }

    #[test]
    fn a_foreign_span_is_refused() {
        for span in [&b"    "[..], b" quiet\n  append x", b"\xff\n"] {
            assert!(read(span).is_err(), "{span:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_filled_is_read_back(words in proptest::collection::vec("[a-z0-9=.,:/+@%~_-]{1,12}", 0..8)) {
            let span = fill(&words.join("  "), 200).unwrap();
            prop_assert_eq!(span.len(), 200);
            prop_assert_eq!(read(&span).unwrap(), words.join(" "));
        }

        #[test]
        fn any_span_is_read_without_panic(span in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = read(&span);
        }
    }
}
