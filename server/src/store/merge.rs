//! Merging one node into another. Its id goes on answering as an alias; a snapshot is kept, so that it can be taken back.

use serde_json::json;
use sqlx::SqliteConnection;

use crate::identity::canonical::HwInfo;
use crate::identity::decide::Decision;
use crate::store::{claims, history, nodes};

/// Merges node `from` into node `into`: claims, log, reports, boots and aliases go over.
///
/// # Errors
/// When the database fails.
pub async fn merge(
    db: &mut SqliteConnection,
    at: i64,
    from: i64,
    into: i64,
    decision: &Decision,
) -> anyhow::Result<()> {
    let (Some(loser), Some(survivor)) =
        (nodes::Node::get(&mut *db, from).await?, nodes::Node::get(&mut *db, into).await?)
    else {
        return Ok(());
    };
    let claims: Vec<_> = claims::of_node(&mut *db, from)
        .await?
        .into_iter()
        .map(|c| json!({"kind": c.kind, "value": c.value, "state": c.state, "matching": c.matching}))
        .collect();
    let snapshot = json!({
        "id": from, "hw_info": loser.hw_info()?, "dhcp_mac": loser.dhcp_mac, "installed": loser.installed, "claims": claims,
    });
    // What only the loser knew of is kept, such as an asset tag that iPXE sent.
    let info: HwInfo = loser.hw_info()?.overlaid(&survivor.hw_info()?);
    nodes::set_hardware(&mut *db, into, &info, loser.dhcp_mac.as_deref().filter(|_| survivor.dhcp_mac.is_none()))
        .await?;
    for move_over in [
        "UPDATE OR IGNORE claims SET node = ?2 WHERE node = ?1",
        "UPDATE node_log SET node = ?2 WHERE node = ?1",
        "UPDATE reports SET node = ?2 WHERE node = ?1",
        "UPDATE boots SET node = ?2 WHERE node = ?1",
        "UPDATE aliases SET node = ?2 WHERE node = ?1",
        "UPDATE nodes SET first_seen = min(first_seen, (SELECT first_seen FROM nodes WHERE id = ?1)) WHERE id = ?2",
    ] {
        sqlx::query(move_over).bind(from).bind(into).execute(&mut *db).await?;
    }
    sqlx::query("DELETE FROM nodes WHERE id = ?1").bind(from).execute(&mut *db).await?;
    sqlx::query("INSERT INTO aliases (alias, node, merged, decision, snapshot) VALUES (?1, ?2, ?3, ?4, ?5)")
        .bind(from)
        .bind(into)
        .bind(at)
        .bind(serde_json::to_string(decision)?)
        .bind(snapshot.to_string())
        .execute(&mut *db)
        .await?;
    let detail = json!({"from": nodes::name(from), "into": nodes::name(into), "decision": decision});
    history::event(db, at, "node-merged", Some(into), &detail).await
}
