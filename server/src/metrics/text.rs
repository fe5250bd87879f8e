//! Prometheus' text format, version 0.0.4. Pure.

use std::fmt::{Display, Write as _};

use super::Histogram;

/// The media type.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What has been written so far.
#[derive(Debug, Default)]
pub struct Text(String);

/// Labels with their values, in order.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Text {
    /// Begins a metric: what follows until the next one is of it.
    pub fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    /// A number.
    pub fn value(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.line(format_args!("{name}{} {value}", shown(labels)));
    }

    /// A metric of one number without labels.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.value(name, &[], value);
    }

    /// Numbers by size, divided by `unit`.
    pub fn histogram(&mut self, name: &str, labels: Labels<'_>, numbers: &Histogram, unit: f64) {
        let (buckets, all, sum) = numbers.read();
        for (bound, count) in buckets {
            let bound = (bound as f64 / unit).to_string();
            self.value(&format!("{name}_bucket"), &[labels, &[("le", &bound)]].concat(), count);
        }
        self.value(&format!("{name}_bucket"), &[labels, &[("le", "+Inf")]].concat(), all);
        self.value(&format!("{name}_sum"), labels, sum as f64 / unit);
        self.value(&format!("{name}_count"), labels, all);
    }

    /// All of it.
    #[must_use]
    pub fn end(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to memory does not fail.
        let _: std::fmt::Result = writeln!(self.0, "{line}");
    }
}

fn shown(labels: Labels<'_>) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_prometheus_reads_it() {
        let mut text = Text::default();
        text.single("mk_a", "gauge", "Some.", 3);
        text.head("mk_b_seconds", "histogram", "Others.");
        let numbers = Histogram::new(&[1000, 2_500_000]);
        for number in [1000, 5_000_000] {
            numbers.add(number);
        }
        text.histogram("mk_b_seconds", &[("route", "a\"b\\\n")], &numbers, 1e6);
        let expected = "# HELP mk_a Some.\n# TYPE mk_a gauge\nmk_a 3\n# HELP mk_b_seconds Others.\n\
             # TYPE mk_b_seconds histogram\nmk_b_seconds_bucket{route=\"a\\\"b\\\\\\n\",le=\"0.001\"} 1\n\
             mk_b_seconds_bucket{route=\"a\\\"b\\\\\\n\",le=\"2.5\"} 1\n\
             mk_b_seconds_bucket{route=\"a\\\"b\\\\\\n\",le=\"+Inf\"} 2\n\
             mk_b_seconds_sum{route=\"a\\\"b\\\\\\n\"} 5.001\nmk_b_seconds_count{route=\"a\\\"b\\\\\\n\"} 2\n";
        assert_eq!(text.end(), expected);
    }
}
