//! Commands to nodes that wait, at most one of a kind for each. One that has ended is no longer here; the node's log says
//! what became of it. Times are milliseconds since 1970.

use sqlx::FromRow;

use crate::limits::EXPIRED_AT_ONCE;
use crate::store::sql::{self, Connection};

/// A command that waits.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Waiting {
    /// Id; agents acknowledge it by this.
    pub id: i64,
    /// The node that it is for.
    pub node: i64,
    /// One of [`wire::command`].
    pub kind: String,
    /// Its arguments, a JSON object.
    pub args: String,
    /// When it ends by itself.
    pub expires: i64,
    /// When it was first sent.
    pub sent: Option<i64>,
    /// The boot that it was sent to.
    pub boot_id: Option<String>,
}

/// The commands that wait for a node, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn of_node(db: &mut Connection, node: i64) -> anyhow::Result<Vec<Waiting>> {
    let select = "SELECT id, node, kind, args, expires, sent, boot_id FROM commands WHERE node = $1 ORDER BY id";
    Ok(sql::query_as(select).bind(node).fetch_all(db).await?)
}

/// Adds a command for a node that has none of its kind; gives its id.
///
/// # Errors
/// When the database fails.
pub async fn add(db: &mut Connection, node: i64, kind: &str, args: &str, at: i64, expires: i64) -> anyhow::Result<i64> {
    let insert = "INSERT INTO commands (node, kind, args, at, expires) VALUES ($1, $2, $3, $4, $5) RETURNING id";
    let insert = sql::query_scalar(insert).bind(node).bind(kind).bind(args).bind(at).bind(expires);
    Ok(insert.fetch_one(db).await?)
}

/// Notes that a command went out to a boot.
///
/// # Errors
/// When the database fails.
pub async fn set_sent(db: &mut Connection, id: i64, at: i64, boot_id: &str) -> anyhow::Result<()> {
    let update = "UPDATE commands SET sent = coalesce(sent, $2), boot_id = $3 WHERE id = $1";
    sql::query(update).bind(id).bind(at).bind(boot_id).execute(db).await?;
    Ok(())
}

/// A command has not reached its node yet.
///
/// # Errors
/// When the database fails.
pub async fn set_unsent(db: &mut Connection, id: i64) -> anyhow::Result<()> {
    let update = "UPDATE commands SET sent = NULL, boot_id = NULL WHERE id = $1";
    sql::query(update).bind(id).execute(db).await?;
    Ok(())
}

/// Ends a command.
///
/// # Errors
/// When the database fails.
pub async fn end(db: &mut Connection, id: i64) -> anyhow::Result<()> {
    sql::query("DELETE FROM commands WHERE id = $1").bind(id).execute(db).await?;
    Ok(())
}

/// Gives a node's commands to another one, which has none of their kinds.
///
/// # Errors
/// When the database fails.
pub async fn hand_over(db: &mut Connection, from: i64, into: i64) -> anyhow::Result<()> {
    sql::query("UPDATE commands SET node = $2 WHERE node = $1").bind(from).bind(into).execute(db).await?;
    Ok(())
}

/// The commands whose time is over, the oldest first, [`EXPIRED_AT_ONCE`] at most.
///
/// # Errors
/// When the database fails.
pub async fn expired(db: &mut Connection, now: i64) -> anyhow::Result<Vec<Waiting>> {
    let select = "SELECT id, node, kind, args, expires, sent, boot_id FROM commands WHERE expires <= $1
                  ORDER BY expires, id LIMIT $2";
    Ok(sql::query_as(select).bind(now).bind(i64::try_from(EXPIRED_AT_ONCE)?).fetch_all(db).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::{in_memory_until, migrate};

    /// Until then only reboot and power-off were known.
    const BEFORE_KINDS: i64 = 14;

    #[tokio::test]
    async fn what_waited_before_waits_on_and_no_id_is_used_again() {
        let mut db = in_memory_until(BEFORE_KINDS).await;
        let fill =
            "INSERT INTO nodes (id, first_seen, hw_info, decision) VALUES (1, 0, '[]', '{}'), (2, 0, '[]', '{}');
             INSERT INTO commands (id, node, kind, at, expires) VALUES (7, 1, 'reboot', 1, 2), (9, 2, 'poweroff', 1, 2);
             DELETE FROM commands WHERE id = 9";
        sql::raw(fill, &mut db).await.unwrap();
        migrate(&mut db).await;
        let waiting = of_node(&mut db, 1).await.unwrap();
        assert_eq!((waiting[0].id, waiting[0].kind.as_str(), waiting[0].args.as_str()), (7, "reboot", "{}"));
        assert_eq!(add(&mut db, 2, "doctor", "{}", 3, 4).await.unwrap(), 10, "9 was carried out by some agent");
    }
}
