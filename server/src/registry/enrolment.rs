//! Who is let in: what becomes of a node that was never accepted, by the server's setting, the token that its machine sends, and
//! operators' words. Identity is decided before: a machine that is found to be an accepted node is let in with it, and one in
//! dispute is not, whatever it sends.

use serde_json::json;
use wire::checkin::NodeState;
use wire::digest::sha256_hex;
use wire::enrolment::is_token;
use wire::error::Problem;

use crate::config::Enrolment;
use crate::identity::decide::Decision;
use crate::limits::{MAX_PENDING, PENDING_SILENT_MS};
use crate::newcomers::Room;
use crate::registry::Refusal;
use crate::registry::settle::Settled;
use crate::store::enrolment::{self, Token};
use crate::store::history;
use crate::store::nodes::{self, Node};
use crate::store::sql::Connection;

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
    pub async fn pass(&self, db: &mut Connection, node: &Node, settled: Settled) -> anyhow::Result<Settled> {
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

    /// Takes room for the node that is `decided` to be made: that of its source, and a place among those that wait, where this
    /// machine would be one. Else says why there is none, and changes nothing. Machines that are heard keep their place, so that
    /// nobody can push them out by making up others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn room(
        &self,
        db: &mut Connection,
        source: &Room,
        decided: &Decision,
    ) -> anyhow::Result<Result<(), Refusal>> {
        if source.is_boundless() {
            return Ok(Ok(()));
        }
        let gives_way = match self.place(&mut *db, decided).await? {
            Ok(gives_way) => gives_way,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Err(refusal) = source.take() {
            return Ok(Err(refusal));
        }
        let Some(silent) = gives_way else { return Ok(Ok(())) };
        nodes::delete(&mut *db, silent).await?;
        let name = nodes::name(silent);
        let msg =
            format!("{name} was never accepted and has been silent: it gave its place to another machine that waits");
        history::event(db, self.now, "node-pruned", None, &json!({"node": name, "msg": msg})).await?;
        Ok(Ok(()))
    }

    /// Whether there is a place, and the node that has to give it up where one has to: none that the decision names.
    async fn place(&self, db: &mut Connection, decided: &Decision) -> anyhow::Result<Result<Option<i64>, Refusal>> {
        let comes_in = match self.enrolment {
            Enrolment::Open => true,
            Enrolment::Approve => false,
            Enrolment::Token => matches!(self.worth(&mut *db).await?, Worth::Good(_)),
        };
        if comes_in || enrolment::waiting(&mut *db).await? < MAX_PENDING {
            return Ok(Ok(None));
        }
        let named: Vec<i64> = decided.evidence.iter().map(|w| w.node).chain(decided.others().iter().copied()).collect();
        let silent = enrolment::silent(db, self.now - PENDING_SILENT_MS, &named).await?;
        Ok(silent.map(Some).ok_or_else(full))
    }

    async fn worth(&self, db: &mut Connection) -> anyhow::Result<Worth> {
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
    async fn let_in(&self, db: &mut Connection, node: i64, token: i64) -> anyhow::Result<()> {
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
    let remedy = "Approve, refuse or delete some of them (`mk-server nodes list`); those that an operator never dealt with make room once \
                  they are silent for an hour.";
    Refusal::new(503, "too_many_pending", error, remedy)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::identity::decide::Verdict;
    use crate::limits::NEW_NODES_AT_ONCE;
    use crate::newcomers::Newcomers;
    use crate::store::{in_memory, sql};

    /// A database in which as many nodes wait as may, none heard since the moment of its number.
    async fn full_house() -> Connection {
        let mut db = in_memory().await;
        let fill = "WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id <= $1)
                    INSERT INTO nodes (id, first_seen, hw_info, decision, accepted)
                    SELECT id, id, '[]', '{}', CASE WHEN id = 1 THEN 1 END FROM n";
        sql::query(fill).bind(MAX_PENDING).execute(&mut db).await.unwrap();
        db
    }

    fn gate(now: i64, enrolment: Enrolment) -> Gate<'static> {
        Gate { enrolment, now, token: None }
    }

    fn source() -> Room {
        Newcomers::default().of(IpAddr::from([10, 0, 0, 1]))
    }

    /// A new machine, in dispute with these nodes.
    fn against(conflict: &[i64]) -> Decision {
        Decision { row: 4, verdict: Verdict::Create { conflict: conflict.to_vec() }, evidence: Vec::new() }
    }

    async fn waiting(db: &mut Connection) -> i64 {
        enrolment::waiting(db).await.unwrap()
    }

    #[tokio::test]
    async fn made_up_machines_neither_fill_the_database_nor_push_out_those_that_are_heard() {
        let (mut db, new) = (full_house().await, against(&[]));
        let soon = PENDING_SILENT_MS - 1;
        let refusal = gate(soon, Enrolment::Approve).room(&mut db, &source(), &new).await.unwrap().unwrap_err();
        assert_eq!((refusal.status, refusal.problem.code.as_str()), (503, "too_many_pending"));
        assert_eq!(gate(soon, Enrolment::Open).room(&mut db, &source(), &new).await.unwrap(), Ok(()));
        assert_eq!(waiting(&mut db).await, MAX_PENDING, "nobody gave a place up");
        let heard = "UPDATE nodes SET last_checkin = $1 WHERE id = 2";
        sql::query(heard).bind(soon).execute(&mut db).await.unwrap();
        let later = gate(PENDING_SILENT_MS + 9, Enrolment::Approve);
        assert_eq!(later.room(&mut db, &source(), &new).await.unwrap(), Ok(()));
        assert_eq!(waiting(&mut db).await, MAX_PENDING - 1);
        for (id, is_there) in [(1, true), (2, true), (3, false), (4, true)] {
            assert_eq!(Node::get(&mut db, id).await.unwrap().is_some(), is_there, "node{id}");
        }
        let there_is_room = gate(PENDING_SILENT_MS + 9, Enrolment::Token).room(&mut db, &source(), &new).await;
        assert_eq!(there_is_room.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn who_was_dealt_with_or_is_in_question_gives_no_place_up() {
        let mut db = full_house().await;
        let deal = "UPDATE nodes SET refused = 5 WHERE id = 2; UPDATE nodes SET installed = 'registered' WHERE id = 3;
                    UPDATE nodes SET installed = '+protected' WHERE id = 6;
                    INSERT INTO node_log (node, origin, at, severity, entry, decided) VALUES
                    (4, 4, 0, 'info', '{\"event\": \"operator\"}', 1)";
        sql::raw(deal, &mut db).await.unwrap();
        assert_eq!(waiting(&mut db).await, MAX_PENDING - 1, "nobody but an operator makes refused ones");
        sql::query("INSERT INTO nodes (first_seen, hw_info, decision) VALUES (9999, '[]', '{}')")
            .execute(&mut db)
            .await
            .unwrap();
        let later = gate(PENDING_SILENT_MS + 99, Enrolment::Approve);
        assert_eq!(later.room(&mut db, &source(), &against(&[5])).await.unwrap(), Ok(()));
        for (id, is_there) in [(2, true), (3, true), (4, true), (5, true), (6, false), (7, true)] {
            assert_eq!(Node::get(&mut db, id).await.unwrap().is_some(), is_there, "node{id}");
        }
    }

    #[tokio::test]
    async fn operators_need_no_room_and_a_source_without_room_takes_no_place() {
        let (mut db, new) = (full_house().await, against(&[]));
        for now in [PENDING_SILENT_MS - 1, PENDING_SILENT_MS + 99] {
            let asked = gate(now, Enrolment::Approve).room(&mut db, &Room::BOUNDLESS, &new).await.unwrap();
            assert_eq!((asked, waiting(&mut db).await), (Ok(()), MAX_PENDING), "{now}");
        }
        let spent = source();
        while spent.take().is_ok() {}
        let later = gate(PENDING_SILENT_MS + 99, Enrolment::Approve);
        let refusal = later.room(&mut db, &spent, &new).await.unwrap().unwrap_err();
        assert_eq!((refusal.problem.code.as_str(), waiting(&mut db).await), ("too_many_new", MAX_PENDING));
        // Where there is no place, the source has its room still.
        let (room, early) = (source(), gate(PENDING_SILENT_MS - 1, Enrolment::Approve));
        for _ in 0..=NEW_NODES_AT_ONCE {
            let refusal = early.room(&mut db, &room, &new).await.unwrap().unwrap_err();
            assert_eq!(refusal.problem.code, "too_many_pending");
        }
        assert_eq!(room.take(), Ok(()));
    }
}
