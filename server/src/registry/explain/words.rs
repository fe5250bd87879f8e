//! A decision in words: which row of the table, what comes of it, and for each node in question why it is the machine or
//! why it is not. Pure.

use serde::Serialize;

use crate::identity::decide::{Decision, Verdict, Weighed};
use crate::identity::evidence::Group;
use crate::store::nodes::name;

/// When a decision is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// iPXE asks what to boot.
    Boot,
    /// The agent reports all hardware.
    CheckIn,
    /// The last decision about a node, whichever it was.
    Last,
}

/// A decision explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// When it is made.
    pub moment: Moment,
    /// Row of the table in `docs/IDENTITY.md`; 0 for an operator's word.
    pub row: u8,
    /// What the row says.
    pub rule: &'static str,
    /// What comes of it.
    pub outcome: String,
    /// The nodes in question, in order of id.
    pub nodes: Vec<Part>,
}

/// A node's part in a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Name of the node.
    pub name: String,
    /// Why it is the machine, or why it is not.
    pub why: String,
    /// Shared match keys as `kind=value`.
    pub keys: Vec<String>,
    /// Groups of evidence that agree.
    pub agree: Vec<Group>,
    /// Groups of evidence that differ.
    pub differ: Vec<Group>,
}

/// Explains a decision that was made at this moment.
#[must_use]
pub(super) fn explain(moment: Moment, decision: &Decision) -> Explanation {
    let part = |w: &Weighed| Part {
        name: name(w.node),
        why: why(w, &decision.verdict),
        keys: w.keys.clone(),
        agree: w.agree.clone(),
        differ: w.differ.clone(),
    };
    Explanation {
        moment,
        row: decision.row,
        rule: rule(decision.row),
        outcome: outcome(moment, decision),
        nodes: decision.evidence.iter().map(part).collect(),
    }
}

/// What a row of the table says, in one sentence.
#[must_use]
pub(super) fn rule(row: u8) -> &'static str {
    match row {
        0 => "An operator said so.",
        1 => "The machine has no usable match key.",
        2 => "At a boot, no node has or had a match key of the machine.",
        3 => "At a boot, one node is left that the machine may be.",
        4 => "At a boot, nodes share a match key, but too much speaks against each of them.",
        5 => "At a boot, the machine may be any of several nodes.",
        6 => "At a check-in without a registered node of its own, the registered nodes that it may be are counted.",
        7 => "At a check-in, the machine's own node has reported before and still fits.",
        8 => "At a check-in, too much speaks against the node that the machine was said to be.",
        9 => "At a check-in, no registered node has its match keys; parts and numbers are compared.",
        10 => "What a report has is the node's, what it misses is not any more.",
        11 => "The node spoke through another boot after this machine had started, so these are two machines.",
        12 => "Two boots speak in turns as one node, so these are two machines.",
        13 => "Original clients with different hw_id take turns as one node.",
        _ => "This version does not know the rule.",
    }
}

fn outcome(moment: Moment, decision: &Decision) -> String {
    match &decision.verdict {
        Verdict::Create { conflict } if conflict.is_empty() => "A new node.".to_owned(),
        Verdict::Create { conflict } => {
            format!("A new node, held, since the machine has hardware of {}.", names(conflict))
        }
        Verdict::Node { id, merge, conflict, held } => {
            let mut text = format!("It is {}", name(*id));
            if !merge.is_empty() {
                text += &format!("; {} {} into it", names(merge), if merge.len() == 1 { "merges" } else { "merge" });
            }
            match (conflict.is_empty(), held) {
                (false, true) => text += &format!("; held, since the machine has hardware of {}", names(conflict)),
                (false, false) => text += &format!("; {} claims hardware of it too", names(conflict)),
                (true, _) => {}
            }
            text + "."
        }
        Verdict::Ambiguous { nodes, .. } if moment == Moment::Boot => format!(
            "It may be {}. It boots the microkernel without an id, and its check-in decides.",
            alternatives(nodes)
        ),
        Verdict::Ambiguous { nodes, held_as } => {
            let as_what = held_as.map_or_else(|| "as a new node".to_owned(), |id| format!("as {}", name(id)));
            let why = match decision.row {
                11 | 12 => format!("{} is another machine with the same values", names(nodes)),
                _ => format!("it may be {}", alternatives(nodes)),
            };
            format!("Held {as_what}: {why}.")
        }
    }
}

/// Why a node is the machine, or why it is not.
fn why(weighed: &Weighed, verdict: &Verdict) -> String {
    let id = weighed.node;
    let alive = if weighed.alive { " Another boot speaks as it now, or did lately." } else { "" };
    let (this, merged, disputed) = match verdict {
        Verdict::Create { conflict } => (false, false, conflict.contains(&id)),
        Verdict::Node { id: it, merge, conflict, .. } => (*it == id, merge.contains(&id), conflict.contains(&id)),
        Verdict::Ambiguous { nodes, .. } => (false, false, nodes.contains(&id)),
    };
    let linked = !weighed.keys.is_empty();
    let said = match (this, merged, disputed) {
        (true, ..) if linked => "This is it: it has a match key of the machine, and not enough speaks against it.",
        (true, ..) if weighed.vetoed => "This is it, as this boot was found to be before.",
        (true, ..) => "This is it: its parts and numbers are in the machine, or this boot was found to be it before.",
        (_, true, _) => "A duplicate of the machine's node, which has reported nothing; it merges.",
        (_, _, true) if weighed.vetoed => "It cannot be the machine, but memory or disks of it are there.",
        (_, _, true) => "The machine may be this one, and nothing tells.",
        _ if weighed.vetoed => "Left out: more speaks against it than for it, or another node is clearly the machine.",
        _ if linked => "Left out: another node has the better claim to what they share.",
        _ => "Left out: no match key leads to it, and its parts in the machine do not make it this one.",
    };
    format!("{said}{alive}")
}

fn names(ids: &[i64]) -> String {
    ids.iter().map(|id| name(*id)).collect::<Vec<_>>().join(" and ")
}

fn alternatives(ids: &[i64]) -> String {
    ids.iter().map(|id| name(*id)).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighed(node: i64, keys: &[&str], vetoed: bool, alive: bool) -> Weighed {
        let keys = keys.iter().map(|k| (*k).to_owned()).collect();
        Weighed {
            node,
            keys,
            agree: Vec::new(),
            differ: Vec::new(),
            partly: Vec::new(),
            copied: Vec::new(),
            vetoed,
            alive,
        }
    }

    #[test]
    fn every_verdict_says_what_comes_of_it() {
        let node = |merge: &[i64], conflict: &[i64], held| Verdict::Node {
            id: 2,
            merge: merge.into(),
            conflict: conflict.into(),
            held,
        };
        let ambiguous = |held_as| Verdict::Ambiguous { nodes: vec![1, 3], held_as };
        for (moment, row, verdict, want) in [
            (Moment::Boot, 2, Verdict::Create { conflict: vec![] }, "A new node."),
            (
                Moment::Boot,
                4,
                Verdict::Create { conflict: vec![1] },
                "A new node, held, since the machine has hardware of node1.",
            ),
            (Moment::CheckIn, 7, node(&[], &[], false), "It is node2."),
            (Moment::CheckIn, 6, node(&[5], &[], false), "It is node2; node5 merges into it."),
            (Moment::CheckIn, 7, node(&[], &[1], false), "It is node2; node1 claims hardware of it too."),
            (Moment::CheckIn, 7, node(&[], &[1], true), "It is node2; held, since the machine has hardware of node1."),
            (
                Moment::Boot,
                5,
                ambiguous(None),
                "It may be node1 or node3. It boots the microkernel without an id, and its check-in decides.",
            ),
            (Moment::CheckIn, 6, ambiguous(Some(9)), "Held as node9: it may be node1 or node3."),
            (
                Moment::CheckIn,
                11,
                Verdict::Ambiguous { nodes: vec![1], held_as: None },
                "Held as a new node: node1 is another machine with the same values.",
            ),
        ] {
            assert_eq!(explain(moment, &Decision { row, verdict, evidence: Vec::new() }).outcome, want);
        }
    }

    #[test]
    fn each_node_says_why_it_is_or_is_not() {
        let verdict = Verdict::Node { id: 2, merge: vec![5], conflict: vec![1], held: false };
        let evidence = vec![
            weighed(1, &["mac=a"], false, true),
            weighed(2, &["mac=a"], false, false),
            weighed(3, &["mac=a"], true, false),
            weighed(4, &[], false, false),
            weighed(5, &["mac=a"], false, false),
        ];
        let explained = explain(Moment::CheckIn, &Decision { row: 7, verdict, evidence });
        let why: Vec<&str> = explained.nodes.iter().map(|n| n.why.as_str()).collect();
        for (why, words) in
            why.iter().zip(["nothing tells. Another boot", "This is it", "Left out: more", "no match key", "duplicate"])
        {
            assert!(why.contains(words), "{words}: {why}");
        }
    }

    #[test]
    fn every_row_of_the_table_has_its_rule() {
        for row in 0..=13 {
            assert!(!rule(row).contains("does not know"), "{row}");
        }
    }
}
