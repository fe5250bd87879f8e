//! A node as it was before a report that lacked a group of its parts. The first check-in does not wait for slow disks; once
//! they are reported, what the node had before says whether the machine is that node, and is put back where it is not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::FromRow;

use crate::identity::evidence::{Evidence, Group};
use crate::identity::keys::{Claim, Key};
use crate::limits::PROVISIONAL_MS;
use crate::store::sql::{self, Connection};
use crate::store::{bundles, candidates, claims, makeups, nodes, settled};

/// The node then.
#[derive(Debug, Serialize, Deserialize)]
struct Before {
    evidence: Vec<(Group, String)>,
    /// Values that it had, and whether they decide.
    claims: Vec<Claim>,
    /// Values that it had had once.
    former: Vec<Claim>,
    row: Row,
}

/// What its row had.
#[derive(Debug, Serialize, Deserialize, FromRow)]
struct Row {
    hw_info: String,
    facts: Option<String>,
    facts_digest: Option<String>,
    report: Option<i64>,
}

impl Before {
    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::default();
        for (group, value) in &self.evidence {
            evidence.add(*group, [value.clone()]);
        }
        evidence
    }
}

/// Keeps the node as it is, where `machine` shows other values than it has, but not memory or disks that it has. What was kept
/// lately stays.
///
/// # Errors
/// When the database fails.
pub async fn keep(db: &mut Connection, now: i64, node: i64, machine: &Evidence) -> anyhow::Result<()> {
    let known = candidates::evidence_of(&mut *db, &json!([node]).to_string()).await?.remove(&node).unwrap_or_default();
    let changes =
        Group::ALL.iter().any(|g| machine.values(*g).is_some_and(|new| known.values(*g).is_some_and(|old| old != new)));
    if machine.has_parts_of(&known) || !changes {
        return Ok(());
    }
    let row: Row = sql::query_as("SELECT hw_info, facts, facts_digest, report FROM nodes WHERE id = $1")
        .bind(node)
        .fetch_one(&mut *db)
        .await?;
    let (former, current) = claims::of_node(&mut *db, node).await?.into_iter().partition(|c| c.state == "former");
    let claims = |list: Vec<claims::Stored>| {
        list.into_iter().map(|c| Claim { key: Key { kind: c.kind, value: c.value }, matching: c.matching }).collect()
    };
    let evidence = known.iter().map(|(group, value)| (group, value.to_owned())).collect();
    let before = Before { evidence, claims: claims(current), former: claims(former), row };
    let upsert = "INSERT INTO provisional (node, at, before) VALUES ($1, $2, $3)
                  ON CONFLICT (node) DO UPDATE SET at = $2, before = $3 WHERE provisional.at < $4";
    let upsert = sql::query(upsert).bind(node).bind(now).bind(serde_json::to_string(&before)?);
    upsert.bind(now - PROVISIONAL_MS).execute(db).await?;
    Ok(())
}

/// What the nodes in this JSON list had before, of those whose memory and disks `machine` shows by now.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn completed(
    db: &mut Connection,
    now: i64,
    ids: &str,
    machine: &Evidence,
) -> anyhow::Result<BTreeMap<i64, Evidence>> {
    let select = "SELECT p.node, p.before FROM json_each($1) k JOIN provisional p ON p.node = CAST(k.value AS BIGINT) WHERE p.at >= $2";
    let rows: Vec<(i64, String)> = sql::query_as(select).bind(ids).bind(now - PROVISIONAL_MS).fetch_all(db).await?;
    let mut found = BTreeMap::new();
    for (node, before) in rows {
        let evidence = serde_json::from_str::<Before>(&before)?.evidence();
        if machine.has_parts_of(&evidence) {
            found.insert(node, evidence);
        }
    }
    Ok(found)
}

/// True when what the node's evidence became since is what `machine` shows: it was this machine that was taken for the node.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn is_from(db: &mut Connection, node: i64, machine: &Evidence) -> anyhow::Result<bool> {
    let select = "SELECT before FROM provisional WHERE node = $1";
    let before: Option<String> = sql::query_scalar(select).bind(node).fetch_optional(&mut *db).await?;
    let Some(before) = before else { return Ok(false) };
    let before = serde_json::from_str::<Before>(&before)?.evidence();
    let now = candidates::evidence_of(db, &json!([node]).to_string()).await?.remove(&node).unwrap_or_default();
    let changed: Vec<Group> = Group::ALL.into_iter().filter(|g| now.values(*g) != before.values(*g)).collect();
    // A node that shows again what it had is nobody else's, whoever asks.
    Ok(!changed.is_empty() && changed.iter().all(|g| now.values(*g) == machine.values(*g)))
}

/// The machine is the node after all. What boots showed meanwhile may have been another one's.
///
/// # Errors
/// When the database fails.
pub async fn confirm(db: &mut Connection, node: i64) -> anyhow::Result<()> {
    sql::query("DELETE FROM provisional WHERE node = $1").bind(node).execute(&mut *db).await?;
    nodes::forget_boots(db, node).await
}

/// The machine is not the node: puts the node's hardware and facts back, and believes no boot that it showed as the node. Gives
/// the time since which it was taken for the node.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn put_back(db: &mut Connection, now: i64, node: i64) -> anyhow::Result<Option<i64>> {
    let take = "DELETE FROM provisional WHERE node = $1 RETURNING at, before";
    let taken: Option<(i64, String)> = sql::query_as(take).bind(node).fetch_optional(&mut *db).await?;
    let Some((since, taken)) = taken else { return Ok(None) };
    let before: Before = serde_json::from_str(&taken)?;
    for table in ["DELETE FROM evidence WHERE node = $1", "DELETE FROM claims WHERE node = $1"] {
        sql::query(table).bind(node).execute(&mut *db).await?;
    }
    candidates::learn(&mut *db, node, &before.evidence(), false).await?;
    claims::add(&mut *db, now, node, &before.claims).await?;
    claims::add_former(&mut *db, now, node, &before.former).await?;
    let Row { hw_info, facts, facts_digest, report } = before.row;
    let update = "UPDATE nodes SET hw_info = $2, facts = $3, facts_digest = $4, report = $5 WHERE id = $1";
    let update = sql::query(update).bind(node).bind(hw_info).bind(facts).bind(facts_digest).bind(report);
    update.execute(&mut *db).await?;
    settled::forget(&mut *db, node).await?;
    makeups::renew(&mut *db, node).await?;
    nodes::forget_boots(db, node).await?;
    Ok(Some(since))
}

/// Reports that came for `node` since it had the report that it has, and bundles that came `since`, are those of the machine that
/// is `other`.
///
/// # Errors
/// When the database fails.
pub async fn hand_over(db: &mut Connection, node: i64, since: i64, other: i64) -> anyhow::Result<()> {
    let update = "UPDATE reports SET node = $2
                  WHERE node = $1 AND id > coalesce((SELECT report FROM nodes WHERE id = $1), 0)";
    sql::query(update).bind(node).bind(other).execute(&mut *db).await?;
    bundles::hand_over(db, node, since, other).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory;

    fn evidence(values: &[(Group, &str)]) -> Evidence {
        let mut evidence = Evidence::default();
        for (group, value) in values {
            evidence.add(*group, [(*value).to_owned()]);
        }
        evidence
    }

    #[tokio::test]
    async fn what_was_held_against_the_reports_of_another_machine_is_forgotten() {
        let mut db = in_memory().await;
        let fill = "INSERT INTO nodes (id, first_seen, hw_info, decision) VALUES (1, 0, '[]', '{}');
                    INSERT INTO contents (digest, bytes, zstd) VALUES ('c', 1, x'00');
                    INSERT INTO settled (node, content, missing, young, awaited) VALUES (1, 'c', '[]', 0, 0)";
        sql::raw(fill, &mut db).await.unwrap();
        candidates::learn(&mut db, 1, &evidence(&[(Group::Dimm, "d1"), (Group::Disk, "k1")]), false).await.unwrap();
        keep(&mut db, 0, 1, &evidence(&[(Group::Dimm, "d2")])).await.unwrap();
        assert!(settled::of_node(&mut db, 1).await.unwrap().is_some());
        assert_eq!(put_back(&mut db, 1, 1).await.unwrap(), Some(0));
        assert!(settled::of_node(&mut db, 1).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_node_that_shows_again_what_it_had_was_nobody_else() {
        let mut db = in_memory().await;
        let node = "INSERT INTO nodes (id, first_seen, hw_info, decision) VALUES (1, 0, '[]', '{}')";
        sql::query(node).execute(&mut db).await.unwrap();
        let had = [(Group::Dimm, "d1"), (Group::Disk, "k1"), (Group::Nic, "a")];
        candidates::learn(&mut db, 1, &evidence(&had), false).await.unwrap();
        let early = evidence(&[(Group::Dimm, "d2"), (Group::Nic, "a")]);
        keep(&mut db, 0, 1, &early).await.unwrap();
        candidates::learn(&mut db, 1, &early, false).await.unwrap();
        let whole = evidence(&[(Group::Dimm, "d2"), (Group::Disk, "k2"), (Group::Nic, "a")]);
        let another = evidence(&[(Group::Dimm, "d3"), (Group::Disk, "k3"), (Group::Nic, "a")]);
        assert!(is_from(&mut db, 1, &whole).await.unwrap());
        assert!(!is_from(&mut db, 1, &another).await.unwrap());
        // The old module is back, still without disks.
        let again = evidence(&[(Group::Dimm, "d1"), (Group::Nic, "a")]);
        candidates::learn(&mut db, 1, &again, false).await.unwrap();
        assert!(!is_from(&mut db, 1, &another).await.unwrap(), "nothing of node1 changed");
    }
}
