//! Text that others sent, as it may be shown to people: a server, a firmware or a file name may hold anything, and nothing
//! of it may steer a terminal, begin a line of its own or hide in another direction of writing. Pure.

/// The text on one line; what is not to be seen, or moves what is, becomes a blank.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect()
}

/// At most `most` characters of it, with a mark where it is cut.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut out = plain(text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end]));
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

/// Controls, and characters that set the direction or are invisible.
fn is_unseen(c: char) -> bool {
    let unseen = ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{2069}'];
    c.is_control() || c == '\u{feff}' || c == '\u{61c}' || unseen.iter().any(|range| range.contains(&c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn letters_stay_and_controls_go() {
        for (text, expected) in [
            ("Gehäuse №7 日本", "Gehäuse №7 日本"),
            ("a\u{1b}[2Jb\r\nc", "a [2Jb  c"),
            ("a\u{9b}2Jb\u{202e}c\u{7f}", "a 2Jb c "),
            ("\u{feff}a\u{200b}b\u{2066}", " a b "),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
        assert_eq!((cut("äöü", 3), cut("äöü", 2), cut("", 0)), ("äöü".into(), "äö…".into(), String::new()));
    }

    proptest! {
        #[test]
        fn any_text_is_one_short_line(text in any::<String>(), most in 0usize..50) {
            let cut = cut(&text, most);
            prop_assert!(!cut.contains(is_unseen) && cut.chars().count() <= most + 1);
            prop_assert_eq!(plain(&text).chars().count(), text.chars().count());
        }
    }
}
