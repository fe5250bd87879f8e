//! One made-up machine: what it says next, and what it makes of the answer. No I/O.
//!
//! It believes the server's word and holds it to that. A report that was answered is known from then on: the machine names its digest
//! with each check-in, and a server that does not know it has lost it. Where an answer did not come, either the new report or
//! the one before must be known.

use std::time::Instant;

use anyhow::anyhow;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use wire::checkin::{Agent, CheckinReply, CheckinRequest, ConfigState, NodeState, Unit};

use crate::simulate::machine::Model;

/// Units of the agent, as it reports them.
const UNITS: [&str; 6] = ["devices", "net", "checkin", "ext", "status", "mirror"];

/// A report, by what tells it from others of the machine.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    revision: u32,
    digest: String,
}

/// Where a machine stands with what it wants the server to know.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    /// Nothing is open.
    Settled,
    /// A report was sent and not answered.
    Unanswered,
    /// The server does not know it; the one before it must know.
    Unknown,
    /// It is to be sent again.
    Again,
}

/// What a check-in says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// All of the newest report.
    Whole,
    /// Only the digest of the newest report.
    Newest,
    /// Only the digest of the one that was acknowledged last.
    Acknowledged,
}

/// What the server got wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// One word for it.
    pub(super) code: &'static str,
    /// One sentence.
    pub(super) what: String,
}

/// A machine that runs.
#[derive(Debug)]
pub(super) struct Node {
    /// Its number.
    pub(super) number: u32,
    /// The node that it is, as the server said first.
    pub(super) id: Option<u64>,
    key: Ed25519KeyPair,
    boot_id: String,
    booted: Instant,
    seq: u64,
    stage: Stage,
    newest: Option<Told>,
    acknowledged: Option<Told>,
}

/// A signed request.
pub(super) struct Signed {
    pub(super) path: String,
    pub(super) body: Vec<u8>,
    pub(super) key: String,
    pub(super) signature: String,
}

impl Node {
    /// The machine with this number, in a boot of this run.
    ///
    /// # Errors
    /// When no key can be made.
    pub(super) fn new(number: u32, run: u64) -> anyhow::Result<Self> {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&run.to_le_bytes());
        seed[8..12].copy_from_slice(&number.to_le_bytes());
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| anyhow!("cannot make a key"))?;
        let boot_id = format!("{:08x}-{:04x}-4000-8000-{number:012x}", run >> 32, run & 0xffff);
        let (stage, booted) = (Stage::Settled, Instant::now());
        Ok(Self { number, id: None, key, boot_id, booted, seq: 0, stage, newest: None, acknowledged: None })
    }

    /// True once it was let in and its first report was acknowledged.
    pub(super) fn is_in(&self) -> bool {
        self.id.is_some() && self.acknowledged.is_some()
    }

    /// True while it owes the server a report, or the server an answer to one.
    pub(super) fn is_open(&self) -> bool {
        self.stage != Stage::Settled
    }

    /// What it says next; with `change`, that a part has changed, if nothing else is open.
    pub(super) fn says(&self, change: bool) -> Says {
        match (self.stage, &self.acknowledged) {
            (Stage::Settled, Some(_)) if change => Says::Whole,
            (Stage::Settled | Stage::Unknown, Some(_)) => Says::Acknowledged,
            (Stage::Unanswered, Some(_)) => Says::Newest,
            (Stage::Again, _) | (_, None) => Says::Whole,
        }
    }

    /// The next request.
    ///
    /// # Errors
    /// When it has no JSON form.
    pub(super) fn request(&mut self, says: Says, model: &Model) -> anyhow::Result<Signed> {
        let mut members = Vec::new();
        if says == Says::Whole {
            let revision = match (&self.newest, self.stage) {
                (None, _) => 0,
                (Some(newest), Stage::Settled) => newest.revision + 1,
                (Some(newest), _) => newest.revision,
            };
            let whole = model.whole(self.number, revision);
            members = whole.members;
            members.push(b',');
            self.newest = Some(Told { revision, digest: whole.digest });
            self.stage = Stage::Unanswered;
        }
        self.seq += 1;
        let named = if says == Says::Acknowledged { &self.acknowledged } else { &self.newest };
        let frame = CheckinRequest {
            hw_id: model.hw_id(self.number),
            inventory_digest: named.as_ref().map(|told| told.digest.clone()),
            boot_id: Some(self.boot_id.clone()),
            seq: Some(self.seq),
            uptime_s: Some(self.booted.elapsed().as_secs()),
            agent: Some(agent()),
            config: Some(ConfigState::default()),
            ..CheckinRequest::default()
        };
        let frame = serde_json::to_vec(&frame)?;
        let body = [&b"{"[..], &members, frame.get(1..).unwrap_or_default()].concat();
        let signature = STANDARD.encode(self.key.sign(&wire::sign::message(&body)));
        let path = self.id.map_or("/svc/checkin".to_owned(), |id| format!("/svc/checkin/{id}"));
        Ok(Signed { path, body, key: STANDARD.encode(self.key.public_key()), signature })
    }

    /// What `/svc/boot` said.
    pub(super) fn booted(&mut self, id: u64) -> Option<Wrong> {
        let known = *self.id.get_or_insert(id);
        (known != id).then(|| self.wrong("other_id", format!("booted as node{id} and was node{known}")))
    }

    /// Takes the answer; gives what is wrong with it.
    pub(super) fn answered(&mut self, says: Says, reply: &CheckinReply) -> Option<Wrong> {
        let Some(id) = reply.id else { return Some(self.wrong("no_id", "was told no id".to_owned())) };
        let known = *self.id.get_or_insert(id);
        if known != id {
            return Some(self.wrong("other_id", format!("was told that it is node{id}, and is node{known}")));
        }
        if reply.state == Some(NodeState::Held) {
            return Some(self.wrong("held", format!("is held as node{id}, as if another machine were it too")));
        }
        let is_known = reply.send_inventory == Some(false);
        let (stage, wrong) = match (says, is_known, self.stage) {
            (Says::Whole | Says::Newest, true, _) => {
                self.acknowledged.clone_from(&self.newest);
                (Stage::Settled, None)
            }
            (Says::Whole, false, _) => (Stage::Again, Some(("not_kept", "sent a report, and was asked for it again"))),
            (Says::Newest, false, _) => (Stage::Unknown, None),
            (Says::Acknowledged, true, Stage::Unknown) => (Stage::Again, None),
            (Says::Acknowledged, true, stage) => (stage, None),
            (Says::Acknowledged, false, _) => {
                (Stage::Again, Some(("lost", "had a report acknowledged that is not known any more")))
            }
        };
        self.stage = stage;
        wrong.map(|(code, what)| self.wrong(code, what.to_owned()))
    }

    fn wrong(&self, code: &'static str, what: String) -> Wrong {
        Wrong { code, what: format!("machine {}{:06x} {what}", super::machine::SERIAL, self.number) }
    }
}

/// What every agent says of itself.
fn agent() -> Agent {
    let unit = |name: &&str| Unit { name: (*name).to_owned(), state: "running".to_owned(), ..Unit::default() };
    Agent {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        variant: "production".to_owned(),
        image: "simulated".to_owned(),
        units: UNITS.iter().map(unit).collect(),
        ..Agent::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply(id: u64, send_inventory: bool) -> CheckinReply {
        serde_json::from_value(json!({"action": "none", "id": id, "state": "normal", "send_inventory": send_inventory}))
            .unwrap()
    }

    fn say(node: &mut Node, change: bool) -> Says {
        let says = node.says(change);
        let models = crate::simulate::machine::models(0).unwrap();
        node.request(says, &models[0]).unwrap();
        says
    }

    fn code(wrong: Option<Wrong>) -> Option<&'static str> {
        wrong.map(|wrong| wrong.code)
    }

    #[test]
    fn a_report_that_was_acknowledged_must_stay_known() {
        let mut node = Node::new(1, 7).unwrap();
        assert_eq!(say(&mut node, false), Says::Whole);
        assert_eq!(node.answered(Says::Whole, &reply(5, false)), None);
        assert!(node.is_in() && !node.is_open());
        assert_eq!(say(&mut node, false), Says::Acknowledged);
        assert_eq!(node.answered(Says::Acknowledged, &reply(5, false)), None);
        assert_eq!(code(node.answered(Says::Acknowledged, &reply(5, true))), Some("lost"));
        assert_eq!(say(&mut node, false), Says::Whole, "then it is sent again");
    }

    #[test]
    fn without_an_answer_the_new_or_the_former_report_must_be_known() {
        let mut node = Node::new(1, 7).unwrap();
        say(&mut node, false);
        assert_eq!(say(&mut node, false), Says::Whole, "nothing was acknowledged");
        node.answered(Says::Whole, &reply(5, false));
        for (knows_newest, knows_former, wrong) in
            [(true, true, None), (false, true, None), (false, false, Some("lost"))]
        {
            assert_eq!(say(&mut node, true), Says::Whole);
            // No answer.
            assert_eq!(say(&mut node, true), Says::Newest);
            assert_eq!(node.answered(Says::Newest, &reply(5, !knows_newest)), None);
            if !knows_newest {
                assert_eq!(say(&mut node, true), Says::Acknowledged);
                assert_eq!(code(node.answered(Says::Acknowledged, &reply(5, !knows_former))), wrong);
                assert_eq!(say(&mut node, true), Says::Whole);
                assert_eq!(node.answered(Says::Whole, &reply(5, false)), None);
            }
            assert!(!node.is_open());
        }
    }

    #[test]
    fn another_id_and_a_dispute_are_wrong() {
        let mut node = Node::new(1, 7).unwrap();
        assert_eq!(node.booted(5), None);
        assert_eq!(code(node.booted(6)), Some("other_id"));
        say(&mut node, false);
        assert_eq!(code(node.answered(Says::Whole, &reply(6, false))), Some("other_id"));
        let held = CheckinReply { state: Some(NodeState::Held), ..reply(5, true) };
        assert_eq!(code(node.answered(Says::Whole, &held)), Some("held"));
        assert_eq!(code(node.answered(Says::Whole, &CheckinReply { id: None, ..reply(5, false) })), Some("no_id"));
        assert_eq!(code(node.answered(Says::Whole, &reply(5, true))), Some("not_kept"));
    }
}
