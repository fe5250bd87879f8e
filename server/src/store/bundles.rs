//! Bundles of logs and state that nodes sent, each by the command that asked for it. The files are [`crate::bundles`]'s.
//! Times are milliseconds since 1970.

use sqlx::FromRow;

use crate::store::sql::{self, Connection, Pool};

/// A bundle.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Bundle {
    /// The command that asked for it; names the file, with the digest.
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
    pub async fn put(&self, db: &mut Connection) -> anyhow::Result<()> {
        let upsert = "INSERT INTO bundles (command, node, at, bytes, sha256) VALUES ($1, $2, $3, $4, $5)
                      ON CONFLICT (command) DO UPDATE SET node = $2, at = $3, bytes = $4, sha256 = $5";
        let upsert = sql::query(upsert).bind(self.command).bind(self.node).bind(self.at);
        upsert.bind(self.bytes).bind(&self.sha256).execute(db).await?;
        Ok(())
    }
}

/// A node's bundles, newest first.
///
/// # Errors
/// When the database fails.
pub async fn of_node(db: &Pool, node: i64) -> anyhow::Result<Vec<Bundle>> {
    let select = "SELECT command, node, at, bytes, sha256 FROM bundles WHERE node = $1 ORDER BY command DESC";
    Ok(sql::query_as(select).bind(node).fetch_all(db).await?)
}

/// How much is kept; each further bundle takes the place of the oldest.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Bundles of each node.
    pub each: i64,
    /// Bundles of all nodes together.
    pub all: i64,
    /// Bytes of all nodes together.
    pub bytes: i64,
}

/// Drops the oldest ones of this one's node and of all nodes that are too much. This one stays, whatever the clock says.
///
/// # Errors
/// When the database fails.
pub async fn prune(db: &mut Connection, newest: &Bundle, most: Most) -> anyhow::Result<()> {
    let of_node = "DELETE FROM bundles WHERE command IN
                   (SELECT command FROM bundles WHERE node = $1
                    ORDER BY command = $2 DESC, at DESC, command DESC LIMIT $4 OFFSET $3)";
    sql::query(of_node).bind(newest.node).bind(newest.command).bind(most.each).bind(i64::MAX).execute(&mut *db).await?;
    let of_all = "DELETE FROM bundles WHERE command <> $1 AND command IN
                  (SELECT command FROM
                   (SELECT command, row_number() OVER later AS place, sum(bytes) OVER later AS total FROM bundles
                    WINDOW later AS (ORDER BY command = $1 DESC, at DESC, command DESC))
                   AS counted WHERE place > $2 OR total > $3)";
    sql::query(of_all).bind(newest.command).bind(most.all).bind(most.bytes).execute(db).await?;
    Ok(())
}

/// Bundles that came since `since` for a node are those of the machine that is `other`.
///
/// # Errors
/// When the database fails.
pub async fn hand_over(db: &mut Connection, node: i64, since: i64, other: i64) -> anyhow::Result<()> {
    let update = "UPDATE bundles SET node = $3 WHERE node = $1 AND at >= $2";
    sql::query(update).bind(node).bind(since).bind(other).execute(db).await?;
    Ok(())
}

/// All bundles, each by its command and SHA-256 (hex).
///
/// # Errors
/// When the database fails.
pub async fn all(db: &Pool) -> anyhow::Result<Vec<(i64, String)>> {
    Ok(sql::query_as("SELECT command, sha256 FROM bundles").fetch_all(db).await?)
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqlitePoolOptions;

    use super::*;

    #[tokio::test]
    async fn the_newest_of_each_node_and_of_all_stay() {
        let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
        crate::store::sqlite::MIGRATIONS.run(&pool).await.unwrap();
        let pool = Pool::Sqlite(pool);
        let nodes =
            "INSERT INTO nodes (id, first_seen, hw_info, decision) VALUES (1, 0, '[]', '{}'), (2, 0, '[]', '{}')";
        sql::query(nodes).execute(&pool).await.unwrap();
        let bundle = |command, node, at| Bundle { command, node, at, bytes: 10, sha256: String::new() };
        let most = Most { each: 3, all: 10, bytes: 100 };
        let put = async |bundle: Bundle, most| {
            let mut db = pool.acquire().await.unwrap();
            bundle.put(&mut db).await.unwrap();
            prune(&mut db, &bundle, most).await.unwrap();
        };
        for (command, node) in [(2, 1), (3, 2), (4, 1), (5, 1), (6, 1), (6, 1)] {
            put(bundle(command, node, command), most).await;
        }
        let of = async |node| of_node(&pool, node).await.unwrap().iter().map(|b| b.command).collect::<Vec<_>>();
        assert_eq!((of(1).await, of(2).await), (vec![6, 5, 4], vec![3]), "one command, one bundle");
        put(bundle(1, 1, 0), most).await;
        assert_eq!(
            of(1).await,
            [6, 5, 1],
            "what came last stays, though it was asked for first and the clock is wrong"
        );
        put(bundle(7, 2, 7), Most { all: 3, ..most }).await;
        assert_eq!((of(1).await, of(2).await), (vec![6, 5], vec![7]));
        put(bundle(8, 2, 8), Most { bytes: 39, ..most }).await;
        assert_eq!((of(1).await, of(2).await), (vec![6], vec![8, 7]));
        put(bundle(9, 1, 9), Most { bytes: 9, ..most }).await;
        assert_eq!(all(&pool).await.unwrap(), [(9, String::new())], "however large");
        sql::query("DELETE FROM nodes WHERE id = 1").execute(&pool).await.unwrap();
        assert_eq!(all(&pool).await.unwrap(), [], "a node goes with its bundles");
    }
}
