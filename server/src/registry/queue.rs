//! Commands to nodes: queued by an operator, sent with the answer to a check-in, ended by what the node says of them, by
//! another boot of the node, by another command, or by the clock.
//!
//! A command that was sent and not acknowledged goes out again to the same boot, which carries each id out once. Reboot and
//! power-off never go to another boot: that the machine booted anew shows that its answer was lost, and it would boot once
//! more. Nor does the loading of an extension, which may be what ended the boot. All others do, since the boot that was told
//! them is over.

use serde_json::json;
use wire::checkin::{Command, CommandResult, Outcome};

use crate::limits::{ALIVE_INTERVALS, COMMAND_VALID_MS, EXPIRED_AT_ONCE, MAX_LOG_MESSAGE};
use crate::registry::kind::Kind;
use crate::store::commands::{self, Waiting};
use crate::store::history;
use crate::store::nodes::{self, Node};
use crate::store::sql::Connection;
use crate::store::writer::Work;

/// What an answer to a check-in carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Commands, for an agent of ours.
    Commands(Vec<Command>),
    /// `reboot` as the action: all that an original client can be told.
    Reboot,
}

impl Order {
    /// The commands, if it is that.
    #[must_use]
    pub fn commands(self) -> Vec<Command> {
        match self {
            Self::Commands(commands) => commands,
            Self::Reboot => Vec::new(),
        }
    }
}

/// Time for which a command waits, in milliseconds: longer where check-ins are rare.
#[must_use]
pub fn valid_ms(interval_s: u32) -> i64 {
    COMMAND_VALID_MS.max(ALIVE_INTERVALS * 1000 * i64::from(interval_s))
}

/// What a node said of its commands.
#[derive(Debug, Default)]
pub struct Heard<'a> {
    /// It is about to obey one, and must not be told anything else.
    pub obeys: bool,
    /// Words about commands that do not wait for it.
    pub strangers: Vec<&'a CommandResult>,
}

/// Takes what a node says of its commands.
///
/// # Errors
/// When the database fails.
pub async fn acknowledge<'a>(
    db: &mut Connection,
    now: i64,
    node: i64,
    results: &'a [CommandResult],
) -> anyhow::Result<Heard<'a>> {
    let mut heard = Heard::default();
    for result in results {
        let waiting = commands::of_node(&mut *db, node).await?;
        match waiting.into_iter().find(|w| u64::try_from(w.id) == Ok(result.id) && w.sent.is_some()) {
            // Its result follows.
            Some(waiting) if result.outcome == Outcome::Accepted && !is_power(&waiting) => {}
            Some(waiting) => {
                let outcome = serde_json::to_value(result.outcome)?;
                let outcome = outcome.as_str().unwrap_or_default();
                let detail: String = result.detail.chars().take(MAX_LOG_MESSAGE).collect();
                heard.obeys |= result.outcome == Outcome::Accepted;
                end(&mut *db, now, &waiting, outcome, is_bad(result.outcome), &detail).await?;
            }
            None => heard.strangers.push(result),
        }
    }
    Ok(heard)
}

fn is_power(waiting: &Waiting) -> bool {
    Kind::of_word(&waiting.kind).is_some_and(Kind::is_power)
}

/// Whether it was told to another boot than this and must not be told to two.
fn is_of_another_boot(waiting: &Waiting, boot_id: Option<&str>) -> bool {
    let is_for_one = Kind::of_word(&waiting.kind).is_some_and(Kind::is_for_one_boot);
    is_for_one && waiting.sent.is_some() && waiting.boot_id.as_deref() != boot_id
}

/// What went out to this boot alone, which has turned out to be another machine's, has not reached the node. Other kinds go out
/// again by themselves, and the node's own boot may have been told them before.
///
/// # Errors
/// When the database fails.
pub async fn take_back(db: &mut Connection, node: i64, boot_id: &str) -> anyhow::Result<()> {
    for waiting in commands::of_node(&mut *db, node).await? {
        let is_for_one = Kind::of_word(&waiting.kind).is_some_and(Kind::is_for_one_boot);
        if is_for_one && waiting.boot_id.as_deref() == Some(boot_id) {
            commands::set_unsent(&mut *db, waiting.id).await?;
        }
    }
    Ok(())
}

fn is_bad(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Accepted | Outcome::Done)
}

/// What the node is told now; `boot_id` is that of the agent that speaks, nothing for an original client. A node whose
/// identity is disputed is told little.
///
/// # Errors
/// When the database fails.
pub async fn deliver(
    db: &mut Connection,
    now: i64,
    node: &Node,
    held: bool,
    boot_id: Option<&str>,
) -> anyhow::Result<Option<Order>> {
    let (mut told, mut reboot) = (Vec::new(), false);
    for waiting in commands::of_node(&mut *db, node.id).await? {
        if waiting.expires <= now {
            expire(&mut *db, now, &waiting).await?;
        } else if is_kept_from(&waiting, held) {
            // It goes on waiting: another boot of a machine that may be another one says nothing of this one either.
        } else if is_of_another_boot(&waiting, boot_id) {
            let (outcome, why) = match is_power(&waiting) {
                true => ("done", "the machine has booted anew since it was told; the acknowledgement was lost"),
                false => ("failed", "the machine has booted anew since it was told, and has not said what came of it"),
            };
            end(&mut *db, now, &waiting, outcome, outcome == "failed", why).await?;
        } else if let Some(boot_id) = boot_id {
            commands::set_sent(&mut *db, waiting.id, now, boot_id).await?;
            told.push(command(waiting, now)?);
        } else {
            reboot |= original(&mut *db, now, &waiting).await?;
        }
    }
    Ok(match reboot {
        true => Some(Order::Reboot),
        false => (!told.is_empty()).then_some(Order::Commands(told)),
    })
}

/// Whether a node is not told this now, since its identity is disputed.
fn is_kept_from(waiting: &Waiting, held: bool) -> bool {
    held && !Kind::of_word(&waiting.kind).is_some_and(Kind::is_for_held)
}

/// Whether something waits for a node that this boot has not been told.
///
/// # Errors
/// When the database fails.
pub async fn is_due(db: &mut Connection, now: i64, node: i64, held: bool, boot_id: &str) -> anyhow::Result<bool> {
    let waiting = commands::of_node(db, node).await?;
    let is_new = |w: &Waiting| w.sent.is_none() || w.boot_id.as_deref() != Some(boot_id);
    Ok(waiting.iter().any(|w| w.expires > now && is_new(w) && !is_kept_from(w, held)))
}

fn command(waiting: Waiting, now: i64) -> anyhow::Result<Command> {
    let left_s = (waiting.expires - now).max(1000) / 1000;
    Ok(Command {
        id: u64::try_from(waiting.id)?,
        kind: waiting.kind,
        args: serde_json::from_str(&waiting.args)?,
        expires_in_s: u64::try_from(left_s).ok(),
    })
}

/// An original client knows one action and acknowledges nothing. True for that.
async fn original(db: &mut Connection, now: i64, waiting: &Waiting) -> anyhow::Result<bool> {
    let is_known = waiting.kind == Kind::Reboot.word();
    match is_known {
        true => end(db, now, waiting, "sent", false, "original clients acknowledge nothing").await?,
        false => end(db, now, waiting, "unsupported", true, "an original client cannot be told this").await?,
    }
    Ok(is_known)
}

/// A command of this kind takes the place of the like that waits.
///
/// # Errors
/// When the database fails.
pub async fn replace(db: &mut Connection, now: i64, node: i64, kind: Kind) -> anyhow::Result<()> {
    for waiting in commands::of_node(&mut *db, node).await? {
        if Kind::of_word(&waiting.kind).is_none_or(|other| kind.replaces(other)) {
            end(&mut *db, now, &waiting, "replaced", false, "").await?;
        }
    }
    Ok(())
}

/// Gives the commands of a node that ends to the one that it merges into. Where one of each cannot wait side by side, the later
/// counts, as for one node.
///
/// # Errors
/// When the database fails.
pub async fn hand_over(db: &mut Connection, now: i64, from: i64, into: i64) -> anyhow::Result<()> {
    let others = commands::of_node(&mut *db, into).await?;
    for one in commands::of_node(&mut *db, from).await? {
        for other in &others {
            let (former, later) = if one.id < other.id { (&one, other) } else { (other, &one) };
            let kinds = Kind::of_word(&later.kind).zip(Kind::of_word(&former.kind));
            if kinds.is_none_or(|(later, former)| later.replaces(former)) {
                let (from, into) = (nodes::name(from), nodes::name(into));
                let why = format!("{from} is {into}, and command {} was given later", later.id);
                end(&mut *db, now, former, "replaced", false, &why).await?;
            }
        }
    }
    commands::hand_over(db, from, into).await
}

/// Ends commands whose time is over, at most [`EXPIRED_AT_ONCE`]; true when there may be more.
#[derive(Debug)]
pub struct Expire {
    /// Milliseconds since 1970.
    pub now: i64,
}

impl Work for Expire {
    type Output = bool;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<bool> {
        let expired = commands::expired(&mut *db, self.now).await?;
        for waiting in &expired {
            expire(&mut *db, self.now, waiting).await?;
        }
        Ok(expired.len() >= EXPIRED_AT_ONCE)
    }
}

async fn expire(db: &mut Connection, now: i64, waiting: &Waiting) -> anyhow::Result<()> {
    let why = match waiting.sent {
        Some(_) => "it was sent, and the node has not said what became of it",
        None => "the node did not check in, or it was not certain which machine it is, all that time",
    };
    end(db, now, waiting, "expired", true, why).await
}

async fn end(
    db: &mut Connection,
    now: i64,
    waiting: &Waiting,
    outcome: &str,
    bad: bool,
    msg: &str,
) -> anyhow::Result<()> {
    commands::end(&mut *db, waiting.id).await?;
    let entry = json!({"event": "command", "id": waiting.id, "kind": waiting.kind, "outcome": outcome, "msg": msg});
    history::log_decision(db, now, waiting.node, if bad { "warn" } else { "info" }, &entry).await
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::store::{in_memory, sql};

    const BOOT: Option<&str> = Some("b");

    async fn with_a_command(expires: i64) -> (Connection, Node) {
        let mut db = in_memory().await;
        let node = "INSERT INTO nodes (id, first_seen, hw_info, decision) VALUES (1, 0, '[]', '{}')";
        sql::query(node).execute(&mut db).await.unwrap();
        commands::add(&mut db, 1, "reboot", "{}", 0, expires).await.unwrap();
        let node = Node::get(&mut db, 1).await.unwrap().unwrap();
        (db, node)
    }

    async fn outcomes(db: &mut Connection) -> Vec<(String, String)> {
        let select = "SELECT severity, entry FROM node_log ORDER BY id";
        let rows: Vec<(String, String)> = sql::query_as(select).fetch_all(db).await.unwrap();
        let outcome =
            |entry: &str| serde_json::from_str::<Value>(entry).unwrap()["outcome"].as_str().unwrap().to_owned();
        rows.into_iter().map(|(severity, entry)| (severity, outcome(&entry))).collect()
    }

    #[tokio::test]
    async fn a_command_ends_with_its_time() {
        let (mut db, node) = with_a_command(5000).await;
        let order = deliver(&mut db, 3500, &node, false, BOOT).await.unwrap().unwrap();
        let command = &order.commands()[0];
        assert_eq!((command.kind.as_str(), command.expires_in_s), ("reboot", Some(1)), "never 0 while it is valid");
        assert_eq!(deliver(&mut db, 5000, &node, false, BOOT).await.unwrap(), None);
        assert_eq!(outcomes(&mut db).await, [("warn".to_owned(), "expired".to_owned())]);
    }

    #[tokio::test]
    async fn the_clock_ends_it_when_the_node_stays_away() {
        let (mut db, _) = with_a_command(5000).await;
        Expire { now: 4999 }.run(&mut db).await.unwrap();
        assert_eq!(outcomes(&mut db).await, []);
        Expire { now: 5000 }.run(&mut db).await.unwrap();
        assert_eq!(outcomes(&mut db).await.len(), 1);
        assert_eq!(commands::of_node(&mut db, 1).await.unwrap(), []);
    }

    #[tokio::test]
    async fn many_end_in_parts() {
        let (mut db, _) = with_a_command(5000).await;
        let fill = "WITH RECURSIVE n (id) AS (SELECT 2 UNION ALL SELECT id + 1 FROM n WHERE id < $1)
             INSERT INTO nodes (id, first_seen, hw_info, decision) SELECT id, 0, '[]', '{}' FROM n";
        sql::query(fill).bind(EXPIRED_AT_ONCE as i64 + 1).execute(&mut db).await.unwrap();
        let fill = "INSERT INTO commands (node, kind, args, at, expires) SELECT id, 'doctor', '{}', 0, 4000 FROM nodes";
        sql::query(fill).execute(&mut db).await.unwrap();
        assert!(Expire { now: 5000 }.run(&mut db).await.unwrap());
        assert_eq!(outcomes(&mut db).await.len(), EXPIRED_AT_ONCE);
        assert!(!Expire { now: 5000 }.run(&mut db).await.unwrap());
        assert_eq!(outcomes(&mut db).await.len(), EXPIRED_AT_ONCE + 2);
    }

    #[tokio::test]
    async fn a_held_node_is_told_once_it_is_not_any_more() {
        let (mut db, node) = with_a_command(5000).await;
        assert_eq!(deliver(&mut db, 1, &node, true, BOOT).await.unwrap(), None);
        assert!(deliver(&mut db, 2, &node, false, BOOT).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn another_boot_of_a_node_in_dispute_does_not_show_that_it_rebooted() {
        let (mut db, node) = with_a_command(5000).await;
        deliver(&mut db, 1, &node, false, BOOT).await.unwrap();
        assert_eq!(deliver(&mut db, 2, &node, true, Some("c")).await.unwrap(), None);
        assert_eq!(outcomes(&mut db).await, [], "it may be another machine's");
        assert_eq!(deliver(&mut db, 3, &node, false, Some("c")).await.unwrap(), None);
        assert_eq!(outcomes(&mut db).await, [("info".to_owned(), "done".to_owned())]);
    }

    #[tokio::test]
    async fn nobody_acknowledges_what_was_not_sent() {
        let (mut db, node) = with_a_command(5000).await;
        let said = [CommandResult { id: 1, outcome: Outcome::Done, detail: String::new() }];
        assert_eq!(acknowledge(&mut db, 1, 1, &said).await.unwrap().strangers.len(), 1, "not sent yet");
        deliver(&mut db, 2, &node, false, BOOT).await.unwrap();
        assert!(acknowledge(&mut db, 3, 1, &said).await.unwrap().strangers.is_empty());
        assert_eq!(outcomes(&mut db).await, [("info".to_owned(), "done".to_owned())]);
    }

    #[tokio::test]
    async fn a_held_node_is_asked_but_not_switched() {
        let (mut db, node) = with_a_command(5000).await;
        commands::add(&mut db, 1, "doctor", "{}", 0, 5000).await.unwrap();
        let told = deliver(&mut db, 1, &node, true, BOOT).await.unwrap().unwrap().commands();
        assert_eq!(told.iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(), ["doctor"]);
        let told = deliver(&mut db, 2, &node, false, BOOT).await.unwrap().unwrap().commands();
        assert_eq!(told.iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(), ["reboot", "doctor"], "oldest first");
    }

    #[tokio::test]
    async fn only_power_is_kept_from_another_boot_and_what_a_boot_was_told_is_not_due() {
        let (mut db, node) = with_a_command(5000).await;
        commands::add(&mut db, 1, "collect-logs", "{}", 0, 5000).await.unwrap();
        assert!(is_due(&mut db, 1, 1, false, "b").await.unwrap());
        deliver(&mut db, 1, &node, false, BOOT).await.unwrap();
        assert!(!is_due(&mut db, 2, 1, false, "b").await.unwrap());
        assert!(is_due(&mut db, 2, 1, false, "c").await.unwrap());
        let told = deliver(&mut db, 2, &node, false, Some("c")).await.unwrap().unwrap().commands();
        assert_eq!(told.iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(), ["collect-logs"]);
        assert_eq!(outcomes(&mut db).await, [("info".to_owned(), "done".to_owned())], "of the reboot");
        assert!(!is_due(&mut db, 5000, 1, false, "d").await.unwrap(), "its time is over");
    }

    #[tokio::test]
    async fn an_extension_that_a_boot_did_not_outlive_is_not_loaded_in_the_next() {
        let (mut db, node) = with_a_command(5000).await;
        commands::end(&mut db, 1).await.unwrap();
        commands::add(&mut db, 1, "load-extension", "{}", 0, 5000).await.unwrap();
        for now in [1, 2] {
            assert!(deliver(&mut db, now, &node, false, BOOT).await.unwrap().is_some(), "to the same boot");
        }
        assert_eq!(deliver(&mut db, 3, &node, false, Some("c")).await.unwrap(), None);
        assert_eq!(outcomes(&mut db).await, [("warn".to_owned(), "failed".to_owned())]);
    }

    #[tokio::test]
    async fn only_power_ends_when_it_is_accepted() {
        let (mut db, node) = with_a_command(5000).await;
        commands::add(&mut db, 1, "doctor", "{}", 0, 5000).await.unwrap();
        deliver(&mut db, 1, &node, false, BOOT).await.unwrap();
        let said = |id, outcome| CommandResult { id, outcome, detail: String::new() };
        assert!(!acknowledge(&mut db, 2, 1, &[said(2, Outcome::Accepted)]).await.unwrap().obeys);
        assert_eq!(commands::of_node(&mut db, 1).await.unwrap().len(), 2, "its result follows");
        assert!(!acknowledge(&mut db, 3, 1, &[said(2, Outcome::Done)]).await.unwrap().obeys);
        assert!(acknowledge(&mut db, 4, 1, &[said(1, Outcome::Accepted)]).await.unwrap().obeys);
        assert_eq!(commands::of_node(&mut db, 1).await.unwrap(), []);
    }

    #[test]
    fn commands_wait_longer_where_check_ins_are_rare() {
        assert_eq!(valid_ms(60), COMMAND_VALID_MS);
        assert_eq!(valid_ms(3600), 3 * 3_600_000);
    }
}
