//! The nodes that a machine might be, with all that the decision weighs: by match keys, by an id that was named, and by
//! parts. Every look-up goes through an index, so that its cost does not grow with the number of nodes.

use std::collections::BTreeMap;

use serde_json::json;
use sqlx::FromRow;

use crate::identity::decide::{Candidate, Link};
use crate::identity::evidence::{Evidence, Group};
use crate::identity::keys::Key;
use crate::limits::{MAX_HOLDERS, MAX_RELATIVES};
use crate::store::nodes::alive_ms;
use crate::store::provisional;
use crate::store::sql::{self, Connection};

/// Whose candidates are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// Match keys.
    pub keys: &'a [Key],
    /// MACs that count only where those lead to nobody.
    pub weak: &'a [Key],
    /// The boot that speaks now.
    pub boot_id: Option<&'a str>,
    /// Milliseconds since 1970.
    pub now: i64,
    /// The node that the machine is said to be.
    pub own: Option<i64>,
    /// What it shows.
    pub evidence: &'a Evidence,
    /// Its parts lead to nodes too, whatever their keys.
    pub by_parts: bool,
    /// Seconds between check-ins of a node that was told no other interval.
    pub usual_s: u32,
}

#[derive(FromRow)]
struct KeyRow {
    node: i64,
    kind: String,
    value: String,
    state: String,
    weak: bool,
}

#[derive(FromRow)]
struct NodeRow {
    id: i64,
    registered: bool,
    held: bool,
    heard: Option<i64>,
    interval: Option<i64>,
    ruled_out: bool,
}

/// How a node came to be in question.
struct Linked {
    link: Link,
    shared: Vec<Key>,
    lost: Vec<Key>,
}

impl Linked {
    fn by(link: Link) -> Self {
        Self { link, shared: Vec::new(), lost: Vec::new() }
    }
}

/// Finds them, in order of id.
///
/// # Errors
/// When the database fails.
pub async fn find(db: &mut Connection, search: &Search<'_>) -> anyhow::Result<Vec<Candidate>> {
    let mut linked: BTreeMap<i64, Linked> = BTreeMap::new();
    for row in by_key(&mut *db, search).await? {
        let link = match row.state.as_str() {
            _ if row.weak => Link::Weak,
            "former" => Link::Had,
            _ => Link::Holds,
        };
        let entry = linked.entry(row.node).or_insert_with(|| Linked::by(link));
        entry.link = entry.link.min(link);
        let key = Key { kind: row.kind, value: row.value };
        if row.state == "former" {
            entry.lost.push(key.clone());
        }
        entry.shared.push(key);
    }
    let relatives = if search.by_parts { by_parts(&mut *db, search.evidence).await? } else { Vec::new() };
    for id in search.own.into_iter().chain(relatives) {
        linked.entry(id).or_insert_with(|| Linked::by(Link::Hint));
    }
    let ids = json!(linked.keys().collect::<Vec<_>>()).to_string();
    let mut evidence = evidence_of(&mut *db, &ids).await?;
    let mut reopened = if search.by_parts {
        provisional::completed(&mut *db, search.now, &ids, search.evidence).await?
    } else {
        BTreeMap::new()
    };
    let mut told_apart = told_apart(&mut *db, &ids).await?;
    let rows = nodes(db, &ids, search).await?;
    let candidates = rows.into_iter().filter_map(|row| {
        let Linked { link, shared, lost } = linked.remove(&row.id)?;
        let before = reopened.remove(&row.id);
        Some(Candidate {
            id: row.id,
            registered: row.registered,
            held: row.held,
            silence_ms: row.heard.map(|at| search.now - at),
            alive_ms: alive_ms(row.interval, search.usual_s),
            link,
            shared,
            lost,
            reopened: before.is_some(),
            evidence: before.or_else(|| evidence.remove(&row.id)).unwrap_or_default(),
            ruled_out: row.ruled_out,
            told_apart: told_apart.remove(&row.id).unwrap_or_default(),
        })
    });
    Ok(candidates.collect())
}

/// Claims on the keys, without those on a key that very many have, unless no other leads anywhere: then those of its newest
/// holders, and of those that are named or have its parts. One counts where it decides for its node, or where that is not
/// settled since only a boot spoke.
async fn by_key(db: &mut Connection, search: &Search<'_>) -> anyhow::Result<Vec<KeyRow>> {
    let plain = search.keys.iter().map(|k| (k, false));
    let keys: Vec<_> = plain
        .chain(search.weak.iter().map(|k| (k, true)))
        .map(|(key, weak)| json!({"kind": key.kind, "value": key.value, "weak": if weak { "yes" } else { "no" }}))
        .collect();
    let keys = json!(keys).to_string();
    let rows = claimed(&mut *db, &keys).await?;
    if !rows.is_empty() {
        return Ok(rows);
    }
    let relatives = by_parts(&mut *db, search.evidence).await?;
    let named: Vec<i64> = search.own.into_iter().chain(relatives).collect();
    claimed_by_newest(db, &keys, &named).await
}

async fn claimed(db: &mut Connection, keys: &str) -> anyhow::Result<Vec<KeyRow>> {
    let select = sql::query_as(
        "WITH key AS MATERIALIZED (
            SELECT k.value ->> 'kind' AS kind, k.value ->> 'value' AS value, k.value ->> 'weak' AS weak FROM json_each($1) k
            WHERE (SELECT count(*) FROM (SELECT 1 FROM claims x
                   WHERE x.kind = k.value ->> 'kind' AND x.value = k.value ->> 'value' LIMIT $2 + 1) AS these) <= $2)
         SELECT c.node, c.kind, c.value, c.state, key.weak = 'yes' AS weak FROM key
         JOIN claims c ON c.kind = key.kind AND c.value = key.value
         JOIN nodes n ON n.id = c.node
         WHERE c.matching = 1 OR n.facts_digest IS NULL
         ORDER BY c.node, c.kind, c.value",
    );
    Ok(select.bind(keys).bind(MAX_HOLDERS).fetch_all(db).await?)
}

/// Steps from holder to holder of each key, from the newest node on, so that all the others cost nothing.
async fn claimed_by_newest(db: &mut Connection, keys: &str, named: &[i64]) -> anyhow::Result<Vec<KeyRow>> {
    let select = sql::query_as(
        "WITH RECURSIVE key AS MATERIALIZED (
            SELECT k.value ->> 'kind' AS kind, k.value ->> 'value' AS value, k.value ->> 'weak' AS weak FROM json_each($1) k),
         holder (kind, value, weak, node, place) AS (
            SELECT kind, value, weak, (SELECT max(c.node) FROM claims c WHERE c.kind = key.kind AND c.value = key.value), 1
            FROM key
            UNION ALL
            SELECT kind, value, weak, (SELECT max(c.node) FROM claims c
                WHERE c.kind = holder.kind AND c.value = holder.value AND c.node < holder.node), place + 1
            FROM holder WHERE node IS NOT NULL AND place < $2),
         chosen AS (
            SELECT kind, value, weak, node FROM holder
            UNION SELECT key.kind, key.value, key.weak, CAST(n.value AS BIGINT) FROM key, json_each($3) n)
         SELECT c.node, c.kind, c.value, c.state, chosen.weak = 'yes' AS weak FROM chosen
         CROSS JOIN claims c CROSS JOIN nodes n
         WHERE c.node = chosen.node AND c.kind = chosen.kind AND c.value = chosen.value AND n.id = c.node
         AND (c.matching = 1 OR n.facts_digest IS NULL)
         ORDER BY c.node, c.kind, c.value",
    );
    Ok(select.bind(keys).bind(MAX_HOLDERS).bind(json!(named).to_string()).fetch_all(db).await?)
}

/// Nodes that have the board, the TPM, or one of the modules, disks or ports. A value that many have tells nothing.
async fn by_parts(db: &mut Connection, parts: &Evidence) -> anyhow::Result<Vec<i64>> {
    let values = parts.iter().filter(|(group, _)| group.is_set() || matches!(group, Group::Board | Group::Tpm));
    let values: Vec<_> = values.map(|(group, value)| json!({"kind": group.word(), "value": value})).collect();
    let select = sql::query_scalar(
        "WITH part AS MATERIALIZED (
            SELECT k.value ->> 'kind' AS kind, k.value ->> 'value' AS value FROM json_each($1) k
            WHERE (SELECT count(*) FROM (SELECT 1 FROM evidence x
                   WHERE x.kind = k.value ->> 'kind' AND x.value = k.value ->> 'value' LIMIT $2 + 1) AS these) <= $2)
         SELECT DISTINCT e.node FROM part JOIN evidence e ON e.kind = part.kind AND e.value = part.value ORDER BY e.node",
    );
    Ok(select.bind(json!(values).to_string()).bind(MAX_RELATIVES).fetch_all(db).await?)
}

/// Groups in which two known nodes show the machine's number already: it may be a copy of the vendor's. What is disputed
/// does not count, nor what the machine's own node shows.
///
/// # Errors
/// When the database fails.
pub async fn common(db: &mut Connection, machine: &Evidence, own: Option<i64>) -> anyhow::Result<Vec<Group>> {
    let numbers = machine.iter().filter(|(group, _)| !group.is_set());
    let numbers: Vec<_> = numbers.map(|(group, value)| json!({"kind": group.word(), "value": value})).collect();
    let select = sql::query_scalar(
        "SELECT k.value ->> 'kind' FROM json_each($1) k
         WHERE (SELECT count(*) FROM (SELECT 1 FROM evidence e JOIN nodes n ON n.id = e.node
                WHERE e.kind = k.value ->> 'kind' AND e.value = k.value ->> 'value'
                AND n.facts_digest IS NOT NULL AND n.state <> 'held' AND n.id IS DISTINCT FROM $2 LIMIT 2) AS these) = 2",
    );
    let kinds: Vec<String> = select.bind(json!(numbers).to_string()).bind(own).fetch_all(db).await?;
    Ok(kinds.iter().filter_map(|kind| Group::of_word(kind)).collect())
}

async fn nodes(db: &mut Connection, ids: &str, search: &Search<'_>) -> anyhow::Result<Vec<NodeRow>> {
    let select = sql::query_as(
        "SELECT n.id, n.facts_digest IS NOT NULL AS registered, n.state = 'held' AS held,
                (SELECT max(at) FROM (
                    SELECT max(b.last_seen) AS at FROM boots b WHERE b.node = n.id AND b.boot_id IS DISTINCT FROM $2
                    UNION ALL SELECT n.last_checkin WHERE n.boot_id IS NULL) AS times) AS heard,
                n.interval,
                EXISTS (SELECT 1 FROM distinct_nodes d WHERE d.one = min(n.id, $3) AND d.other = max(n.id, $3)) AS ruled_out
         FROM json_each($1) k JOIN nodes n ON n.id = CAST(k.value AS BIGINT) ORDER BY n.id",
    );
    Ok(select.bind(ids).bind(search.boot_id).bind(search.own).fetch_all(db).await?)
}

/// Which of the nodes in this JSON list an operator told from which others of it.
async fn told_apart(db: &mut Connection, ids: &str) -> anyhow::Result<BTreeMap<i64, Vec<i64>>> {
    let select = "SELECT d.one, d.other FROM json_each($1) k JOIN distinct_nodes d ON d.one = CAST(k.value AS BIGINT)
                  WHERE d.other IN (SELECT CAST(value AS BIGINT) FROM json_each($1))";
    let pairs: Vec<(i64, i64)> = sql::query_as(select).bind(ids).fetch_all(db).await?;
    let mut found: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (one, other) in pairs {
        found.entry(one).or_default().push(other);
        found.entry(other).or_default().push(one);
    }
    Ok(found)
}

/// What is known of the nodes whose ids are in this JSON list.
///
/// # Errors
/// When the database fails.
pub async fn evidence_of(db: &mut Connection, ids: &str) -> anyhow::Result<BTreeMap<i64, Evidence>> {
    let rows: Vec<(i64, String, String)> = sql::query_as(
        "SELECT e.node, e.kind, e.value FROM json_each($1) k JOIN evidence e ON e.node = CAST(k.value AS BIGINT)",
    )
    .bind(ids)
    .fetch_all(db)
    .await?;
    let mut found: BTreeMap<i64, Evidence> = BTreeMap::new();
    for (node, kind, value) in rows {
        if let Some(group) = Group::of_word(&kind) {
            found.entry(node).or_default().add(group, [value]);
        }
    }
    Ok(found)
}

/// Stores what a machine reports as known of the node. A group that it does not speak of keeps what was known, unless
/// the machine turned out to be virtual and such a group is not its own.
///
/// # Errors
/// When the database fails.
pub async fn learn(db: &mut Connection, node: i64, evidence: &Evidence, is_virtual: bool) -> anyhow::Result<()> {
    let known: Vec<(String, String)> =
        sql::query_as("SELECT kind, value FROM evidence WHERE node = $1").bind(node).fetch_all(&mut *db).await?;
    for (kind, value) in &known {
        let now = Group::of_word(kind).and_then(|group| evidence.values(group));
        if now.map_or(is_virtual, |values| !values.contains(value)) {
            sql::query("DELETE FROM evidence WHERE node = $1 AND kind = $2 AND value = $3")
                .bind(node)
                .bind(kind)
                .bind(value)
                .execute(&mut *db)
                .await?;
        }
    }
    let is_new = |(group, value): &(Group, &str)| known.iter().all(|(k, v)| k != group.word() || v != value);
    let new: Vec<_> = evidence.iter().filter(is_new).map(|(g, v)| json!({"kind": g.word(), "value": v})).collect();
    if !new.is_empty() {
        let insert = "INSERT INTO evidence (node, kind, value)
                      SELECT $1, k.value ->> 'kind', k.value ->> 'value' FROM json_each($2) k";
        sql::query(insert).bind(node).bind(json!(new).to_string()).execute(db).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory;

    #[tokio::test]
    async fn of_a_number_that_a_whole_delivery_has_only_the_newest_holders_are_weighed() {
        let mut db = in_memory().await;
        let last = 3 * MAX_HOLDERS;
        let fill = format!(
            "CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n;
             INSERT INTO nodes (id, first_seen, hw_info, facts_digest, decision) SELECT i, 0, '[]', 'd', '{{}}' FROM n;
             INSERT INTO claims SELECT i, 'serial', 's', 'contested', 1, 0 FROM n;
             INSERT INTO evidence SELECT i, 'nic', 'p' || i FROM n"
        );
        sql::raw(&fill, &mut db).await.unwrap();
        let mut machine = Evidence::default();
        machine.add(Group::Nic, ["p7".to_owned()]);
        let keys = [("mac", "new"), ("serial", "s")];
        let keys = keys.map(|(kind, value)| Key { kind: kind.to_owned(), value: value.to_owned() });
        let search = Search {
            keys: &keys,
            weak: &[],
            boot_id: None,
            now: 0,
            own: Some(3),
            evidence: &machine,
            by_parts: false,
            usual_s: 60,
        };
        let found = find(&mut db, &search).await.unwrap();
        let ids: Vec<i64> = found.iter().map(|c| c.id).collect();
        let newest = last - MAX_HOLDERS + 1..=last;
        assert_eq!(
            ids,
            [3, 7].into_iter().chain(newest).collect::<Vec<_>>(),
            "and the one that is named, and who has its port"
        );
        assert!(found.iter().all(|c| c.link == Link::Holds && c.shared == keys[1..]), "{found:?}");
    }
}
