//! A check-in, from the boot's own order of requests to the answer. Everything happens in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use wire::checkin::{Agent, CheckinReply, CheckinRequest, Command, NodeState};
use wire::limits::DEFAULT_INTERVAL_S;

use crate::config::{Config, Enrolment};
use crate::limits::{MAX_MESSAGES, MAX_NODE_BOOTS, MAX_STRAY_BOOTS, PARTS_AWAITED_S};
use crate::newcomers::Room;
use crate::registry::configs::Wanted;
use crate::registry::enrolment::Gate;
use crate::registry::said::Said;
use crate::registry::settle::{Settled, Speaker, Voice, alive_ms, settle};
use crate::registry::{Refusal, action, changes, configs, queue, rival};
use crate::store::boots::{self, Boot};
use crate::store::nodes::{self, Contact, Node};
use crate::store::sql::Connection;
use crate::store::writer::Work;
use crate::store::{candidates, history, makeups, mirror_index};

/// A check-in whose form and signature have been checked.
#[derive(Debug)]
pub struct Checkin {
    /// Settings in force.
    pub config: Arc<Config>,
    /// Milliseconds since 1970.
    pub now: i64,
    /// Id in the URL. A hint, never proof.
    pub url_id: Option<i64>,
    /// The message.
    pub request: CheckinRequest,
    /// SHA-256 of its bytes.
    pub body: String,
    /// The key that signed it.
    pub key: Option<Vec<u8>>,
    /// What it says, if it has facts or an inventory.
    pub said: Option<Said>,
    /// For a node that is made.
    pub room: Room,
}

impl Work for Checkin {
    type Output = Result<CheckinReply, Refusal>;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<Self::Output> {
        let Some(boot_id) = self.request.boot_id.as_deref() else { return self.legacy(db).await };
        let boot = Boot::get(&mut *db, boot_id).await?;
        if let Some(boot) = &boot {
            match self.order(boot)? {
                Order::Next => {}
                Order::Repeat(reply) => return Ok(Ok(*reply)),
                Order::Refused(refusal) => return Ok(Err(refusal)),
            }
        }
        if let Some(refusal) = self.silenced(&mut *db, boot.as_ref()).await? {
            return Ok(Err(refusal));
        }
        let known = match &boot {
            Some(boot) => rival::overtaken(&mut *db, self.now, &self.heard(boot.clone())).await?,
            None => None,
        };
        let reply = match self.answer(&mut *db, known).await? {
            Ok(reply) => reply,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let heard = Boot {
            boot_id: boot_id.to_owned(),
            node: reply.id.and_then(|id| i64::try_from(id).ok()),
            key: self.key.clone(),
            seq: self.seq(),
            body: self.body.clone(),
            reply: serde_json::to_string(&reply)?,
            uptime_s: self.uptime_s(),
            last_seen: self.now,
        };
        heard.put(&mut *db).await?;
        if let Some(card) = &self.request.card {
            Boot::set_card(&mut *db, boot_id, card).await?;
        }
        if boot.is_none() {
            // Anybody can make up boots.
            let most = if heard.node.is_some() { MAX_NODE_BOOTS } else { MAX_STRAY_BOOTS };
            boots::prune(db, heard.node, most).await?;
        }
        Ok(Ok(reply))
    }
}

/// Where a request stands in its boot's order.
enum Order {
    Next,
    Repeat(Box<CheckinReply>),
    Refused(Refusal),
}

impl Checkin {
    fn seq(&self) -> i64 {
        self.request.seq.and_then(|s| i64::try_from(s).ok()).unwrap_or(0)
    }

    fn uptime_s(&self) -> Option<i64> {
        self.request.uptime_s.and_then(|s| i64::try_from(s).ok())
    }

    /// The boot as it is heard now.
    fn heard(&self, boot: Boot) -> Boot {
        Boot { uptime_s: self.uptime_s(), last_seen: self.now, ..boot }
    }

    /// Who does not sign and was believed once is not believed any more while the node's own agent speaks: what such a boot
    /// says of its uptime decides nothing then.
    async fn silenced(&self, db: &mut Connection, boot: Option<&Boot>) -> anyhow::Result<Option<Refusal>> {
        let (None, Some(node)) = (&self.key, boot.and_then(|boot| boot.node)) else { return Ok(None) };
        let window_ms = alive_ms(&mut *db, &self.config, node).await?;
        rival::spoken_for(db, self.now, node, window_ms).await
    }

    /// A boot keeps its key, and its numbers rise. The same request once more gets the same answer.
    fn order(&self, boot: &Boot) -> anyhow::Result<Order> {
        if self.key != boot.key {
            let (status, why) = match (&self.key, &boot.key) {
                (None, _) => (401, "its requests are signed, and this one is not"),
                _ => (409, "its requests are signed with another key"),
            };
            let error = format!("the request is not from boot {}: {why}", boot.boot_id);
            let remedy = "If the agent lost its key, reboot the machine; else another program speaks in its name.";
            return Ok(Order::Refused(Refusal::new(status, "wrong_key", error, remedy)));
        }
        let seq = self.seq();
        if seq > boot.seq {
            return Ok(Order::Next);
        }
        if seq == boot.seq && self.body == boot.body {
            return Ok(Order::Repeat(Box::new(serde_json::from_str(&boot.reply)?)));
        }
        let error = format!(
            "request {seq} of boot {} comes too late; the last one that was taken is {}",
            boot.boot_id, boot.seq
        );
        let remedy = "Send the next number. If the agent lost count, reboot the machine; else this is a replay.";
        Ok(Order::Refused(Refusal::new(409, wire::error::REPLAY, error, remedy)))
    }

    /// Original clients: a known id, facts every time, and nothing but the action in the answer.
    async fn legacy(&self, db: &mut Connection) -> anyhow::Result<Result<CheckinReply, Refusal>> {
        let own = match self.url_id {
            Some(id) => nodes::resolve(&mut *db, id).await?,
            None => None,
        };
        if self.url_id.is_some() && own.is_none() {
            let error = format!("there is no node {}", self.url_id.unwrap_or_default());
            let remedy = "Boot the machine by PXE, so that it gets an id, or check in without one at /svc/checkin.";
            return Ok(Err(Refusal::new(404, "no_such_node", error, remedy)));
        }
        let Some(said) = &self.said else {
            let remedy = "Send {\"hw_id\": …, \"facts\": {…}} with every check-in.";
            return Ok(Err(Refusal::new(400, "no_facts", "the check-in has no facts", remedy)));
        };
        let reply = match self.settled(&mut *db, said, own, false).await? {
            Ok(settled) => self.reply(db, Some(settled), true).await?,
            Err(refusal) => return Ok(Err(refusal)),
        };
        Ok(Ok(CheckinReply { action: reply.action, ..bare() }))
    }

    /// Protocol B: facts without an id, and no action in the answer. Gives the node.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn register(&self, db: &mut Connection) -> anyhow::Result<Result<i64, Refusal>> {
        let Some(said) = &self.said else { anyhow::bail!("a registration came without facts") };
        let settled = match self.settled(&mut *db, said, None, false).await? {
            Ok(settled) => settled,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let reboots = Node::get(&mut *db, settled.id).await?.map_or(0, |n| n.reboots);
        let mirror_index = self.mirror_index(&mut *db, settled.id).await?;
        nodes::set_contact(db, settled.id, &self.contact(reboots, None, &mirror_index)?).await?;
        Ok(Ok(settled.id))
    }

    /// Our agents: `known` is the node that this boot was found to be before.
    async fn answer(&self, db: &mut Connection, known: Option<i64>) -> anyhow::Result<Result<CheckinReply, Refusal>> {
        let Some(said) = &self.said else {
            let settled = match known {
                Some(id) => self.standing(&mut *db, id).await?,
                None => None,
            };
            return Ok(Ok(self.reply(db, settled, false).await?));
        };
        let own = match (known, self.url_id) {
            (Some(id), _) => Some(id),
            (None, Some(id)) => nodes::resolve(&mut *db, id).await?,
            (None, None) => None,
        };
        match self.settled(&mut *db, said, own, known.is_some()).await? {
            Ok(settled) => Ok(Ok(self.reply(db, Some(settled), known.is_none()).await?)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    async fn standing(&self, db: &mut Connection, id: i64) -> anyhow::Result<Option<Settled>> {
        let Some(node) = Node::get(db, id).await? else { return Ok(None) };
        let (state, reason) = node.standing()?;
        let settled = self.gate().pass(&mut *db, &node, Settled { id, state, reason: reason.clone() }).await?;
        if (settled.state, &settled.reason) != (state, &reason) {
            nodes::set_standing(db, id, settled.state, settled.reason.as_ref()).await?;
        }
        Ok(Some(settled))
    }

    fn gate(&self) -> Gate<'_> {
        Gate { enrolment: self.config.enrolment, now: self.now, token: self.request.enrolment.as_deref() }
    }

    /// Decides which node it is, and stores what it says.
    async fn settled(
        &self,
        db: &mut Connection,
        said: &Said,
        own: Option<i64>,
        proven: bool,
    ) -> anyhow::Result<Result<Settled, Refusal>> {
        let voice = match self.request.boot_id.as_deref() {
            Some(boot_id) => Voice::Ours { boot_id, uptime_ms: self.uptime_s().map(|s| s.saturating_mul(1000)) },
            None => Voice::Legacy(&self.request.hw_id),
        };
        let (signed, report, room) = (self.key.is_some(), &said.report, &self.room);
        let (config, now, token) = (&self.config, self.now, self.request.enrolment.as_deref());
        let speaker = Speaker { config, now, own, proven, voice, signed, token, report, room };
        let settled = match settle(&mut *db, &speaker).await? {
            Ok(settled) => settled,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.store(db, settled.id, said).await?;
        Ok(Ok(settled))
    }

    /// Facts and report, where they are news.
    async fn store(&self, db: &mut Connection, id: i64, said: &Said) -> anyhow::Result<()> {
        let Some(node) = Node::get(&mut *db, id).await? else { return Ok(()) };
        if node.facts_digest.as_ref() != Some(&said.facts_digest) {
            nodes::set_facts(&mut *db, id, &said.facts, &said.facts_digest).await?;
        }
        if !node.is_registered() {
            let detail = json!({"name": nodes::name(id)});
            history::event(&mut *db, self.now, "node-registered", Some(id), &detail).await?;
        }
        if let Some(content) = said.content.as_ref().filter(|c| node.report_digest.as_ref() != Some(&c.digest)) {
            let boot_id = self.request.boot_id.as_deref();
            let report = history::Report { content, boot_id, uptime_s: self.uptime_s() };
            history::add_report(&mut *db, self.now, id, &report).await?;
            makeups::put(db, id, &said.kept).await?;
        }
        Ok(())
    }

    /// What changed of the node's parts; while the machine may be another one, only that this is so.
    async fn tell_parts(&self, db: &mut Connection, node: &Node, awaits_parts: bool) -> anyhow::Result<()> {
        if awaits_parts {
            return history::log_said(db, self.now, node.id, "info", &awaited(node.id)).await;
        }
        if node.unsettled {
            changes::tell(db, self.now, node.id, self.uptime_s()).await?;
        }
        Ok(())
    }

    fn awaits_parts(&self, node: &Node) -> bool {
        self.request.boot_id.is_some() && node.awaits_parts(self.now, self.uptime_s())
    }

    /// What the machine's boot showed is the node's, where a boot of this machine was doubted.
    async fn assure(&self, db: &mut Connection, node: &Node) -> anyhow::Result<()> {
        let Some(url_id) = self.url_id.filter(|_| node.doubt.is_some()) else { return Ok(()) };
        let known = candidates::evidence_of(&mut *db, &json!([node.id]).to_string()).await?.remove(&node.id);
        let booted_as_it = nodes::resolve(&mut *db, url_id).await? == Some(node.id);
        if booted_as_it && node.doubts_boot_of(&known.unwrap_or_default())? {
            nodes::assure(db, node.id).await?;
        }
        Ok(())
    }

    /// Whether the node's last report is of the inventory that the request has the digest of.
    fn is_as_reported(&self, node: &Node) -> bool {
        let digest = self.request.inventory_digest.as_ref();
        digest.is_some() && node.is_registered() && node.report_digest.as_ref() == digest
    }

    /// The answer, and what every accepted check-in leaves behind. `first`: this boot was not known as the node before.
    async fn reply(&self, db: &mut Connection, settled: Option<Settled>, first: bool) -> anyhow::Result<CheckinReply> {
        let id = settled.as_ref().map(|s| s.id);
        let node = match id {
            Some(id) => Node::get(&mut *db, id).await?,
            None => None,
        };
        let is = |state| settled.as_ref().is_some_and(|s| s.state == state);
        let (held, pending) = (is(NodeState::Held), is(NodeState::Pending));
        let awaits_parts = !held && node.as_ref().is_some_and(|n| self.awaits_parts(n));
        if let Some(node) = node.as_ref().filter(|n| !held && !awaits_parts && (first || n.is_provisional(self.now))) {
            self.assure(&mut *db, node).await?;
        }
        if let Some(node) = &node {
            self.tell_parts(&mut *db, node, awaits_parts).await?;
        }
        let (action, commands) = match &node {
            Some(node) => self.told(&mut *db, node, held || pending || awaits_parts).await?,
            None => (action::NONE, Vec::new()),
        };
        // A held node reports each time, so that the dispute ends as soon as the hardware is elsewhere.
        let known = !held && node.as_ref().is_some_and(|n| self.is_as_reported(n));
        let usual = self.config.checkin_interval;
        let wanted = match id {
            Some(id) => Some(Wanted::of(&mut *db, id).await?),
            None => None,
        };
        let interval = wanted.as_ref().map_or(usual, |w| w.interval(usual));
        let mirror_index = match id {
            Some(id) => self.mirror_index(&mut *db, id).await?,
            None => BTreeMap::new(),
        };
        let interval = if awaits_parts { interval.min(DEFAULT_INTERVAL_S) } else { interval };
        if let Some(id) = id {
            if let Some((severity, entry)) = &action.log {
                history::log_decision(&mut *db, self.now, id, severity, entry).await?;
            }
            // An original client is told none.
            let interval = self.request.boot_id.as_ref().map(|_| interval);
            nodes::set_contact(&mut *db, id, &self.contact(action.reboots, interval, &mirror_index)?).await?;
        }
        let config_version = wanted.as_ref().map(Wanted::version).and_then(|v| u64::try_from(v).ok());
        // Who was not let in, or may be another machine, gets nothing that the site keeps to itself; nor does a held node of either.
        let accepted = node.as_ref().is_some_and(|n| n.accepted.is_some()) || self.config.enrolment == Enrolment::Open;
        let wanted = wanted.filter(|_| accepted && !pending && !awaits_parts);
        let config = wanted.as_ref().map(|w| w.news(self.request.config.as_ref())).transpose()?.flatten();
        let config_digest = wanted.as_ref().filter(|_| config.is_some()).map(Wanted::digest);
        Ok(CheckinReply {
            action: action.word.to_owned(),
            id: id.and_then(|id| u64::try_from(id).ok()),
            name: id.map(nodes::name),
            state: settled.as_ref().map(|s| s.state),
            reason: settled.and_then(|s| s.reason),
            send_inventory: Some(self.request.inventory.is_none() && !known),
            interval: Some(interval),
            config,
            config_version,
            config_digest,
            clock_s: Some(self.now / 1000),
            mirror_index: if self.hears(first) { mirror_index } else { BTreeMap::new() },
            commands,
        })
    }

    /// The highest numbers of signed indexes that this node said in this boot and in those before. What another node says counts
    /// for that one alone: who makes up a number shuts out nobody else.
    async fn mirror_index(&self, db: &mut Connection, id: i64) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut known = mirror_index::of_node(db, id).await?;
        if let Some(agent) = &self.request.agent {
            mirror_index::raise(&mut known, &agent.mirror_index);
        }
        Ok(known)
    }

    /// Whether the answer says these numbers: to a boot that is new, and to one that has a signed index.
    fn hears(&self, first: bool) -> bool {
        self.request.agent.as_ref().is_some_and(|agent| first || !agent.mirror_index.is_empty())
    }

    /// What the node is told to do: an operator's commands, else what its being installed asks for; nothing while it is `left`
    /// alone, since another machine may speak as it.
    async fn told(
        &self,
        db: &mut Connection,
        node: &Node,
        left: bool,
    ) -> anyhow::Result<(action::Action, Vec<Command>)> {
        if let Some(said) = &self.request.config {
            configs::note(&mut *db, self.now, node, said).await?;
        }
        if self.keep_messages(&mut *db, node.id).await? {
            return Ok((action::Action { reboots: node.reboots, ..action::NONE }, Vec::new()));
        }
        let order = queue::deliver(db, self.now, node, left, self.request.boot_id.as_deref()).await?;
        if let Some(order) = order {
            return Ok((action::ordered(&order, node.reboots), order.commands()));
        }
        let silence_ms = node.last_checkin.map_or(0, |last| self.now - last);
        Ok((action::choose(node.installed.as_deref(), left, node.reboots, silence_ms), Vec::new()))
    }

    /// What the agent says went wrong, and what became of commands, goes to the node's log. True when it is about to obey
    /// one.
    async fn keep_messages(&self, db: &mut Connection, id: i64) -> anyhow::Result<bool> {
        for problem in self.request.problems.iter().take(MAX_MESSAGES) {
            let entry =
                json!({"event": "problem", "code": problem.code, "error": problem.error, "remedy": problem.remedy});
            history::log_said(&mut *db, self.now, id, "warn", &entry).await?;
        }
        let results = self.request.results.get(..MAX_MESSAGES).unwrap_or(&self.request.results);
        let heard = queue::acknowledge(&mut *db, self.now, id, results).await?;
        for result in heard.strangers {
            let entry = json!({"event": "command", "id": result.id, "outcome": result.outcome, "msg": result.detail});
            history::log_said(&mut *db, self.now, id, "info", &entry).await?;
        }
        Ok(heard.obeys)
    }

    fn contact(
        &self,
        reboots: i64,
        interval: Option<u32>,
        mirror_index: &BTreeMap<String, u64>,
    ) -> anyhow::Result<Contact> {
        let agent = self.request.agent.clone().map(|agent| Agent { mirror_index: mirror_index.clone(), ..agent });
        let volatile = self.request.inventory.as_ref().and_then(|i| i.volatile.as_ref());
        Ok(Contact {
            at: self.now,
            boot_id: self.request.boot_id.clone(),
            agent: agent.map(serde_json::to_value).transpose()?,
            volatile: volatile.map(serde_json::to_value).transpose()?,
            config: self.request.config.as_ref().map(serde_json::to_value).transpose()?,
            reboots,
            interval,
        })
    }
}

/// Log entry of a node whose machine may be another one until it shows all parts.
fn awaited(id: i64) -> serde_json::Value {
    let name = nodes::name(id);
    let msg = format!(
        "the machine that speaks as {name} shows other hardware than {name} had, and not yet its memory or disks; it may be \
         another one, and is told nothing until it shows them, or has run for {PARTS_AWAITED_S} seconds"
    );
    json!({"event": "parts-awaited", "msg": msg})
}

/// An answer that says nothing.
fn bare() -> CheckinReply {
    CheckinReply {
        action: "none".to_owned(),
        id: None,
        name: None,
        state: None,
        reason: None,
        config: None,
        config_version: None,
        config_digest: None,
        send_inventory: None,
        commands: Vec::new(),
        interval: None,
        clock_s: None,
        mirror_index: BTreeMap::new(),
    }
}
