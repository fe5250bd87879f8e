//! Which node is which expected machine. Pure: what nodes claim and hear in, the standing of each row out.
//!
//! Hardware values say which machine it is, a switch port says where it should be. A row that names both is found by its hardware,
//! wherever it is plugged in; one with a switch port alone is whatever is plugged in there, unless that is another row's machine.
//! A name goes to one node, and only where nothing else is possible.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::rack::Rack;

/// What became of an expected machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is there, and not elsewhere than expected as far as it is known.
    Present,
    /// No node has its hardware, or none is plugged in there.
    Missing,
    /// It is plugged in where another one is expected.
    Swapped,
    /// It is plugged in where nobody is expected.
    Moved,
    /// Several nodes may be it, or its node may be several.
    Ambiguous,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Present, Self::Missing, Self::Swapped, Self::Moved, Self::Ambiguous];

    /// Its name in URLs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Missing => "missing",
            Self::Swapped => "swapped",
            Self::Moved => "moved",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// What was found of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What became of it.
    pub standing: Standing,
    /// The node that it is.
    pub node: Option<i64>,
    /// Nodes that may be it, where that is ambiguous; those in its place, where it is elsewhere or missing.
    pub others: Vec<i64>,
    /// Rows that may be its node too, where that is ambiguous; the one in whose place it is, where it was swapped.
    pub rows: Vec<usize>,
    /// Where it is plugged in, where that is not as expected.
    pub at: Vec<String>,
}

/// What came of all rows.
#[derive(Debug, Default)]
pub struct Matched {
    /// By row.
    pub found: Vec<Found>,
    /// The row that a node is.
    pub rows: BTreeMap<i64, usize>,
    /// Nodes that may be a row and are not known to be.
    pub unsure: BTreeSet<i64>,
}

/// Gathers what nodes claim and hear.
#[derive(Debug)]
pub struct Matching<'a> {
    rack: &'a Rack,
    /// By row, the nodes with its hardware and those at its place.
    machines: Vec<BTreeSet<i64>>,
    plugged: Vec<BTreeSet<i64>>,
    /// By node, the rows with its hardware, those at its places, and all ports that it hears.
    claimed: BTreeMap<i64, BTreeSet<usize>>,
    placed: BTreeMap<i64, BTreeSet<usize>>,
    ports: BTreeMap<i64, BTreeSet<String>>,
}

impl<'a> Matching<'a> {
    /// Of these rows.
    #[must_use]
    pub fn new(rack: &'a Rack) -> Self {
        let none = vec![BTreeSet::new(); rack.rows.len()];
        let (claimed, placed, ports) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { rack, machines: none.clone(), plugged: none, claimed, placed, ports }
    }

    /// A node has this hardware value.
    pub fn claim(&mut self, node: i64, kind: &str, value: &str) {
        if let Some(row) = self.rack.by_key(kind, value) {
            self.machines[row].insert(node);
            self.claimed.entry(node).or_default().insert(row);
        }
    }

    /// A node hears this switch port.
    pub fn port(&mut self, node: i64, port: &str) {
        self.ports.entry(node).or_default().insert(port.to_owned());
        if let Some(row) = self.rack.by_place(port) {
            self.plugged[row].insert(node);
            self.placed.entry(node).or_default().insert(row);
        }
    }

    /// Judges all rows.
    #[must_use]
    pub fn done(self) -> Matched {
        let found: Vec<Found> = (0..self.rack.rows.len()).map(|row| self.judge(row)).collect();
        let named = found.iter().enumerate().filter_map(|(row, found)| Some((found.node?, row)));
        let rows: BTreeMap<i64, usize> = named.collect();
        let ambiguous = found.iter().filter(|found| found.standing == Standing::Ambiguous);
        let unsure =
            ambiguous.flat_map(|found| found.others.iter().copied()).filter(|n| !rows.contains_key(n)).collect();
        Matched { found, rows, unsure }
    }

    /// The row that a node is, as [`Self::done`] finds it, without looking at any other row.
    #[must_use]
    pub fn row_of(&self, node: i64) -> Option<usize> {
        let rows = self.claimed.get(&node).into_iter().chain(self.placed.get(&node)).flatten();
        rows.copied().find(|row| self.judge(*row).node == Some(node))
    }

    fn judge(&self, row: usize) -> Found {
        if self.rack.names_hardware(row) { self.by_hardware(row) } else { self.by_place(row) }
    }

    fn by_hardware(&self, row: usize) -> Found {
        let node = match single(&self.machines[row]) {
            Some(node) => node,
            None if self.machines[row].is_empty() => return self.missing(row),
            None => return ambiguous(&self.machines[row], BTreeSet::new()),
        };
        let rows: BTreeSet<usize> =
            self.claimed.get(&node).into_iter().flatten().copied().filter(|r| *r != row).collect();
        if !rows.is_empty() {
            return ambiguous(&self.machines[row], rows);
        }
        let is_elsewhere = self.rack.names_place(row)
            && !self.plugged[row].contains(&node)
            && self.ports.get(&node).is_some_and(|ports| !ports.is_empty());
        let present = Found {
            standing: Standing::Present,
            node: Some(node),
            others: Vec::new(),
            rows: Vec::new(),
            at: Vec::new(),
        };
        if !is_elsewhere {
            return present;
        }
        let rows: Vec<usize> = self.placed.get(&node).into_iter().flatten().copied().collect();
        let standing = if rows.is_empty() { Standing::Moved } else { Standing::Swapped };
        let at = self.ports.get(&node).into_iter().flatten().cloned().collect();
        Found { standing, rows, at, others: self.plugged[row].iter().copied().collect(), ..present }
    }

    /// Whatever is plugged in there and is no other row's machine.
    fn by_place(&self, row: usize) -> Found {
        let free: BTreeSet<i64> =
            self.plugged[row].iter().copied().filter(|node| !self.claimed.contains_key(node)).collect();
        let Some(node) = single(&free) else {
            return if free.is_empty() { self.missing(row) } else { ambiguous(&free, BTreeSet::new()) };
        };
        let also = self.placed.get(&node).into_iter().flatten().copied();
        let rows: BTreeSet<usize> = also.filter(|other| *other != row && !self.rack.names_hardware(*other)).collect();
        if rows.is_empty() {
            let (others, rows, at) = (Vec::new(), Vec::new(), Vec::new());
            Found { standing: Standing::Present, node: Some(node), others, rows, at }
        } else {
            ambiguous(&free, rows)
        }
    }

    fn missing(&self, row: usize) -> Found {
        let others = self.plugged[row].iter().copied().collect();
        Found { standing: Standing::Missing, node: None, others, rows: Vec::new(), at: Vec::new() }
    }
}

fn ambiguous(nodes: &BTreeSet<i64>, rows: BTreeSet<usize>) -> Found {
    let (others, rows) = (nodes.iter().copied().collect(), rows.into_iter().collect());
    Found { standing: Standing::Ambiguous, node: None, others, rows, at: Vec::new() }
}

fn single(nodes: &BTreeSet<i64>) -> Option<i64> {
    nodes.first().copied().filter(|_| nodes.len() == 1)
}

#[cfg(test)]
mod tests;
