//! What a row of the benchmark gives: lines with figure, peer, ratio and goal, and tables of details. Pure: printed as
//! Markdown, ready for `docs/BENCHMARKS.md`, or as JSON.

use serde_json::{Value, json};

/// Several measurements of one thing, in the line's unit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Measurements in any order.
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// A thing that is the same however often it is measured.
    pub(crate) fn one(value: f64) -> Self {
        Self(vec![value])
    }

    /// The one in the middle; of an even number the upper one of the two.
    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Median, and between which values all of them lie.
    fn text(&self, unit: &str) -> String {
        let middle = format!("{} {unit}", short(self.median()));
        match (self.0.first(), self.0.last()) {
            (Some(least), Some(most)) if least < most => {
                format!("{middle} ({} to {}, n={})", short(*least), short(*most), self.0.len())
            }
            _ => middle,
        }
    }
}

/// A number with three digits at least.
fn short(value: f64) -> String {
    match value {
        v if v.abs() >= 100.0 => format!("{v:.0}"),
        v if v.abs() >= 10.0 => format!("{v:.1}"),
        v if v.abs() >= 1.0 => format!("{v:.2}"),
        v => format!("{v:.4}"),
    }
}

/// What a line is to reach. Less is better in all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Goal {
    /// The figure, in the line's unit.
    pub(crate) at_most: Option<f64>,
    /// The peer's figure divided by ours.
    pub(crate) ratio: Option<f64>,
}

impl Goal {
    /// Only an upper bound.
    pub(crate) fn at_most(value: f64) -> Self {
        Self { at_most: Some(value), ratio: None }
    }

    /// Only a ratio to the peer.
    pub(crate) fn ratio(value: f64) -> Self {
        Self { at_most: None, ratio: Some(value) }
    }

    fn text(self, unit: &str) -> String {
        let most = self.at_most.map(|v| format!("≤ {v} {unit}"));
        let ratio = self.ratio.map(|v| format!("≥ {v} ×"));
        most.into_iter().chain(ratio).collect::<Vec<_>>().join(", ")
    }
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: Samples,
    /// Who else was measured in the same run, and what that gave.
    pub(crate) peer: Option<(String, Samples)>,
    pub(crate) goal: Goal,
}

impl Line {
    /// How often ours fits into the peer's.
    fn ratio(&self) -> Option<f64> {
        self.peer.as_ref().map(|(_, peer)| peer.median() / self.ours.median())
    }

    /// Whether the goal is reached; nothing where there is none, or where the peer for it was not measured.
    fn met(&self) -> Option<bool> {
        let most = self.goal.at_most.map(|most| self.ours.median() <= most);
        let ratio = self.goal.ratio.and_then(|least| Some(self.ratio()? >= least));
        match (most, ratio) {
            (None, None) => None,
            (most, ratio) => Some(most.unwrap_or(true) && ratio.unwrap_or(true)),
        }
    }

    fn cells(&self) -> Vec<String> {
        let met = self.met().map_or("-", |met| if met { "yes" } else { "**no**" });
        let peer = self.peer.as_ref().map(|(name, samples)| format!("{name}: {}", samples.text(self.unit)));
        vec![
            self.what.clone(),
            self.goal.text(self.unit),
            self.ours.text(self.unit),
            peer.unwrap_or_default(),
            self.ratio().map(|r| format!("{} ×", short(r))).unwrap_or_default(),
            met.to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let samples = |s: &Samples| json!({"median": s.median(), "values": s.0});
        json!({
            "what": self.what,
            "unit": self.unit,
            "figure": samples(&self.ours),
            "peer": self.peer.as_ref().map(|(name, s)| json!({"name": name, "figure": samples(s)})),
            "ratio": self.ratio(),
            "goal": {"at_most": self.goal.at_most, "ratio": self.goal.ratio},
            "met": self.met(),
        })
    }
}

/// What stands behind a figure: where the time goes, what fills the bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Detail {
    pub(crate) title: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// All that one row of the benchmark gives.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Findings {
    pub(crate) lines: Vec<Line>,
    pub(crate) details: Vec<Detail>,
    /// What was not measured, and why.
    pub(crate) notes: Vec<String>,
}

impl Findings {
    /// For people, and for the document.
    pub(crate) fn markdown(&self, title: &str) -> String {
        let head = ["what", "goal", "figure", "peer", "ratio", "met"].map(str::to_owned);
        let mut text = format!("## {title}\n");
        if !self.lines.is_empty() {
            text.push('\n');
            text.push_str(&table(&head, &self.lines.iter().map(Line::cells).collect::<Vec<_>>()));
        }
        for detail in &self.details {
            text.push_str(&format!("\n{}:\n\n{}", detail.title, table(&detail.head, &detail.rows)));
        }
        for note in &self.notes {
            text.push_str(&format!("\n{note}\n"));
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let details = self.details.iter().map(|d| json!({"title": d.title, "head": d.head, "rows": d.rows}));
        json!({
            "lines": self.lines.iter().map(Line::json).collect::<Vec<_>>(),
            "details": details.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|{}\n", " --- |".repeat(head.len()));
    rows.iter().fold(line(head) + &rule, |text, row| text + &line(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(ours: &[f64], peer: Option<f64>, goal: Goal) -> Line {
        let peer = peer.map(|p| ("peer".to_owned(), Samples::one(p)));
        Line { what: "x".into(), unit: "s", ours: Samples::new(ours.to_vec()), peer, goal }
    }

    #[test]
    fn the_median_stands_with_its_spread() {
        assert_eq!(Samples::new(vec![3.0, 1.0, 2.0]).text("s"), "2.00 s (1.00 to 3.00, n=3)");
        assert_eq!(Samples::one(0.0061).text("s"), "0.0061 s");
        assert_eq!(Samples::one(160.0).text("MiB"), "160 MiB");
    }

    #[test]
    fn a_goal_needs_all_of_its_parts() {
        let both = Goal { at_most: Some(1.5), ratio: Some(3.0) };
        assert_eq!(line(&[1.0], Some(4.0), both).met(), Some(true));
        assert_eq!(line(&[1.0], Some(2.0), both).met(), Some(false));
        assert_eq!(line(&[1.6], Some(9.0), both).met(), Some(false));
        assert_eq!(line(&[1.0], None, both).met(), Some(true), "a peer that was not measured decides nothing");
        assert_eq!(line(&[1.0], None, Goal::ratio(3.0)).met(), None);
        assert_eq!(line(&[1.0], Some(1.0), Goal::default()).met(), None);
    }

    #[test]
    fn tables_are_markdown() {
        let findings = Findings {
            lines: vec![line(&[1.0], Some(4.0), Goal::ratio(3.0))],
            details: vec![Detail {
                title: "Where".into(),
                head: vec!["a".into(), "b".into()],
                rows: vec![vec!["1".into(), "2".into()]],
            }],
            notes: vec!["Not all.".into()],
        };
        let text = findings.markdown("Row");
        assert!(text.contains("| x | ≥ 3 × | 1.00 s | peer: 4.00 s | 4.00 × | yes |\n"), "{text}");
        assert!(text.contains("\nWhere:\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n"), "{text}");
        assert_eq!(findings.json()["lines"][0]["ratio"], 4.0);
    }
}
