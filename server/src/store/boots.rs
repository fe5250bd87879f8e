//! Boots of agents of ours: the key that speaks for each, and the last request that was answered.

use sqlx::FromRow;
use wire::card::Card;

use crate::store::sql::{self, Connection};

/// A boot as it was last heard of.
#[derive(Debug, Clone, FromRow)]
pub struct Boot {
    /// Kernel's boot id.
    pub boot_id: String,
    /// The node that it is, once that is decided.
    pub node: Option<i64>,
    /// Public key; `None` for a boot that does not sign.
    pub key: Option<Vec<u8>>,
    /// Number of the last request.
    pub seq: i64,
    /// SHA-256 of its body.
    pub body: String,
    /// JSON of the answer to it.
    pub reply: String,
    /// Seconds since the kernel started.
    pub uptime_s: Option<i64>,
    /// When it was last heard, in milliseconds since 1970.
    pub last_seen: i64,
}

impl Boot {
    /// The boot with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get(db: &mut Connection, boot_id: &str) -> anyhow::Result<Option<Self>> {
        let select = "SELECT boot_id, node, key, seq, body, reply, uptime_s, last_seen FROM boots WHERE boot_id = $1";
        Ok(sql::query_as(select).bind(boot_id).fetch_optional(db).await?)
    }

    /// When the boot was heard first, in milliseconds since 1970.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn first_heard(db: &mut Connection, boot_id: &str) -> anyhow::Result<Option<i64>> {
        let select = "SELECT first_seen FROM boots WHERE boot_id = $1";
        Ok(sql::query_scalar(select).bind(boot_id).fetch_optional(db).await?)
    }

    /// Another boot than `boot_id` that spoke last as `node`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn successor(db: &mut Connection, node: i64, boot_id: &str) -> anyhow::Result<Option<Self>> {
        let select = "SELECT b.boot_id, b.node, b.key, b.seq, b.body, b.reply, b.uptime_s, b.last_seen
                      FROM nodes n JOIN boots b ON b.boot_id = n.boot_id AND b.node = n.id
                      WHERE n.id = $1 AND n.boot_id <> $2";
        Ok(sql::query_as(select).bind(node).bind(boot_id).fetch_optional(db).await?)
    }

    /// Whether a boot that signs its requests was heard as `node` after `since`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn signed_since(db: &mut Connection, node: i64, since: i64) -> anyhow::Result<bool> {
        let select = "SELECT EXISTS (SELECT 1 FROM boots WHERE node = $1 AND last_seen > $2 AND key IS NOT NULL)";
        Ok(sql::query_scalar(select).bind(node).bind(since).fetch_one(db).await?)
    }

    /// When its kernel started, in milliseconds since 1970 by this server's clock, as far as its own word for that is right.
    #[must_use]
    pub fn started(&self) -> i64 {
        self.last_seen.saturating_sub(self.uptime_s.unwrap_or(0).saturating_mul(1000))
    }

    /// From now on this boot is that node, and speaks for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn assign(db: &mut Connection, boot_id: &str, node: i64) -> anyhow::Result<()> {
        let update = "UPDATE boots SET node = $2 WHERE boot_id = $1";
        sql::query(update).bind(boot_id).bind(node).execute(&mut *db).await?;
        let update = "UPDATE nodes SET boot_id = $1 WHERE id = $2";
        sql::query(update).bind(boot_id).bind(node).execute(db).await?;
        Ok(())
    }

    /// Keeps how long the stages of this boot took.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_card(db: &mut Connection, boot_id: &str, card: &Card) -> anyhow::Result<()> {
        let update = sql::query("UPDATE boots SET card = $2 WHERE boot_id = $1").bind(boot_id);
        update.bind(serde_json::to_string(card)?).execute(db).await?;
        Ok(())
    }

    /// Stores it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put(&self, db: &mut Connection) -> anyhow::Result<()> {
        let upsert = sql::query(
            "INSERT INTO boots (boot_id, node, key, seq, body, reply, uptime_s, first_seen, last_seen)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
             ON CONFLICT (boot_id) DO UPDATE SET node = $2, seq = $4, body = $5, reply = $6, uptime_s = $7, last_seen = $8",
        );
        let upsert = upsert.bind(&self.boot_id).bind(self.node).bind(&self.key).bind(self.seq).bind(&self.body);
        upsert.bind(&self.reply).bind(self.uptime_s).bind(self.last_seen).execute(db).await?;
        Ok(())
    }
}

/// Drops the boots of a node, or those of none, but the `most` that were heard last. The one that spoke last as the node
/// stays, whatever the clock says.
///
/// # Errors
/// When the database fails.
pub async fn prune(db: &mut Connection, node: Option<i64>, most: i64) -> anyhow::Result<()> {
    // Two texts, each of which an index answers.
    let of_node = "DELETE FROM boots WHERE boot_id IN
                   (SELECT boot_id FROM boots WHERE node = $3 ORDER BY last_seen DESC LIMIT $2 OFFSET $1)
                   AND boot_id NOT IN (SELECT boot_id FROM nodes WHERE id = $3 AND boot_id IS NOT NULL)";
    let of_none = "DELETE FROM boots WHERE boot_id IN
                   (SELECT boot_id FROM boots WHERE node IS NULL ORDER BY last_seen DESC LIMIT $2 OFFSET $1)";
    let delete = match node {
        Some(node) => sql::query(of_node).bind(most).bind(i64::MAX).bind(node),
        None => sql::query(of_none).bind(most).bind(i64::MAX),
    };
    delete.execute(db).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory;

    #[tokio::test]
    async fn the_boots_heard_last_stay_and_the_one_that_speaks() {
        let mut db = in_memory().await;
        let nodes = "INSERT INTO nodes (id, first_seen, hw_info, decision, boot_id)
                     VALUES (1, 0, '[]', '{}', 'of1-0'), (2, 0, '[]', '{}', NULL)";
        sql::query(nodes).execute(&mut db).await.unwrap();
        for (of, node) in [("none", None), ("of1", Some(1)), ("of2", Some(2))] {
            for number in 0..4 {
                let boot_id = format!("{of}-{number}");
                let (key, uptime_s, body, reply) = (None, None, String::new(), String::new());
                let boot = Boot { boot_id, node, key, seq: 1, body, reply, uptime_s, last_seen: number };
                boot.put(&mut db).await.unwrap();
            }
        }
        for node in [None, Some(1)] {
            prune(&mut db, node, 2).await.unwrap();
        }
        let left = sql::query_scalar::<String>("SELECT boot_id FROM boots ORDER BY boot_id");
        let left = left.fetch_all(&mut db).await.unwrap();
        let expected = ["none-2", "none-3", "of1-0", "of1-2", "of1-3", "of2-0", "of2-1", "of2-2", "of2-3"];
        assert_eq!(left, expected);
        let plan = "EXPLAIN QUERY PLAN SELECT boot_id FROM boots WHERE node IS NULL ORDER BY last_seen DESC";
        let (.., plan): (i64, i64, i64, String) = sql::query_as(plan).fetch_one(&mut db).await.unwrap();
        assert!(plan.contains("boots_by_node"), "a table of a million boots is not read for it: {plan}");
    }

    #[test]
    fn an_absurd_uptime_is_a_very_old_boot() {
        let boot = |uptime_s| Boot {
            boot_id: String::new(),
            node: None,
            key: None,
            seq: 0,
            body: String::new(),
            reply: String::new(),
            uptime_s: Some(uptime_s),
            last_seen: 1000,
        };
        assert_eq!(boot(1).started(), 0);
        assert!(boot(i64::MAX).started() < boot(1_000_000).started());
    }
}
