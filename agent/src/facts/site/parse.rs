//! Facts in files and in what programs print. Pure.

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::Facts;
use crate::cmdline::is_fact_name;

/// What reads a file with data, by its name; `None` for one that is none.
pub(super) fn data(name: &str) -> Option<fn(&str) -> anyhow::Result<Facts>> {
    match name.rsplit_once('.')?.1 {
        "json" => Some(object),
        "toml" => Some(table),
        "txt" => Some(lines),
        _ => None,
    }
}

/// What a program printed: an object, or lines.
pub(super) fn printed(text: &str) -> anyhow::Result<Facts> {
    if text.trim_start().starts_with('{') { object(text) } else { lines(text) }
}

fn object(text: &str) -> anyhow::Result<Facts> {
    named(serde_json::from_str(text).context("is no JSON object")?)
}

fn table(text: &str) -> anyhow::Result<Facts> {
    let table: toml::Table = toml::from_str(text).context("is no TOML")?;
    named(table.into_iter().map(|(name, value)| (name, json(value))).collect())
}

/// Lines `name=value`. Blank ones and those that begin with `#` say nothing.
fn lines(text: &str) -> anyhow::Result<Facts> {
    let mut facts = Facts::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            bail!("line {} is not name=value: {line:.60?}", number + 1);
        };
        facts.insert(name.trim().to_owned(), Value::String(value.trim().to_owned()));
    }
    named(facts)
}

fn named(facts: Facts) -> anyhow::Result<Facts> {
    for name in facts.keys() {
        ensure!(is_fact_name(name), "{name:.60?} is no fact's name: letters, digits, `_`, `-` and `.`");
    }
    Ok(facts)
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

    #[test]
    fn tables_become_what_json_has() {
        let facts = table("a = inf\nb = 1.5\nc = [{d = 1}]\n").unwrap();
        assert_eq!(json!(facts), json!({"a": "inf", "b": 1.5, "c": [{"d": 1}]}));
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
