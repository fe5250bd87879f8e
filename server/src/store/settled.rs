//! What a node is known to have: the report by which changes of its parts were told last, and what that one lacked for the time being.

use anyhow::Context as _;
use sqlx::FromRow;

use crate::difference::Part;
use crate::limits::MAX_TOLD_REPORT;
use crate::store::history;
use crate::store::sql::{self, Connection};

/// Where a node stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Content of the report by which changes were told.
    pub content: String,
    /// What it lacked, and the node is known to have all the same.
    pub missing: Vec<Part>,
    /// The node was never seen with all its parts up.
    pub young: bool,
    /// Something is gone unless it comes while the machine starts.
    pub awaited: bool,
}

#[derive(FromRow)]
struct Row {
    content: String,
    missing: String,
    young: bool,
    awaited: bool,
}

/// Where a node stands; nothing for one of which no report was held against another yet.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn of_node(db: &mut Connection, node: i64) -> anyhow::Result<Option<Settled>> {
    let select = sql::query_as(
        "SELECT content, missing, young = 1 AS young, awaited = 1 AS awaited FROM settled WHERE node = $1",
    );
    let row: Option<Row> = select.bind(node).fetch_optional(db).await?;
    let read = |Row { content, missing, young, awaited }| {
        let missing = serde_json::from_str(&missing).context("what a node lacks is damaged")?;
        Ok(Settled { content, missing, young, awaited })
    };
    row.map(read).transpose()
}

/// Content of a node's newest report.
///
/// # Errors
/// When the database fails.
pub async fn newest(db: &mut Connection, node: i64) -> anyhow::Result<Option<String>> {
    let select = "SELECT r.content FROM nodes n JOIN reports r ON r.id = n.report WHERE n.id = $1";
    Ok(sql::query_scalar(select).bind(node).fetch_optional(db).await?)
}

/// A stored report; nothing for one that is larger than [`MAX_TOLD_REPORT`].
///
/// # Errors
/// When the database fails or the report is damaged.
pub async fn content(db: &mut Connection, digest: &str) -> anyhow::Result<Option<serde_json::Value>> {
    let select = sql::query_scalar("SELECT zstd FROM contents WHERE digest = $1 AND bytes <= $2");
    let packed: Option<Vec<u8>> = select.bind(digest).bind(MAX_TOLD_REPORT).fetch_optional(db).await?;
    packed.as_deref().map(history::unpack).transpose()
}

/// Keeps where a node stands.
///
/// # Errors
/// When the database fails.
pub async fn put(db: &mut Connection, node: i64, settled: &Settled) -> anyhow::Result<()> {
    let upsert = "INSERT INTO settled (node, content, missing, young, awaited) VALUES ($1, $2, $3, $4, $5)
                  ON CONFLICT (node) DO UPDATE SET content = $2, missing = $3, young = $4, awaited = $5";
    let upsert = sql::query(upsert).bind(node).bind(&settled.content);
    let upsert = upsert.bind(serde_json::to_string(&settled.missing)?).bind(settled.young).bind(settled.awaited);
    upsert.execute(db).await?;
    Ok(())
}

/// What was held against the node's reports was another machine's: the next report begins anew.
///
/// # Errors
/// When the database fails.
pub async fn forget(db: &mut Connection, node: i64) -> anyhow::Result<()> {
    sql::query("DELETE FROM settled WHERE node = $1").bind(node).execute(db).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::store::nodes::Node;
    use crate::store::sql;
    use crate::store::sqlite::{in_memory_until, migrate};

    /// From the next migration on it is kept what a node is known to have.
    const BEFORE: i64 = 17;

    #[tokio::test]
    async fn what_nodes_of_before_reported_last_is_known() {
        let mut db = in_memory_until(BEFORE).await;
        let fill = "INSERT INTO nodes (id, first_seen, hw_info, decision, report) VALUES
             (1, 0, '[]', '{}', 1), (2, 0, '[]', '{}', 2), (3, 0, '[]', '{}', NULL);
             INSERT INTO contents (digest, bytes, zstd) VALUES ('a', 1, x'00'), ('b', 1, x'00');
             INSERT INTO reports (id, node, origin, kind, digest, content, at) VALUES
             (1, 1, 1, 'inventory', 'd', 'a', 0), (2, 2, 2, 'facts', 'e', 'b', 0)";
        sql::raw(fill, &mut db).await.unwrap();
        migrate(&mut db).await;
        let known: Vec<(i64, String)> =
            sql::query_as("SELECT node, content FROM settled").fetch_all(&mut db).await.unwrap();
        assert_eq!(known, [(1, "a".to_owned())], "facts are not compared");
        for node in 1..=3 {
            assert!(!Node::get(&mut db, node).await.unwrap().unwrap().unsettled, "{node}");
        }
    }
}
