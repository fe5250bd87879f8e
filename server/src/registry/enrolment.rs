//! Who is let in: what becomes of a node that was never accepted, by the server's setting, the token that its machine sends, and
//! operators' words. Identity is decided before: a machine that is found to be an accepted node is let in with it, and one in
//! dispute is not, whatever it sends.

use serde_json::json;
use sqlx::SqliteConnection;
use wire::checkin::NodeState;
use wire::digest::sha256_hex;
use wire::enrolment::is_token;
use wire::error::Problem;

use crate::config::Enrolment;
use crate::limits::{MAX_PENDING, PENDING_SILENT_MS};
use crate::registry::Refusal;
use crate::registry::settle::Settled;
use crate::store::enrolment::{self, Token};
use crate::store::history;
use crate::store::nodes::{self, Node};

/// Accepted by the setting `open`.
const BY_SETTING: &str = "open";
/// Accepted by an operator.
pub const BY_OPERATOR: &str = "operator";

/// What a machine comes with.
#[derive(Debug, Clone, Copy)]
pub struct Gate<'a> {
    /// The server's setting.
    pub enrolment: Enrolment,
    /// Milliseconds since 1970.
    pub now: i64,
    /// The token that it sends.
    pub token: Option<&'a str>,
}

/// What a token is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Worth {
    /// It lets the machine in.
    Good(i64),
    /// It does not; what it is not.
    Bad(&'static str),
}

impl Gate<'_> {
    /// How a node that is `settled` is seen. One that was never accepted is accepted now, or waits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pass(&self, db: &mut SqliteConnection, node: &Node, settled: Settled) -> anyhow::Result<Settled> {
        if settled.state == NodeState::Held {
            return Ok(settled);
        }
        if node.accepted.is_some() {
            return Ok(Settled { state: NodeState::Normal, reason: None, ..settled });
        }
        let why = match (node.refused, self.enrolment) {
            (Some(_), _) => refused(node.id),
            (None, Enrolment::Open) => {
                enrolment::accept(db, self.now, node.id, BY_SETTING).await?;
                return Ok(Settled { state: NodeState::Normal, reason: None, ..settled });
            }
            (None, Enrolment::Approve) => waits(node.id),
            (None, Enrolment::Token) => match self.worth(&mut *db).await? {
                Worth::Good(token) => {
                    self.let_in(db, node.id, token).await?;
                    return Ok(Settled { state: NodeState::Normal, reason: None, ..settled });
                }
                Worth::Bad(what) => bad_token(node.id, what),
            },
        };
        if node.standing()?.1.as_ref() != Some(&why) {
            let entry = json!({"event": "enrolment", "code": why.code, "msg": why.error});
            history::log_said(&mut *db, self.now, node.id, "warn", &entry).await?;
            history::event(db, self.now, "node-pending", Some(node.id), &entry).await?;
        }
        Ok(Settled { state: NodeState::Pending, reason: Some(why), ..settled })
    }

    /// How a node is seen that nobody speaks for now.
    #[must_use]
    pub fn at_rest(&self, node: &Node) -> (NodeState, Option<Problem>) {
        match (node.accepted, node.refused, self.enrolment) {
            (Some(_), ..) | (None, None, Enrolment::Open) => (NodeState::Normal, None),
            (None, Some(_), _) => (NodeState::Pending, Some(refused(node.id))),
            (None, None, Enrolment::Approve | Enrolment::Token) => (NodeState::Pending, Some(waits(node.id))),
        }
    }

    /// Finds room for one more node that waits, where this machine would be one; else says why there is none. Machines that are
    /// heard keep their place, so that nobody can push them out by making up others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn room(&self, db: &mut SqliteConnection) -> anyhow::Result<Result<(), Refusal>> {
        let comes_in = match self.enrolment {
            Enrolment::Open => true,
            Enrolment::Approve => false,
            Enrolment::Token => matches!(self.worth(&mut *db).await?, Worth::Good(_)),
        };
        if comes_in || enrolment::waiting(&mut *db).await? < MAX_PENDING {
            return Ok(Ok(()));
        }
        let Some(silent) = enrolment::silent(&mut *db, self.now - PENDING_SILENT_MS).await? else {
            return Ok(Err(full()));
        };
        nodes::delete(&mut *db, silent).await?;
        let name = nodes::name(silent);
        let msg =
            format!("{name} was never accepted and has been silent: it gave its place to another machine that waits");
        history::event(db, self.now, "node-pruned", None, &json!({"node": name, "msg": msg})).await?;
        Ok(Ok(()))
    }

    async fn worth(&self, db: &mut SqliteConnection) -> anyhow::Result<Worth> {
        let Some(text) = self.token.filter(|text| !text.is_empty()) else { return Ok(Worth::Bad(NONE)) };
        if !is_token(text) {
            return Ok(Worth::Bad(OTHER));
        }
        let token = Token::by_digest(db, &sha256_hex(text.as_bytes())).await?;
        Ok(match token.map(|token| (token.id, token.state(self.now))) {
            None => Worth::Bad("is not known here"),
            Some((id, "good")) => Worth::Good(id),
            Some((_, "expired")) => Worth::Bad("has expired"),
            Some((_, "used up")) => Worth::Bad("is used up"),
            Some(_) => Worth::Bad("was revoked"),
        })
    }

    /// Counts the machine, in the transaction in which its node is accepted: what it sends after that is an accepted node's.
    async fn let_in(&self, db: &mut SqliteConnection, node: i64, token: i64) -> anyhow::Result<()> {
        Token::count(&mut *db, token).await?;
        enrolment::accept(&mut *db, self.now, node, &format!("token {token}")).await?;
        let entry = json!({
            "event": "enrolment", "token": token,
            "msg": format!("{} was let in by enrolment token {token}", nodes::name(node)),
        });
        history::log_decision(&mut *db, self.now, node, "info", &entry).await?;
        history::event(db, self.now, "node-accepted", Some(node), &entry).await?;
        Ok(())
    }
}

/// No token came.
const NONE: &str = "";
/// Something else came in its place.
const OTHER: &str = "is no enrolment token";

/// What an operator does about a machine that waits.
fn approval(node: i64) -> String {
    let name = nodes::name(node);
    format!(
        "Compare the key's fingerprint on its screen with the one at `mk-server nodes show {name}`, then `mk-server nodes approve \
         {name}`"
    )
}

fn waits(node: i64) -> Problem {
    let error = format!("{} waits until an operator approves it", nodes::name(node));
    Problem::new("pending", error, format!("{}.", approval(node)))
}

fn refused(node: i64) -> Problem {
    let name = nodes::name(node);
    let remedy = format!("If it is to be let in after all: `mk-server nodes approve {name}`.");
    Problem::new("refused", format!("an operator refused {name}"), remedy)
}

fn bad_token(node: i64, what: &str) -> Problem {
    let name = nodes::name(node);
    let error = match what {
        NONE => format!("{name} waits: it sent no enrolment token"),
        what => format!("{name} waits: the enrolment token that it sent {what}"),
    };
    let remedy =
        format!("{}, or give its image another token: `mkiso customize --enrolment-token FILE`.", approval(node));
    Problem::new("enrolment_token", error, remedy)
}

fn full() -> Refusal {
    let error = format!("{MAX_PENDING} machines wait here to be accepted, and no more are taken");
    let remedy = "Approve, refuse or delete some of them (`mk-server nodes list`); those that fall silent for an hour make room.";
    Refusal::new(503, "too_many_pending", error, remedy)
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;

    #[tokio::test]
    async fn made_up_machines_neither_fill_the_database_nor_push_out_those_that_are_heard() {
        let mut db = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        sqlx::migrate!("./migrations").run(&mut db).await.unwrap();
        let fill = "WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id <= ?1)
                    INSERT INTO nodes (id, first_seen, hw_info, decision, accepted)
                    SELECT id, id, '[]', '{}', CASE WHEN id = 1 THEN 1 END FROM n";
        sqlx::query(fill).bind(MAX_PENDING).execute(&mut db).await.unwrap();
        let gate = |now, enrolment| Gate { enrolment, now, token: None };
        let soon = PENDING_SILENT_MS - 1;
        let refusal = gate(soon, Enrolment::Approve).room(&mut db).await.unwrap().unwrap_err();
        assert_eq!((refusal.status, refusal.problem.code.as_str()), (503, "too_many_pending"));
        assert_eq!(gate(soon, Enrolment::Open).room(&mut db).await.unwrap(), Ok(()));
        assert_eq!(enrolment::waiting(&mut db).await.unwrap(), MAX_PENDING, "nobody gave a place up");
        let heard = "UPDATE nodes SET last_checkin = ?1 WHERE id = 2";
        sqlx::query(heard).bind(soon).execute(&mut db).await.unwrap();
        assert_eq!(gate(PENDING_SILENT_MS + 9, Enrolment::Approve).room(&mut db).await.unwrap(), Ok(()));
        assert_eq!(enrolment::waiting(&mut db).await.unwrap(), MAX_PENDING - 1);
        for (id, is_there) in [(1, true), (2, true), (3, false), (4, true)] {
            assert_eq!(Node::get(&mut db, id).await.unwrap().is_some(), is_there, "node{id}");
        }
        assert_eq!(
            gate(PENDING_SILENT_MS + 9, Enrolment::Token).room(&mut db).await.unwrap(),
            Ok(()),
            "there is room now"
        );
    }
}
