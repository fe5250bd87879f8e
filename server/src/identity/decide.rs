//! The decision table: which node a machine is, by the nodes that share a match key with it.
//!
//! Rows bear the numbers of the design's table. Input is what the database knows of the candidates; output is a decision
//! with its row and the evidence, to be applied in the same transaction.

use serde::{Deserialize, Serialize};

use crate::identity::keys::Key;

/// A node that shares at least one match key with the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Node id.
    pub id: i64,
    /// Facts are stored for it.
    pub registered: bool,
    /// Its identity is disputed.
    pub held: bool,
    /// Another boot checked in as it within the last intervals.
    pub alive: bool,
    /// The keys it shares, in order.
    pub shared: Vec<Key>,
}

/// The node that a check-in says it is, by the id in its URL or by its boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own {
    /// Node id.
    pub id: i64,
    /// Facts are stored for it.
    pub registered: bool,
    /// The same boot has been recognised as this node before.
    pub proven: bool,
}

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Row of the table.
    pub row: u8,
    /// Verdict.
    pub verdict: Verdict,
    /// Keys that led to each node.
    pub evidence: Vec<Evidence>,
}

impl Decision {
    /// True when it is more than the plain recognition of one machine: nodes merge, or claim the same hardware.
    #[must_use]
    pub fn is_news(&self) -> bool {
        match &self.verdict {
            Verdict::Create => false,
            Verdict::Node { merge, conflict, .. } => !merge.is_empty() || !conflict.is_empty(),
            Verdict::Ambiguous { .. } => true,
        }
    }
}

/// One node's part in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Node id.
    pub node: i64,
    /// Shared keys as `kind=value`.
    pub keys: Vec<String>,
}

/// Which node it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// None that is known: make one.
    Create,
    /// This one; the others become its aliases.
    Node {
        /// Node id.
        id: i64,
        /// Unregistered duplicates to merge into it, in order.
        merge: Vec<i64>,
        /// Registered nodes that claim the same hardware.
        conflict: Vec<i64>,
    },
    /// Several claim it, and nothing tells which is right.
    Ambiguous {
        /// The registered nodes in dispute.
        nodes: Vec<i64>,
        /// The node that the machine is held as, if there is one.
        held_as: Option<i64>,
    },
}

/// Rows 2, 3 and 5: boot, nodeid and register-node. `candidates` are in order of id.
#[must_use]
pub fn boot(candidates: &[Candidate]) -> Decision {
    let (row, verdict) = match candidates {
        [] => (2, Verdict::Create),
        [one] => (3, Verdict::Node { id: one.id, merge: Vec::new(), conflict: Vec::new() }),
        many => (5, Verdict::Ambiguous { nodes: many.iter().map(|c| c.id).collect(), held_as: None }),
    };
    Decision { row, verdict, evidence: evidence(candidates) }
}

/// Rows 6, 7 and 9: a check-in with facts. `candidates` are in order of id.
#[must_use]
pub fn checkin(own: Option<Own>, candidates: &[Candidate]) -> Decision {
    let known = |own: &Own| own.proven || candidates.iter().any(|c| c.id == own.id);
    let own = own.filter(known);
    let registered: Vec<i64> = candidates.iter().filter(|c| c.registered && !c.held).map(|c| c.id).collect();
    let (row, verdict) = match own {
        Some(own) if own.registered => {
            let conflict = registered.into_iter().filter(|id| *id != own.id).collect();
            (7, Verdict::Node { id: own.id, merge: mergeable(candidates, own.id), conflict })
        }
        own => unregistered(own, &registered, candidates),
    };
    Decision { row, verdict, evidence: evidence(candidates) }
}

/// Rows 6 and 9: the machine's own node is unregistered or there is none.
fn unregistered(own: Option<Own>, registered: &[i64], candidates: &[Candidate]) -> (u8, Verdict) {
    match registered {
        [] => {
            let lowest = candidates.iter().filter(|c| !c.alive).map(|c| c.id).chain(own.map(|o| o.id)).min();
            match lowest {
                Some(id) => (6, Verdict::Node { id, merge: mergeable(candidates, id), conflict: Vec::new() }),
                None => (9, Verdict::Create),
            }
        }
        [one] => (6, Verdict::Node { id: *one, merge: mergeable(candidates, *one), conflict: Vec::new() }),
        many => {
            // A machine that is held once stays the same held node, whatever it boots from.
            let held = candidates.iter().find(|c| c.held).map(|c| c.id);
            (6, Verdict::Ambiguous { nodes: many.to_vec(), held_as: own.map(|o| o.id).or(held) })
        }
    }
}

/// Unregistered duplicates that nobody speaks for.
fn mergeable(candidates: &[Candidate], survivor: i64) -> Vec<i64> {
    let duplicates = candidates.iter().filter(|c| c.id != survivor && !c.registered && !c.held && !c.alive);
    duplicates.map(|c| c.id).collect()
}

fn evidence(candidates: &[Candidate]) -> Vec<Evidence> {
    candidates.iter().map(|c| Evidence { node: c.id, keys: c.shared.iter().map(Key::to_string).collect() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: i64, registered: bool) -> Candidate {
        let shared = vec![Key { kind: "serial".into(), value: "s".into() }];
        Candidate { id, registered, held: false, alive: false, shared }
    }

    fn own(id: i64, registered: bool) -> Option<Own> {
        Some(Own { id, registered, proven: false })
    }

    fn node(id: i64, merge: &[i64], conflict: &[i64]) -> Verdict {
        Verdict::Node { id, merge: merge.to_vec(), conflict: conflict.to_vec() }
    }

    #[test]
    fn boot_rows() {
        assert_eq!(boot(&[]).verdict, Verdict::Create);
        let one = boot(&[candidate(4, true)]);
        assert_eq!((one.row, one.verdict), (3, node(4, &[], &[])));
        assert_eq!(one.evidence, [Evidence { node: 4, keys: vec!["serial=s".into()] }]);
        let two = boot(&[candidate(4, true), candidate(5, false)]);
        assert_eq!((two.row, two.verdict), (5, Verdict::Ambiguous { nodes: vec![4, 5], held_as: None }));
    }

    #[test]
    fn row_6_none_registered_keeps_the_lowest_id() {
        let got = checkin(own(3, false), &[candidate(2, false), candidate(3, false)]);
        assert_eq!((got.row, got.verdict), (6, node(2, &[3], &[])));
    }

    #[test]
    fn row_6_one_registered_survives() {
        let got = checkin(own(2, false), &[candidate(2, false), candidate(3, true), candidate(4, false)]);
        assert_eq!((got.row, got.verdict), (6, node(3, &[2, 4], &[])));
    }

    #[test]
    fn row_6_two_registered_merge_nothing() {
        let got = checkin(own(4, false), &[candidate(2, true), candidate(3, true), candidate(4, false)]);
        assert_eq!((got.row, got.verdict), (6, Verdict::Ambiguous { nodes: vec![2, 3], held_as: Some(4) }));
    }

    #[test]
    fn a_held_machine_stays_the_same_node() {
        let held = Candidate { held: true, ..candidate(9, true) };
        let got = checkin(None, &[candidate(2, true), candidate(3, true), held]);
        assert_eq!(got.verdict, Verdict::Ambiguous { nodes: vec![2, 3], held_as: Some(9) });
    }

    #[test]
    fn row_7_own_registered_stays_and_names_the_conflict() {
        let got = checkin(own(3, true), &[candidate(2, true), candidate(3, true), candidate(4, false)]);
        assert_eq!((got.row, got.verdict), (7, node(3, &[4], &[2])));
    }

    #[test]
    fn an_id_without_a_shared_key_proves_nothing() {
        assert_eq!(checkin(own(7, true), &[]).verdict, Verdict::Create);
        assert_eq!(checkin(own(7, true), &[candidate(2, true)]).verdict, node(2, &[], &[]));
        let proven = Some(Own { id: 7, registered: true, proven: true });
        assert_eq!(checkin(proven, &[]).verdict, node(7, &[], &[]));
    }

    #[test]
    fn nodes_that_are_alive_or_held_are_not_merged() {
        let alive = Candidate { alive: true, ..candidate(5, false) };
        assert_eq!(checkin(own(6, false), &[alive.clone(), candidate(6, false)]).verdict, node(6, &[], &[]));
        assert_eq!(checkin(None, &[alive]).verdict, Verdict::Create);
    }
}
