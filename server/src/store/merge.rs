//! Merging one node into another. Its id goes on answering as an alias; a snapshot is kept, so that it can be taken back.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::identity::canonical::HwInfo;
use crate::identity::decide::Decision;
use crate::identity::keys::{Claim, Key};
use crate::store::sql::{self, Connection, Pool};
use crate::store::{claims, configs, history, makeups, mirror_index, nodes};

/// A merged node as it was.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    hw_info: HwInfo,
    dhcp_mac: Option<String>,
    installed: Option<String>,
    /// Nothing where it was merged while every machine was let in.
    enrolment: Option<Enrolment>,
    /// That of the node that it was merged into, before and after.
    survivor: Option<(Enrolment, Enrolment)>,
    claims: Vec<Claim>,
    /// The newest boots of its machine, which may still run.
    #[serde(default)]
    boots: Vec<String>,
}

/// When a node was accepted, by whom, and when it was refused.
type Enrolment = (Option<i64>, Option<String>, Option<i64>);

/// Accepted by the merge of a time in which every machine was let in.
const BY_SETTING: &str = "open";

/// Either node was accepted: both are. A refusal of either stays, unless the survivor was accepted. In this order.
const ACCEPTED: [&str; 3] = [
    "UPDATE nodes SET refused = f.refused FROM nodes f
     WHERE nodes.id = $2 AND f.id = $1 AND nodes.accepted IS NULL AND f.refused IS NOT NULL",
    "UPDATE nodes SET accepted = f.accepted, accepted_by = f.accepted_by FROM nodes f
     WHERE nodes.id = $2 AND f.id = $1 AND nodes.accepted IS NULL AND nodes.refused IS NULL",
    "UPDATE nodes SET state = 'normal', reason = NULL WHERE id = $2 AND state = 'pending' AND accepted IS NOT NULL",
];

/// So many of them are kept.
const BOOTS_KEPT: i64 = 16;

/// Merges node `from` into node `into`: claims, log, reports, bundles, boots and aliases go over. What it has left then, such as
/// commands that wait, goes with it.
///
/// # Errors
/// When the database fails.
pub async fn merge(db: &mut Connection, at: i64, from: i64, into: i64, decision: &Decision) -> anyhow::Result<()> {
    let (Some(loser), Some(survivor)) =
        (nodes::Node::get(&mut *db, from).await?, nodes::Node::get(&mut *db, into).await?)
    else {
        return Ok(());
    };
    let values = claims::of_node(&mut *db, from).await?.into_iter().filter(|c| c.state != "former");
    let claims = values.map(|c| Claim { key: Key { kind: c.kind, value: c.value }, matching: c.matching }).collect();
    let (dhcp_mac, installed) = (loser.dhcp_mac.clone(), loser.installed.clone());
    let boots = sql::query_scalar("SELECT boot_id FROM boots WHERE node = $1 ORDER BY last_seen DESC LIMIT $2");
    let boots = boots.bind(from).bind(BOOTS_KEPT).fetch_all(&mut *db).await?;
    let (enrolment, before) = (Some(enrolment_of(&mut *db, from).await?), enrolment_of(&mut *db, into).await?);
    // What only the loser knew of is kept, such as an asset tag that iPXE sent.
    let info: HwInfo = loser.hw_info()?.overlaid(&survivor.hw_info()?);
    nodes::set_hardware(&mut *db, into, &info, loser.dhcp_mac.as_deref().filter(|_| survivor.dhcp_mac.is_none()))
        .await?;
    mirror_index::unite(&mut *db, from, into).await?;
    for move_over in [
        "UPDATE claims SET node = $2 WHERE node = $1 AND NOT EXISTS (
             SELECT 1 FROM claims o WHERE o.node = $2 AND o.kind = claims.kind AND o.value = claims.value)",
        "UPDATE node_log SET node = $2 WHERE node = $1",
        "UPDATE reports SET node = $2 WHERE node = $1",
        "UPDATE boots SET node = $2 WHERE node = $1",
        "UPDATE bundles SET node = $2 WHERE node = $1",
        "UPDATE aliases SET node = $2 WHERE node = $1",
        // Who spoke last as either speaks for both: whoever did before is not a second machine.
        "UPDATE nodes SET last_checkin = f.last_checkin, boot_id = f.boot_id, agent = coalesce(f.agent, nodes.agent),
         volatile = coalesce(f.volatile, nodes.volatile), config = coalesce(f.config, nodes.config), interval = f.interval
         FROM nodes f WHERE nodes.id = $2 AND f.id = $1 AND f.last_checkin >= coalesce(nodes.last_checkin, 0)",
        "UPDATE nodes SET first_seen = min(first_seen, (SELECT first_seen FROM nodes WHERE id = $1)) WHERE id = $2",
    ]
    .into_iter()
    .chain(ACCEPTED)
    {
        sql::query(move_over).bind(from).bind(into).execute(&mut *db).await?;
    }
    let survivor = Some((before, enrolment_of(&mut *db, into).await?));
    let snapshot = Snapshot { hw_info: loser.hw_info()?, dhcp_mac, installed, enrolment, survivor, claims, boots };
    configs::hand_over(&mut *db, at, from, into).await?;
    makeups::give_up(&mut *db, from).await?;
    sql::query("DELETE FROM nodes WHERE id = $1").bind(from).execute(&mut *db).await?;
    sql::query("INSERT INTO aliases (alias, node, merged, decision, snapshot) VALUES ($1, $2, $3, $4, $5)")
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

async fn enrolment_of(db: &mut Connection, node: i64) -> anyhow::Result<Enrolment> {
    let select = sql::query_as("SELECT accepted, accepted_by, refused FROM nodes WHERE id = $1");
    Ok(select.bind(node).fetch_one(db).await?)
}

/// The node is enrolled as `before` a merge, if nobody has decided about it since.
async fn give_up(db: &mut Connection, node: i64, before: &Enrolment, after: &Enrolment) -> anyhow::Result<()> {
    let update = "UPDATE nodes SET accepted = $2, accepted_by = $3, refused = $4
                  WHERE id = $1 AND accepted IS NOT DISTINCT FROM $5
                  AND accepted_by IS NOT DISTINCT FROM $6 AND refused IS NOT DISTINCT FROM $7";
    let update = sql::query(update).bind(node).bind(before.0).bind(&before.1).bind(before.2);
    update.bind(after.0).bind(&after.1).bind(after.2).execute(db).await?;
    Ok(())
}

/// When the merge took place that an id is an alias by, in milliseconds since 1970.
///
/// # Errors
/// When the database fails.
pub async fn merged_at(db: &Pool, alias: i64) -> anyhow::Result<Option<i64>> {
    let select = sql::query_scalar("SELECT merged FROM aliases WHERE alias = $1");
    Ok(select.bind(alias).fetch_optional(db).await?)
}

/// Makes the alias a node again, with its hardware of then, and a machine that runs since is that node again; log and reports
/// stay where they are. Gives its id and that of the node that it was merged into, or nothing when it is no alias.
///
/// # Errors
/// When the database fails.
pub async fn split(db: &mut Connection, at: i64, alias: i64) -> anyhow::Result<Option<(i64, i64)>> {
    let row: Option<(i64, String, String)> =
        sql::query_as("DELETE FROM aliases WHERE alias = $1 RETURNING node, decision, snapshot")
            .bind(alias)
            .fetch_optional(&mut *db)
            .await?;
    let Some((node, decision, snapshot)) = row else { return Ok(None) };
    let Snapshot { hw_info, dhcp_mac, installed, enrolment, survivor, claims, boots } =
        serde_json::from_str(&snapshot)?;
    let (accepted, accepted_by, refused) = enrolment.unwrap_or_else(|| (Some(at), Some(BY_SETTING.to_owned()), None));
    sql::query(
        "INSERT INTO nodes (id, first_seen, hw_info, dhcp_mac, installed, installed_at, decision, accepted, accepted_by, refused)
         VALUES ($1, $2, $3, $4, $5, CASE WHEN $5 IS NULL THEN NULL ELSE $2 END, $6, $7, $8, $9)",
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
    if let Some((before, after)) = survivor {
        give_up(&mut *db, node, &before, &after).await?;
    }
    // The survivor has no word of theirs any more: who speaks as it now is its own machine.
    let boots = serde_json::to_string(&boots)?;
    for give_back in [
        "UPDATE boots SET node = $1 WHERE node = $2 AND boot_id IN (SELECT value FROM json_each($3))",
        "UPDATE nodes SET boot_id = NULL, last_checkin = (SELECT max(last_seen) FROM boots WHERE node = $2)
         WHERE id = $2 AND boot_id IN (SELECT value FROM json_each($3))",
    ] {
        sql::query(give_back).bind(alias).bind(node).bind(&boots).execute(&mut *db).await?;
    }
    Ok(Some((alias, node)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::decide::Verdict;
    use crate::store::in_memory;

    /// Nodes 1 (accepted) and 2 (never), the first merged into the second.
    async fn merged() -> Connection {
        let mut db = in_memory().await;
        let fill = "INSERT INTO nodes (id, first_seen, hw_info, decision, accepted, accepted_by) VALUES
                    (1, 0, '[]', '{}', 5, 'operator'), (2, 0, '[]', '{}', NULL, NULL)";
        sql::query(fill).execute(&mut db).await.unwrap();
        let verdict = Verdict::Node { id: 2, merge: vec![1], conflict: Vec::new(), held: false };
        let decision = Decision { row: 0, verdict, evidence: Vec::new() };
        merge(&mut db, 9, 1, 2, &decision).await.unwrap();
        assert_eq!(enrolment_of(&mut db, 2).await.unwrap().0, Some(5));
        db
    }

    #[tokio::test]
    async fn an_acceptance_that_came_by_a_merge_goes_with_the_split_unless_somebody_decided_since() {
        for (decided, left) in [(None, None), (Some("UPDATE nodes SET accepted = 7 WHERE id = 2"), Some(7))] {
            let mut db = merged().await;
            if let Some(decided) = decided {
                sql::query(decided).execute(&mut db).await.unwrap();
            }
            assert_eq!(split(&mut db, 10, 1).await.unwrap(), Some((1, 2)));
            assert_eq!(enrolment_of(&mut db, 1).await.unwrap(), (Some(5), Some("operator".to_owned()), None));
            assert_eq!(enrolment_of(&mut db, 2).await.unwrap().0, left, "{decided:?}");
        }
    }

    #[tokio::test]
    async fn a_node_that_was_merged_while_all_were_let_in_is_accepted_when_it_is_split_off() {
        let mut db = merged().await;
        let of_before = "UPDATE aliases SET snapshot = json_remove(snapshot, '$.enrolment', '$.survivor')";
        sql::query(of_before).execute(&mut db).await.unwrap();
        split(&mut db, 10, 1).await.unwrap();
        assert_eq!(enrolment_of(&mut db, 1).await.unwrap(), (Some(10), Some("open".to_owned()), None));
        assert_eq!(enrolment_of(&mut db, 2).await.unwrap().0, Some(5), "as it is");
    }
}
