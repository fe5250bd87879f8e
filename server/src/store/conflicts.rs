//! Nodes whose identity is disputed, with the evidence for each node that they are in dispute with.

use serde_json::{Value, json};
use sqlx::SqlitePool;

use crate::identity::decide::Decision;
use crate::store::nodes::name;
use crate::store::view::Page;

/// A page of the held nodes in order of id, and the number of all.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn page(db: &SqlitePool, page: Page) -> anyhow::Result<(i64, Vec<Value>)> {
    let total = sqlx::query_scalar("SELECT count(*) FROM nodes WHERE state = 'held'").fetch_one(db).await?;
    let select = "SELECT id, reason, decision FROM nodes WHERE state = 'held' ORDER BY id LIMIT ?1 OFFSET ?2";
    let rows: Vec<(i64, Option<String>, String)> =
        sqlx::query_as(select).bind(page.limit).bind(page.start).fetch_all(db).await?;
    let items = rows.into_iter().map(|(id, reason, decision)| item(id, reason.as_deref(), &decision));
    Ok((total, items.collect::<anyhow::Result<_>>()?))
}

fn item(id: i64, reason: Option<&str>, decision: &str) -> anyhow::Result<Value> {
    let decision: Decision = serde_json::from_str(decision)?;
    let reason: Option<Value> = reason.map(serde_json::from_str).transpose()?;
    let others = decision.others();
    let evidence: Vec<Value> = others.iter().map(|other| evidence(&decision, *other)).collect();
    let remedies: Vec<String> = others
        .iter()
        .flat_map(|other| ["same", "different"].map(|word| format!("resolve {} {word} {}", name(id), name(*other))))
        .collect();
    Ok(json!({
        "name": name(id), "reason": reason, "row": decision.row, "evidence": evidence, "remedies": remedies,
    }))
}

fn evidence(decision: &Decision, node: i64) -> Value {
    let weighed = decision.evidence.iter().find(|w| w.node == node);
    let mut shown = weighed.map_or_else(|| json!({}), |w| json!(w));
    shown["name"] = name(node).into();
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_has_evidence_and_remedies_for_each_node() {
        let decision = json!({
            "row": 6, "verdict": {"ambiguous": {"nodes": [2, 3], "held_as": 4}},
            "evidence": [{"node": 2, "keys": ["mac=a"], "agree": ["nic"], "differ": []}],
        });
        let item = item(4, Some("{\"error\": \"why\"}"), &decision.to_string()).unwrap();
        assert_eq!(item["reason"]["error"], "why");
        assert_eq!((&item["evidence"][0]["name"], &item["evidence"][0]["agree"]), (&json!("node2"), &json!(["nic"])));
        assert_eq!(item["evidence"][1]["name"], "node3", "of which nothing was weighed");
        assert_eq!(item["remedies"][3], "resolve node4 different node3");
    }
}
