//! What nodes are made of: makeups and their areas, each once for all nodes that have it; and the switch ports that nodes hear.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use wire::inventory::Stable;

use crate::fleet::makeup::{self, Area, FORM, Makeup};
use crate::fleet::ports;
use crate::store::history;
use crate::store::sql::{self, Connection, Pool};
use crate::store::view::Page;

/// What the fleet's side keeps of a node's inventory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// What it is made of, where it says what product it is.
    pub makeup: Option<Makeup>,
    /// The switch ports that it hears.
    pub ports: BTreeSet<String>,
}

impl Kept {
    /// Of an inventory.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn of(stable: &Stable) -> anyhow::Result<Self> {
        Ok(Self { makeup: makeup::of(stable)?, ports: ports::heard(stable) })
    }
}

/// Name of the setting that says which nodes are still to be worked out.
const SETTING: &str = "makeups";

/// A node has this from now on.
///
/// # Errors
/// When the database fails.
pub async fn put(db: &mut Connection, node: i64, kept: &Kept) -> anyhow::Result<()> {
    let id = match &kept.makeup {
        Some(makeup) => Some(stored(&mut *db, makeup).await?),
        None => None,
    };
    replace(&mut *db, node, id).await?;
    sql::query("DELETE FROM node_ports WHERE node = $1").bind(node).execute(&mut *db).await?;
    for port in &kept.ports {
        // Two that differ in a character which cannot be stored are one.
        let insert = sql::query("INSERT INTO node_ports (node, port) VALUES ($1, $2) ON CONFLICT DO NOTHING");
        insert.bind(node).bind(port).execute(&mut *db).await?;
    }
    Ok(())
}

/// The node's newest report is another one: what is kept is of that, or nothing where it is no inventory.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn renew(db: &mut Connection, node: i64) -> anyhow::Result<()> {
    let newest = history::newest_report(&mut *db, node).await?.and_then(|report| report.inventory);
    let kept = match newest {
        // One of another form is as none, until its machine reports again: who settles a dispute must not fail of it.
        Some(stable) => serde_json::from_value(stable).map_or_else(|_| Ok(Kept::default()), |s| Kept::of(&s))?,
        None => Kept::default(),
    };
    put(db, node, &kept).await
}

/// The node is about to go.
///
/// # Errors
/// When the database fails.
pub async fn give_up(db: &mut Connection, node: i64) -> anyhow::Result<()> {
    replace(db, node, None).await
}

async fn replace(db: &mut Connection, node: i64, id: Option<i64>) -> anyhow::Result<()> {
    let former = sql::query_scalar("SELECT makeup FROM nodes WHERE id = $1").bind(node).fetch_optional(&mut *db);
    let former: Option<i64> = former.await?.flatten();
    if former == id {
        return Ok(());
    }
    sql::query("UPDATE nodes SET makeup = $2 WHERE id = $1").bind(node).bind(id).execute(&mut *db).await?;
    match former {
        Some(former) => prune(db, former).await,
        None => Ok(()),
    }
}

/// Id of a makeup, which is stored where it is new.
async fn stored(db: &mut Connection, makeup: &Makeup) -> anyhow::Result<i64> {
    let select = sql::query_scalar("SELECT id FROM makeups WHERE digest = $1").bind(&makeup.digest);
    if let Some(id) = select.fetch_optional(&mut *db).await? {
        return Ok(id);
    }
    let mut areas: Vec<i64> = Vec::with_capacity(makeup.areas.len());
    for area in &makeup.areas {
        let upsert = "INSERT INTO areas (digest, content, uses) VALUES ($1, $2, 1)
                      ON CONFLICT (digest) DO UPDATE SET uses = areas.uses + 1 RETURNING id";
        areas.push(sql::query_scalar(upsert).bind(&area.digest).bind(&area.json).fetch_one(&mut *db).await?);
    }
    let insert = "INSERT INTO makeups (digest, product, areas) VALUES ($1, $2, $3) RETURNING id";
    let insert = sql::query_scalar(insert).bind(&makeup.digest).bind(&makeup.product);
    Ok(insert.bind(serde_json::to_string(&areas)?).fetch_one(db).await?)
}

/// Deletes a makeup that no node has any more, and those of its areas that no other has.
async fn prune(db: &mut Connection, makeup: i64) -> anyhow::Result<()> {
    let delete =
        "DELETE FROM makeups WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM nodes WHERE makeup = $1) RETURNING areas";
    let areas: Option<String> = sql::query_scalar(delete).bind(makeup).fetch_optional(&mut *db).await?;
    let Some(areas) = areas else { return Ok(()) };
    for area in serde_json::from_str::<Vec<i64>>(&areas)? {
        for step in ["UPDATE areas SET uses = uses - 1 WHERE id = $1", "DELETE FROM areas WHERE id = $1 AND uses = 0"] {
            sql::query(step).bind(area).execute(&mut *db).await?;
        }
    }
    Ok(())
}

/// A makeup, and how many nodes have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Its id.
    pub id: i64,
    /// Maker and product.
    pub product: String,
    /// Ids of its areas.
    pub areas: Vec<i64>,
    /// Nodes that have it, without those that wait to be accepted or are in dispute.
    pub nodes: i64,
}

const COUNT_ALL: &str = "SELECT m.id, m.product, m.areas, n.nodes FROM makeups m JOIN
    (SELECT makeup, count(*) AS nodes FROM nodes WHERE makeup IS NOT NULL AND state = 'normal' GROUP BY makeup) n
    ON n.makeup = m.id ORDER BY m.product, m.id";

const COUNT_ONE: &str = "SELECT m.id, m.product, m.areas, n.nodes FROM makeups m JOIN
    (SELECT makeup, count(*) AS nodes FROM nodes WHERE makeup IN (SELECT id FROM makeups WHERE product = $1)
     AND state = 'normal' GROUP BY makeup) n
    ON n.makeup = m.id ORDER BY m.id";

/// The makeups of a product, or of all of them, by product.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn counted(db: &Pool, product: Option<&str>) -> anyhow::Result<Vec<Counted>> {
    let rows: Vec<(i64, String, String, i64)> = match product {
        Some(product) => sql::query_as(COUNT_ONE).bind(product).fetch_all(db).await?,
        None => sql::query_as(COUNT_ALL).fetch_all(db).await?,
    };
    let counted = |(id, product, areas, nodes): (i64, String, String, i64)| {
        Ok(Counted { id, product, areas: serde_json::from_str(&areas).context("a stored makeup is damaged")?, nodes })
    };
    rows.into_iter().map(counted).collect()
}

/// The areas with these ids.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn areas(db: &Pool, ids: &BTreeSet<i64>) -> anyhow::Result<BTreeMap<i64, Area>> {
    let mut found = BTreeMap::new();
    let all: Vec<i64> = ids.iter().copied().collect();
    for some in all.chunks(AREAS_AT_ONCE) {
        let select = "SELECT id, content FROM areas WHERE id IN (SELECT CAST(k.value AS BIGINT) FROM json_each($1) k)";
        let rows: Vec<(i64, String)> = sql::query_as(select).bind(serde_json::to_string(some)?).fetch_all(db).await?;
        for (id, content) in rows {
            found.insert(id, serde_json::from_str(&content).context("a stored area is damaged")?);
        }
    }
    Ok(found)
}

/// Areas that are read at once.
const AREAS_AT_ONCE: usize = 1000;

/// A page of the nodes with a makeup that count, in order.
///
/// # Errors
/// When the database fails.
pub async fn nodes(db: &Pool, makeup: i64, page: Page) -> anyhow::Result<Vec<i64>> {
    let select = "SELECT id FROM nodes WHERE makeup = $1 AND state = 'normal' ORDER BY id LIMIT $2 OFFSET $3";
    Ok(sql::query_scalar(select).bind(makeup).bind(page.limit).bind(page.start).fetch_all(db).await?)
}

/// A node's makeup and product; nothing where it has none, or does not count.
///
/// # Errors
/// When the database fails.
pub async fn of_node(db: &Pool, node: i64) -> anyhow::Result<Option<(i64, String)>> {
    let select = "SELECT m.id, m.product FROM nodes n JOIN makeups m ON m.id = n.makeup
                  WHERE n.id = $1 AND n.state = 'normal'";
    Ok(sql::query_as(select).bind(node).fetch_optional(db).await?)
}

/// Nodes of before an upgrade that are still to be worked out: those up to this id. Nothing once all are.
///
/// # Errors
/// When the database fails.
pub async fn left(db: &Pool) -> anyhow::Result<Option<i64>> {
    let select = sql::query_scalar("SELECT value FROM settings WHERE name = $1");
    let noted: Option<String> = select.bind(SETTING).fetch_optional(db).await?;
    let noted: Option<(i64, i64)> = noted.and_then(|text| serde_json::from_str(&text).ok());
    match noted {
        Some((FORM, left)) => Ok(Some(left).filter(|left| *left > 0)),
        // Never, or in other words.
        _ => Ok(Some(sql::query_scalar("SELECT coalesce(max(id), 0) FROM nodes").fetch_one(db).await?)),
    }
}

/// Notes which nodes are left.
///
/// # Errors
/// When the database fails.
pub async fn note_left(db: &mut Connection, left: i64) -> anyhow::Result<()> {
    let upsert = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2";
    sql::query(upsert).bind(SETTING).bind(serde_json::to_string(&(FORM, left))?).execute(db).await?;
    Ok(())
}

/// An inventory that is a node's newest.
#[derive(Debug, sqlx::FromRow)]
pub struct Inventoried {
    /// The node.
    pub node: i64,
    /// The report.
    pub report: i64,
    /// Its content, compressed.
    pub zstd: Vec<u8>,
}

/// The highest nodes up to this id that have an inventory, at most so many, highest first.
///
/// # Errors
/// When the database fails.
pub async fn inventoried(db: &Pool, upto: i64, most: i64) -> anyhow::Result<Vec<Inventoried>> {
    let select = "SELECT n.id AS node, r.id AS report, c.zstd FROM nodes n
         JOIN reports r ON r.id = n.report AND r.kind = 'inventory' JOIN contents c ON c.digest = r.content
         WHERE n.id <= $1 ORDER BY n.id DESC LIMIT $2";
    Ok(sql::query_as(select).bind(upto).bind(most).fetch_all(db).await?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sqlx::sqlite::SqlitePoolOptions;

    use super::*;

    fn kept(version: &str, port: &str) -> Kept {
        let stable = json!({"system": {"product": "P"}, "bios": {"version": version}, "memory": {"slots": 4},
            "nics": [{"key": "k", "lldp": {"neighbours": [{"chassis": "c", "system_name": "leaf", "port": port}]}}]});
        Kept::of(&serde_json::from_value(stable).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn what_many_have_is_kept_once_and_goes_with_the_last_of_them() {
        let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
        crate::store::sqlite::MIGRATIONS.run(&pool).await.unwrap();
        let pool = Pool::Sqlite(pool);
        let fill = "INSERT INTO nodes (id, first_seen, hw_info, decision, state) VALUES (1, 0, '[]', '{}', 'normal'),
                    (2, 0, '[]', '{}', 'normal'), (3, 0, '[]', '{}', 'normal'), (4, 0, '[]', '{}', 'pending')";
        sql::raw(fill, &mut pool.acquire().await.unwrap()).await.unwrap();
        let set = async |node: i64, kept: &Kept| put(&mut pool.acquire().await.unwrap(), node, kept).await.unwrap();
        for (node, version) in [(1, "1"), (2, "1"), (3, "2"), (4, "1")] {
            set(node, &kept(version, "e1")).await;
        }
        let nodes = async || -> Vec<i64> { counted(&pool, None).await.unwrap().iter().map(|c| c.nodes).collect() };
        assert_eq!(nodes().await, [2, 1], "one that waits to be accepted does not count");
        assert_eq!(counted(&pool, Some("Q")).await.unwrap(), []);
        let rows = async || -> (i64, i64, i64, i64) {
            let count =
                "SELECT (SELECT count(*) FROM makeups), (SELECT count(*) FROM areas), (SELECT sum(uses) FROM areas),
                         (SELECT count(*) FROM node_ports)";
            sql::query_as(count).fetch_one(&pool).await.unwrap()
        };
        let each = i64::try_from(kept("1", "e1").makeup.unwrap().areas.len()).unwrap();
        assert_eq!(rows().await, (2, each + 1, 2 * each, 4), "of the areas only one differs");

        set(3, &kept("1", "e2")).await;
        assert_eq!((nodes().await, rows().await), (vec![3], (1, each, each, 4)));
        set(1, &Kept::default()).await;
        let mut db = pool.acquire().await.unwrap();
        for node in [2, 3, 4] {
            assert!(crate::store::nodes::delete(&mut db, node).await.unwrap());
        }
        drop(db);
        let left: (i64, i64, i64) = sql::query_as(
            "SELECT (SELECT count(*) FROM makeups), (SELECT count(*) FROM areas), (SELECT count(*) FROM node_ports)",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        assert_eq!(left, (0, 0, 0));
    }
}
