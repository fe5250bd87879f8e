//! How much a YAML text becomes once it is read. Each alias (`*a`) is read as another copy of what its anchor (`&a`) marks, and may lie in
//! what is copied again: a few lines can stand for more than fits into any memory. Pure.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use yaml_rust2::parser::{Event, EventReceiver, Parser};

/// Checks that a text stands for at most so many nodes and bytes of their texts.
///
/// # Errors
/// It stands for more, or is no YAML.
pub(super) fn check(text: &str, most: u64) -> Result<()> {
    let mut count = Count::default();
    Parser::new_from_str(text).load(&mut count, true)?;
    ensure!(count.all <= most, "its aliases stand for more than {most} bytes; it is damaged or made to harm");
    Ok(())
}

/// What was counted so far.
#[derive(Default)]
struct Count {
    all: u64,
    /// Lists and mappings that have not ended: their anchors, and what was counted before them.
    open: Vec<(usize, u64)>,
    /// What each anchor marks.
    marked: BTreeMap<usize, u64>,
}

impl Count {
    fn add(&mut self, size: u64) {
        self.all = self.all.saturating_add(size);
    }
}

impl EventReceiver for Count {
    fn on_event(&mut self, event: Event) {
        match event {
            Event::Scalar(text, _, anchor, _) => {
                self.add(1 + text.len() as u64);
                self.marked.insert(anchor, 1 + text.len() as u64);
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                self.open.push((anchor, self.all));
                self.add(1);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((anchor, before)) = self.open.pop() {
                    self.marked.insert(anchor, self.all.saturating_sub(before));
                }
            }
            // One that marks what it lies in is read as nothing.
            Event::Alias(anchor) => self.add(self.marked.get(&anchor).copied().unwrap_or(1)),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart | Event::DocumentEnd => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first of these lines has two letters, and each of the others nine of the one before.
    fn laughs(lines: usize) -> String {
        let line = |n: usize| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 9].join(","));
        format!("l0: &l0 ha\n{}", (1..lines).map(line).collect::<String>())
    }

    #[test]
    fn aliases_of_aliases_are_counted_as_often_as_they_are_read() {
        assert!(check(&laughs(4), 5000).is_ok());
        assert!(check(&laughs(5), 5000).is_err());
        let error = check(&laughs(60), 1 << 22).unwrap_err().to_string();
        assert!(error.contains("aliases"), "{error}");
    }

    #[test]
    fn what_old_gems_have_is_little() {
        assert!(check("requirement: &id001\n  a: '0'\nversion_requirements: *id001\n", 64).is_ok());
        assert!(check("a: &a [*a, *a]\n", 64).is_ok());
        assert!(check("[", 64).is_err());
    }
}
