//! Commands to nodes: queued by an operator, sent with the answer to a check-in, ended by what the node says of them, by
//! another boot of the node, by another command, or by the clock.
//!
//! A command that was sent and not acknowledged goes out again to the same boot, which carries each id out once. It never
//! goes to another boot: that the machine booted anew shows that its answer was lost, and it would boot once more.

use serde_json::json;
use sqlx::SqliteConnection;
use wire::checkin::{Command, CommandResult, Outcome};

use crate::limits::{ALIVE_INTERVALS, COMMAND_VALID_MS, MAX_LOG_MESSAGE};
use crate::store::commands::{self, Waiting};
use crate::store::history;
use crate::store::nodes::Node;
use crate::store::writer::Work;

/// What to do about power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Boot anew.
    Reboot,
    /// Switch off.
    Off,
}

impl Power {
    /// How it is written on the wire and in the database.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Off => "poweroff",
        }
    }

    /// What a node is told.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Reboot => "to reboot",
            Self::Off => "to switch off",
        }
    }
}

/// What an answer to a check-in carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// A command, for an agent of ours.
    Command(Command),
    /// `reboot` as the action: all that an original client can be told.
    Reboot,
}

impl Order {
    /// The command, if it is one.
    #[must_use]
    pub fn command(self) -> Option<Command> {
        match self {
            Self::Command(command) => Some(command),
            Self::Reboot => None,
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
    db: &mut SqliteConnection,
    now: i64,
    node: i64,
    results: &'a [CommandResult],
) -> anyhow::Result<Heard<'a>> {
    let mut heard = Heard::default();
    for result in results {
        let waiting = commands::of_node(&mut *db, node).await?;
        match waiting.filter(|w| u64::try_from(w.id) == Ok(result.id) && w.sent.is_some()) {
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

fn is_bad(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Accepted | Outcome::Done)
}

/// What the node is told now; `boot_id` is that of the agent that speaks, nothing for an original client. A node whose
/// identity is disputed is told nothing.
///
/// # Errors
/// When the database fails.
pub async fn deliver(
    db: &mut SqliteConnection,
    now: i64,
    node: &Node,
    held: bool,
    boot_id: Option<&str>,
) -> anyhow::Result<Option<Order>> {
    let Some(waiting) = commands::of_node(&mut *db, node.id).await? else { return Ok(None) };
    if waiting.expires <= now {
        expire(db, now, &waiting).await?;
        return Ok(None);
    }
    if waiting.sent.is_some() && waiting.boot_id.as_deref() != boot_id {
        let why = "the machine has booted anew since it was told; the acknowledgement was lost";
        end(db, now, &waiting, "done", false, why).await?;
        return Ok(None);
    }
    if held {
        return Ok(None);
    }
    let Some(boot_id) = boot_id else { return original(db, now, &waiting).await };
    commands::set_sent(db, waiting.id, now, boot_id).await?;
    let left_s = (waiting.expires - now).max(1000) / 1000;
    Ok(Some(Order::Command(Command {
        id: u64::try_from(waiting.id)?,
        kind: waiting.kind,
        args: std::collections::BTreeMap::new(),
        expires_in_s: u64::try_from(left_s).ok(),
    })))
}

/// An original client knows one action and acknowledges nothing.
async fn original(db: &mut SqliteConnection, now: i64, waiting: &Waiting) -> anyhow::Result<Option<Order>> {
    if waiting.kind == Power::Reboot.word() {
        end(db, now, waiting, "sent", false, "original clients acknowledge nothing").await?;
        return Ok(Some(Order::Reboot));
    }
    end(db, now, waiting, "unsupported", true, "an original client cannot be told this").await?;
    Ok(None)
}

/// Another command takes the place of the one that waits.
///
/// # Errors
/// When the database fails.
pub async fn replace(db: &mut SqliteConnection, now: i64, node: i64) -> anyhow::Result<()> {
    if let Some(waiting) = commands::of_node(&mut *db, node).await? {
        end(db, now, &waiting, "replaced", false, "").await?;
    }
    Ok(())
}

/// Ends all commands whose time is over.
#[derive(Debug)]
pub struct Expire {
    /// Milliseconds since 1970.
    pub now: i64,
}

impl Work for Expire {
    type Output = ();

    async fn run(&self, db: &mut SqliteConnection) -> anyhow::Result<()> {
        for waiting in commands::expired(&mut *db, self.now).await? {
            expire(&mut *db, self.now, &waiting).await?;
        }
        Ok(())
    }
}

async fn expire(db: &mut SqliteConnection, now: i64, waiting: &Waiting) -> anyhow::Result<()> {
    let why = match waiting.sent {
        Some(_) => "it was sent, and the node has not said what became of it",
        None => "the node did not check in, or was held, all that time",
    };
    end(db, now, waiting, "expired", true, why).await
}

async fn end(
    db: &mut SqliteConnection,
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
    use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

    use super::*;

    const BOOT: Option<&str> = Some("b");

    async fn with_a_command(expires: i64) -> (SqliteConnection, Node) {
        let mut db = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        sqlx::migrate!("./migrations").run(&mut db).await.unwrap();
        let node = "INSERT INTO nodes (id, first_seen, hw_info, decision) VALUES (1, 0, '[]', '{}')";
        sqlx::query(node).execute(&mut db).await.unwrap();
        commands::add(&mut db, 1, "reboot", 0, expires).await.unwrap();
        let node = Node::get(&mut db, 1).await.unwrap().unwrap();
        (db, node)
    }

    async fn outcomes(db: &mut SqliteConnection) -> Vec<(String, String)> {
        let select = "SELECT severity, entry FROM node_log ORDER BY id";
        let rows: Vec<(String, String)> = sqlx::query_as(select).fetch_all(db).await.unwrap();
        let outcome =
            |entry: &str| serde_json::from_str::<Value>(entry).unwrap()["outcome"].as_str().unwrap().to_owned();
        rows.into_iter().map(|(severity, entry)| (severity, outcome(&entry))).collect()
    }

    #[tokio::test]
    async fn a_command_ends_with_its_time() {
        let (mut db, node) = with_a_command(5000).await;
        let order = deliver(&mut db, 3500, &node, false, BOOT).await.unwrap().unwrap();
        let command = order.command().unwrap();
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
        assert_eq!(commands::of_node(&mut db, 1).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_held_node_is_told_once_it_is_not_any_more() {
        let (mut db, node) = with_a_command(5000).await;
        assert_eq!(deliver(&mut db, 1, &node, true, BOOT).await.unwrap(), None);
        assert!(deliver(&mut db, 2, &node, false, BOOT).await.unwrap().is_some());
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

    #[test]
    fn commands_wait_longer_where_check_ins_are_rare() {
        assert_eq!(valid_ms(60), COMMAND_VALID_MS);
        assert_eq!(valid_ms(3600), 3 * 3_600_000);
    }
}
