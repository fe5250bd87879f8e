//! Sizes, speeds, times and foreign text for people. Exact values are in the JSON.

use std::borrow::Cow;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::store::configs::DIGESTS;

/// Bytes in the largest fitting unit of `units`, each `step` times the one before, with at most one digit.
#[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
fn scaled(bytes: u64, step: f64, units: [&str; 6]) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let text =
        if unit == 0 || (value * 10.0).round() % 10.0 == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{text} {}", units.get(unit).unwrap_or(&""))
}

/// Memory, in powers of 1024.
#[must_use]
pub fn memory(bytes: u64) -> String {
    scaled(bytes, 1024.0, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

/// Disks and files, in powers of 1000 as they are sold.
#[must_use]
pub fn disk(bytes: u64) -> String {
    scaled(bytes, 1000.0, ["B", "kB", "MB", "GB", "TB", "PB"])
}

/// Mbit/s as Gbit/s from a thousand on.
#[must_use]
pub fn speed(mbps: u32) -> String {
    match mbps {
        n if n >= 1000 && n % 1000 == 0 => format!("{} Gbit/s", n / 1000),
        n if n >= 1000 => format!("{}.{} Gbit/s", n / 1000, n % 1000 / 100),
        n => format!("{n} Mbit/s"),
    }
}

/// An RFC 3339 time without its fractions of a second.
#[must_use]
pub fn time(rfc3339: &str) -> String {
    match rfc3339.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => rfc3339.to_owned(),
    }
}

/// Seconds since an RFC 3339 time, from 0; nothing when it is none.
#[must_use]
pub fn seconds_since(rfc3339: &str, now: OffsetDateTime) -> Option<i64> {
    let then = OffsetDateTime::parse(rfc3339, &Rfc3339).ok()?;
    Some((now - then).whole_seconds().max(0))
}

/// A time span in its largest unit.
#[must_use]
pub fn duration(seconds: i64) -> String {
    let (number, unit) = match seconds {
        s if s < 120 => (s, "s"),
        s if s < 7200 => (s / 60, "min"),
        s if s < 172_800 => (s / 3600, "h"),
        s => (s / 86_400, "d"),
    };
    format!("{number} {unit}")
}

/// How long ago an RFC 3339 time was, in its largest unit.
#[must_use]
pub fn age(rfc3339: &str, now: OffsetDateTime) -> String {
    seconds_since(rfc3339, now).map_or_else(|| rfc3339.to_owned(), |s| format!("{} ago", duration(s)))
}

/// A time in UTC to the second: `2026-11-22 01:02:03 UTC`.
#[must_use]
pub fn moment(time: OffsetDateTime) -> String {
    let form = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    time.to_offset(time::UtcOffset::UTC).format(form).unwrap_or_default()
}

/// An RFC 3339 time as [`moment`] writes it.
#[must_use]
pub fn stamp(rfc3339: &str) -> String {
    OffsetDateTime::parse(rfc3339, &Rfc3339).map_or_else(|_| rfc3339.to_owned(), moment)
}

/// A number with its thousands apart.
#[must_use]
pub fn number(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::from(if n < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A number of things.
#[must_use]
pub fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Longest text of a machine that is shown, in characters.
const MAX_SHOWN: usize = 1000;
/// Longest part of a text that is put together from several, in characters: none shall push the others out.
const MAX_PART: usize = 200;

/// Text of a machine, made harmless: control characters, which could move a terminal's cursor, and characters that turn
/// the direction of writing show as `\u{fffd}`; what is too long is cut, and its length is named.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    within(text, MAX_SHOWN)
}

/// The same for a part of a text.
#[must_use]
pub fn part(text: &str) -> Cow<'_, str> {
    within(text, MAX_PART)
}

/// True for control characters, line separators, and characters that turn the direction of writing or cannot be seen.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    let unseen = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    unseen || c.is_control()
}

fn within(text: &str, most: usize) -> Cow<'_, str> {
    let long = text.len() > most && text.chars().nth(most).is_some();
    if !long && !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let shown: String = text.chars().take(most).map(|c| if is_harmful(c) { '\u{fffd}' } else { c }).collect();
    if long { format!("{shown}… ({} characters)", text.chars().count()).into() } else { shown.into() }
}

/// A configuration key's value, as it is typed; of the digests of extensions, how many there are, and of files and units
/// their names.
#[must_use]
pub fn setting(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(digests) if key == DIGESTS && digests.len() == 1 => "1 extension".to_owned(),
        Value::Object(digests) if key == DIGESTS => format!("{} extensions", digests.len()),
        Value::Object(files) if files.is_empty() => "none".to_owned(),
        Value::Object(files) => files.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_name_their_unit() {
        assert_eq!(memory(512 << 20), "512 MiB");
        assert_eq!(memory(16 << 30), "16 GiB");
        assert_eq!(memory(1536 << 20), "1.5 GiB");
        assert_eq!(disk(480_103_981_056), "480.1 GB");
        assert_eq!(disk(2_000_000_000_000), "2 TB");
        assert_eq!(disk(0), "0 B");
        assert_eq!(disk(u64::MAX), "18446.7 PB");
    }

    #[test]
    fn speeds_and_times() {
        assert_eq!(
            (speed(100), speed(1000), speed(2500), speed(25000)),
            ("100 Mbit/s".into(), "1 Gbit/s".into(), "2.5 Gbit/s".into(), "25 Gbit/s".into())
        );
        assert_eq!(time("2026-11-22T01:02:03.456Z"), "2026-11-22T01:02:03Z");
        assert_eq!(time("2026-11-22T01:02:03Z"), "2026-11-22T01:02:03Z");
    }

    #[test]
    fn moments_and_numbers() {
        assert_eq!(stamp("2026-11-22T02:02:03.456+01:00"), "2026-11-22 01:02:03 UTC");
        assert_eq!(stamp("never"), "never");
        assert_eq!((number(0), number(999), number(100_000)), ("0".into(), "999".into(), "100\u{202f}000".into()));
    }

    #[test]
    fn ages_are_in_one_unit() {
        let now = OffsetDateTime::from_unix_timestamp(1_000_000_000).unwrap();
        for (seconds, want) in
            [(0, "0 s ago"), (119, "119 s ago"), (600, "10 min ago"), (7200, "2 h ago"), (864_000, "10 d ago")]
        {
            let then = (now - time::Duration::seconds(seconds)).format(&Rfc3339).unwrap();
            assert_eq!(age(&then, now), want);
        }
        let later = (now + time::Duration::HOUR).format(&Rfc3339).unwrap();
        assert_eq!(age(&later, now), "0 s ago", "a clock that is behind");
        assert_eq!(age("never", now), "never");
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor_or_flood() {
        assert!(matches!(plain("Ünïcode 漢字 <b>"), Cow::Borrowed(_)));
        assert_eq!(plain("a\u{1b}[2Jb\r\nc\u{202e}d\0"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d\u{fffd}");
        assert_eq!(plain(&"x".repeat(MAX_SHOWN)), "x".repeat(MAX_SHOWN));
        let cut = plain(&"ü".repeat(1_000_000)).into_owned();
        assert!(cut.chars().count() < MAX_SHOWN + 40 && cut.ends_with("… (1000000 characters)"), "{cut}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_made_harmless(text in proptest::prelude::any::<String>()) {
            proptest::prop_assert!(!plain(&text).contains(char::is_control));
        }
    }
}
