//! Nodes whose identity is disputed: the held ones, and those that have a deciding value which another node reported too.
//! With each go the evidence side by side and what ends the dispute.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;
use wire::error::Problem;

use crate::identity::decide::{Decision, Weighed};
use crate::identity::evidence::{Evidence, Group};
use crate::limits::MAX_RIVALS;
use crate::registry::operate::Sameness;
use crate::registry::reason;
use crate::registry::remedy::Remedy;
use crate::store::nodes::{Node, name};
use crate::store::sql::{Connection, Pool};
use crate::store::view::Page;
use crate::store::{candidates, claims, conflicts};

/// A dispute about one node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dispute {
    /// Name of the node.
    pub name: String,
    /// It is told to do nothing until the dispute has ended.
    pub held: bool,
    /// Why, and what to do.
    pub reason: Option<Problem>,
    /// Row of the table that decided last.
    pub row: u8,
    /// Further nodes that it is in dispute with, beyond those that are shown.
    pub more: usize,
    /// What the last decision weighed, for each node that it is in dispute with.
    pub evidence: Vec<Against>,
    /// What is known of the nodes, by groups.
    pub values: Vec<Values>,
    /// What ends it, as the words after `mk-server conflicts`.
    #[serde(serialize_with = "words")]
    pub remedies: Vec<Remedy>,
}

/// A node that it is in dispute with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Against {
    /// Name of the node.
    pub name: String,
    /// Shared match keys as `kind=value`.
    pub keys: Vec<String>,
    /// Groups of evidence that agree.
    pub agree: Vec<Group>,
    /// Groups of evidence that differ.
    pub differ: Vec<Group>,
}

/// One group's values at each node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Values {
    /// The group.
    pub group: Group,
    /// Values by name of the node; a node of which nothing is known has none.
    pub nodes: BTreeMap<String, BTreeSet<String>>,
}

fn words<S: serde::Serializer>(remedies: &[Remedy], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(remedies.iter().map(Remedy::shell))
}

/// A page of the disputes in order of node id, and the number of all.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn page(db: &Pool, page: Page) -> anyhow::Result<(i64, Vec<Dispute>)> {
    let mut db = db.acquire().await?;
    let (total, ids) = conflicts::ids(&mut db, page).await?;
    let mut disputes = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(node) = Node::get(&mut db, id).await? {
            disputes.push(dispute(&mut db, &node).await?);
        }
    }
    Ok((total, disputes))
}

async fn dispute(db: &mut Connection, node: &Node) -> anyhow::Result<Dispute> {
    let decision: Decision = serde_json::from_str(&node.decision)?;
    let shared = claims::shared(&mut *db, node.id).await?;
    let held = node.is_held();
    let all: BTreeSet<i64> = if held && !decision.others().is_empty() {
        decision.others().iter().copied().collect()
    } else {
        shared.iter().map(|(_, other)| *other).collect()
    };
    let others: BTreeSet<i64> = all.iter().copied().take(MAX_RIVALS).collect();
    let more = all.len() - others.len();
    let shared: Vec<(String, i64)> = shared.into_iter().filter(|(_, other)| others.contains(other)).collect();
    let ids: Vec<i64> = [node.id].into_iter().chain(others.iter().copied()).collect();
    let known = candidates::evidence_of(db, &json!(ids).to_string()).await?;
    let reason = if held { node.standing()?.1 } else { Some(reason::shared(node.id, &shared)) };
    Ok(Dispute {
        name: name(node.id),
        held,
        reason,
        row: decision.row,
        more,
        evidence: others.iter().map(|other| against(&decision, &shared, *other)).collect(),
        values: values(&ids, &known),
        remedies: if held { resolve(node.id, &others) } else { give_up(node.id, &shared) },
    })
}

fn against(decision: &Decision, shared: &[(String, i64)], other: i64) -> Against {
    let keys = shared.iter().filter(|(_, node)| *node == other).map(|(key, _)| key.clone()).collect();
    match decision.evidence.iter().find(|w| w.node == other) {
        Some(Weighed { keys, agree, differ, .. }) => {
            Against { name: name(other), keys: keys.clone(), agree: agree.clone(), differ: differ.clone() }
        }
        None => Against { name: name(other), keys, agree: Vec::new(), differ: Vec::new() },
    }
}

fn values(ids: &[i64], known: &BTreeMap<i64, Evidence>) -> Vec<Values> {
    let of = |group: Group, id: &i64| known.get(id).and_then(|e| e.values(group)).cloned().unwrap_or_default();
    Group::ALL
        .into_iter()
        .map(|group| Values { group, nodes: ids.iter().map(|id| (name(*id), of(group, id))).collect() })
        .filter(|row| row.nodes.values().any(|values| !values.is_empty()))
        .collect()
}

/// A held node is one of the others, or is not.
fn resolve(node: i64, others: &BTreeSet<i64>) -> Vec<Remedy> {
    let both = |other: &i64| {
        [Sameness::Same, Sameness::Different].map(|verdict| Remedy::Resolve {
            node: name(node),
            verdict,
            with: name(*other),
        })
    };
    others.iter().flat_map(both).collect()
}

/// A value that two nodes have is in one of them, or they are one, or it is no use as a key between these two.
fn give_up(node: i64, shared: &[(String, i64)]) -> Vec<Remedy> {
    let moved = |(key, other): &(String, i64)| Remedy::Moved { from: name(*other), to: name(node), key: key.clone() };
    let keys: BTreeSet<&String> = shared.iter().map(|(key, _)| key).collect();
    let forget = |key: &String| Remedy::Forget { node: name(node), key: key.clone() };
    let others: BTreeSet<i64> = shared.iter().map(|(_, other)| *other).collect();
    let mut remedies: Vec<Remedy> = shared.iter().map(moved).chain(keys.into_iter().map(forget)).collect();
    remedies.extend(resolve(node, &others));
    remedies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedies(list: &[Remedy]) -> Vec<String> {
        list.iter().map(Remedy::to_string).collect()
    }

    #[test]
    fn a_held_node_has_remedies_for_each_node_that_it_may_be() {
        let words = remedies(&resolve(4, &[2, 3].into()));
        assert_eq!(words.first().map(String::as_str), Some("resolve node4 same node2"));
        assert_eq!(words.last().map(String::as_str), Some("resolve node4 different node3"));
    }

    #[test]
    fn a_shared_value_is_in_one_of_the_two() {
        let words = remedies(&give_up(2, &[("mac=a".to_owned(), 1)]));
        let want = [
            "move-hardware node1 node2 mac=a",
            "forget node2 mac=a",
            "resolve node2 same node1",
            "resolve node2 different node1",
        ];
        assert_eq!(words, want);
        let words = remedies(&give_up(3, &[("mac=a".to_owned(), 1), ("mac=a".to_owned(), 2)]));
        assert_eq!(words.iter().filter(|w| *w == "forget node3 mac=a").count(), 1, "{words:?}");
    }

    #[test]
    fn values_stand_side_by_side_and_unknown_groups_are_left_out() {
        let mut one = Evidence::default();
        one.add(Group::Serial, ["s1".to_owned()]);
        let rows = values(&[1, 2], &[(1, one)].into());
        let want = Values {
            group: Group::Serial,
            nodes: [("node1".to_owned(), ["s1".to_owned()].into()), ("node2".to_owned(), BTreeSet::new())].into(),
        };
        assert_eq!(rows, [want]);
    }
}
