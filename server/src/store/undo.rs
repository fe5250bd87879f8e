//! What an operator's command changed, kept in its event, so that it can be taken back as long as nothing else has
//! changed it.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::FromRow;

use crate::identity::canonical::HwInfo;
use crate::identity::keys::Key;
use crate::store::nodes::{self, Node};
use crate::store::sql::{self, Connection};

/// How a command is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Undo {
    /// Values were taken from nodes or given to them.
    Values {
        /// The values.
        keys: Vec<Key>,
        /// As it was.
        before: Values,
        /// As the command left it.
        after: Values,
    },
    /// Two nodes were said to be two machines.
    Distinct {
        /// The node that may have been held.
        node: i64,
        /// The other one.
        with: i64,
        /// Nobody had said so before.
        new: bool,
        /// How the node was seen.
        before: Standing,
        /// How the command left it.
        after: Standing,
    },
}

/// Who has certain values, and all hardware values of the nodes that a command is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Values {
    claims: Vec<Claim>,
    evidence: Vec<Evidence>,
    hw_info: Vec<(i64, HwInfo)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromRow)]
struct Claim {
    node: i64,
    kind: String,
    value: String,
    state: String,
    matching: bool,
    since: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromRow)]
struct Evidence {
    node: i64,
    kind: String,
    value: String,
}

/// How a node is seen, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromRow)]
pub struct Standing {
    state: String,
    reason: Option<String>,
    decision: String,
}

impl Values {
    /// Reads who has `keys` now, and the hardware values of `nodes`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read(db: &mut Connection, keys: &[Key], nodes: &[i64]) -> anyhow::Result<Self> {
        let (list, ids) = (json!(keys).to_string(), json!(nodes).to_string());
        let claims = "SELECT c.node, c.kind, c.value, c.state, c.matching = 1 AS matching, c.since FROM json_each($1) k
                      JOIN claims c ON c.kind = k.value ->> 'kind' AND c.value = k.value ->> 'value'
                      ORDER BY c.kind, c.value, c.node";
        let claims = sql::query_as(claims).bind(&list).fetch_all(&mut *db).await?;
        let evidence = "SELECT e.node, e.kind, e.value FROM json_each($1) k CROSS JOIN json_each($2) n
                        JOIN evidence e ON e.node = CAST(n.value AS BIGINT) AND e.value = k.value ->> 'value'
                        AND e.kind = CASE k.value ->> 'kind' WHEN 'mac' THEN 'nic' ELSE k.value ->> 'kind' END
                        ORDER BY e.kind, e.value, e.node";
        let evidence = sql::query_as(evidence).bind(&list).bind(&ids).fetch_all(&mut *db).await?;
        let mut hw_info = Vec::new();
        for id in nodes {
            if let Some(node) = Node::get(&mut *db, *id).await? {
                hw_info.push((*id, node.hw_info()?));
            }
        }
        Ok(Self { claims, evidence, hw_info })
    }

    /// The nodes that the command was about.
    #[must_use]
    pub fn nodes(&self) -> Vec<i64> {
        self.hw_info.iter().map(|(id, _)| *id).collect()
    }

    /// What is not as it was left, in words; nothing when all is.
    #[must_use]
    pub fn changed(&self, now: &Self) -> Option<String> {
        if self.claims != now.claims {
            let other = |claim: &&Claim| !now.claims.contains(claim);
            let gone = self.claims.iter().find(other).or_else(|| now.claims.iter().find(|c| !self.claims.contains(c)));
            return gone.map(|c| format!("who has {}={} has changed since", c.kind, c.value));
        }
        let changed = self.hw_info.iter().find(|one| !now.hw_info.contains(one));
        match changed {
            Some((id, _)) => Some(format!("the hardware values of {} have changed since", nodes::name(*id))),
            None if self.evidence != now.evidence => Some("the evidence has changed since".to_owned()),
            None => None,
        }
    }

    /// Puts all of it back in the place of what `keys` and nodes have now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_back(&self, db: &mut Connection, keys: &[Key]) -> anyhow::Result<()> {
        for key in keys {
            let delete = sql::query("DELETE FROM claims WHERE kind = $1 AND value = $2");
            delete.bind(&key.kind).bind(&key.value).execute(&mut *db).await?;
        }
        for claim in &self.claims {
            let insert =
                "INSERT INTO claims (node, kind, value, state, matching, since) VALUES ($1, $2, $3, $4, $5, $6)";
            let insert = sql::query(insert).bind(claim.node).bind(&claim.kind).bind(&claim.value);
            insert.bind(&claim.state).bind(claim.matching).bind(claim.since).execute(&mut *db).await?;
        }
        for id in self.nodes() {
            for key in keys {
                let delete = sql::query("DELETE FROM evidence WHERE node = $1 AND kind = $2 AND value = $3");
                delete.bind(id).bind(key.group()).bind(&key.value).execute(&mut *db).await?;
            }
        }
        for Evidence { node, kind, value } in &self.evidence {
            let insert = sql::query(
                "INSERT INTO evidence (node, kind, value) VALUES ($1, $2, $3) ON CONFLICT (node, kind, value) DO NOTHING",
            );
            insert.bind(node).bind(kind).bind(value).execute(&mut *db).await?;
        }
        for (id, info) in &self.hw_info {
            nodes::set_hardware(&mut *db, *id, info, None).await?;
        }
        Ok(())
    }
}

impl Standing {
    /// How a node is seen now; nothing when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read(db: &mut Connection, node: i64) -> anyhow::Result<Option<Self>> {
        let select = "SELECT state, reason, decision FROM nodes WHERE id = $1";
        Ok(sql::query_as(select).bind(node).fetch_optional(db).await?)
    }

    /// Puts it back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_back(&self, db: &mut Connection, node: i64) -> anyhow::Result<()> {
        let update = sql::query("UPDATE nodes SET state = $2, reason = $3, decision = $4 WHERE id = $1");
        update.bind(node).bind(&self.state).bind(&self.reason).bind(&self.decision).execute(db).await?;
        Ok(())
    }
}
