//! Merging one node into another. Its id goes on answering as an alias; a snapshot is kept, so that it can be taken back.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{SqliteConnection, SqlitePool};

use crate::identity::canonical::HwInfo;
use crate::identity::decide::Decision;
use crate::identity::keys::{Claim, Key};
use crate::store::{claims, configs, history, mirror_index, nodes};

/// A merged node as it was.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    hw_info: HwInfo,
    dhcp_mac: Option<String>,
    installed: Option<String>,
    /// When it was accepted, by whom, and when it was refused.
    #[serde(default)]
    enrolment: (Option<i64>, Option<String>, Option<i64>),
    claims: Vec<Claim>,
    /// The newest boots of its machine, which may still run.
    #[serde(default)]
    boots: Vec<String>,
}

/// Either node was accepted: both are. A refusal of either stays, unless the survivor was accepted. In this order.
const ACCEPTED: [&str; 3] = [
    "UPDATE nodes SET refused = f.refused FROM nodes f
     WHERE nodes.id = ?2 AND f.id = ?1 AND nodes.accepted IS NULL AND f.refused IS NOT NULL",
    "UPDATE nodes SET accepted = f.accepted, accepted_by = f.accepted_by FROM nodes f
     WHERE nodes.id = ?2 AND f.id = ?1 AND nodes.accepted IS NULL AND nodes.refused IS NULL",
    "UPDATE nodes SET state = 'normal', reason = NULL WHERE id = ?2 AND state = 'pending' AND accepted IS NOT NULL",
];

/// So many of them are kept.
const BOOTS_KEPT: i64 = 16;

/// Merges node `from` into node `into`: claims, log, reports, bundles, boots and aliases go over. What it has left then, such as
/// commands that wait, goes with it.
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
    let values = claims::of_node(&mut *db, from).await?.into_iter().filter(|c| c.state != "former");
    let claims = values.map(|c| Claim { key: Key { kind: c.kind, value: c.value }, matching: c.matching }).collect();
    let (dhcp_mac, installed) = (loser.dhcp_mac.clone(), loser.installed.clone());
    let boots = sqlx::query_scalar("SELECT boot_id FROM boots WHERE node = ?1 ORDER BY last_seen DESC LIMIT ?2");
    let boots = boots.bind(from).bind(BOOTS_KEPT).fetch_all(&mut *db).await?;
    let enrolment = sqlx::query_as("SELECT accepted, accepted_by, refused FROM nodes WHERE id = ?1");
    let enrolment = enrolment.bind(from).fetch_one(&mut *db).await?;
    let snapshot = Snapshot { hw_info: loser.hw_info()?, dhcp_mac, installed, enrolment, claims, boots };
    // What only the loser knew of is kept, such as an asset tag that iPXE sent.
    let info: HwInfo = loser.hw_info()?.overlaid(&survivor.hw_info()?);
    nodes::set_hardware(&mut *db, into, &info, loser.dhcp_mac.as_deref().filter(|_| survivor.dhcp_mac.is_none()))
        .await?;
    mirror_index::unite(&mut *db, from, into).await?;
    for move_over in [
        "UPDATE OR IGNORE claims SET node = ?2 WHERE node = ?1",
        "UPDATE node_log SET node = ?2 WHERE node = ?1",
        "UPDATE reports SET node = ?2 WHERE node = ?1",
        "UPDATE boots SET node = ?2 WHERE node = ?1",
        "UPDATE bundles SET node = ?2 WHERE node = ?1",
        "UPDATE aliases SET node = ?2 WHERE node = ?1",
        // Who spoke last as either speaks for both: whoever did before is not a second machine.
        "UPDATE nodes SET last_checkin = f.last_checkin, boot_id = f.boot_id, agent = coalesce(f.agent, nodes.agent),
         volatile = coalesce(f.volatile, nodes.volatile), config = coalesce(f.config, nodes.config), interval = f.interval
         FROM nodes f WHERE nodes.id = ?2 AND f.id = ?1 AND f.last_checkin >= coalesce(nodes.last_checkin, 0)",
        "UPDATE nodes SET first_seen = min(first_seen, (SELECT first_seen FROM nodes WHERE id = ?1)) WHERE id = ?2",
    ]
    .into_iter()
    .chain(ACCEPTED)
    {
        sqlx::query(move_over).bind(from).bind(into).execute(&mut *db).await?;
    }
    configs::hand_over(&mut *db, at, from, into).await?;
    sqlx::query("DELETE FROM nodes WHERE id = ?1").bind(from).execute(&mut *db).await?;
    sqlx::query("INSERT INTO aliases (alias, node, merged, decision, snapshot) VALUES (?1, ?2, ?3, ?4, ?5)")
        .bind(from)
        .bind(into)
        .bind(at)
        .bind(serde_json::to_string(decision)?)
        .bind(serde_json::to_string(&snapshot)?)
        .execute(&mut *db)
        .await?;
    let detail = json!({"from": nodes::name(from), "into": nodes::name(into), "decision": decision});
    history::event(db, at, "node-merged", Some(into), &detail).await?;
    Ok(())
}

/// When the merge took place that an id is an alias by, in milliseconds since 1970.
///
/// # Errors
/// When the database fails.
pub async fn merged_at(db: &SqlitePool, alias: i64) -> anyhow::Result<Option<i64>> {
    let select = sqlx::query_scalar("SELECT merged FROM aliases WHERE alias = ?1");
    Ok(select.bind(alias).fetch_optional(db).await?)
}

/// Makes the alias a node again, with its hardware of then, and a machine that runs since is that node again; log and reports
/// stay where they are. Gives its id and that of the node that it was merged into, or nothing when it is no alias.
///
/// # Errors
/// When the database fails.
pub async fn split(db: &mut SqliteConnection, at: i64, alias: i64) -> anyhow::Result<Option<(i64, i64)>> {
    let row: Option<(i64, String, String)> =
        sqlx::query_as("DELETE FROM aliases WHERE alias = ?1 RETURNING node, decision, snapshot")
            .bind(alias)
            .fetch_optional(&mut *db)
            .await?;
    let Some((node, decision, snapshot)) = row else { return Ok(None) };
    let Snapshot { hw_info, dhcp_mac, installed, enrolment: (accepted, accepted_by, refused), claims, boots } =
        serde_json::from_str(&snapshot)?;
    sqlx::query(
        "INSERT INTO nodes (id, first_seen, hw_info, dhcp_mac, installed, installed_at, decision, accepted, accepted_by, refused)
         VALUES (?1, ?2, ?3, ?4, ?5, CASE WHEN ?5 IS NULL THEN NULL ELSE ?2 END, ?6, ?7, ?8, ?9)",
    )
    .bind(alias)
    .bind(at)
    .bind(serde_json::to_string(&hw_info)?)
    .bind(dhcp_mac)
    .bind(installed)
    .bind(decision)
    .bind(accepted)
    .bind(accepted_by)
    .bind(refused)
    .execute(&mut *db)
    .await?;
    claims::add(&mut *db, at, alias, &claims).await?;
    // The survivor has no word of theirs any more: who speaks as it now is its own machine.
    let boots = serde_json::to_string(&boots)?;
    for give_back in [
        "UPDATE boots SET node = ?1 WHERE node = ?2 AND boot_id IN (SELECT value FROM json_each(?3))",
        "UPDATE nodes SET boot_id = NULL, last_checkin = (SELECT max(last_seen) FROM boots WHERE node = ?2)
         WHERE id = ?2 AND boot_id IN (SELECT value FROM json_each(?3))",
    ] {
        sqlx::query(give_back).bind(alias).bind(node).bind(&boots).execute(&mut *db).await?;
    }
    Ok(Some((alias, node)))
}
