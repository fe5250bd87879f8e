//! JSON for a terminal or a script: what could move a terminal's cursor or turn the direction of writing is escaped, which
//! JSON takes for the same text. Everything that `--json` prints goes through here.

use serde_json::Value;

use crate::human;

/// A document, readable.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn pretty(document: &Value) -> anyhow::Result<String> {
    Ok(escaped(&serde_json::to_string_pretty(document)?))
}

/// A value in one line.
#[must_use]
pub fn line(value: &Value) -> String {
    escaped(&value.to_string())
}

/// Such characters stand in strings only, beside the line feeds between values, so each may become an escape.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && human::is_harmful(c) {
            text.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn harmful_characters_are_escaped_and_others_are_not() {
        assert_eq!(line(&json!("\u{1b}\u{7f}\u{9b}\u{2028}\u{202e}ü漢\"")), r#""\u001b\u007f\u009b\u2028\u202eü漢\"""#);
        assert_eq!(pretty(&json!({"a\u{9b}": 1})).unwrap(), "{\n  \"a\\u009b\": 1\n}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_stays_what_it_was(text in proptest::prelude::any::<String>()) {
            let value = json!({text.clone(): [text]});
            for json in [line(&value), pretty(&value).unwrap()] {
                proptest::prop_assert!(!json.contains(|c| c != '\n' && human::is_harmful(c)));
                proptest::prop_assert_eq!(&serde_json::from_str::<Value>(&json).unwrap(), &value);
            }
        }
    }
}
