//! Nodes that were taken over from a razor-server, under the ids that they had there.

use sqlx::FromRow;

use crate::identity::canonical::HwInfo;
use crate::identity::decide::Decision;
use crate::store::sql::{self, Connection};

/// What accepted such a node.
const BY: &str = "razor-server";

/// A node as it is put into the database.
#[derive(Debug)]
pub struct Row<'a> {
    /// Its id.
    pub id: i64,
    /// As the dump has it.
    pub info: &'a HwInfo,
    /// The MAC that iPXE got its address with.
    pub dhcp_mac: Option<&'a str>,
    /// What is installed on it.
    pub installed: Option<&'a str>,
    /// Since when, in milliseconds since 1970.
    pub installed_at: Option<i64>,
    /// When it spoke last.
    pub last_checkin: Option<i64>,
    /// Its host name.
    pub hostname: Option<&'a str>,
    /// Why it is a node.
    pub decision: &'a Decision,
}

/// What an id is here already.
#[derive(Debug, Clone, FromRow)]
pub struct Taken {
    /// `hw_info` of the dump that it was taken over from.
    pub adopted: Option<String>,
    /// There is such a node, or an alias.
    pub exists: bool,
    /// It was given once.
    pub given: bool,
}

/// What `id` is here already.
///
/// # Errors
/// When the database fails.
pub async fn taken(db: &mut Connection, id: i64) -> anyhow::Result<Taken> {
    let select = "SELECT (SELECT hw_info FROM adopted WHERE node = $1) AS adopted,
                  EXISTS (SELECT 1 FROM nodes WHERE id = $1) OR EXISTS (SELECT 1 FROM aliases WHERE alias = $1) AS \"exists\",
                  $1 <= coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'nodes'), 0) AS given";
    Ok(sql::query_as(select).bind(id).fetch_one(db).await?)
}

/// Makes the node.
///
/// # Errors
/// When the database fails.
pub async fn add(db: &mut Connection, at: i64, row: &Row<'_>) -> anyhow::Result<()> {
    let info = serde_json::to_string(row.info)?;
    let insert = sql::query(
        "INSERT INTO nodes (id, first_seen, last_checkin, hw_info, dhcp_mac, installed, installed_at, decision, accepted, accepted_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $2, $9)",
    );
    let insert = insert.bind(row.id).bind(at).bind(row.last_checkin).bind(&info).bind(row.dhcp_mac);
    let insert = insert.bind(row.installed).bind(row.installed_at).bind(serde_json::to_string(row.decision)?).bind(BY);
    insert.execute(&mut *db).await?;
    let insert = sql::query("INSERT INTO adopted (node, at, hw_info, hostname) VALUES ($1, $2, $3, $4)");
    insert.bind(row.id).bind(at).bind(&info).bind(row.hostname).execute(&mut *db).await?;
    // SQLite has done so by itself.
    let begun = "INSERT INTO sqlite_sequence (name, seq) SELECT 'nodes', 0
                 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'nodes')";
    sql::query(begun).execute(&mut *db).await?;
    let counted = sql::query("UPDATE sqlite_sequence SET seq = $1 WHERE name = 'nodes' AND seq < $1");
    counted.bind(row.id).execute(db).await?;
    Ok(())
}
