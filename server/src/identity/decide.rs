//! The decision table: which node a machine is, by the nodes that share a match key with it and the evidence against each.
//!
//! Rows bear the numbers of the table in `docs/IDENTITY.md`. Input is what the database knows of the nodes in question;
//! output is a decision with its row and the evidence, to be applied in the same transaction. Nothing is read or written
//! here. Times are milliseconds.

mod checkin;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use checkin::checkin;

use crate::identity::comparison::Comparison;
use crate::identity::evidence::{Evidence, Group};
use crate::identity::keys::Key;
use crate::limits::MAX_NAMED;

/// How a node came to be in question; the first is the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// It has the match key now, alone or contested.
    Holds,
    /// It had the match key once.
    Had,
    /// Only a MAC that software made up leads to it, while better keys lead to nobody.
    Weak,
    /// No match key: the id in a URL names it, or its parts are in the machine.
    Hint,
}

/// A node that the machine might be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Node id.
    pub id: i64,
    /// Facts are stored for it.
    pub registered: bool,
    /// Its identity is disputed.
    pub held: bool,
    /// Time since another boot than the one that speaks now was heard as it.
    pub silence_ms: Option<i64>,
    /// Silence up to which that boot counts as alive.
    pub alive_ms: i64,
    /// Why it is in question.
    pub link: Link,
    /// The match keys it shares, in order.
    pub shared: Vec<Key>,
    /// Those of them that it had once and no longer has.
    pub lost: Vec<Key>,
    /// What is known of it.
    pub evidence: Evidence,
    /// That is what was known before a report that lacked a group of parts, which the machine shows now.
    pub reopened: bool,
    /// An operator said that it is another machine than the one that speaks.
    pub ruled_out: bool,
    /// Other candidates that an operator said to be other machines than this one.
    pub told_apart: Vec<i64>,
}

/// The node that a check-in says it is, by the id in its URL or by its boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own {
    /// Node id.
    pub id: i64,
    /// Facts are stored for it.
    pub registered: bool,
    /// Its identity is disputed.
    pub held: bool,
    /// The same boot has been recognised as this node before.
    pub proven: bool,
    /// All that is known of it comes from the boot that speaks, whose first reports may have been incomplete.
    pub newborn: bool,
    /// It has a hardware value that the machine reports, match key or not.
    pub shares: bool,
    /// Milliseconds since the boot that speaks was heard first; unknown for one that was not heard before.
    pub heard_ms: Option<i64>,
}

/// A check-in with facts.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// The node that it says it is.
    pub own: Option<Own>,
    /// What the machine reports.
    pub evidence: &'a Evidence,
    /// Since its kernel started; unknown for original clients.
    pub uptime_ms: Option<i64>,
    /// Nodes in question, in order of id.
    pub candidates: &'a [Candidate],
    /// Groups in which several nodes show the machine's number.
    pub common: &'a [Group],
}

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Row of the table.
    pub row: u8,
    /// Verdict.
    pub verdict: Verdict,
    /// What speaks for and against each node in question.
    pub evidence: Vec<Weighed>,
}

impl Decision {
    /// True when it is more than the plain recognition of one machine: nodes merge, or claim the same hardware.
    #[must_use]
    pub fn is_news(&self) -> bool {
        match &self.verdict {
            Verdict::Create { conflict } => !conflict.is_empty(),
            Verdict::Node { merge, conflict, .. } => !merge.is_empty() || !conflict.is_empty(),
            Verdict::Ambiguous { .. } => true,
        }
    }

    /// The same with no more nodes named than a log can hold: those of the verdict, then those that it might be.
    fn bounded(mut self) -> Self {
        match &mut self.verdict {
            Verdict::Create { conflict } | Verdict::Node { conflict, .. } => conflict.truncate(MAX_NAMED),
            Verdict::Ambiguous { nodes, .. } => nodes.truncate(MAX_NAMED),
        }
        if self.evidence.len() > MAX_NAMED {
            let mut named = self.others().to_vec();
            named.extend(self.verdict.taken());
            self.evidence.sort_by_key(|w| (!named.contains(&w.node), w.vetoed, w.differ.len(), w.node));
            self.evidence.truncate(MAX_NAMED);
            self.evidence.sort_by_key(|w| w.node);
        }
        self
    }

    /// The same with only these nodes in dispute.
    #[must_use]
    pub fn against(mut self, nodes: Vec<i64>) -> Self {
        match &mut self.verdict {
            Verdict::Create { conflict } | Verdict::Node { conflict, .. } => *conflict = nodes,
            Verdict::Ambiguous { nodes: all, .. } => *all = nodes,
        }
        self
    }

    /// Where the machine became node `id`: the other nodes that it has something in common with, and not by numbers that many
    /// show, be it less than half of its ports. One of them may have lost its machine to that node.
    pub fn akin(&self, id: i64) -> impl Iterator<Item = &Weighed> {
        let merged: &[i64] = if let Verdict::Node { merge, .. } = &self.verdict { merge } else { &[] };
        let in_common = |w: &Weighed| !w.partly.is_empty() || w.agree.iter().any(|group| !w.copied.contains(group));
        self.evidence.iter().filter(move |w| w.node != id && !merged.contains(&w.node) && in_common(w))
    }

    /// The nodes that the machine is in dispute with.
    #[must_use]
    pub fn others(&self) -> &[i64] {
        match &self.verdict {
            Verdict::Create { conflict } | Verdict::Node { conflict, .. } => conflict,
            Verdict::Ambiguous { nodes, .. } => nodes,
        }
    }
}

/// One node's part in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weighed {
    /// Node id.
    pub node: i64,
    /// Shared match keys as `kind=value`.
    pub keys: Vec<String>,
    /// Groups of evidence that agree.
    #[serde(default)]
    pub agree: Vec<Group>,
    /// Groups of evidence that differ.
    #[serde(default)]
    pub differ: Vec<Group>,
    /// Sets of which less than half is in common.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partly: Vec<Group>,
    /// Groups that agree, but by numbers that other nodes show too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copied: Vec<Group>,
    /// So much differs that it cannot be this machine.
    #[serde(default)]
    pub vetoed: bool,
    /// Another boot speaks as it.
    #[serde(default)]
    pub alive: bool,
}

/// Which node it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// None that is known: make one.
    Create {
        /// Nodes that it must be told from; with any, the new node is held.
        conflict: Vec<i64>,
    },
    /// This one; the others become its aliases.
    Node {
        /// Node id.
        id: i64,
        /// Duplicates to merge into it, in order.
        merge: Vec<i64>,
        /// Registered nodes that claim the same hardware.
        conflict: Vec<i64>,
        /// It is held while those claim it.
        held: bool,
    },
    /// Several claim it, and nothing tells which is right.
    Ambiguous {
        /// The registered nodes in dispute.
        nodes: Vec<i64>,
        /// The node that the machine is held as, if there is one.
        held_as: Option<i64>,
    },
}

impl Verdict {
    /// The nodes that are known already and whose place the machine takes: the one that it speaks as, and duplicates of it.
    #[must_use]
    pub fn taken(&self) -> Vec<i64> {
        let merged: &[i64] = if let Self::Node { merge, .. } = self { merge } else { &[] };
        self.known().into_iter().chain(merged.iter().copied()).collect()
    }

    /// The node that is known already and that the machine speaks as.
    #[must_use]
    pub fn known(&self) -> Option<i64> {
        match self {
            Self::Create { .. } => None,
            Self::Node { id, .. } => Some(*id),
            Self::Ambiguous { held_as, .. } => *held_as,
        }
    }

    /// Plain recognition.
    fn node(id: i64) -> Self {
        Self::Node { id, merge: Vec::new(), conflict: Vec::new(), held: false }
    }
}

/// A candidate with what the evidence says about it.
struct Judged<'a> {
    candidate: &'a Candidate,
    compared: Comparison,
    /// Both have a fact of the site's own, which outweighs what firmware says.
    same_fact: bool,
    vetoed: bool,
}

/// `newborn`: all that is known of this node comes from the boot that speaks, so that its being the same says nothing.
fn judge<'a>(
    candidates: &'a [Candidate],
    machine: &Evidence,
    common: &[Group],
    newborn: Option<i64>,
) -> Vec<Judged<'a>> {
    let judge = |candidate: &'a Candidate| {
        let compared = Comparison::of(&candidate.evidence, machine, common);
        let nics_changed = candidate.evidence.values(Group::Nic) != machine.values(Group::Nic);
        let same_fact = candidate.shared.iter().any(Key::is_fact);
        // Virtual machines have no parts to be replaced: another uuid or TPM and other ports are another machine.
        let numbered_anew = [Group::Uuid, Group::Tpm].iter().any(|group| compared.differ.contains(group));
        let other_virtual = candidate.evidence.is_of_virtual() && nics_changed && numbered_anew;
        let vetoed = candidate.ruled_out || (!same_fact && (other_virtual || compared.vetoes(nics_changed)));
        Judged { candidate, compared, same_fact, vetoed }
    };
    let mut judged: Vec<Judged> = candidates.iter().map(judge).collect();
    // Where one node is clearly the machine, another that has less in common in every respect gave it a part, or shares
    // its vendor's faults; little may be known of it, so that a veto of its own would not come about.
    let clear = judged.iter().filter(|j| !j.vetoed && j.candidate.link != Link::Hint && j.compared.is_clear());
    let settled = |c: &Candidate| c.registered && !c.held && newborn != Some(c.id);
    let clear: Vec<(Comparison, bool)> = clear.map(|j| (j.compared.clone(), settled(j.candidate))).collect();
    for other in judged.iter_mut().filter(|j| !j.same_fact) {
        // What only a boot made knows no more than numbers and a port: it merges, and is no copy.
        let copied = |c: &Comparison| other.candidate.registered && other.compared.is_copied_from(c);
        let gave = |c: &Comparison, settled: bool| settled && other.compared.gave_parts_to(c);
        other.vetoed |=
            clear.iter().any(|(c, settled)| other.compared.is_outdone_by(c) || copied(c) || gave(c, *settled));
    }
    judged
}

/// V: those that it may be, by the strongest link that any of them has.
fn possible<'a, 'b>(judged: &'b [Judged<'a>]) -> Vec<&'b Judged<'a>> {
    let open = |j: &&Judged| !j.vetoed && j.candidate.link != Link::Hint;
    let best = judged.iter().filter(open).map(|j| j.candidate.link).min();
    judged.iter().filter(open).filter(|j| Some(j.candidate.link) == best).collect()
}

fn weigh(judged: &[Judged], alive: impl Fn(&Candidate) -> bool) -> Vec<Weighed> {
    let weigh = |j: &Judged| Weighed {
        node: j.candidate.id,
        keys: j.candidate.shared.iter().map(Key::to_string).collect(),
        agree: j.compared.agree.clone(),
        differ: j.compared.differ.clone(),
        partly: j.compared.partly.clone(),
        copied: j.compared.copied.clone(),
        vetoed: j.vetoed,
        alive: alive(j.candidate),
    };
    judged.iter().map(weigh).collect()
}

/// Rows 2 to 5: boot, nodeid and register-node. `candidates` are in order of id, `machine` is what iPXE tells.
#[must_use]
pub fn boot(candidates: &[Candidate], machine: &Evidence) -> Decision {
    let judged = judge(candidates, machine, &[], None);
    let ids = |list: &[&Judged]| list.iter().map(|j| j.candidate.id).collect::<Vec<_>>();
    let (row, verdict) = match possible(&judged).as_slice() {
        [] if candidates.is_empty() => (2, Verdict::Create { conflict: Vec::new() }),
        [] => (4, Verdict::Create { conflict: candidates.iter().map(|c| c.id).collect() }),
        [one] => (3, Verdict::node(one.candidate.id)),
        many => match reported_it_all(many) {
            Some(id) => (3, Verdict::node(id)),
            None => (5, Verdict::Ambiguous { nodes: ids(many), held_as: None }),
        },
    };
    Decision { row, verdict, evidence: weigh(&judged, |_| false) }.bounded()
}

/// The one node that has reported every key that the others share with the machine, and more: the others have lost theirs
/// to it, and have not been heard since. A key that a node lost to another one does not count for it.
fn reported_it_all(many: &[&Judged]) -> Option<i64> {
    let keys = |j: &Judged| {
        let Candidate { link, shared, lost, .. } = j.candidate;
        let counts = |key: &&Key| *link != Link::Holds || !lost.contains(key);
        shared.iter().filter(counts).cloned().collect::<BTreeSet<Key>>()
    };
    let has_all = |j: &&&Judged| {
        let mine = keys(j);
        let more_than = |other: &Judged| {
            let theirs = keys(other);
            theirs.is_subset(&mine) && theirs.len() < mine.len()
        };
        j.candidate.registered && many.iter().all(|o| o.candidate.id == j.candidate.id || more_than(o))
    };
    many.iter().find(has_all).map(|j| j.candidate.id)
}

#[cfg(test)]
mod tests;
