//! Sizes, speeds and times for people. Exact values are in the JSON.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

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

/// How long ago an RFC 3339 time was, in its largest unit.
#[must_use]
pub fn age(rfc3339: &str, now: OffsetDateTime) -> String {
    let Ok(then) = OffsetDateTime::parse(rfc3339, &Rfc3339) else { return rfc3339.to_owned() };
    let seconds = (now - then).whole_seconds().max(0);
    let (number, unit) = match seconds {
        s if s < 120 => (s, "s"),
        s if s < 7200 => (s / 60, "min"),
        s if s < 172_800 => (s / 3600, "h"),
        s => (s / 86_400, "d"),
    };
    format!("{number} {unit} ago")
}

/// A number of things.
#[must_use]
pub fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
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
}
