//! Commands to nodes that wait, at most one for each. One that has ended is no longer here; the node's log says what became
//! of it. Times are milliseconds since 1970.

use sqlx::{FromRow, SqliteConnection};

/// A command that waits.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Waiting {
    /// Id; agents acknowledge it by this.
    pub id: i64,
    /// The node that it is for.
    pub node: i64,
    /// `reboot` or `poweroff`.
    pub kind: String,
    /// When it ends by itself.
    pub expires: i64,
    /// When it was first sent.
    pub sent: Option<i64>,
    /// The boot that it was sent to.
    pub boot_id: Option<String>,
}

/// The command that waits for a node.
///
/// # Errors
/// When the database fails.
pub async fn of_node(db: &mut SqliteConnection, node: i64) -> anyhow::Result<Option<Waiting>> {
    let select = "SELECT id, node, kind, expires, sent, boot_id FROM commands WHERE node = ?1";
    Ok(sqlx::query_as(select).bind(node).fetch_optional(db).await?)
}

/// Adds a command for a node that has none; gives its id.
///
/// # Errors
/// When the database fails.
pub async fn add(db: &mut SqliteConnection, node: i64, kind: &str, at: i64, expires: i64) -> anyhow::Result<i64> {
    let insert = "INSERT INTO commands (node, kind, at, expires) VALUES (?1, ?2, ?3, ?4) RETURNING id";
    Ok(sqlx::query_scalar(insert).bind(node).bind(kind).bind(at).bind(expires).fetch_one(db).await?)
}

/// Notes that a command went out to a boot.
///
/// # Errors
/// When the database fails.
pub async fn set_sent(db: &mut SqliteConnection, id: i64, at: i64, boot_id: &str) -> anyhow::Result<()> {
    let update = "UPDATE commands SET sent = coalesce(sent, ?2), boot_id = ?3 WHERE id = ?1";
    sqlx::query(update).bind(id).bind(at).bind(boot_id).execute(db).await?;
    Ok(())
}

/// Ends a command.
///
/// # Errors
/// When the database fails.
pub async fn end(db: &mut SqliteConnection, id: i64) -> anyhow::Result<()> {
    sqlx::query("DELETE FROM commands WHERE id = ?1").bind(id).execute(db).await?;
    Ok(())
}

/// The commands whose time is over.
///
/// # Errors
/// When the database fails.
pub async fn expired(db: &mut SqliteConnection, now: i64) -> anyhow::Result<Vec<Waiting>> {
    let select = "SELECT id, node, kind, expires, sent, boot_id FROM commands WHERE expires <= ?1";
    Ok(sqlx::query_as(select).bind(now).fetch_all(db).await?)
}
