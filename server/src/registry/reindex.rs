//! After a change of `match_nodes_on`: marks anew which claims decide, in one transaction, and names the nodes that now
//! claim the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use crate::config::Config;
use crate::identity::keys::{self, Key};
use crate::identity::report::Context;
use crate::store::nodes::{self, Node};
use crate::store::sql::{self, Connection};
use crate::store::writer::Work;
use crate::store::{foreign, history};

/// Name of the setting that says which keys the claims were marked for.
const SETTING: &str = "match_nodes_on";

/// Marks claims for the configured keys, where they are marked for others.
#[derive(Debug)]
pub struct Reindex {
    /// Settings in force.
    pub config: Arc<Config>,
    /// Milliseconds since 1970.
    pub now: i64,
}

impl Work for Reindex {
    /// One sentence per value that several nodes claim now.
    type Output = Vec<String>;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<Self::Output> {
        let wanted = self.config.match_nodes_on.join(",");
        let marked: Option<String> = sql::query_scalar("SELECT value FROM settings WHERE name = $1")
            .bind(SETTING)
            .fetch_optional(&mut *db)
            .await?;
        if marked.as_ref() == Some(&wanted) {
            return Ok(Vec::new());
        }
        sql::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2")
            .bind(SETTING)
            .bind(&wanted)
            .execute(&mut *db)
            .await?;
        // Unmarked first, so that the index over deciding claims cannot be violated on the way.
        sql::query("UPDATE claims SET matching = 0").execute(&mut *db).await?;
        let ids: Vec<i64> = sql::query_scalar("SELECT id FROM nodes ORDER BY id").fetch_all(&mut *db).await?;
        let mut holders: BTreeMap<Key, Vec<i64>> = BTreeMap::new();
        for id in ids {
            for key in self.mark(&mut *db, id).await? {
                holders.entry(key).or_default().push(id);
            }
        }
        let shared = holders.into_iter().filter(|(_, nodes)| nodes.len() > 1);
        let mut collisions = Vec::new();
        for (key, nodes) in shared {
            let names: Vec<String> = nodes.iter().map(|id| nodes::name(*id)).collect();
            let detail = json!({"key": key.to_string(), "nodes": names});
            history::event(&mut *db, self.now, "identity-conflict", None, &detail).await?;
            collisions.push(format!("{} all have {key}", names.join(" and ")));
        }
        Ok(collisions)
    }
}

impl Reindex {
    /// Marks one node's deciding claims; the first node with a value keeps it, later ones contest it.
    async fn mark(&self, db: &mut Connection, id: i64) -> anyhow::Result<Vec<Key>> {
        let Some(node) = Node::get(&mut *db, id).await? else { return Ok(Vec::new()) };
        let info = node.hw_info()?;
        let is_virtual = nodes::is_virtual(&mut *db, id).await? == Some(true);
        let context = Context { is_virtual, foreign_macs: foreign::among(&mut *db, &info).await? };
        let keys = keys::matching(&keys::claims(&info, &self.config.match_nodes_on, &context));
        for key in &keys {
            sql::query(
                "UPDATE claims SET matching = 1, state = CASE
                    WHEN state = 'former' THEN state
                    WHEN EXISTS (SELECT 1 FROM claims o WHERE o.kind = $2 AND o.value = $3 AND o.node < $1
                                 AND o.matching = 1 AND o.state <> 'former') THEN 'contested'
                    ELSE 'current' END
                 WHERE node = $1 AND kind = $2 AND value = $3",
            )
            .bind(id)
            .bind(&key.kind)
            .bind(&key.value)
            .execute(&mut *db)
            .await?;
        }
        Ok(keys)
    }
}
