//! Bundles of logs and state that nodes sent, each by the command that asked for it. The files are [`crate::bundles`]'s.
//! Times are milliseconds since 1970.

use sqlx::{FromRow, SqliteConnection, SqlitePool};

/// A bundle.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Bundle {
    /// The command that asked for it; names the file.
    pub command: i64,
    /// The node that it is of.
    pub node: i64,
    /// When it came.
    pub at: i64,
    /// Size.
    pub bytes: i64,
    /// SHA-256 (hex) of the file.
    pub sha256: String,
}

impl Bundle {
    /// Adds it, or puts it in the place of the one that the same command brought before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put(&self, db: &mut SqliteConnection) -> anyhow::Result<()> {
        let upsert = "INSERT INTO bundles (command, node, at, bytes, sha256) VALUES (?1, ?2, ?3, ?4, ?5)
                      ON CONFLICT (command) DO UPDATE SET node = ?2, at = ?3, bytes = ?4, sha256 = ?5";
        let upsert = sqlx::query(upsert).bind(self.command).bind(self.node).bind(self.at);
        upsert.bind(self.bytes).bind(&self.sha256).execute(db).await?;
        Ok(())
    }
}

/// A node's bundles, newest first.
///
/// # Errors
/// When the database fails.
pub async fn of_node(db: &SqlitePool, node: i64) -> anyhow::Result<Vec<Bundle>> {
    let select = "SELECT command, node, at, bytes, sha256 FROM bundles WHERE node = ?1 ORDER BY command DESC";
    Ok(sqlx::query_as(select).bind(node).fetch_all(db).await?)
}

/// Drops the oldest ones over `each` of this node and `all` together.
///
/// # Errors
/// When the database fails.
pub async fn prune(db: &mut SqliteConnection, node: i64, each: i64, all: i64) -> anyhow::Result<()> {
    let of_node = "DELETE FROM bundles WHERE command IN
                   (SELECT command FROM bundles WHERE node = ?1 ORDER BY command DESC LIMIT -1 OFFSET ?2)";
    sqlx::query(of_node).bind(node).bind(each).execute(&mut *db).await?;
    let of_all = "DELETE FROM bundles WHERE command IN
                  (SELECT command FROM bundles ORDER BY command DESC LIMIT -1 OFFSET ?1)";
    sqlx::query(of_all).bind(all).execute(db).await?;
    Ok(())
}

/// The commands of all bundles.
///
/// # Errors
/// When the database fails.
pub async fn commands(db: &SqlitePool) -> anyhow::Result<Vec<i64>> {
    Ok(sqlx::query_scalar("SELECT command FROM bundles").fetch_all(db).await?)
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqlitePoolOptions;

    use super::*;

    #[tokio::test]
    async fn the_newest_of_each_node_and_of_all_stay() {
        let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
        sqlx::migrate!("./migrations").run(&pool).await.unwrap();
        let mut db = pool.acquire().await.unwrap();
        let nodes =
            "INSERT INTO nodes (id, first_seen, hw_info, decision) VALUES (1, 0, '[]', '{}'), (2, 0, '[]', '{}')";
        sqlx::query(nodes).execute(&mut *db).await.unwrap();
        let bundle = |command, node| Bundle { command, node, at: 0, bytes: 1, sha256: String::new() };
        for (command, node) in [(1, 1), (2, 2), (3, 1), (4, 1), (5, 1), (5, 1)] {
            bundle(command, node).put(&mut db).await.unwrap();
            prune(&mut db, node, 3, 10).await.unwrap();
        }
        drop(db);
        let of = async |node| of_node(&pool, node).await.unwrap().iter().map(|b| b.command).collect::<Vec<_>>();
        assert_eq!((of(1).await, of(2).await), (vec![5, 4, 3], vec![2]), "one command, one bundle");
        prune(&mut pool.acquire().await.unwrap(), 1, 3, 2).await.unwrap();
        assert_eq!(commands(&pool).await.unwrap(), [4, 5]);
        sqlx::query("DELETE FROM nodes WHERE id = 1").execute(&pool).await.unwrap();
        assert_eq!(commands(&pool).await.unwrap(), [0; 0], "a node goes with its bundles");
    }
}
