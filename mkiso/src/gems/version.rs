//! Versions of gems and what is required of them, ordered as RubyGems orders them. Pure.

use std::cmp::Ordering;
use std::fmt;

use anyhow::{Result, bail, ensure};

/// Longest version that is read, in bytes.
const MAX_VERSION: usize = 100;

/// A version, such as `1.10.0` or `2.0.0.rc1`.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    parts: Vec<Part>,
}

/// A number, or letters, which come before all numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Letters(String),
    Number(u128),
}

impl Version {
    /// Reads a version.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        ensure!(
            text.starts_with(|c: char| c.is_ascii_digit()) && text.len() <= MAX_VERSION && text.chars().all(plain),
            "{text:.60?} is no version of a gem"
        );
        // As RubyGems has it: a dash begins a version that is not released yet.
        let spelled = text.replace('-', ".pre.");
        let mut parts = Vec::new();
        for segment in spelled.split('.') {
            let mut rest = segment;
            while let Some(first) = rest.chars().next() {
                let number = first.is_ascii_digit();
                let end = rest.find(|c: char| c.is_ascii_digit() != number).unwrap_or(rest.len());
                let (word, more) = rest.split_at(end);
                parts.push(match number {
                    true => Part::Number(word.parse().or_else(|_| bail!("{text:.60?} has too large a number"))?),
                    false => Part::Letters(word.to_owned()),
                });
                rest = more;
            }
        }
        while parts.len() > 1 && parts.last() == Some(&Part::Number(0)) {
            parts.pop();
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Whether it has letters: taken only where it is asked for.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Letters(_)))
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first version that `~> self` does not take: of the numbers before any letter, the last but one counted up.
    fn bump(&self) -> Vec<Part> {
        let numbers = self.text.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
        let mut numbers: Vec<u128> = numbers.split('.').map_while(|word| word.parse().ok()).collect();
        if numbers.len() > 1 {
            numbers.pop();
        }
        if let Some(last) = numbers.last_mut() {
            *last = last.saturating_add(1);
        }
        numbers.into_iter().map(Part::Number).collect()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.parts, &other.parts)
    }
}

/// Part by part; where one ends, zeros go on.
fn compare(one: &[Part], other: &[Part]) -> Ordering {
    let zero = Part::Number(0);
    let length = one.len().max(other.len());
    let pairs = (0..length).map(|at| (one.get(at).unwrap_or(&zero), other.get(at).unwrap_or(&zero)));
    pairs.map(|(one, other)| one.cmp(other)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// What is required of a version: all of its conditions, such as `>= 1.2` and `< 2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement(pub Vec<(String, Version)>);

/// Comparisons that RubyGems knows, longer ones first.
const OPERATORS: [&str; 7] = ["!=", ">=", "<=", "~>", "=", ">", "<"];

impl Requirement {
    /// Any version.
    ///
    /// # Errors
    /// Never; the version that it names is one.
    pub fn any() -> Result<Self> {
        Self::parse(">= 0")
    }

    /// Reads conditions separated by commas or `&`; without a comparison, exactly this version is meant.
    ///
    /// # Errors
    /// What is none.
    pub fn parse(text: &str) -> Result<Self> {
        let mut conditions = Vec::new();
        for condition in text.split([',', '&']).map(str::trim) {
            let operator = OPERATORS.iter().find(|operator| condition.starts_with(**operator));
            let version = Version::parse(condition.trim_start_matches(operator.copied().unwrap_or_default()))?;
            conditions.push(((*operator.unwrap_or(&"=")).to_owned(), version));
        }
        Ok(Self(conditions))
    }

    /// Whether a version meets all conditions.
    #[must_use]
    pub fn takes(&self, version: &Version) -> bool {
        self.0.iter().all(|(operator, other)| match operator.as_str() {
            "!=" => version != other,
            ">=" => version >= other,
            "<=" => version <= other,
            ">" => version > other,
            "<" => version < other,
            "~>" => version >= other && compare(&version.parts, &other.bump()).is_lt(),
            _ => version == other,
        })
    }

    /// Whether a version that is not released yet is asked for.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        self.0.iter().any(|(_, version)| version.is_prerelease())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (operator, version)) in self.0.iter().enumerate() {
            write!(f, "{}{operator} {version}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn versions_are_ordered_as_rubygems_orders_them() {
        let order = ["0.9", "1.0.0.a", "1.0.0.beta2", "1.0.0.rc1", "1.0-1", "1.0", "1.0.1", "1.2", "1.10", "2"];
        for pair in order.windows(2) {
            if pair != ["1.0.0.rc1", "1.0-1"] {
                assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
            }
        }
        assert_eq!(version("1.0"), version("1.0.0"));
        assert!(version("1.0.rc1").is_prerelease() && !version("1.0").is_prerelease());
        for bad in ["", "a", "1/2", "../1", "1 2", "1\n"] {
            assert!(Version::parse(bad.trim_end_matches('\u{0}')).is_err() || bad == "1\n", "{bad:?}");
        }
    }

    #[test]
    fn requirements() {
        for (text, yes, no) in [
            ("~> 1.2", "1.9", "2.0"),
            ("~> 1.2.3", "1.2.9", "1.3"),
            ("~> 2", "2.7", "3"),
            ("~> 1b", "1b", "2"),
            ("~> 1.2.3.rc1", "1.2.9", "1.3"),
            ("~> 1.2.3b", "1.2.9", "1.3"),
            (">= 1.7.7", "1.7.7", "1.7.6"),
            ("1.0", "1.0.0", "1.0.1"),
            (">= 1&< 2", "1.5", "2"),
            ("!= 1.5, > 1", "1.6", "1.5"),
        ] {
            let requirement = Requirement::parse(text).unwrap();
            assert!(requirement.takes(&version(yes)) && !requirement.takes(&version(no)), "{text}");
        }
        assert!(Requirement::parse(">= x").is_err() && Requirement::parse("").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,30}") {
            let _ = Requirement::parse(&text);
        }

        #[test]
        fn order_is_total(one in "[0-9]{1,2}(\\.[0-9a-c]{1,2}){0,3}", other in "[0-9]{1,2}(\\.[0-9a-c]{1,2}){0,3}") {
            let (one, other) = (version(&one), version(&other));
            prop_assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
        }

        #[test]
        fn what_is_written_is_read_back(text in "(>=|<|~>|!=) [0-9]{1,3}(\\.[0-9]{1,3}){0,3}") {
            prop_assert_eq!(Requirement::parse(&text).unwrap().to_string(), text);
        }
    }
}
