//! Rows 1, 6 to 11 and 13: a check-in that brings facts settles which node the machine is, and what that node claims.

use serde_json::json;
use wire::checkin::NodeState;
use wire::error::Problem;

use crate::config::Config;
use crate::identity::decide::{self, Arrival, Decision, Own, Verdict};
use crate::identity::evidence::Group;
use crate::identity::keys::{self, Claim, Key};
use crate::identity::report::Report;
use crate::limits::MAX_RELATIVES;
use crate::newcomers::Room;
use crate::registry::enrolment::Gate;
use crate::registry::lookup::{PROTECTED, log_duplicate};
use crate::registry::{Refusal, queue, reason, rival};
use crate::store::boots::Boot;
use crate::store::candidates::{self, Search};
use crate::store::nodes::{self, Node};
use crate::store::sql::Connection;
use crate::store::{claims, foreign, history, merge, provisional};

/// A machine that reports, and what is known of who it is.
#[derive(Debug)]
pub struct Speaker<'a> {
    /// Settings in force.
    pub config: &'a Config,
    /// Milliseconds since 1970.
    pub now: i64,
    /// The node that it says it is.
    pub own: Option<i64>,
    /// The same boot has been recognised as that node before.
    pub proven: bool,
    /// Who speaks.
    pub voice: Voice<'a>,
    /// The request is signed, or only asks what would be.
    pub signed: bool,
    /// The enrolment token that it sends.
    pub token: Option<&'a str>,
    /// Its hardware.
    pub report: &'a Report,
    /// For a node that is made.
    pub room: &'a Room,
}

impl Speaker<'_> {
    /// What decides whether it is let in.
    fn gate(&self) -> Gate<'_> {
        Gate { enrolment: self.config.enrolment, now: self.now, token: self.token }
    }
}

/// Who speaks: ours are held where original clients are refused.
#[derive(Debug, Clone, Copy)]
pub enum Voice<'a> {
    /// An agent of ours.
    Ours {
        /// Its boot.
        boot_id: &'a str,
        /// Milliseconds since its kernel started.
        uptime_ms: Option<i64>,
    },
    /// An original client, by its `hw_id`.
    Legacy(&'a str),
}

impl<'a> Voice<'a> {
    fn boot_id(self) -> Option<&'a str> {
        match self {
            Self::Ours { boot_id, .. } => Some(boot_id),
            Self::Legacy(_) => None,
        }
    }
}

/// The node that a machine was found to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Its id.
    pub id: i64,
    /// How it is seen.
    pub state: NodeState,
    /// Why that is not normal.
    pub reason: Option<Problem>,
}

/// A decision with what it was made from.
#[derive(Debug)]
pub struct Weighed {
    /// Rows 1 and 6 to 11.
    pub decision: Decision,
    /// The values that the report has.
    claims: Vec<Claim>,
    /// Those that decide.
    keys: Vec<Key>,
    /// Nodes that were judged by what they had before a report that lacked parts.
    reopened: Vec<i64>,
    /// The machine's own node is one of this boot, whose first reports may have lacked parts.
    newborn: bool,
}

/// Decides which node the machine is and makes that node's claims those of the report.
///
/// # Errors
/// When the database fails.
pub async fn settle(db: &mut Connection, speaker: &Speaker<'_>) -> anyhow::Result<Result<Settled, Refusal>> {
    let weighed = weigh(&mut *db, speaker).await?;
    carry_out(db, speaker, &weighed).await
}

/// Makes the node's claims those of the report, as decided.
///
/// # Errors
/// When the database fails.
pub async fn carry_out(
    db: &mut Connection,
    speaker: &Speaker<'_>,
    weighed: &Weighed,
) -> anyhow::Result<Result<Settled, Refusal>> {
    let Speaker { config, now, .. } = *speaker;
    let Weighed { decision, keys, .. } = weighed;
    // Row 1: without a key only its parts can say that it is a known machine.
    let found = matches!(decision.verdict, Verdict::Node { .. });
    if keys.is_empty() && !found {
        return Ok(Err(Refusal::no_match_value(&config.match_nodes_on)));
    }
    if !speaker.signed {
        for id in decision.verdict.taken() {
            let window_ms = alive_ms(&mut *db, config, id).await?;
            if let Some(refusal) = rival::spoken_for(&mut *db, now, id, window_ms).await? {
                return Ok(Err(refusal));
            }
        }
    }
    if makes_node(speaker, decision)
        && let Err(refusal) = speaker.gate().room(&mut *db, speaker.room, decision).await?
    {
        return Ok(Err(refusal));
    }
    let taken_back = take_back(&mut *db, speaker, weighed).await?;
    let settled = match apply(&mut *db, speaker, decision, keys).await? {
        Ok(settled) => settled,
        Err(refusal) => return Ok(Err(refusal)),
    };
    tell_apart(&mut *db, speaker, &taken_back, settled.id, decision).await?;
    let settled = alternating(&mut *db, speaker, settled).await?;
    let Some(node) = Node::get(&mut *db, settled.id).await? else {
        anyhow::bail!("node {} vanished while it checked in", settled.id)
    };
    let settled = speaker.gate().pass(&mut *db, &node, settled).await?;
    if weighed.reopened.contains(&node.id) {
        provisional::confirm(&mut *db, node.id).await?;
    }
    if node.is_registered() && speaker.voice.boot_id().is_some() && !speaker.proven {
        provisional::keep(&mut *db, now, node.id, &speaker.report.evidence).await?;
    }
    learn(&mut *db, speaker, &node, weighed).await?;
    if !node.is_registered() {
        tell_akin(&mut *db, now, node.id, decision, &[]).await?;
    } else if weighed.newborn {
        let before: Decision = serde_json::from_str(&node.decision)?;
        let told: Vec<i64> = before.akin(node.id).map(|w| w.node).collect();
        tell_akin(&mut *db, now, node.id, decision, &told).await?;
    }
    see(db, now, &node, &settled, decision).await?;
    Ok(Ok(settled))
}

/// Whether the machine gets a node of its own.
fn makes_node(speaker: &Speaker<'_>, decision: &Decision) -> bool {
    match decision.verdict {
        Verdict::Create { .. } => true,
        Verdict::Ambiguous { held_as: None, .. } => matches!(speaker.voice, Voice::Ours { .. }),
        Verdict::Ambiguous { .. } | Verdict::Node { .. } => false,
    }
}

/// Keeps how the node is seen, and tells of a dispute that began or ended.
async fn see(db: &mut Connection, now: i64, node: &Node, settled: &Settled, decision: &Decision) -> anyhow::Result<()> {
    let (state, reason) = node.standing()?;
    let decided = node.decision != serde_json::to_string(decision)?;
    if node.is_held() != (settled.state == NodeState::Held) || (decided && decision.is_news()) {
        announce(&mut *db, now, settled, decision).await?;
    }
    if decided || (state, &reason) != (settled.state, &settled.reason) {
        nodes::set_state(db, settled.id, settled.state, settled.reason.as_ref(), decision).await?;
    }
    Ok(())
}

/// Decides, and changes nothing.
///
/// # Errors
/// When the database fails.
pub async fn weigh(db: &mut Connection, speaker: &Speaker<'_>) -> anyhow::Result<Weighed> {
    let Speaker { config, now, report, voice, .. } = *speaker;
    let claims = keys::claims(&report.info, &config.match_nodes_on, &report.context);
    let keys = keys::matching(&claims);
    let own = own(&mut *db, speaker, &claims).await?;
    // A machine that has long been known stays what it is, so nobody need look where its parts were.
    let settled = match own {
        Some(own) if own.proven && own.registered && !own.newborn && !own.held => {
            let id = json!([own.id]).to_string();
            provisional::completed(&mut *db, now, &id, &report.evidence).await?.is_empty()
        }
        _ => false,
    };
    let search = Search {
        keys: &keys,
        weak: &[],
        boot_id: voice.boot_id(),
        now,
        own: own.map(|o| o.id),
        evidence: &report.evidence,
        by_parts: !settled,
        usual_s: config.checkin_interval,
    };
    let candidates = candidates::find(&mut *db, &search).await?;
    // The machine's own node is judged by it too, once another one is in question, or where an id is all that says it is its own.
    let is_own = |id: i64| own.is_some_and(|own| own.id == id && own.proven);
    let common = if candidates.iter().any(|c| !is_own(c.id)) {
        candidates::common(&mut *db, &report.evidence, search.own).await?
    } else {
        Vec::new()
    };
    let uptime_ms = match voice {
        Voice::Ours { uptime_ms, .. } => uptime_ms,
        Voice::Legacy(_) => None,
    };
    let arrival = Arrival { own, evidence: &report.evidence, uptime_ms, candidates: &candidates, common: &common };
    let reopened = candidates.iter().filter(|c| c.reopened).map(|c| c.id).collect();
    let newborn = own.is_some_and(|own| own.newborn);
    Ok(Weighed { decision: decide::checkin(&arrival), claims, keys, reopened, newborn })
}

/// Silence after which nobody speaks as this node any more.
pub(super) async fn alive_ms(db: &mut Connection, config: &Config, node: i64) -> anyhow::Result<i64> {
    Ok(nodes::alive_ms(nodes::told_interval(db, node).await?, config.checkin_interval))
}

/// What is known of the node that the machine says it is.
async fn own(db: &mut Connection, speaker: &Speaker<'_>, all: &[Claim]) -> anyhow::Result<Option<Own>> {
    let node = match speaker.own {
        Some(id) => Node::get(&mut *db, id).await?,
        None => None,
    };
    let Some(node) = node else { return Ok(None) };
    let newborn = match speaker.voice {
        Voice::Ours { boot_id, .. } if node.is_registered() => nodes::only_boot(&mut *db, node.id, boot_id).await?,
        _ => false,
    };
    let foreign = speaker.report.context.foreign_macs.iter().map(|m| Key { kind: "mac".into(), value: m.clone() });
    let values: Vec<Key> = all.iter().map(|c| c.key.clone()).chain(foreign).collect();
    let shares = claims::has_any(&mut *db, node.id, &values).await?;
    let (registered, held) = (node.is_registered(), node.is_held());
    let heard_ms = match speaker.voice.boot_id() {
        Some(boot_id) => Boot::first_heard(db, boot_id).await?.map(|at| speaker.now - at),
        None => None,
    };
    Ok(Some(Own { id: node.id, registered, held, proven: speaker.proven, newborn, shares, heard_ms }))
}

/// Gives nodes their hardware back that this machine was taken for while it had not shown all its parts, and the time since
/// which it was.
async fn take_back(db: &mut Connection, speaker: &Speaker<'_>, weighed: &Weighed) -> anyhow::Result<Vec<(i64, i64)>> {
    let Weighed { decision, reopened, .. } = weighed;
    let mut taken = Vec::new();
    for weighed in decision.evidence.iter().filter(|w| w.vetoed && reopened.contains(&w.node)) {
        let id = weighed.node;
        let is_own = speaker.proven && speaker.own == Some(id);
        let chosen = decision.verdict.known() == Some(id);
        if !chosen
            && (is_own || provisional::is_from(&mut *db, id, &speaker.report.evidence).await?)
            && let Some(since) = provisional::put_back(&mut *db, speaker.now, id).await?
        {
            taken.push((id, since));
        }
    }
    Ok(taken)
}

/// Says so in the logs of both, and gives the machine's own node what it had reported.
async fn tell_apart(
    db: &mut Connection,
    speaker: &Speaker<'_>,
    taken_back: &[(i64, i64)],
    id: i64,
    decision: &Decision,
) -> anyhow::Result<()> {
    for &(former, since) in taken_back {
        provisional::hand_over(&mut *db, former, since, id).await?;
        let (name, other) = (nodes::name(former), nodes::name(id));
        let entry = json!({
            "event": "taken-back", "node": name, "other": other, "decision": decision,
            "msg": format!("the machine that was taken for {name} has reported parts since that show it to be {other}; {name} \
                            has the hardware again that it had before, and {other} the reports and bundles since"),
        });
        for id in [former, id] {
            history::log_decision(&mut *db, speaker.now, id, "warn", &entry).await?;
        }
        history::event(&mut *db, speaker.now, "identity-conflict", Some(former), &entry).await?;
    }
    Ok(())
}

/// Makes, merges or holds, as decided.
async fn apply(
    db: &mut Connection,
    speaker: &Speaker<'_>,
    decision: &Decision,
    keys: &[Key],
) -> anyhow::Result<Result<Settled, Refusal>> {
    let words: Vec<String> = keys.iter().map(Key::to_string).collect();
    let id = match &decision.verdict {
        Verdict::Create { .. } => create(db, speaker, decision).await?,
        Verdict::Node { id, merge, .. } => {
            for duplicate in merge {
                queue::hand_over(&mut *db, speaker.now, *duplicate, *id).await?;
                merge::merge(&mut *db, speaker.now, *duplicate, *id, decision).await?;
            }
            if decision.row == 9 {
                let detail = json!({"node": nodes::name(*id), "decision": decision});
                history::event(&mut *db, speaker.now, "node-rejoined", Some(*id), &detail).await?;
                history::log_decision(db, speaker.now, *id, "warn", &rejoined(*id, decision)).await?;
            }
            *id
        }
        Verdict::Ambiguous { nodes, held_as } => {
            if matches!(speaker.voice, Voice::Legacy(_)) {
                log_duplicate(db, speaker.now, nodes, &words).await?;
                return Ok(Err(Refusal::ambiguous(nodes, &words)));
            }
            match held_as {
                Some(id) => *id,
                None => create(db, speaker, decision).await?,
            }
        }
    };
    let reason = reason::held(decision, &words);
    let state = if reason.is_some() { NodeState::Held } else { NodeState::Normal };
    Ok(Ok(Settled { id, state, reason }))
}

/// Log entry of a machine that came back with a part replaced.
fn rejoined(id: i64, decision: &Decision) -> serde_json::Value {
    let weighed = decision.evidence.iter().find(|w| w.node == id);
    let words = |groups: &[Group]| groups.iter().map(|g| g.word()).collect::<Vec<_>>().join(", ");
    let (agree, differ) = weighed.map_or_else(Default::default, |w| (words(&w.agree), words(&w.differ)));
    let name = nodes::name(id);
    let msg = match weighed {
        Some(w) if w.keys.is_empty() => {
            format!("no match key of {name} was left; it was known again by {agree}, while {differ} changed")
        }
        _ if differ.is_empty() => {
            format!(
                "its machine boots anew: it has the values of {name}, and all others that have them speak elsewhere"
            )
        }
        _ => format!("{name} was known again by {agree}, while {differ} changed"),
    };
    json!({"event": "rejoined", "msg": msg})
}

async fn create(db: &mut Connection, speaker: &Speaker<'_>, decision: &Decision) -> anyhow::Result<i64> {
    let installed = speaker.config.protect_new_nodes.then_some(PROTECTED);
    let info = &speaker.report.info;
    let id = nodes::create(&mut *db, speaker.now, info, None, installed, decision).await?;
    history::event(db, speaker.now, "node-created", Some(id), &json!({"hw_info": info})).await?;
    Ok(id)
}

/// Row 13: two original clients take turns as one node.
async fn alternating(db: &mut Connection, speaker: &Speaker<'_>, settled: Settled) -> anyhow::Result<Settled> {
    let Voice::Legacy(hw_id) = speaker.voice else { return Ok(settled) };
    let window_ms = alive_ms(&mut *db, speaker.config, settled.id).await?;
    if !rival::alternates(db, speaker.now, settled.id, hw_id, window_ms).await? {
        return Ok(settled);
    }
    Ok(Settled { state: NodeState::Held, reason: Some(reason::taking_turns(settled.id)), ..settled })
}

/// Row 10: what the report has is the node's now, what it misses is not any more.
async fn learn(db: &mut Connection, speaker: &Speaker<'_>, node: &Node, weighed: &Weighed) -> anyhow::Result<()> {
    let Weighed { claims: all, decision, .. } = weighed;
    let Speaker { now, report, .. } = *speaker;
    let known = node.hw_info()?;
    let info = known.overlaid(&report.info);
    if info != known {
        nodes::set_hardware(&mut *db, node.id, &info, None).await?;
    }
    for (key, heir) in claims::replace(&mut *db, now, node.id, all, &report.speaks_of).await? {
        let (from, to) = (nodes::name(node.id), nodes::name(heir));
        let entry = json!({
            "event": "hardware-moved", "key": key.to_string(), "from": from, "to": to, "row": 10, "decision": decision,
        });
        for id in [node.id, heir] {
            history::log_decision(&mut *db, now, id, "info", &entry).await?;
        }
        history::event(&mut *db, now, "hardware-moved", Some(heir), &entry).await?;
    }
    candidates::learn(&mut *db, node.id, &report.evidence, report.context.is_virtual).await?;
    let ports = report.evidence.values(Group::Nic).into_iter().flatten();
    foreign::learn(db, now, &report.context.foreign_macs, ports).await
}

/// Tells nodes, but for those that were `told` before, of a new one that has something of theirs: if one of them is that machine
/// after all, its log says where it went.
async fn tell_akin(db: &mut Connection, now: i64, id: i64, decision: &Decision, told: &[i64]) -> anyhow::Result<()> {
    let disputed = decision.others();
    let akin = decision.akin(id).filter(|w| !disputed.contains(&w.node) && !told.contains(&w.node));
    for weighed in akin.take(usize::try_from(MAX_RELATIVES)?) {
        let entry = json!({
            "event": "identity", "node": nodes::name(id), "like": nodes::name(weighed.node), "agree": weighed.agree,
            "partly": weighed.partly, "differ": weighed.differ, "decision": {"row": decision.row, "verdict": decision.verdict},
        });
        history::log_said(&mut *db, now, weighed.node, "info", &entry).await?;
    }
    Ok(())
}

/// Writes a changed decision to the logs of all nodes that it concerns.
async fn announce(db: &mut Connection, now: i64, settled: &Settled, decision: &Decision) -> anyhow::Result<()> {
    let others = decision.others();
    let severity = if others.is_empty() && settled.state != NodeState::Held { "info" } else { "warn" };
    let entry = json!({
        "event": "identity", "node": nodes::name(settled.id), "state": settled.state, "decision": decision,
        "conflict": others.iter().map(|id| nodes::name(*id)).collect::<Vec<_>>(),
    });
    history::log_decision(&mut *db, now, settled.id, severity, &entry).await?;
    // Anybody can claim another node's values, under ever new names: that must not push out what was decided about it.
    for other in others {
        history::log_said(&mut *db, now, *other, severity, &entry).await?;
    }
    if severity == "warn" {
        history::event(db, now, "identity-conflict", Some(settled.id), &entry).await?;
    }
    Ok(())
}
