//! Nodes that were made of a boot and never checked in: the newest are kept, so that whoever makes up machines cannot fill the list.
//! One that an operator dealt with stays, and a machine whose node was forgotten is a new node when it boots or checks in.

use serde_json::json;

use crate::limits::{FORGOTTEN_AT_ONCE, MAX_UNHEARD};
use crate::registry::lookup::PROTECTED;
use crate::store::sql::{self, Connection};
use crate::store::writer::Work;
use crate::store::{history, nodes};

/// Forgets the oldest, at most so many at once; true when there may be more.
#[derive(Debug)]
pub struct Forget {
    /// Milliseconds since 1970.
    pub now: i64,
    /// Nodes that never checked in and are kept.
    pub most: i64,
}

impl Forget {
    /// Of all that there may be.
    #[must_use]
    pub fn at(now: i64) -> Self {
        Self { now, most: MAX_UNHEARD }
    }
}

impl Work for Forget {
    type Output = bool;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<bool> {
        let select = "SELECT id FROM nodes n WHERE last_checkin IS NULL AND facts_digest IS NULL
                      AND (installed IS NULL OR installed = $1)
                      AND NOT EXISTS (SELECT 1 FROM node_log l WHERE l.node = n.id AND l.decided = 1
                                      AND l.entry ->> '$.event' = 'operator')
                      ORDER BY id DESC LIMIT $2 OFFSET $3";
        let select = sql::query_scalar(select).bind(PROTECTED).bind(FORGOTTEN_AT_ONCE).bind(self.most);
        let ids: Vec<i64> = select.fetch_all(&mut *db).await?;
        for id in &ids {
            nodes::delete(&mut *db, *id).await?;
        }
        if let (Some(newest), Some(oldest)) = (ids.first(), ids.last()) {
            let msg = format!(
                "{} machines that booted and never checked in were forgotten, from {} to {}: more than {} are not kept. If there \
                 are not so many, somebody makes them up",
                ids.len(),
                nodes::name(*oldest),
                nodes::name(*newest),
                self.most
            );
            tracing::warn!("{msg}");
            history::event(db, self.now, "nodes-forgotten", None, &json!({"msg": msg})).await?;
        }
        Ok(i64::try_from(ids.len())? >= FORGOTTEN_AT_ONCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory;

    #[tokio::test]
    async fn the_newest_stay_and_whoever_was_heard_or_dealt_with() {
        let mut db = in_memory().await;
        let fill = "INSERT INTO nodes (id, first_seen, hw_info, decision, last_checkin, facts_digest, installed) VALUES
             (1, 0, '[]', '{}', NULL, NULL, NULL), (2, 0, '[]', '{}', 5, NULL, NULL),
             (3, 0, '[]', '{}', NULL, 'd', NULL), (4, 0, '[]', '{}', NULL, NULL, 'registered'),
             (5, 0, '[]', '{}', NULL, NULL, NULL), (6, 0, '[]', '{}', NULL, NULL, '+protected'),
             (7, 0, '[]', '{}', NULL, NULL, NULL), (8, 0, '[]', '{}', NULL, NULL, NULL);
             INSERT INTO claims (node, kind, value, state, matching, since) VALUES (1, 'mac', 'a', 'current', 1, 0);
             INSERT INTO node_log (node, origin, at, severity, entry, decided) VALUES
             (5, 5, 0, 'info', '{\"event\": \"operator\"}', 1), (6, 6, 0, 'info', '{\"event\": \"boot\"}', 0)";
        sql::raw(fill, &mut db).await.unwrap();
        assert!(!Forget { now: 0, most: 4 }.run(&mut db).await.unwrap());
        let left = async |db: &mut Connection| -> Vec<i64> {
            sql::query_scalar("SELECT id FROM nodes ORDER BY id").fetch_all(db).await.unwrap()
        };
        assert_eq!(left(&mut db).await, [1, 2, 3, 4, 5, 6, 7, 8], "there are no more than four");
        Forget { now: 0, most: 2 }.run(&mut db).await.unwrap();
        assert_eq!(left(&mut db).await, [2, 3, 4, 5, 7, 8]);
        let told: String = sql::query_scalar("SELECT detail FROM events").fetch_one(&mut db).await.unwrap();
        assert!(told.contains("from node1 to node6"), "{told}");
        let claims: i64 = sql::query_scalar("SELECT count(*) FROM claims").fetch_one(&mut db).await.unwrap();
        assert_eq!(claims, 0, "their values are free");
    }
}
