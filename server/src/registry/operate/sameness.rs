//! Commands about which nodes are one machine: merge, split, resolve.

use wire::checkin::NodeState;

use crate::identity::decide::{Decision, Verdict};
use crate::registry::operate::{Done, Operate, merge, named};
use crate::registry::remedy::Remedy;
use crate::registry::{Refusal, queue, reason};
use crate::store::nodes::{self, Node};
use crate::store::sql::Connection;
use crate::store::undo::{Standing, Undo};

type Outcome = anyhow::Result<Result<Done, Refusal>>;

/// Row of decisions that an operator made.
const BY_HAND: u8 = 0;

impl Operate {
    pub(super) async fn merge(&self, db: &mut Connection, from: &str, into: &str) -> Outcome {
        if let Some(id) = self.one_already(&mut *db, from, into).await? {
            let result = format!("{from} and {into} are one machine already, {}; nothing was changed", nodes::name(id));
            return Ok(Ok(Done::new(id, result)));
        }
        let (loser, survivor) = match self.two(&mut *db, from, into).await? {
            Ok(two) => two,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let verdict = Verdict::Node { id: survivor.id, merge: vec![loser.id], conflict: Vec::new(), held: false };
        let decision = Decision { row: BY_HAND, verdict, evidence: Vec::new() };
        queue::hand_over(&mut *db, self.now, loser.id, survivor.id).await?;
        merge::merge(&mut *db, self.now, loser.id, survivor.id, &decision).await?;
        let (from, into) = (nodes::name(loser.id), nodes::name(survivor.id));
        let done =
            Done::new(survivor.id, format!("{from} is {into}; `mk-server conflicts split {from}` takes it back"));
        let done = Done { ended: Some(loser.id), ..done };
        Ok(Ok(done.taken_back_by(Remedy::Split { node: from })))
    }

    /// The node that both names lead to, as after a second click.
    async fn one_already(&self, db: &mut Connection, one: &str, other: &str) -> anyhow::Result<Option<i64>> {
        let (Some(one), Some(other)) = (nodes::parse_name(one), nodes::parse_name(other)) else { return Ok(None) };
        let (first, second) = (nodes::resolve(&mut *db, one).await?, nodes::resolve(db, other).await?);
        Ok(first.filter(|_| one != other && first == second))
    }

    pub(super) async fn split(&self, db: &mut Connection, name: &str) -> Outcome {
        let alias = match nodes::parse_name(name) {
            Some(id) => merge::split(&mut *db, self.now, id).await?,
            None => None,
        };
        let Some((alias, node)) = alias else {
            let error = format!("{name} was not merged into another node");
            let remedy = "`mk-server nodes show NODE` lists the aliases of a node.";
            return Ok(Err(Refusal::new(404, "no_such_alias", error, remedy)));
        };
        nodes::set_distinct(&mut *db, self.now, alias, node).await?;
        // What a merge had accepted may not be any more.
        for id in [alias, node] {
            if let Some(node) = Node::get(&mut *db, id).await?.filter(|node| !node.is_held()) {
                let (state, why) = self.gate().at_rest(&node);
                nodes::set_standing(&mut *db, id, state, why.as_ref()).await?;
            }
        }
        let (alias_name, name) = (nodes::name(alias), nodes::name(node));
        let result = format!("{alias_name} is a node of its own again, and another machine than {name}");
        Ok(Ok(Done::new(alias, result).and(node)))
    }

    pub(super) async fn differ(&self, db: &mut Connection, node: &str, with: &str) -> Outcome {
        let (held, other) = match self.two(&mut *db, node, with).await? {
            Ok(two) => two,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let before = Standing::read(&mut *db, held.id).await?;
        let new = nodes::set_distinct(&mut *db, self.now, held.id, other.id).await?;
        let freed = match (held.is_held(), self.release(&mut *db, &held).await?.as_slice()) {
            (false, _) => String::new(),
            (true, []) => format!("; {} is no longer held", nodes::name(held.id)),
            (true, left) => format!("; {} is still held, against {}", nodes::name(held.id), reason::names(left)),
        };
        let result = format!("{} and {} are two machines{freed}", nodes::name(held.id), nodes::name(other.id));
        let done = Done::new(held.id, result).and(other.id);
        let after = Standing::read(db, held.id).await?;
        let (Some(before), Some(after)) = (before, after) else { anyhow::bail!("node {} vanished", held.id) };
        Ok(Ok(done.undone_by(Undo::Distinct { node: held.id, with: other.id, new, before, after })))
    }

    /// Frees a held node, unless it is in dispute with further nodes, which are given back.
    async fn release(&self, db: &mut Connection, held: &Node) -> anyhow::Result<Vec<i64>> {
        let former: Decision = serde_json::from_str(&held.decision)?;
        let told_apart = nodes::told_apart(&mut *db, held.id).await?;
        let left: Vec<i64> = former.others().iter().copied().filter(|id| !told_apart.contains(id)).collect();
        if held.is_held() && !left.is_empty() {
            let decision = former.against(left.clone());
            let keys = decision.evidence.iter().filter(|w| left.contains(&w.node)).flat_map(|w| w.keys.clone());
            let why = reason::held(&decision, &keys.collect::<Vec<_>>());
            nodes::set_state(db, held.id, NodeState::Held, why.as_ref(), &decision).await?;
            return Ok(left);
        }
        let verdict = Verdict::Node { id: held.id, merge: Vec::new(), conflict: Vec::new(), held: false };
        let decision = Decision { row: BY_HAND, verdict, evidence: Vec::new() };
        let (state, why) = self.gate().at_rest(held);
        nodes::set_state(db, held.id, state, why.as_ref(), &decision).await?;
        Ok(Vec::new())
    }

    pub(super) async fn two(
        &self,
        db: &mut Connection,
        one: &str,
        other: &str,
    ) -> anyhow::Result<Result<(Node, Node), Refusal>> {
        let (first, second) = match (named(&mut *db, one).await?, named(db, other).await?) {
            (Ok(first), Ok(second)) => (first, second),
            (Err(refusal), _) | (_, Err(refusal)) => return Ok(Err(refusal)),
        };
        if first.id == second.id {
            let error = format!("{one} and {other} are the same node");
            return Ok(Err(Refusal::new(422, "same_node", error, "Name two nodes.")));
        }
        Ok(Ok((first, second)))
    }
}
