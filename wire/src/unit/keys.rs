//! Keys of unit files whose values have a range. A value of the wrong kind or size is refused by one sentence that names
//! key, value and range.

use std::ops::RangeInclusive;

use serde_json::Value;

const KIB: u64 = 1024;

/// A whole number within the range, of what `of` names; `None` where the key is not there.
pub(super) fn number<T: TryFrom<i64>>(
    key: &str,
    value: Option<&Value>,
    range: &RangeInclusive<i64>,
    of: &str,
) -> Result<Option<T>, String> {
    let Some(value) = value else { return Ok(None) };
    let number = value.as_i64().filter(|n| range.contains(n)).and_then(|n| T::try_from(n).ok());
    let (first, last) = (range.start(), range.end());
    let wrong = || format!("{key} = {}: it takes a whole number of {of} from {first} to {last}", cut(value));
    number.ok_or_else(wrong).map(Some)
}

/// A size in bytes within the range, written as a text such as `"32M"`.
pub(super) fn size(key: &str, value: Option<&Value>, range: &RangeInclusive<u64>) -> Result<Option<u64>, String> {
    let Some(value) = value else { return Ok(None) };
    let bytes = value.as_str().and_then(bytes).filter(|n| range.contains(n));
    let (first, last) = (for_people(*range.start()), for_people(*range.end()));
    let wrong = || format!("{key} = {}: it takes a text such as \"32M\", from {first} to {last}", cut(value));
    bytes.ok_or_else(wrong).map(Some)
}

/// The path of a file below `/run`, which is in memory: PID 1 looks at it, and elsewhere that may never end.
pub(super) fn run_path(key: &str, value: &str) -> Result<(), String> {
    let below =
        value.strip_prefix("/run/").is_some_and(|rest| !rest.split('/').any(|part| part.is_empty() || part == ".."));
    if below { Ok(()) } else { Err(format!("{key} = \"{value:.80}\": it takes the path of a file below /run")) }
}

/// A value for a sentence. JSON is not cut by the precision of a format by itself, a text is.
fn cut(value: &Value) -> String {
    let text = value.to_string();
    format!("{text:.80}")
}

/// `K`, `M` and `G` are powers of 1024, as for the kernel.
fn bytes(text: &str) -> Option<u64> {
    let factor = match text.chars().last()? {
        'K' => KIB,
        'M' => KIB * KIB,
        'G' => KIB * KIB * KIB,
        _ => return None,
    };
    text[..text.len() - 1].parse::<u64>().ok()?.checked_mul(factor)
}

/// A size in the largest unit that gives a whole number.
pub fn for_people(bytes: u64) -> String {
    let units = [("GiB", KIB * KIB * KIB), ("MiB", KIB * KIB), ("KiB", KIB)];
    let (name, size) = units.into_iter().find(|(_, size)| bytes.is_multiple_of(*size)).unwrap_or(("bytes", 1));
    format!("{} {name}", bytes / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_run() {
        for path in ["/run/x", "/run/x/y.pid"] {
            assert_eq!(run_path("ready", path), Ok(()));
        }
        for path in ["", "run/x", "/run", "/run/", "/running/x", "/var/run/x", "/run/../srv/x", "/run//x", "/srv/x"] {
            let why = run_path("ready", path).unwrap_err();
            assert_eq!(why, format!("ready = \"{path}\": it takes the path of a file below /run"));
        }
    }

    #[test]
    fn long_values_are_cut() {
        let long = Value::from("9".repeat(1 << 16));
        let number = number::<u64>("start_timeout", Some(&long), &(1..=3600), "seconds").unwrap_err();
        let size = size("memory_max", Some(&long), &(1..=KIB)).unwrap_err();
        for why in [number, size] {
            assert!(why.contains("999: it takes") && why.len() < 200, "{} bytes: {why:.200}", why.len());
        }
    }

    #[test]
    fn sizes() {
        let read = |text: &str| size("memory_max", Some(&Value::from(text)), &(KIB * KIB..=KIB * KIB * KIB));
        for (text, bytes) in [("1024K", KIB * KIB), ("32M", 32 * KIB * KIB), ("1G", KIB * KIB * KIB)] {
            assert_eq!(read(text).unwrap(), Some(bytes), "{text}");
        }
        for text in
            ["", "M", "32", "-1M", "1.5M", "32m", "1023K", "2G", "99999999999999999999G", "18446744073709551615G", "é"]
        {
            let error = read(text).unwrap_err();
            assert!(error.contains(&format!("memory_max = \"{text}\"")) && error.contains("1 MiB to 1 GiB"), "{error}");
        }
        assert_eq!(for_people(1536 * KIB), "1536 KiB");
    }
}
