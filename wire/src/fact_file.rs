//! Facts in files, and in what programs print: a JSON object, a TOML table, or lines `name=value`. Pure: text in, facts or
//! the reason out.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::limits::MAX_FACT_NAME;

/// Facts by name.
type Facts = BTreeMap<String, Value>;
/// What reads a text.
pub type Reader = fn(&str) -> Result<Facts, String>;

/// Endings of the names of files with data.
pub const ENDINGS: [&str; 3] = ["json", "toml", "txt"];

/// What reads a file with data, by its name; `None` for one that is none.
#[must_use]
pub fn reader(name: &str) -> Option<Reader> {
    match name.rsplit_once('.')?.1 {
        "json" => Some(object),
        "toml" => Some(table),
        "txt" => Some(lines),
        _ => None,
    }
}

/// What a program printed: an object, or lines.
///
/// # Errors
/// Why it is neither.
pub fn printed(text: &str) -> Result<Facts, String> {
    if text.trim_start().starts_with('{') { object(text) } else { lines(text) }
}

/// Whether a fact may have this name.
#[must_use]
pub fn is_fact_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.len() <= MAX_FACT_NAME && name.chars().all(allowed)
}

fn object(text: &str) -> Result<Facts, String> {
    named(serde_json::from_str(text).map_err(|why| format!("is no JSON object: {why}"))?)
}

fn table(text: &str) -> Result<Facts, String> {
    let table: toml::Table =
        text.parse().map_err(|why: toml::de::Error| format!("is no TOML: {}", told(text, &why)))?;
    named(table.into_iter().map(|(name, value)| (name, json(value))).collect())
}

/// The parser's own text has several lines; a log line is one.
fn told(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    format!("line {line}: {}", error.message().replace('\n', ", "))
}

/// Lines `name=value`. Blank ones and those that begin with `#` say nothing.
fn lines(text: &str) -> Result<Facts, String> {
    let mut facts = Facts::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(format!("line {} is not name=value: {line:.60?}", number + 1));
        };
        facts.insert(name.trim().to_owned(), Value::String(value.trim().to_owned()));
    }
    named(facts)
}

fn named(facts: Facts) -> Result<Facts, String> {
    match facts.keys().find(|name| !is_fact_name(name)) {
        Some(name) => Err(format!("{name:.60?} is no fact's name: letters, digits, `_`, `-` and `.`")),
        None => Ok(facts),
    }
}

/// The same value as JSON has it; dates and times become text, and so do numbers that JSON lacks.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => {
            serde_json::Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
        }
        toml::Value::Boolean(yes) => Value::Bool(yes),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(list) => list.into_iter().map(json).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(name, value)| (name, json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn programs_print_lines_or_an_object() {
        assert_eq!(json!(printed("\n{\"a\": [1]}\n").unwrap()), json!({"a": [1]}));
        assert_eq!(json!(printed("a=b=c\n\n").unwrap()), json!({"a": "b=c"}));
        assert_eq!(printed("").unwrap(), Facts::new());
        for wrong in ["{\"a\": 1", "a", "two words=1", "{\"\": 1}", "=1"] {
            assert!(printed(wrong).is_err(), "{wrong}");
        }
    }

    /// Who reads a number and writes it has the same number, or the digests of two programs would differ.
    #[test]
    fn numbers_come_back_as_they_were() {
        for number in [
            "7777777777777777777777777777777777777777777777777777777777777777777777777777777777777771",
            "1922346111111111.11111111116666661111116666",
        ] {
            let facts = printed(&format!("{{\"a\": {number}}}")).unwrap();
            assert_eq!(printed(&json!(facts).to_string()).unwrap(), facts, "{number}");
        }
    }

    #[test]
    fn tables_become_what_json_has() {
        let facts = table("a = inf\nb = 1.5\nc = [{d = 1}]\n").unwrap();
        assert_eq!(json!(facts), json!({"a": "inf", "b": 1.5, "c": [{"d": 1}]}));
        let why = table("a = 1\nb =").unwrap_err();
        assert!(why.contains("line 2") && !why.contains('\n'), "{why}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            for read in [object, table, lines, printed] {
                let _ = read(&text);
            }
        }
    }
}
