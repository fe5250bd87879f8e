//! Shell patterns as `modules.alias` uses them: `*`, `?`, `[abc]`, `[a-z]`, `[!a]`. Bytes in, a yes or no out. Time is
//! at most the product of both lengths, whatever the pattern: the last `*` alone is ever tried again.

/// Tells whether the whole of `text` matches `pattern`.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut left) = (pattern, text);
    // Where to go on when a mismatch follows a `*`: the pattern behind it, and the text from which it was tried.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', behind)) = rest.split_first() {
            retry = Some((behind, left));
            rest = behind;
            continue;
        }
        match (one(rest, left.first().copied()), left.split_first()) {
            (Some(behind), Some((_, further))) => (rest, left) = (behind, further),
            (_, None) if rest.is_empty() => return true,
            _ => {
                let Some((behind, [_, further @ ..])) = retry else { return false };
                retry = Some((behind, further));
                (rest, left) = (behind, further);
            }
        }
    }
}

/// Number of leading bytes that stand for themselves.
pub(crate) fn literal_len(pattern: &[u8]) -> usize {
    pattern.iter().position(|b| matches!(b, b'*' | b'?' | b'[')).unwrap_or(pattern.len())
}

/// The pattern behind its first element if that stands for `byte`.
fn one(pattern: &[u8], byte: Option<u8>) -> Option<&[u8]> {
    let byte = byte?;
    match pattern.split_first()? {
        (b'?', behind) => Some(behind),
        (b'[', behind) => match set(behind) {
            Some((members, behind)) => contains(members, byte).then_some(behind),
            // An unclosed bracket stands for itself, as in fnmatch(3).
            None => (byte == b'[').then_some(behind),
        },
        (&literal, behind) => (literal == byte).then_some(behind),
    }
}

/// Splits what follows a `[` into the members and what is behind the closing bracket. A bracket in first place is a
/// member.
fn set(pattern: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = usize::from(matches!(pattern.first(), Some(b'!' | b'^'))) + 1;
    let end = first + pattern.get(first..)?.iter().position(|&b| b == b']')?;
    Some((&pattern[..end], &pattern[end + 1..]))
}

fn contains(members: &[u8], byte: u8) -> bool {
    let (negated, mut rest) = match members {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, members),
    };
    let mut found = false;
    while let [low, behind @ ..] = rest {
        if let [b'-', high, behind @ ..] = behind {
            found |= (*low..=*high).contains(&byte);
            rest = behind;
        } else {
            found |= *low == byte;
            rest = behind;
        }
    }
    found != negated
}

/// For the fuzzer: a pattern, a line feed and a text. A pattern without special letters matches itself alone.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (pattern, text) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let does = matches(pattern, text);
    if literal_len(pattern) == pattern.len() {
        assert_eq!(does, pattern == text);
    }
    assert!(matches(&[pattern, b"*"].concat(), text) || !does);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn m(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes())
    }

    #[test]
    fn aliases_of_real_modules() {
        let e1000 = "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00";
        assert!(m("pci:v00008086d0000100Esv*sd*bc*sc*i*", e1000));
        assert!(!m("pci:v00008086d0000100Fsv*sd*bc*sc*i*", e1000));
        assert!(m("pci:v*d*sv*sd*bc02sc00i*", e1000));
        assert!(m("usb:v0403p6001d*dc*dsc*dp*ic*isc*ip*in*", "usb:v0403p6001d0600dc00dsc00dp00icFFiscFFipFFin00"));
        assert!(m("usb:v05ACp*d01[0-9]*dc*", "usb:v05ACp1234d0123dc00"));
        assert!(!m("usb:v05ACp*d01[0-9]*dc*", "usb:v05ACp1234d01A3dc00"));
    }

    #[test]
    fn sets_and_their_corners() {
        assert!(m("[!a]b", "xb") && !m("[!a]b", "ab"));
        assert!(m("[]]", "]") && m("[a-c]", "b") && !m("[a-c]", "d") && m("[a-]", "-"));
        assert!(m("a[b", "a[b") && !m("a[b", "ab"));
        assert!(m("", "") && !m("", "a") && m("*", "") && m("**a", "xa") && !m("?", ""));
        assert_eq!((literal_len(b"pci:v*"), literal_len(b"abc"), literal_len(b"?")), (5, 3, 0));
    }

    #[test]
    fn many_stars_end_soon() {
        assert!(!m(&"a*".repeat(200), &format!("{}b", "a".repeat(150))));
    }

    proptest! {
        #[test]
        fn never_panics(pattern in "[ab*?\\[\\]!^-]{0,24}", text in "[ab\\[\\]-]{0,24}") {
            let _ = m(&pattern, &text);
        }

        #[test]
        fn text_without_wildcards_matches_itself(text in "[a-z0-9:_]{0,40}") {
            prop_assert!(m(&text, &text));
            let starred = format!("{}*", text);
            let longer = format!("{}x", text);
            prop_assert!(m(&starred, &text));
            prop_assert!(!m(&text, &longer));
        }
    }
}
