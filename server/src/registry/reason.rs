//! Why a machine is refused or held, in words for the person who has to settle it.

use std::collections::BTreeSet;

use wire::error::Problem;

use crate::identity::decide::{Decision, Verdict};
use crate::store::nodes::name;

/// Several nodes claim the machine with these keys.
#[must_use]
pub fn duplicate(nodes: &[i64], keys: &[String]) -> Problem {
    let first = nodes.first().map_or_else(|| "NAME".to_owned(), |id| name(*id));
    Problem::new(
        "duplicate_node",
        format!("the machine with {} may be any of {}", keys.join(", "), names(nodes)),
        format!(
            "Compare them with `mk-server nodes show {first}`. If hardware was moved, boot the machine it came from, so \
             that its next check-in gives the value up; if machines share the value, take its key out of match_nodes_on."
        ),
    )
}

/// Two machines say that they are one node.
#[must_use]
pub fn two_machines(node: i64) -> Problem {
    let name = name(node);
    Problem::new(
        "two_machines",
        format!(
            "two machines speak as {name} at the same time, with the same hardware values; one is a copy of the other"
        ),
        format!(
            "The one that came first stays {name}. Give the copy values of its own (MAC, serial, uuid), then boot it again; \
             `mk-server nodes show {name}` lists those that both have."
        ),
    )
}

/// Nodes have reported the same deciding values (`kind=value`, with the other node), and each is recognised all the same.
#[must_use]
pub fn shared(node: i64, shared: &[(String, i64)]) -> Problem {
    let others: BTreeSet<i64> = shared.iter().map(|(_, other)| *other).collect();
    let keys: BTreeSet<&str> = shared.iter().map(|(key, _)| key.as_str()).collect();
    let (others, keys) = (Vec::from_iter(others), Vec::from_iter(keys));
    Problem::new(
        "shared_hardware",
        format!("{} has {}, which {} reported too", name(node), keys.join(", "), names(&others)),
        format!(
            "Both work all the same. If the part was moved, boot {}: its next check-in gives the value up. If that machine is \
             gone, say so below.",
            names(&others)
        ),
    )
}

/// Original clients with different names take turns as one node, and neither has a boot that could be told from the other's.
#[must_use]
pub fn taking_turns(node: i64) -> Problem {
    let name = name(node);
    Problem::new(
        "taking_turns",
        format!("two machines with original clients take turns as {name}; both are told to do nothing"),
        format!(
            "They share a value that decides; `mk-server nodes show {name}` lists those of the one that reported last. Take the \
             part out of one, or boot one of them with this project's image, which tells them apart. It ends once only one of \
             them has spoken for three check-in intervals."
        ),
    )
}

/// Somebody without the key of the node's agent speaks as a node that the agent itself spoke for within `window_s` seconds.
#[must_use]
pub fn spoken_for(node: i64, window_s: i64) -> Problem {
    let name = name(node);
    Problem::new(
        "spoken_for",
        format!(
            "a request without a signature spoke as {name}, whose own agent signs and was heard within the last {window_s} \
             seconds; nothing of it was taken"
        ),
        format!(
            "If you booted {name} into an original image, leave it running: it is taken up once the agent has been silent for \
             {window_s} seconds. Else find out who uses its hardware values."
        ),
    )
}

/// Why the machine that the decision is about is held; nothing when it is not.
#[must_use]
pub fn held(decision: &Decision, keys: &[String]) -> Option<Problem> {
    match &decision.verdict {
        Verdict::Ambiguous { nodes, .. } if decision.row == 11 => nodes.first().map(|id| two_machines(*id)),
        Verdict::Ambiguous { nodes, .. } => Some(duplicate(nodes, keys)),
        Verdict::Create { conflict } if !conflict.is_empty() => Some(parts(decision, conflict)),
        Verdict::Node { conflict, held: true, .. } => Some(still_held(decision, conflict, keys)),
        Verdict::Create { .. } | Verdict::Node { .. } => None,
    }
}

/// A machine that was held before, and whose dispute goes on.
fn still_held(decision: &Decision, nodes: &[i64], keys: &[String]) -> Problem {
    let rival = decision.evidence.iter().find(|w| nodes.contains(&w.node) && !w.vetoed && !w.keys.is_empty());
    match rival {
        Some(rival) if rival.alive => two_machines(rival.node),
        Some(_) => duplicate(nodes, keys),
        None => parts(decision, nodes),
    }
}

/// The machine shares hardware with nodes that it does not seem to be.
fn parts(decision: &Decision, nodes: &[i64]) -> Problem {
    let weighed = decision.evidence.iter().filter(|w| nodes.contains(&w.node));
    let words =
        |groups: &[crate::identity::evidence::Group]| groups.iter().map(|g| g.word()).collect::<Vec<_>>().join(", ");
    let shared: Vec<String> = weighed
        .map(|w| {
            let alive = if w.alive { ", and another boot spoke as it lately" } else { "" };
            let list = |what, groups: &[_]| {
                if groups.is_empty() { String::new() } else { format!("; {what}: {}", words(groups)) }
            };
            format!("{}{}{}{alive}", name(w.node), list("the same", &w.agree), list("other", &w.differ))
        })
        .collect();
    Problem::new(
        "hardware_of_another",
        format!("the machine has hardware of {}", shared.join(" / ")),
        format!(
            "If it is {0} with parts replaced, leave it running: it becomes {0} again once that has been silent for three \
             check-in intervals. If parts were taken out of {0}, boot that machine too: its next check-in gives them up.",
            nodes.first().map_or_else(|| "NAME".to_owned(), |id| name(*id)),
        ),
    )
}

pub(super) fn names(nodes: &[i64]) -> String {
    nodes.iter().map(|id| name(*id)).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::decide::Weighed;
    use crate::identity::evidence::Group;

    fn decision(row: u8, verdict: Verdict) -> Decision {
        let weighed = Weighed {
            node: 4,
            keys: vec!["mac=a".into()],
            agree: vec![Group::Disk],
            differ: vec![Group::Uuid, Group::Board],
            partly: Vec::new(),
            copied: Vec::new(),
            vetoed: true,
            alive: true,
        };
        Decision { row, verdict, evidence: vec![weighed] }
    }

    #[test]
    fn each_reason_names_the_node_and_what_to_do() {
        let ambiguous = Verdict::Ambiguous { nodes: vec![4, 5], held_as: None };
        for (row, verdict, code, words) in [
            (6, ambiguous.clone(), "duplicate_node", "mac=a may be any of node4 and node5"),
            (11, ambiguous, "two_machines", "two machines speak as node4"),
            (
                9,
                Verdict::Create { conflict: vec![4] },
                "hardware_of_another",
                "node4; the same: disk; other: uuid, board, and another boot",
            ),
        ] {
            let problem = held(&decision(row, verdict), &["mac=a".to_owned()]).unwrap();
            assert_eq!(problem.code, code);
            assert!(problem.error.contains(words), "{}", problem.error);
            assert!(problem.remedy.contains("node4"), "{}", problem.remedy);
        }
        assert_eq!(held(&decision(9, Verdict::Create { conflict: vec![] }), &[]), None);
    }
}
