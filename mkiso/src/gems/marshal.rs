//! Writes values in Ruby's own format (Marshal 4.8), as the indexes of gem servers have them. Only what these need.

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Nil,
    True,
    False,
    Int(i32),
    /// Text in UTF-8.
    Text(String),
    Symbol(&'static str),
    List(Vec<Value>),
    EmptyHash,
    /// An object by its class and its variables.
    Object(&'static str, Vec<(&'static str, Value)>),
    /// An object that its class makes of a value.
    Made(&'static str, Box<Value>),
    /// An object that its class makes of bytes.
    Bytes(&'static str, Vec<u8>),
}

/// A value as a whole file.
pub(super) fn file(value: &Value) -> Vec<u8> {
    let mut bytes = vec![4, 8];
    write(value, &mut bytes);
    bytes
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Nil => out.push(b'0'),
        Value::True => out.push(b'T'),
        Value::False => out.push(b'F'),
        Value::Int(number) => {
            out.push(b'i');
            int(*number, out);
        }
        Value::Text(text) => {
            out.extend(b"I\"");
            sized(text.as_bytes(), out);
            int(1, out);
            symbol("E", out);
            out.push(b'T');
        }
        Value::Symbol(name) => symbol(name, out),
        Value::List(values) => {
            out.push(b'[');
            length(values.len(), out);
            values.iter().for_each(|value| write(value, out));
        }
        Value::EmptyHash => out.extend(b"{\0"),
        Value::Object(class, variables) => {
            out.push(b'o');
            symbol(class, out);
            length(variables.len(), out);
            for (name, value) in variables {
                symbol(name, out);
                write(value, out);
            }
        }
        Value::Made(class, value) => {
            out.push(b'U');
            symbol(class, out);
            write(value, out);
        }
        Value::Bytes(class, bytes) => {
            out.push(b'u');
            symbol(class, out);
            sized(bytes, out);
        }
    }
}

/// A symbol is written out each time: readers need no back references.
fn symbol(name: &str, out: &mut Vec<u8>) {
    out.push(b':');
    sized(name.as_bytes(), out);
}

fn sized(bytes: &[u8], out: &mut Vec<u8>) {
    length(bytes.len(), out);
    out.extend(bytes);
}

/// Nothing here is longer than a gem's metadata, which is bounded far below.
fn length(length: usize, out: &mut Vec<u8>) {
    int(i32::try_from(length).unwrap_or(i32::MAX), out);
}

/// A number in one byte where it is small, else its own bytes behind their count.
fn int(number: i32, out: &mut Vec<u8>) {
    let small = |number: i32| i8::try_from(number).unwrap_or_default().to_le_bytes()[0];
    match number {
        0 => out.push(0),
        1..=122 => out.push(small(number + 5)),
        -123..=-1 => out.push(small(number - 5)),
        _ => {
            let mut bytes = number.to_le_bytes().to_vec();
            let filler = if number < 0 { 0xff } else { 0 };
            while bytes.len() > 1 && bytes.last() == Some(&filler) {
                bytes.pop();
            }
            let count = i32::try_from(bytes.len()).unwrap_or_default();
            out.push(small(if number < 0 { -count } else { count }));
            out.extend(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_ruby_writes_them() {
        for (number, bytes) in [
            (0, vec![0]),
            (1, vec![6]),
            (122, vec![127]),
            (123, vec![1, 123]),
            (256, vec![2, 0, 1]),
            (65_536, vec![3, 0, 0, 1]),
            (-1, vec![0xfa]),
            (-123, vec![0x80]),
            (-124, vec![0xff, 0x84]),
            (-257, vec![0xfe, 0xff, 0xfe]),
        ] {
            let mut out = Vec::new();
            int(number, &mut out);
            assert_eq!(out, bytes, "{number}");
        }
    }

    #[test]
    fn values_as_ruby_writes_them() {
        let list = Value::List(vec![Value::Text("a".into()), Value::Nil, Value::True, Value::EmptyHash]);
        assert_eq!(file(&list), b"\x04\x08[\x09I\"\x06a\x06:\x06ET0T{\x00");
        let made = Value::Made("Gem::Version", Box::new(Value::List(vec![Value::Int(4)])));
        assert_eq!(file(&made), b"\x04\x08U:\x11Gem::Version[\x06i\x09");
    }
}
