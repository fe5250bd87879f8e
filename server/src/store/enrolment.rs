//! Which nodes were accepted, by whom, and the tokens that let machines in. Of a token there is only its digest.

use serde_json::{Value, json};
use sqlx::FromRow;

use crate::limits::MAX_TOKENS;
use crate::registry::lookup::PROTECTED;
use crate::store::sql::{self, Connection, Pool};
use crate::store::view::timestamp;

/// A token as it is stored.
#[derive(Debug, Clone, FromRow)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// An operator's words about it.
    pub note: String,
    /// When it was made, in milliseconds since 1970.
    pub at: i64,
    /// Until when it is good.
    pub expires: i64,
    /// Machines that it lets in.
    pub uses: i64,
    /// Machines that it has let in.
    pub used: i64,
    /// When it was taken back.
    pub revoked: Option<i64>,
}

impl Token {
    /// The token with this digest.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn by_digest(db: &mut Connection, digest: &str) -> anyhow::Result<Option<Self>> {
        let select = "SELECT * FROM enrolment_tokens WHERE digest = $1";
        Ok(sql::query_as(select).bind(digest).fetch_optional(db).await?)
    }

    /// The token with this number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get(db: &mut Connection, id: i64) -> anyhow::Result<Option<Self>> {
        Ok(sql::query_as("SELECT * FROM enrolment_tokens WHERE id = $1").bind(id).fetch_optional(db).await?)
    }

    /// It has let one more machine in.
    ///
    /// # Errors
    /// When the database fails, or it lets in no more.
    pub async fn count(db: &mut Connection, id: i64) -> anyhow::Result<()> {
        sql::query("UPDATE enrolment_tokens SET used = used + 1 WHERE id = $1").bind(id).execute(db).await?;
        Ok(())
    }

    /// Takes it back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke(db: &mut Connection, at: i64, id: i64) -> anyhow::Result<()> {
        let update = "UPDATE enrolment_tokens SET revoked = $2 WHERE id = $1 AND revoked IS NULL";
        sql::query(update).bind(id).bind(at).execute(db).await?;
        Ok(())
    }

    /// `good`, `used up`, `expired` or `revoked`.
    #[must_use]
    pub fn state(&self, now: i64) -> &'static str {
        match () {
            () if self.revoked.is_some() => "revoked",
            () if self.expires <= now => "expired",
            () if self.used >= self.uses => "used up",
            () => "good",
        }
    }
}

/// Keeps a new token; gives its number, or nothing where there are as many good ones as there is room for.
///
/// # Errors
/// When the database fails.
pub async fn add_token(
    db: &mut Connection,
    digest: &str,
    note: &str,
    at: i64,
    expires: i64,
    uses: u32,
) -> anyhow::Result<Option<i64>> {
    let tidy = "DELETE FROM enrolment_tokens WHERE id = (
                    SELECT id FROM enrolment_tokens WHERE expires <= $1 OR used >= uses OR revoked IS NOT NULL
                    ORDER BY id LIMIT 1)
                AND (SELECT count(*) FROM enrolment_tokens) >= $2";
    sql::query(tidy).bind(at).bind(MAX_TOKENS).execute(&mut *db).await?;
    let insert = "INSERT INTO enrolment_tokens (digest, note, at, expires, uses) SELECT $1, $2, $3, $4, $5
                  WHERE (SELECT count(*) FROM enrolment_tokens) < $6 RETURNING id";
    let insert = sql::query_scalar(insert).bind(digest).bind(note).bind(at).bind(expires).bind(uses);
    Ok(insert.bind(MAX_TOKENS).fetch_optional(db).await?)
}

/// All tokens as the API shows them, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn tokens(db: &Pool, now: i64) -> anyhow::Result<Vec<Value>> {
    let all: Vec<Token> = sql::query_as("SELECT * FROM enrolment_tokens ORDER BY id").fetch_all(db).await?;
    let shown = |t: Token| {
        json!({
            "id": t.id, "state": t.state(now), "uses": t.uses, "used": t.used, "note": t.note,
            "created": timestamp(t.at), "expires": timestamp(t.expires), "revoked": t.revoked.map(timestamp),
        })
    };
    Ok(all.into_iter().map(shown).collect())
}

/// The node is accepted from now on.
///
/// # Errors
/// When the database fails.
pub async fn accept(db: &mut Connection, at: i64, node: i64, by: &str) -> anyhow::Result<()> {
    let update = "UPDATE nodes SET accepted = $2, accepted_by = $3, refused = NULL WHERE id = $1";
    sql::query(update).bind(node).bind(at).bind(by).execute(db).await?;
    Ok(())
}

/// The node is not accepted, whatever it sends, until an operator accepts it.
///
/// # Errors
/// When the database fails.
pub async fn refuse(db: &mut Connection, at: i64, node: i64) -> anyhow::Result<()> {
    let update = "UPDATE nodes SET accepted = NULL, accepted_by = NULL, refused = $2 WHERE id = $1";
    sql::query(update).bind(node).bind(at).execute(db).await?;
    Ok(())
}

/// Number of nodes that were never accepted, but for those that an operator refused: nobody else can make such.
///
/// # Errors
/// When the database fails.
pub async fn waiting(db: &mut Connection) -> anyhow::Result<i64> {
    let select = "SELECT count(*) FROM nodes WHERE accepted IS NULL AND refused IS NULL";
    Ok(sql::query_scalar(select).fetch_one(db).await?)
}

/// Of those that no operator dealt with and that are not `spared`, the one that was not heard for the longest time, if that is
/// before `since`.
///
/// # Errors
/// When the database fails.
pub async fn silent(db: &mut Connection, since: i64, spared: &[i64]) -> anyhow::Result<Option<i64>> {
    let select = "SELECT id FROM nodes n WHERE accepted IS NULL AND refused IS NULL
                  AND coalesce(last_checkin, first_seen) < $1 AND (installed IS NULL OR installed = $2)
                  AND id NOT IN (SELECT CAST(value AS BIGINT) FROM json_each($3))
                  AND NOT EXISTS (SELECT 1 FROM node_log l WHERE l.node = n.id AND l.decided = 1
                                  AND l.entry ->> '$.event' = 'operator')
                  ORDER BY coalesce(last_checkin, first_seen) LIMIT 1";
    let select = sql::query_scalar(select).bind(since).bind(PROTECTED).bind(json!(spared).to_string());
    Ok(select.fetch_optional(db).await?)
}

/// The key of the boot that spoke last as the node, if that signs.
///
/// # Errors
/// When the database fails.
pub async fn key(db: &mut Connection, node: i64) -> anyhow::Result<Option<Vec<u8>>> {
    let select = "SELECT b.key FROM nodes n JOIN boots b ON b.boot_id = n.boot_id AND b.node = n.id WHERE n.id = $1";
    Ok(sql::query_scalar(select).bind(node).fetch_optional(db).await?.flatten())
}
