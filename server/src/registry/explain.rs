//! Why a machine is the node that it is, and which one it would be: the real decisions, made in a transaction that is
//! rolled back.

mod words;

use std::sync::Arc;

use serde::Serialize;
use wire::checkin::Facts;

use crate::config::Config;
use crate::identity::canonical::HwInfo;
use crate::identity::change::{self, Change};
use crate::identity::decide::Decision;
use crate::identity::report::{self, Report};
use crate::newcomers::Room;
use crate::registry::Refusal;
use crate::registry::lookup::{Asked, Lookup};
use crate::registry::operate::find;
use crate::registry::settle::{self, Speaker, Voice};
use crate::store::nodes::{self, Node};
use crate::store::sql::{self, Connection};
use crate::store::writer::Work;
use crate::store::{claims, history};
use crate::wording;

pub use words::{Explanation, Moment, Part};

/// Boot of a machine that is only thought of.
const TRIAL_BOOT: &str = "what-if";
/// When it was heard last before: long ago, since its parts were changed with the power off.
const LONG_AGO: i64 = 0;

/// What is to be explained.
#[derive(Debug, Clone)]
pub enum Subject {
    /// The last decision about a node.
    Node(String),
    /// What a boot of a machine with these values would lead to.
    Machine(HwInfo),
    /// What would become of a node's machine with these changes, at its next boot and check-in.
    WhatIf(String, Vec<Change>),
}

/// A question.
#[derive(Debug)]
pub struct Explain {
    /// Settings in force.
    pub config: Arc<Config>,
    /// Milliseconds since 1970.
    pub now: i64,
    /// About what.
    pub subject: Subject,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Decisions in the order in which they are made.
    pub decisions: Vec<Explanation>,
    /// What else would follow, as sentences.
    pub follows: Vec<String>,
}

type Outcome<T> = anyhow::Result<Result<T, Refusal>>;

impl Work for Explain {
    type Output = Result<Explained, Refusal>;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<Self::Output> {
        let mut trial = db.savepoint().await?;
        let explained = match &self.subject {
            Subject::Node(name) => self.last(&mut trial, name).await,
            Subject::Machine(info) => self.machine(&mut trial, info).await,
            Subject::WhatIf(name, changes) => self.what_if(&mut trial, name, changes).await,
        };
        trial.rollback().await?;
        explained
    }
}

impl Explain {
    async fn last(&self, db: &mut Connection, name: &str) -> Outcome<Explained> {
        let node = match find(&mut *db, name).await? {
            Ok(node) => node,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let decision: Decision = serde_json::from_str(&node.decision)?;
        let explanation = words::explain(Moment::Last, &decision);
        Ok(Ok(Explained { decisions: vec![explanation], follows: contested(db, node.id).await? }))
    }

    async fn machine(&self, db: &mut Connection, info: &HwInfo) -> Outcome<Explained> {
        match self.lookup(info.clone()).weigh(db).await? {
            Ok(found) => {
                let explanation = words::explain(Moment::Boot, &found.decision);
                Ok(Ok(Explained { decisions: vec![explanation], follows: Vec::new() }))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    async fn what_if(&self, db: &mut Connection, name: &str, changes: &[Change]) -> Outcome<Explained> {
        let node = match find(&mut *db, name).await? {
            Ok(node) => node,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(known) = newest_report(&mut *db, &self.config, node.id).await? else {
            let error = format!("{name} has not reported its hardware yet, so there is nothing to change");
            return Ok(Err(Refusal::new(409, "not_registered", error, "Boot its machine; a check-in reports it.")));
        };
        let report = match change::apply(&known, changes) {
            Ok(report) => report,
            Err(error) => {
                let remedy = format!("`mk-server nodes show {name} --json` has what it reported.");
                return Ok(Err(Refusal::new(422, "no_such_part", error, remedy)));
            }
        };
        fall_silent(&mut *db, node.id).await?;
        let before = history::newest_event(&mut *db).await?;
        let (boot, own) = self.trial_boot(&mut *db, &report).await?;
        let (checkin, settled) = match self.trial_checkin(&mut *db, &report, own).await? {
            Ok(decided) => decided,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut follows: Vec<String> =
            history::events_after(&mut *db, before).await?.iter().map(wording::sentence).collect();
        follows.extend(contested(db, settled).await?);
        Ok(Ok(Explained { decisions: boot.into_iter().chain([checkin]).collect(), follows }))
    }

    /// The boot by PXE, of which iPXE tells ports and numbers; none where it shows no match key.
    async fn trial_boot(
        &self,
        db: &mut Connection,
        report: &Report,
    ) -> anyhow::Result<(Option<Explanation>, Option<i64>)> {
        let lookup = self.lookup(change::seen_by_ipxe(&report.info));
        let Ok(found) = lookup.weigh(&mut *db).await? else { return Ok((None, None)) };
        let own = lookup.carry_out(db, &found).await?.ok().map(|found| found.id);
        Ok((Some(words::explain(Moment::Boot, &found.decision)), own))
    }

    async fn trial_checkin(
        &self,
        db: &mut Connection,
        report: &Report,
        own: Option<i64>,
    ) -> Outcome<(Explanation, i64)> {
        let voice = Voice::Ours { boot_id: TRIAL_BOOT, uptime_ms: Some(0) };
        let (config, now, room) = (&self.config, self.now, &Room::BOUNDLESS);
        let speaker = Speaker { config, now, own, proven: false, voice, signed: true, token: None, report, room };
        let weighed = settle::weigh(&mut *db, &speaker).await?;
        let settled = settle::carry_out(db, &speaker, &weighed).await?;
        Ok(settled.map(|settled| (words::explain(Moment::CheckIn, &weighed.decision), settled.id)))
    }

    fn lookup(&self, info: HwInfo) -> Lookup {
        let (config, room) = (self.config.clone(), Room::BOUNDLESS);
        Lookup { config, now: self.now, info, dhcp_mac: None, asked: Asked::Id, room }
    }
}

/// What the node reported last, as the decision reads it.
async fn newest_report(db: &mut Connection, config: &Config, node: i64) -> anyhow::Result<Option<Report>> {
    let Some(stored) = history::newest_report(&mut *db, node).await? else { return Ok(None) };
    let facts: Facts = serde_json::from_str(&stored.facts)?;
    let stable = stored.inventory.map(serde_json::from_value).transpose()?;
    Ok(Some(report::read(&facts, stable.as_ref(), &config.match_facts)))
}

/// The machine was switched off long ago.
async fn fall_silent(db: &mut Connection, node: i64) -> anyhow::Result<()> {
    sql::query("UPDATE boots SET last_seen = $2 WHERE node = $1").bind(node).bind(LONG_AGO).execute(&mut *db).await?;
    let update = "UPDATE nodes SET last_checkin = $2 WHERE id = $1";
    sql::query(update).bind(node).bind(LONG_AGO).execute(db).await?;
    Ok(())
}

/// The values of a node that others claim too.
async fn contested(db: &mut Connection, node: i64) -> anyhow::Result<Vec<String>> {
    let Some(node) = Node::get(&mut *db, node).await? else { return Ok(Vec::new()) };
    let shared = claims::shared(db, node.id).await?;
    let name = nodes::name(node.id);
    let sentence = |(key, other): (String, i64)| {
        let other = nodes::name(other);
        format!(
            "{key} is claimed by {name} and by {other}, until one of them reports without it; \
             `mk-server conflicts forget {other} {key}` ends that by hand."
        )
    };
    Ok(shared.into_iter().map(sentence).collect())
}
