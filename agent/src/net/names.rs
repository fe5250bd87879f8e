//! Domain names in the form that DNS and DHCP put on the wire (RFC 1035, 3397). Pure; pointers cannot loop.

/// Longest name, in characters.
const LONGEST: usize = 253;
/// Longest label.
const LONGEST_LABEL: usize = 63;

/// Whether this can be the name of a host or domain: letters, digits, hyphens, underscores and single dots.
pub(crate) fn is_host_name(name: &str) -> bool {
    let label = |l: &str| {
        (1..=LONGEST_LABEL).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    name.len() <= LONGEST && name.strip_suffix('.').unwrap_or(name).split('.').all(label)
}

/// A name's labels, each with its length, and the empty one at the end; `None` if it is no host name.
pub(crate) fn encode(name: &str) -> Option<Vec<u8>> {
    if !is_host_name(name) {
        return None;
    }
    let mut out = Vec::new();
    for label in name.trim_end_matches('.').split('.') {
        out.push(u8::try_from(label.len()).ok()?);
        out.extend(label.bytes());
    }
    out.push(0);
    Some(out)
}

/// Reads the name at `at`, following pointers into `bytes`. Gives the name and where the bytes after it begin; `None`
/// if it is cut, loops or is no host name. The root is the empty name.
pub(crate) fn decode(bytes: &[u8], at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut here = at;
    let mut end = None;
    loop {
        match usize::from(*bytes.get(here)?) {
            0 => {
                let sound = name.is_empty() || is_host_name(&name);
                return sound.then(|| (name, end.unwrap_or(here + 1)));
            }
            length @ 1..=LONGEST_LABEL => {
                let label = std::str::from_utf8(bytes.get(here + 1..here + 1 + length)?).ok()?;
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(label);
                if name.len() > LONGEST {
                    return None;
                }
                here += 1 + length;
            }
            high @ 0xc0.. => {
                let target = (high & 0x3f) << 8 | usize::from(*bytes.get(here + 1)?);
                // Only ever backwards, so that it comes to an end.
                if target >= here {
                    return None;
                }
                end = end.or(Some(here + 2));
                here = target;
            }
            _ => return None,
        }
    }
}

/// Reads names one after the other (DHCP option 119); `None` if one is bad.
pub(crate) fn decode_list(bytes: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (name, end) = decode(bytes, at)?;
        if !name.is_empty() {
            names.push(name);
        }
        at = end;
    }
    Some(names)
}

/// For the fuzzer: what is read can be written, and is then read as the same.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    for name in decode_list(bytes).unwrap_or_default() {
        let name = name.trim_end_matches('.');
        let written = encode(name);
        assert!(written.is_some(), "{name:?}");
        let written = written.unwrap_or_default();
        assert_eq!(decode(&written, 0), Some((name.to_owned(), written.len())));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_with_pointers() {
        // "eng.apple.com", "marketing.apple.com": the example of RFC 3397.
        let bytes = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
        assert_eq!(decode_list(bytes).unwrap(), ["eng.apple.com", "marketing.apple.com"]);
    }

    #[test]
    fn loops_and_cuts_are_refused() {
        for bytes in
            [&b"\xc0\x00"[..], b"\x01a\xc0\x02", b"\x01a\xc0\x00", b"\x05ab", b"\x01a", b"\x80", b"\x01 \x00", b"\xc0"]
        {
            assert_eq!(decode_list(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn host_names() {
        for good in ["razor", "_razor._tcp.example.com", "a.b.", "x-1"] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in ["", ".", "a..b", "a b", "a/b", "ä", &"x".repeat(64), &"a.".repeat(200)] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..310) {
            let _ = (decode(&bytes, at), decode_list(&bytes));
        }

        #[test]
        fn names_come_back(name in "[a-z0-9_-]{1,63}(\\.[a-z0-9-]{1,20}){0,6}") {
            let bytes = encode(&name).unwrap();
            prop_assert_eq!(decode(&bytes, 0), Some((name, bytes.len())));
        }
    }
}
