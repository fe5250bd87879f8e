//! Which reports are kept. The first and the newest of each node always are; of the others the newest, as many and for as long as the
//! configuration says. What is found to be over is deleted in small transactions, and so are contents that nobody refers to any more,
//! such as those of nodes that were deleted.

use crate::config::History;
use crate::limits::{PRUNED_AT_ONCE, SWEPT_AT_ONCE};
use crate::store::Store;
use crate::store::sql::{self, Connection};
use crate::store::writer::Work;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Reports of some nodes that are over.
const OVER: &str = "SELECT id FROM (
        SELECT r.id, r.node, r.at, row_number() OVER (PARTITION BY r.node ORDER BY r.id DESC) AS newest,
               row_number() OVER (PARTITION BY r.node ORDER BY r.id) AS oldest
        FROM reports r WHERE r.node > $1 AND r.node <= $2
    ) n WHERE newest > 1 AND oldest > 1 AND (newest > $3 OR at < $4) ORDER BY id";

/// Contents after a place, and whether somebody refers to each.
const CONTENTS: &str = "SELECT c.digest, EXISTS (SELECT 1 FROM reports r WHERE r.content = c.digest)
        OR EXISTS (SELECT 1 FROM settled s WHERE s.content = c.digest)
    FROM contents c WHERE c.digest > $1 ORDER BY c.digest LIMIT $2";

/// Deletes what is over, of all nodes; gives the number of reports and of contents.
///
/// # Errors
/// When the database fails.
pub async fn sweep(store: &Store, policy: History, now: i64) -> anyhow::Result<(u64, u64)> {
    Ok((reports(store, policy, now).await?, contents(store).await?))
}

async fn reports(store: &Store, policy: History, now: i64) -> anyhow::Result<u64> {
    let oldest = if policy.keep_days == 0 { i64::MIN } else { now - i64::from(policy.keep_days) * DAY_MS };
    let (mut after, mut deleted) = (0, 0);
    loop {
        let last = "SELECT max(id) FROM (SELECT id FROM nodes WHERE id > $1 ORDER BY id LIMIT $2) n";
        let last: Option<i64> =
            sql::query_scalar(last).bind(after).bind(SWEPT_AT_ONCE).fetch_one(&store.readers).await?;
        let Some(last) = last else { return Ok(deleted) };
        let over = sql::query_scalar(OVER).bind(after).bind(last).bind(i64::from(policy.keep_reports)).bind(oldest);
        let over: Vec<i64> = over.fetch_all(&store.readers).await?;
        for some in over.chunks(PRUNED_AT_ONCE) {
            deleted += store.writer.write(Reports { ids: some.to_vec() }).await?;
        }
        after = last;
    }
}

async fn contents(store: &Store) -> anyhow::Result<u64> {
    let (mut after, mut deleted) = (String::new(), 0);
    loop {
        let some = sql::query_as(CONTENTS).bind(&after).bind(SWEPT_AT_ONCE);
        let some: Vec<(String, bool)> = some.fetch_all(&store.readers).await?;
        let Some((last, _)) = some.last() else { return Ok(deleted) };
        after.clone_from(last);
        let left: Vec<String> = some.into_iter().filter(|(_, used)| !used).map(|(digest, _)| digest).collect();
        for some in left.chunks(PRUNED_AT_ONCE) {
            deleted += store.writer.write(Contents { digests: some.to_vec() }).await?;
        }
    }
}

/// Reports that were found to be over.
#[derive(Debug)]
struct Reports {
    ids: Vec<i64>,
}

impl Work for Reports {
    type Output = u64;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<u64> {
        // A node that was taken for another machine may be put back to one of them, or has been since they were looked up.
        let delete = "DELETE FROM reports WHERE id = $1
                      AND id <> coalesce((SELECT n.report FROM nodes n WHERE n.id = reports.node), 0)
                      AND NOT EXISTS (SELECT 1 FROM provisional p WHERE p.node = reports.node)";
        let mut deleted = 0;
        for id in &self.ids {
            deleted += sql::query(delete).bind(id).execute(&mut *db).await?;
        }
        Ok(deleted)
    }
}

/// Contents that nobody referred to.
#[derive(Debug)]
struct Contents {
    digests: Vec<String>,
}

impl Work for Contents {
    type Output = u64;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<u64> {
        // Since they were looked up, a machine may have reported one of them.
        let delete = "DELETE FROM contents WHERE digest = $1
                      AND NOT EXISTS (SELECT 1 FROM reports r WHERE r.content = $1)
                      AND NOT EXISTS (SELECT 1 FROM settled s WHERE s.content = $1)";
        let mut deleted = 0;
        for digest in &self.digests {
            deleted += sql::query(delete).bind(digest).execute(&mut *db).await?;
        }
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes some SQL as the server would.
    struct Fill(String);

    impl Work for Fill {
        type Output = ();

        async fn run(&self, db: &mut Connection) -> anyhow::Result<()> {
            sql::raw(&self.0, db).await?;
            Ok(())
        }
    }

    /// A node with reports 1 to 10 of ten days, one a day; with `offset` added to their numbers.
    fn node(id: i64, offset: i64) -> String {
        let mut fill = format!(
            "INSERT INTO nodes (id, first_seen, hw_info, decision, report) VALUES ({id}, 0, '[]', '{{}}', {});",
            offset + 10
        );
        for n in 1..=10_i64 {
            let (report, at) = (offset + n, n * DAY_MS);
            fill += &format!(
                "INSERT INTO contents (digest, bytes, zstd) VALUES ('c{report}', 1, x'00');
                 INSERT INTO reports (id, node, origin, kind, digest, content, at)
                 VALUES ({report}, {id}, {id}, 'inventory', 'd{report}', 'c{report}', {at});"
            );
        }
        fill
    }

    async fn left(store: &Store, node: i64) -> Vec<i64> {
        let select = sql::query_scalar("SELECT id FROM reports WHERE node = $1 ORDER BY id");
        select.bind(node).fetch_all(&store.readers).await.unwrap()
    }

    #[tokio::test]
    async fn the_first_and_the_newest_stay_and_as_many_others_as_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _writing) = Store::open(folder.path()).await.unwrap();
        store.writer.write(Fill(node(1, 0) + &node(2, 100) + &node(3, 200))).await.unwrap();
        // What node2 is known to have is its fourth report; node3 may be put back to any; one content is nobody's.
        let more = "INSERT INTO settled VALUES (2, 'c104', '[]', 0, 0);
                    INSERT INTO provisional (node, at, before) VALUES (3, 0, '{}');
                    INSERT INTO contents (digest, bytes, zstd) VALUES ('nobody', 1, x'00')";
        store.writer.write(Fill(more.to_owned())).await.unwrap();
        let now = 10 * DAY_MS;
        let all = History { keep_reports: 200, keep_days: 0 };
        assert_eq!(sweep(&store, all, now).await.unwrap(), (0, 1));

        assert_eq!(sweep(&store, History { keep_reports: 4, keep_days: 0 }, now).await.unwrap(), (10, 9));
        assert_eq!(left(&store, 1).await, [1, 7, 8, 9, 10]);
        assert_eq!(left(&store, 2).await, [101, 107, 108, 109, 110]);
        assert_eq!(left(&store, 3).await.len(), 10);
        let kept: bool = sql::query_scalar("SELECT EXISTS (SELECT 1 FROM contents WHERE digest = 'c104')")
            .fetch_one(&store.readers)
            .await
            .unwrap();
        assert!(kept, "changes are still told by it");

        assert_eq!(sweep(&store, History { keep_reports: 200, keep_days: 2 }, now).await.unwrap(), (2, 2));
        assert_eq!(left(&store, 1).await, [1, 8, 9, 10]);
        assert_eq!(sweep(&store, History { keep_reports: 200, keep_days: 2 }, 500 * DAY_MS).await.unwrap(), (4, 4));
        assert_eq!(left(&store, 1).await, [1, 10]);
        store.writer.write(Fill("DELETE FROM nodes WHERE id = 3".to_owned())).await.unwrap();
        assert_eq!(sweep(&store, all, now).await.unwrap(), (0, 10), "contents go after their node");
    }
}
