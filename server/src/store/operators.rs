//! Tokens by which operators elsewhere are known, and sessions of browsers that logged in with one. Of both there are only
//! digests; looking a digest up tells nobody by its time how much of a guess was right.

use serde_json::{Value, json};
use sqlx::FromRow;

use crate::limits::{MAX_OPERATOR_TOKENS, MAX_SESSIONS, SESSION_VALID_MS};
use crate::registry::caller::Caller;
use crate::store::sql::{self, Connection, Pool};
use crate::store::view::timestamp;
use crate::store::writer::Work;

/// A token as it is stored.
#[derive(Debug, Clone, FromRow)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// An operator's words about it.
    pub note: String,
    /// 1: it only sees.
    pub read_only: i64,
    /// When it was made, in milliseconds since 1970.
    pub at: i64,
    /// Until when it is good; without it, for ever.
    pub expires: Option<i64>,
    /// When it was taken back.
    pub revoked: Option<i64>,
}

impl Token {
    /// The token with this number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get(db: &mut Connection, id: i64) -> anyhow::Result<Option<Self>> {
        Ok(sql::query_as("SELECT * FROM operator_tokens WHERE id = $1").bind(id).fetch_optional(db).await?)
    }

    /// Takes it back, and ends the sessions that began with it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke(db: &mut Connection, at: i64, id: i64) -> anyhow::Result<()> {
        let update = "UPDATE operator_tokens SET revoked = $2 WHERE id = $1 AND revoked IS NULL";
        sql::query(update).bind(id).bind(at).execute(&mut *db).await?;
        sql::query("DELETE FROM sessions WHERE token = $1").bind(id).execute(db).await?;
        Ok(())
    }

    /// `good`, `expired` or `revoked`.
    #[must_use]
    pub fn state(&self, now: i64) -> &'static str {
        match () {
            () if self.revoked.is_some() => "revoked",
            () if self.expires.is_some_and(|end| end <= now) => "expired",
            () => "good",
        }
    }

    fn caller(self) -> Caller {
        Caller::Token { id: self.id, note: self.note, read_only: self.read_only != 0 }
    }
}

/// What an operator wants of a token.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// What it is for.
    pub note: &'a str,
    /// It only sees.
    pub read_only: bool,
    /// Until when it is good, in milliseconds since 1970; without it, for ever.
    pub expires: Option<i64>,
}

/// Keeps a new token; gives its number, or nothing where there are as many good ones as there is room for.
///
/// # Errors
/// When the database fails.
pub async fn add(db: &mut Connection, at: i64, digest: &str, wanted: &Wanted<'_>) -> anyhow::Result<Option<i64>> {
    let tidy = "DELETE FROM operator_tokens WHERE id = (
                    SELECT id FROM operator_tokens WHERE expires <= $1 OR revoked IS NOT NULL ORDER BY id LIMIT 1)
                AND (SELECT count(*) FROM operator_tokens) >= $2";
    sql::query(tidy).bind(at).bind(MAX_OPERATOR_TOKENS).execute(&mut *db).await?;
    let insert = "INSERT INTO operator_tokens (digest, note, read_only, at, expires) SELECT $1, $2, $3, $4, $5
                  WHERE (SELECT count(*) FROM operator_tokens) < $6 RETURNING id";
    let insert = sql::query_scalar(insert).bind(digest).bind(wanted.note).bind(i64::from(wanted.read_only));
    Ok(insert.bind(at).bind(wanted.expires).bind(MAX_OPERATOR_TOKENS).fetch_optional(db).await?)
}

/// All tokens as the API shows them, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn tokens(db: &Pool, now: i64) -> anyhow::Result<Vec<Value>> {
    let all: Vec<Token> = sql::query_as("SELECT * FROM operator_tokens ORDER BY id").fetch_all(db).await?;
    let shown = |t: Token| {
        json!({
            "id": t.id, "state": t.state(now), "note": t.note, "read_only": t.read_only != 0, "created": timestamp(t.at),
            "expires": t.expires.map(timestamp), "revoked": t.revoked.map(timestamp),
        })
    };
    Ok(all.into_iter().map(shown).collect())
}

/// Whether anybody elsewhere has a token that is good.
///
/// # Errors
/// When the database fails.
pub async fn is_any_good(db: &Pool, now: i64) -> anyhow::Result<bool> {
    let select =
        "SELECT EXISTS (SELECT 1 FROM operator_tokens WHERE revoked IS NULL AND (expires IS NULL OR expires > $1))";
    Ok(sql::query_scalar(select).bind(now).fetch_one(db).await?)
}

/// Who bears the token with this digest, if it is good.
///
/// # Errors
/// When the database fails.
pub async fn by_token(db: &Pool, now: i64, digest: &str) -> anyhow::Result<Option<Caller>> {
    let select = "SELECT * FROM operator_tokens WHERE digest = $1";
    let found: Option<Token> = sql::query_as(select).bind(digest).fetch_optional(db).await?;
    Ok(found.filter(|token| token.state(now) == "good").map(Token::caller))
}

/// Whether the token with this number is still good.
///
/// # Errors
/// When the database fails.
pub async fn is_good(db: &Pool, now: i64, id: i64) -> anyhow::Result<bool> {
    let found = sql::query_as("SELECT * FROM operator_tokens WHERE id = $1").bind(id).fetch_optional(db).await?;
    Ok(found.is_some_and(|token: Token| token.state(now) == "good"))
}

/// Whose browser has the cookie with this digest, if its session has not ended and its token is good.
///
/// # Errors
/// When the database fails.
pub async fn by_session(db: &Pool, now: i64, digest: &str) -> anyhow::Result<Option<Caller>> {
    let select =
        "SELECT t.* FROM sessions s JOIN operator_tokens t ON t.id = s.token WHERE s.digest = $1 AND s.expires > $2";
    let found: Option<Token> = sql::query_as(select).bind(digest).bind(now).fetch_optional(db).await?;
    Ok(found.filter(|token| token.state(now) == "good").map(Token::caller))
}

/// Begins a session; the oldest one of the token goes when it has more than [`MAX_SESSIONS`].
#[derive(Debug)]
pub struct Begin {
    /// Milliseconds since 1970.
    pub now: i64,
    /// SHA-256 of the cookie.
    pub digest: String,
    /// Number of the token.
    pub token: i64,
}

impl Work for Begin {
    type Output = ();

    async fn run(&self, db: &mut Connection) -> anyhow::Result<()> {
        let insert = "INSERT INTO sessions (digest, token, expires) VALUES ($1, $2, $3)";
        let insert = sql::query(insert).bind(&self.digest).bind(self.token).bind(self.now + SESSION_VALID_MS);
        insert.execute(&mut *db).await?;
        let prune = "DELETE FROM sessions WHERE digest IN (
                     SELECT digest FROM sessions WHERE token = $1 ORDER BY expires DESC, digest LIMIT 1 OFFSET $2)";
        sql::query(prune).bind(self.token).bind(MAX_SESSIONS).execute(&mut *db).await?;
        Ok(())
    }
}

/// Ends the session of the cookie with this digest.
#[derive(Debug)]
pub struct End(pub String);

impl Work for End {
    type Output = ();

    async fn run(&self, db: &mut Connection) -> anyhow::Result<()> {
        sql::query("DELETE FROM sessions WHERE digest = $1").bind(&self.0).execute(db).await?;
        Ok(())
    }
}
