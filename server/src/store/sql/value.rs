//! Values that queries are bound with, in the form of either database.

use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, Error};

/// A value, or NULL of its type: PostgreSQL wants to know which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An integer, or a flag as 0 or 1.
    Int(Option<i64>),
    /// A text.
    Text(Option<String>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

/// What can be bound.
pub trait Bind {
    /// NULL in its place.
    const NULL: Value;

    /// It as a value.
    fn value(&self) -> Value;
}

impl Bind for i64 {
    const NULL: Value = Value::Int(None);

    fn value(&self) -> Value {
        Value::Int(Some(*self))
    }
}

impl Bind for u32 {
    const NULL: Value = Value::Int(None);

    fn value(&self) -> Value {
        Value::Int(Some((*self).into()))
    }
}

impl Bind for bool {
    const NULL: Value = Value::Int(None);

    fn value(&self) -> Value {
        Value::Int(Some((*self).into()))
    }
}

impl Bind for str {
    const NULL: Value = Value::Text(None);

    fn value(&self) -> Value {
        Value::Text(Some(self.to_owned()))
    }
}

impl Bind for String {
    const NULL: Value = Value::Text(None);

    fn value(&self) -> Value {
        Value::Text(Some(self.clone()))
    }
}

impl Bind for Vec<u8> {
    const NULL: Value = Value::Bytes(None);

    fn value(&self) -> Value {
        Value::Bytes(Some(self.clone()))
    }
}

impl<T: Bind + ?Sized> Bind for &T {
    const NULL: Value = T::NULL;

    fn value(&self) -> Value {
        (**self).value()
    }
}

impl<T: Bind> Bind for Option<T> {
    const NULL: Value = T::NULL;

    fn value(&self) -> Value {
        self.as_ref().map_or(T::NULL, Bind::value)
    }
}

/// They for SQLite.
pub(super) fn sqlite(values: Vec<Value>) -> sqlx::Result<SqliteArguments> {
    let mut arguments = SqliteArguments::default();
    let add = |value| match value {
        Value::Int(value) => arguments.add(value),
        Value::Text(value) => arguments.add(value),
        Value::Bytes(value) => arguments.add(value),
    };
    values.into_iter().try_for_each(add).map_err(unfit)?;
    Ok(arguments)
}

/// They for PostgreSQL.
pub(super) fn postgres(values: Vec<Value>) -> sqlx::Result<PgArguments> {
    let mut arguments = PgArguments::default();
    let add = |value| match value {
        Value::Int(value) => arguments.add(value),
        Value::Text(value) => arguments.add(value.map(without_nul)),
        Value::Bytes(value) => arguments.add(value),
    };
    values.into_iter().try_for_each(add).map_err(unfit)?;
    Ok(arguments)
}

fn unfit(error: BoxDynError) -> Error {
    Error::Encode(error)
}

/// PostgreSQL has no texts with the character NUL, which machines may send as well as any other, and reads no JSON with it: the sign
/// for a character that cannot be shown stands in its place, in JSON too.
fn without_nul(text: String) -> String {
    const ESCAPED: &str = "\\u0000";
    if !text.contains('\0') && !text.contains(ESCAPED) {
        return text;
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\0' => c.len_utf8(),
            '\\' if rest.starts_with(ESCAPED) => ESCAPED.len(),
            // Whatever is escaped stays with what escapes it: `\\u0000` is a backslash and letters.
            _ => {
                let length = c.len_utf8() + usize::from(c == '\\' && rest[1..].starts_with('\\'));
                clean.push_str(&rest[..length]);
                rest = &rest[length..];
                continue;
            }
        };
        clean.push(char::REPLACEMENT_CHARACTER);
        rest = &rest[taken..];
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_nul_is_replaced() {
        for (text, clean) in [
            ("plain", "plain"),
            ("a\0b", "a\u{fffd}b"),
            (r#"["\u0000", "\\u0000", "\\\u0000"]"#, "[\"\u{fffd}\", \"\\\\u0000\", \"\\\\\u{fffd}\"]"),
            (r"\u0001\u00000", "\\u0001\u{fffd}0"),
            ("é\\", "é\\"),
        ] {
            assert_eq!(without_nul(text.to_owned()), clean, "{text:?}");
        }
        let json = serde_json::json!({"a\0": ["\\u0000", "\0"]}).to_string();
        let read: serde_json::Value = serde_json::from_str(&without_nul(json)).unwrap();
        assert_eq!(read, serde_json::json!({"a\u{fffd}": ["\\u0000", "\u{fffd}"]}));
    }
}
