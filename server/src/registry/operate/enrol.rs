//! Commands about who is let in: approve and refuse nodes, make and revoke enrolment tokens.

use ring::rand::{SecureRandom as _, SystemRandom};
use wire::digest::sha256_hex;
use wire::enrolment::{TOKEN_BYTES, fingerprint, token};

use crate::human;
use crate::limits::{MAX_TOKEN_NOTE, MAX_TOKEN_USES, MAX_TOKEN_VALID_S, MAX_TOKENS};
use crate::registry::Refusal;
use crate::registry::enrolment::{BY_OPERATOR, Gate};
use crate::registry::operate::{Done, Operate, named};
use crate::store::enrolment::{self, Token};
use crate::store::nodes::{self, Node};
use crate::store::sql::Connection;
use crate::store::view::timestamp;

type Outcome = anyhow::Result<Result<Done, Refusal>>;

impl Operate {
    /// What decides about nodes that nobody speaks for now.
    pub(super) fn gate(&self) -> Gate<'static> {
        Gate { enrolment: self.config.enrolment, now: self.now, token: None }
    }

    /// Accepts a node; with `key`, only while the boot that speaks as it has the key of this fingerprint.
    pub(super) async fn approve(&self, db: &mut Connection, name: &str, key: Option<&str>) -> Outcome {
        let node = match named(&mut *db, name).await? {
            Ok(node) => node,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let has = enrolment::key(&mut *db, node.id).await?.map(|key| fingerprint(&key));
        if let Some(meant) = key.filter(|meant| has.as_deref() != Some(*meant)) {
            return Ok(Err(other_key(name, meant, has.as_deref())));
        }
        if node.accepted.is_some() {
            return Ok(Ok(Done::new(node.id, format!("{name} is accepted already; nothing was changed"))));
        }
        enrolment::accept(&mut *db, self.now, node.id, BY_OPERATOR).await?;
        let held = self.see_anew(db, &node).await?;
        let of = has.map(|key| format!(" (its machine's key is {key})")).unwrap_or_default();
        let still = if held { "; it stays held until its dispute is settled" } else { "" };
        Ok(Ok(Done::new(node.id, format!("{name} is accepted{of}{still}"))))
    }

    /// Takes a node's acceptance back, or says that there shall be none.
    pub(super) async fn refuse(&self, db: &mut Connection, name: &str) -> Outcome {
        let node = match named(&mut *db, name).await? {
            Ok(node) => node,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if node.refused.is_some() {
            return Ok(Ok(Done::new(node.id, format!("{name} is refused already; nothing was changed"))));
        }
        enrolment::refuse(&mut *db, self.now, node.id).await?;
        self.see_anew(db, &node).await?;
        let result = format!("{name} is refused: it is told nothing until `mk-server nodes approve {name}` accepts it");
        Ok(Ok(Done::new(node.id, result)))
    }

    /// The node is seen as it was decided; tells whether it is held all the same.
    async fn see_anew(&self, db: &mut Connection, node: &Node) -> anyhow::Result<bool> {
        let Some(now) = Node::get(&mut *db, node.id).await?.filter(|now| !now.is_held()) else { return Ok(true) };
        let (state, why) = self.gate().at_rest(&now);
        nodes::set_standing(db, now.id, state, why.as_ref()).await?;
        Ok(false)
    }

    pub(super) async fn create_token(&self, db: &mut Connection, uses: u32, expires_s: u64, note: &str) -> Outcome {
        if let Err(refusal) = proper(uses, expires_s, note) {
            return Ok(Err(refusal));
        }
        let mut random = [0; TOKEN_BYTES];
        SystemRandom::new().fill(&mut random).map_err(|_| anyhow::anyhow!("the kernel gives no random numbers"))?;
        let token = token(&random);
        let expires = self.now + i64::try_from(expires_s * 1000)?;
        let digest = sha256_hex(token.as_bytes());
        let Some(id) = enrolment::add_token(db, &digest, note, self.now, expires, uses).await? else {
            let error = format!("there are {MAX_TOKENS} enrolment tokens that are good");
            let remedy = "Revoke some: `mk-server enrolment list`, `mk-server enrolment revoke ID`.";
            return Ok(Err(Refusal::new(409, "too_many_tokens", error, remedy)));
        };
        let machines = human::count(usize::try_from(uses)?, "machine", "machines");
        let until = human::stamp(&timestamp(expires));
        let done = Done::new(None, format!("enrolment token {id} lets {machines} in until {until}"));
        Ok(Ok(Done { token: Some(token), ..done }))
    }

    pub(super) async fn revoke_token(&self, db: &mut Connection, id: i64) -> Outcome {
        let Some(token) = Token::get(&mut *db, id).await? else {
            let error = format!("there is no enrolment token {id}");
            return Ok(Err(Refusal::new(404, "no_such_token", error, "List them with `mk-server enrolment list`.")));
        };
        if token.revoked.is_some() {
            let result = format!("enrolment token {id} is revoked already; nothing was changed");
            return Ok(Ok(Done::new(None, result)));
        }
        Token::revoke(db, self.now, id).await?;
        let machines = human::count(usize::try_from(token.used)?, "machine", "machines");
        let result =
            format!("enrolment token {id} lets nobody in any more; the {machines} that it let in stay accepted");
        Ok(Ok(Done::new(None, result)))
    }
}

/// What an operator asks of a token.
fn proper(uses: u32, expires_s: u64, note: &str) -> Result<(), Refusal> {
    let refuse = |error: String, remedy: String| Err(Refusal::new(422, "bad_command", error, remedy));
    if uses == 0 || uses > MAX_TOKEN_USES {
        return refuse(format!("a token cannot let {uses} machines in"), format!("Name 1 to {MAX_TOKEN_USES}."));
    }
    if expires_s == 0 || expires_s > MAX_TOKEN_VALID_S {
        let error = format!("a token cannot be good for {expires_s} s");
        return refuse(error, format!("Name 1 to {MAX_TOKEN_VALID_S} s."));
    }
    if note.len() > MAX_TOKEN_NOTE {
        return refuse("the note is too long".to_owned(), format!("It may have {MAX_TOKEN_NOTE} bytes."));
    }
    Ok(())
}

fn other_key(name: &str, meant: &str, has: Option<&str>) -> Refusal {
    let has = has.map_or_else(|| "no key at all".to_owned(), |key| format!("the key {key}"));
    let error = format!("{name} was not approved: its machine signs with {has}, not with {}", human::part(meant));
    let remedy =
        "Another machine may speak as it, or it booted anew, which makes a new key. Compare again with its screen.";
    Refusal::new(409, "other_key", error, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_bounds() {
        assert_eq!(proper(1, 1, ""), Ok(()));
        assert_eq!(proper(MAX_TOKEN_USES, MAX_TOKEN_VALID_S, &"x".repeat(MAX_TOKEN_NOTE)), Ok(()));
        let long = "x".repeat(MAX_TOKEN_NOTE + 1);
        for (uses, expires_s, note) in
            [(0, 1, ""), (MAX_TOKEN_USES + 1, 1, ""), (1, 0, ""), (1, MAX_TOKEN_VALID_S + 1, ""), (1, 1, long.as_str())]
        {
            assert_eq!(proper(uses, expires_s, note).unwrap_err().status, 422, "{uses} {expires_s}");
        }
    }
}
