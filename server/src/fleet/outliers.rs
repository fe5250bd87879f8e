//! Which machines of a product are odd, by counting: nobody writes a profile. Pure.
//!
//! What two thirds of the machines have is common, among those of which it is known and from three of them on; who has something else
//! is odd. Where nothing is common, that is said, and nobody is called odd. A part that is missing, or is there and is not at the
//! others, is odd as a whole; its single values are not counted up then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::describe::device_name;
use crate::fleet::makeup::Area;
use crate::fleet::parts::PRESENCE;
use crate::limits::{LEAST_ALIKE, MAX_SPLIT_VALUES};

/// What is odd at a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Odd {
    /// The part, such as `DIMM A1`.
    pub part: String,
    /// What about it, such as `speed`; [`PRESENCE`] for the part itself.
    pub what: String,
    /// What the machine has.
    pub has: String,
    /// What is common.
    pub common: String,
    /// So many of the others have that.
    pub at: i64,
    /// Others of which it is known.
    pub others: i64,
}

/// Where no value is common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The part.
    pub part: String,
    /// What about it.
    pub what: String,
    /// The values with the number of machines that have each, the most frequent first.
    pub values: Vec<(String, i64)>,
    /// How many further values there are.
    pub more: usize,
}

/// What counting one area of a product's machines shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    /// What is odd at the machines that have each content, in the order in which these were given.
    pub odd: Vec<Vec<Odd>>,
    /// Where nothing is common.
    pub split: Vec<Split>,
}

/// Machines by value.
type Counts<'a> = BTreeMap<&'a str, i64>;

const PRESENT: &str = "present";
const ABSENT: &str = "absent";

/// Counts one area over a product's machines: its different contents, each with the number of machines that have it.
#[must_use]
pub fn judge(contents: &[(&Area, i64)]) -> Judged {
    let machines: i64 = contents.iter().map(|(_, n)| n).sum();
    let mut parts: BTreeMap<&str, Part<'_>> = BTreeMap::new();
    for (area, n) in contents {
        for alike in &area.alike {
            for part in &alike.parts {
                let part = parts.entry(part).or_default();
                part.at += n;
                for (what, value) in &alike.known {
                    *part.values.entry(what).or_default().entry(value).or_default() += n;
                }
            }
        }
    }
    let norms: BTreeMap<&str, Norm<'_>> = parts.iter().map(|(name, part)| (*name, part.norm(machines))).collect();
    Judged {
        odd: contents.iter().map(|(area, _)| odd(area, machines, &norms)).collect(),
        split: norms.iter().flat_map(|(name, norm)| norm.splits(name)).collect(),
    }
}

/// A part over all machines.
#[derive(Default)]
struct Part<'a> {
    /// Machines that have it.
    at: i64,
    values: BTreeMap<&'a str, Counts<'a>>,
}

/// What is usual of a part.
struct Norm<'a> {
    presence: Vec<(&'a str, i64)>,
    is_common: Option<bool>,
    at: i64,
    values: BTreeMap<&'a str, Usual<'a>>,
}

/// Values by frequency, and the common one.
struct Usual<'a> {
    counts: Vec<(&'a str, i64)>,
    common: Option<(&'a str, i64)>,
    known: i64,
}

impl<'a> Part<'a> {
    fn norm(&self, machines: i64) -> Norm<'a> {
        let presence = Usual::of(&BTreeMap::from([(PRESENT, self.at), (ABSENT, machines - self.at)]));
        let is_common = presence.common.map(|(value, _)| value == PRESENT);
        let values = self.values.iter().map(|(what, counts)| (*what, Usual::of(counts))).collect();
        Norm { presence: presence.counts, is_common, at: self.at, values }
    }
}

impl<'a> Usual<'a> {
    fn of(counts: &Counts<'a>) -> Self {
        let mut counts: Vec<(&str, i64)> =
            counts.iter().map(|(value, n)| (*value, *n)).filter(|(_, n)| *n > 0).collect();
        counts.sort_by_key(|(value, n)| (-n, *value));
        let known = counts.iter().map(|(_, n)| n).sum();
        let common = counts.first().copied().filter(|(_, n)| known >= LEAST_ALIKE && n * 3 >= known * 2);
        Self { counts, common, known }
    }

    fn split(&self, part: &str, what: &str) -> Option<Split> {
        let is_split = self.common.is_none() && self.counts.len() > 1 && self.known >= LEAST_ALIKE;
        is_split.then(|| Split::of(part, what, &self.counts))
    }
}

impl Split {
    fn of(part: &str, what: &str, counts: &[(&str, i64)]) -> Self {
        let shown = counts.iter().take(MAX_SPLIT_VALUES).map(|(value, n)| ((*value).to_owned(), *n)).collect();
        let more = counts.len().saturating_sub(MAX_SPLIT_VALUES);
        Self { part: part.to_owned(), what: what.to_owned(), values: shown, more }
    }
}

impl Norm<'_> {
    /// A part that few machines have has nothing that could be common.
    fn splits(&self, part: &str) -> Vec<Split> {
        match self.is_common {
            Some(true) => self.values.iter().filter_map(|(what, usual)| usual.split(part, what)).collect(),
            Some(false) => Vec::new(),
            None if self.presence.iter().map(|(_, n)| n).sum::<i64>() < LEAST_ALIKE => Vec::new(),
            None => vec![Split::of(part, PRESENCE, &self.presence)],
        }
    }
}

/// What is odd at the machines with this content.
fn odd(area: &Area, machines: i64, norms: &BTreeMap<&str, Norm<'_>>) -> Vec<Odd> {
    let new = |part: &str, what: &str, has: &str, common: &str, at: i64, others: i64| Odd {
        part: part.to_owned(),
        what: what.to_owned(),
        has: has.to_owned(),
        common: common.to_owned(),
        at,
        others,
    };
    let mut found = Vec::new();
    let mut here: BTreeMap<&str, &BTreeMap<String, String>> = BTreeMap::new();
    for alike in &area.alike {
        here.extend(alike.parts.iter().map(|part| (part.as_str(), &alike.known)));
    }
    for (part, norm) in norms {
        match (here.get(part), norm.is_common) {
            (None, Some(true)) => found.push(new(part, PRESENCE, ABSENT, PRESENT, norm.at, machines - 1)),
            (Some(_), Some(false)) => {
                found.push(new(part, PRESENCE, PRESENT, ABSENT, machines - norm.at, machines - 1));
            }
            (Some(known), _) => {
                for (what, usual) in &norm.values {
                    let (Some((common, at)), Some(has)) = (usual.common, known.get(*what)) else { continue };
                    if has != common {
                        found.push(new(part, what, has, common, at, usual.known - 1));
                    }
                }
            }
            (None, _) => {}
        }
    }
    found
}

/// What is odd, in a sentence without its end.
#[must_use]
pub fn sentence(odd: &Odd) -> String {
    let Odd { part, what, has, common, at, others } = odd;
    let of = format!("{at} of {others} others");
    match (what.as_str(), has.as_str()) {
        (PRESENCE, ABSENT) => format!("{part} is not there; {of} have it"),
        (PRESENCE, _) => format!("{part} is there; {of} have none"),
        _ => format!("{part}: {what} {}; {of}: {}", named(what, has), named(what, common)),
    }
}

/// Where nothing is common, in a sentence without its end.
#[must_use]
pub fn split_sentence(split: &Split) -> String {
    let Split { part, what, values, more } = split;
    let each = values.iter().map(|(value, n)| format!("{} at {n}", named(what, value))).collect::<Vec<_>>().join(", ");
    let more = if *more > 0 { format!(", and {more} other values") } else { String::new() };
    format!("{part}: {what}: {each}{more}")
}

/// A PCI id with its name; all else as it is.
fn named(what: &str, value: &str) -> String {
    match device_name(value) {
        Some(name) if what == "device" => format!("{name} ({value})"),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests;
