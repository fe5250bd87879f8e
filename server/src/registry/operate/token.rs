//! Commands about operators' tokens. They are made on the server's own machine alone, so that one that got lost makes no
//! further ones.

use ring::rand::{SecureRandom as _, SystemRandom};
use wire::digest::sha256_hex;

use crate::human;
use crate::limits::{MAX_OPERATOR_TOKENS, MAX_TOKEN_NOTE, MAX_TOKEN_VALID_S};
use crate::registry::Refusal;
use crate::registry::caller::Caller;
use crate::registry::operate::{Done, Operate};
use crate::store::operators::{self, Token};
use crate::store::sql::Connection;
use crate::store::view::timestamp;

/// What every operator's token begins with, so that programs that look for secrets know it.
pub const PREFIX: &str = "razormk_";
/// Random bytes in a token and in a session's cookie.
const SECRET_BYTES: usize = 32;

type Outcome = anyhow::Result<Result<Done, Refusal>>;

/// Digits that nobody guesses.
///
/// # Errors
/// When the kernel gives none.
pub fn secret() -> anyhow::Result<String> {
    let mut random = [0; SECRET_BYTES];
    SystemRandom::new().fill(&mut random).map_err(|_| anyhow::anyhow!("the kernel gives no random numbers"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Operate {
    pub(super) async fn create_operator_token(
        &self,
        db: &mut Connection,
        note: &str,
        expires_s: Option<u64>,
        read_only: bool,
    ) -> Outcome {
        if let Err(refusal) = self.may_create().and_then(|()| proper(note, expires_s)) {
            return Ok(Err(refusal));
        }
        let token = format!("{PREFIX}{}", secret()?);
        let valid_ms = expires_s.map(|s| i64::try_from(s * 1000)).transpose()?;
        let expires = valid_ms.map(|ms| self.now + ms);
        let wanted = operators::Wanted { note, read_only, expires };
        let Some(id) = operators::add(db, self.now, &sha256_hex(token.as_bytes()), &wanted).await? else {
            let error = format!("there are {MAX_OPERATOR_TOKENS} tokens that are good");
            let remedy = "Revoke some: `mk-server token list`, `mk-server token revoke ID`.";
            return Ok(Err(Refusal::new(409, "too_many_tokens", error, remedy)));
        };
        let may = if read_only { "sees everything and changes nothing" } else { "may do everything" };
        let until = expires
            .map_or_else(|| "until it is revoked".to_owned(), |end| format!("until {}", human::stamp(&timestamp(end))));
        Ok(Ok(Done { token: Some(token), ..Done::new(None, format!("token {id} {may} {until}")) }))
    }

    pub(super) async fn revoke_operator_token(&self, db: &mut Connection, id: i64) -> Outcome {
        let Some(token) = Token::get(&mut *db, id).await? else {
            let error = format!("there is no token {id}");
            return Ok(Err(Refusal::new(404, "no_such_token", error, "List them with `mk-server token list`.")));
        };
        if token.revoked.is_some() {
            return Ok(Ok(Done::new(None, format!("token {id} is revoked already; nothing was changed"))));
        }
        Token::revoke(db, self.now, id).await?;
        Ok(Ok(Done::new(None, format!("token {id} is revoked, and browsers that logged in with it are logged out"))))
    }

    fn may_create(&self) -> Result<(), Refusal> {
        if self.by == Caller::Local {
            return Ok(());
        }
        let error =
            "tokens are made on the server's own machine alone, so that one that got lost makes no further ones";
        Err(Refusal::new(403, "only_there", error, "Run `mk-server token create` there, without a token."))
    }
}

/// What an operator asks of a token.
fn proper(note: &str, expires_s: Option<u64>) -> Result<(), Refusal> {
    let refuse = |error: String, remedy: String| Err(Refusal::new(422, "bad_command", error, remedy));
    if let Some(s) = expires_s.filter(|s| *s == 0 || *s > MAX_TOKEN_VALID_S) {
        let error = format!("a token cannot be good for {s} s");
        return refuse(error, format!("Name 1 to {MAX_TOKEN_VALID_S} s, or nothing for one without an end."));
    }
    if note.len() > MAX_TOKEN_NOTE || note.chars().any(human::is_harmful) {
        let error = "the note is too long, or has characters that are no text".to_owned();
        return refuse(error, format!("It may have {MAX_TOKEN_NOTE} bytes of one line."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_bounds() {
        assert_eq!(proper("rack team", None), Ok(()));
        assert_eq!(proper(&"x".repeat(MAX_TOKEN_NOTE), Some(MAX_TOKEN_VALID_S)), Ok(()));
        let long = "x".repeat(MAX_TOKEN_NOTE + 1);
        for (note, expires_s) in
            [("", Some(0)), ("", Some(MAX_TOKEN_VALID_S + 1)), (long.as_str(), None), ("a\nb", None)]
        {
            assert_eq!(proper(note, expires_s).unwrap_err().status, 422, "{note:?} {expires_s:?}");
        }
    }

    #[test]
    fn no_two_secrets_are_the_same() {
        let (one, other) = (secret().unwrap(), secret().unwrap());
        assert!(one != other && one.len() == 2 * SECRET_BYTES && one.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
