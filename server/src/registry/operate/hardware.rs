//! Commands about hardware values: register, set, forget, move.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::identity::canonical::{FACT_PREFIX, HwInfo, KEYS};
use crate::identity::evidence::Evidence;
use crate::identity::keys::{self, Claim, Key};
use crate::identity::report::Context;
use crate::newcomers::Room;
use crate::registry::Refusal;
use crate::registry::lookup::{Asked, Lookup};
use crate::registry::operate::{Done, Operate, named};
use crate::store::nodes::{self, Node};
use crate::store::sql::Connection;
use crate::store::undo::{Undo, Values};
use crate::store::writer::Work as _;
use crate::store::{candidates, claims};

type Outcome = anyhow::Result<Result<Done, Refusal>>;

impl Operate {
    pub(super) async fn register(&self, db: &mut Connection, hw_info: &Map<String, Value>, installed: bool) -> Outcome {
        let info = match read(hw_info) {
            Ok(info) => info,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let known = info.clone();
        let (config, room) = (self.config.clone(), Room::BOUNDLESS);
        let lookup = Lookup { config, now: self.now, info, dhcp_mac: None, asked: Asked::Id, room };
        let found = match lookup.run(&mut *db).await? {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        // Who names a machine lets it in.
        if Node::get(&mut *db, found.id).await?.is_some_and(|node| node.accepted.is_none() && node.refused.is_none()) {
            self.approve(&mut *db, &nodes::name(found.id), None)
                .await?
                .map_err(|refusal| anyhow::anyhow!("{}", refusal.problem))?;
        }
        if installed {
            nodes::set_installed(db, found.id, "registered", self.now).await?;
        } else {
            nodes::release(db, found.id).await?;
        }
        let state = if installed { "installed" } else { "not installed" };
        let values = Vec::<String>::from(known).join(", ");
        Ok(Ok(Done::new(found.id, format!("{} is the machine with {values}, {state}", nodes::name(found.id)))))
    }

    pub(super) async fn set_hardware(&self, db: &mut Connection, name: &str, hw_info: &Map<String, Value>) -> Outcome {
        let (node, info) = match (named(&mut *db, name).await?, read(hw_info)) {
            (Err(refusal), _) | (_, Err(refusal)) => return Ok(Err(refusal)),
            (Ok(node), Ok(info)) => (node, info),
        };
        let is_virtual = nodes::is_virtual(&mut *db, node.id).await? == Some(true);
        let context = Context { is_virtual, ..Context::default() };
        let values = keys::claims(&info, &self.config.match_nodes_on, &context);
        if keys::matching(&values).is_empty() {
            let Refusal { problem, .. } = Refusal::no_match_value(&self.config.match_nodes_on);
            return Ok(Err(Refusal { status: 422, problem }));
        }
        let old = claims::of_node(&mut *db, node.id).await?;
        let kinds: BTreeSet<String> = old.iter().map(|c| c.kind.clone()).collect();
        let former = old.into_iter().map(|c| Key { kind: c.kind, value: c.value });
        let keys: BTreeSet<Key> = former.chain(values.iter().map(|c| c.key.clone())).collect();
        let (keys, ids) = (Vec::from_iter(keys), [node.id]);
        let before = Values::read(&mut *db, &keys, &ids).await?;
        claims::replace(&mut *db, self.now, node.id, &values, &kinds).await?;
        claims::drop_former(&mut *db, node.id).await?;
        candidates::learn(&mut *db, node.id, &Evidence::of_info(&info, None, &context), is_virtual).await?;
        nodes::set_hardware(&mut *db, node.id, &info, None).await?;
        let after = Values::read(db, &keys, &ids).await?;
        let values = Vec::<String>::from(info).join(", ");
        let done = Done::new(node.id, format!("{} is the machine with {values} from now on", nodes::name(node.id)));
        Ok(Ok(done.undone_by(Undo::Values { keys, before, after })))
    }

    pub(super) async fn forget(&self, db: &mut Connection, name: &str, key: &str) -> Outcome {
        let (node, key) = match (named(&mut *db, name).await?, self.key(key)) {
            (Err(refusal), _) | (_, Err(refusal)) => return Ok(Err(refusal)),
            (Ok(node), Ok(key)) => (node, key),
        };
        let name = nodes::name(node.id);
        let (keys, ids) = ([key], [node.id]);
        let [key] = &keys;
        let before = Values::read(&mut *db, &keys, &ids).await?;
        if !self.take(&mut *db, node.id, key).await? {
            return Ok(Ok(Done::new(node.id, format!("{name} does not have {key}; nothing was changed"))));
        }
        let after = Values::read(db, &keys, &ids).await?;
        let done = Done::new(node.id, format!("{name} no longer has {key}"));
        Ok(Ok(done.undone_by(Undo::Values { keys: keys.into(), before, after })))
    }

    /// Takes a value from a node; false when the node does not have it.
    async fn take(&self, db: &mut Connection, id: i64, key: &Key) -> anyhow::Result<bool> {
        if !claims::forget(&mut *db, self.now, id, key).await? {
            return Ok(false);
        }
        if let Some(node) = Node::get(&mut *db, id).await? {
            let same = |value: &str| self.comparable(&key.kind, value).as_ref() == Some(key);
            nodes::set_hardware(db, id, &node.hw_info()?.without(&key.kind, same), None).await?;
        }
        Ok(true)
    }

    pub(super) async fn move_hardware(&self, db: &mut Connection, keys: &[String], from: &str, to: &str) -> Outcome {
        let (donor, target) = match self.two(&mut *db, from, to).await? {
            Ok(two) => two,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let from = nodes::name(donor.id);
        let keys: Vec<Key> = match keys.iter().map(|text| self.key(text)).collect() {
            Ok(keys) => keys,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let ids = [donor.id, target.id];
        let before = Values::read(&mut *db, &keys, &ids).await?;
        for key in &keys {
            // A value that it does not have may be the true holder's, which the target would then contest.
            if !self.take(&mut *db, donor.id, key).await? {
                return Ok(Err(not_there(&mut *db, &from, key).await?));
            }
            let matching = key.is_fact() || self.config.match_nodes_on.contains(&key.kind);
            claims::add(&mut *db, self.now, target.id, &[Claim { key: key.clone(), matching }]).await?;
        }
        let info = target.hw_info()?.with(keys.iter().map(|k| (k.kind.as_str(), k.value.as_str())));
        nodes::set_hardware(&mut *db, target.id, &info, None).await?;
        let after = Values::read(db, &keys, &ids).await?;
        let list = keys.iter().map(Key::to_string).collect::<Vec<_>>().join(", ");
        let result = format!("{list} went from {from} to {}", nodes::name(target.id));
        let done = Done::new(target.id, result).and(donor.id);
        Ok(Ok(done.undone_by(Undo::Values { keys, before, after })))
    }

    /// A key as an operator writes it.
    fn key(&self, text: &str) -> Result<Key, Refusal> {
        let key = text.split_once('=').and_then(|(kind, value)| self.comparable(kind, value));
        key.ok_or_else(|| {
            let error = format!("{text:?} is no hardware value");
            let kinds = KEYS.join(", ");
            Refusal::new(
                422,
                "bad_key",
                error,
                format!("Write KIND=VALUE with a kind of {kinds} or {FACT_PREFIX}NAME."),
            )
        })
    }

    fn comparable(&self, kind: &str, value: &str) -> Option<Key> {
        let info = HwInfo::canonicalize([(kind, value)]);
        keys::judged(&info, &Context::default()).into_iter().next().map(|(key, _)| key)
    }
}

/// Refuses to move what is not there, and says where it is.
async fn not_there(db: &mut Connection, from: &str, key: &Key) -> anyhow::Result<Refusal> {
    let holders: Vec<String> = claims::holders(db, key).await?.into_iter().map(nodes::name).collect();
    let remedy = match holders.as_slice() {
        [] => format!("No node has it. `mk-server nodes show {from}` lists what {from} is known by."),
        [one] => format!("{one} has it; name that one if it was there. Nothing was changed."),
        several => format!("{} have it; name the one that it was at. Nothing was changed.", several.join(" and ")),
    };
    Ok(Refusal::new(422, "no_such_value", format!("{from} does not have {key}"), remedy))
}

/// Hardware values out of a command.
fn read(hw_info: &Map<String, Value>) -> Result<HwInfo, Refusal> {
    let refuse = |error: String| {
        let remedy = "Send {\"hw_info\": {\"net0\": \"00:11:22:33:44:55\", \"serial\": \"…\"}}.";
        Refusal::new(422, "bad_hw_info", error, remedy)
    };
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for (key, value) in hw_info {
        let values = match value {
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            let text =
                value.as_str().ok_or_else(|| refuse(format!("hw_info has {value} for {key}; it must be text")))?;
            pairs.push((key, text.to_owned()));
        }
    }
    let info = HwInfo::canonicalize(pairs.iter().map(|(k, v)| (*k, v.as_str())));
    if info.is_empty() { Err(refuse("hw_info has no hardware value".to_owned())) } else { Ok(info) }
}
