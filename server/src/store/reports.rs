//! Stored reports for those who compare them.

use serde_json::{Value, json};
use sqlx::FromRow;

use crate::difference::Report;
use crate::store::sql::{self, Pool};
use crate::store::view::{Page, timestamp};
use crate::store::{history, nodes};

/// Which report of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The newest.
    Newest,
    /// The one with this number.
    Number(i64),
    /// The newest before the one with this number.
    Before(i64),
}

/// A report with its content.
#[derive(Debug)]
pub struct Stored {
    /// The node that it is of.
    pub node: i64,
    /// Its number.
    pub id: i64,
    /// When it came, in milliseconds since 1970.
    pub at: i64,
    /// `inventory` or `facts`.
    pub kind: String,
    /// The boot that sent it.
    pub boot_id: Option<String>,
    /// Length of its JSON in bytes.
    pub bytes: i64,
    /// The agent's name for it.
    pub digest: String,
    /// What it says.
    pub content: Value,
}

#[derive(FromRow)]
struct Row {
    node: i64,
    id: i64,
    at: i64,
    kind: String,
    boot_id: Option<String>,
    bytes: i64,
    digest: String,
    zstd: Vec<u8>,
}

const SELECT: &str = "SELECT r.node, r.id, r.at, r.kind, r.boot_id, c.bytes, r.digest, c.zstd
    FROM reports r JOIN contents c ON c.digest = r.content WHERE r.node = $1";

impl Row {
    fn read(self) -> anyhow::Result<Stored> {
        let Self { node, id, at, kind, boot_id, bytes, digest, zstd } = self;
        Ok(Stored { node, id, at, kind, boot_id, bytes, digest, content: history::unpack(&zstd)? })
    }
}

impl Stored {
    /// As it is compared.
    #[must_use]
    pub fn report(&self) -> Report<'_> {
        Report { is_inventory: self.kind == "inventory", content: &self.content }
    }

    /// Which one it is, for the API.
    #[must_use]
    pub fn label(&self) -> Value {
        json!({
            "node": nodes::name(self.node), "report": self.id, "timestamp": timestamp(self.at), "kind": self.kind,
            "boot_id": self.boot_id,
        })
    }

    /// The same as an entry of a node's list of reports.
    #[must_use]
    pub fn entry(&self) -> Value {
        json!({
            "id": self.id, "timestamp": timestamp(self.at), "kind": self.kind, "digest": self.digest, "bytes": self.bytes,
            "boot_id": self.boot_id,
        })
    }
}

/// A report of a node; nothing when there is no such one.
///
/// # Errors
/// When the database fails or the report is damaged.
pub async fn get(db: &Pool, node: i64, which: Which) -> anyhow::Result<Option<Stored>> {
    let (rest, number) = match which {
        Which::Newest => (" AND r.id <= $2 ORDER BY r.id DESC LIMIT 1", i64::MAX),
        Which::Number(number) => (" AND r.id = $2", number),
        Which::Before(number) => (" AND r.id < $2 ORDER BY r.id DESC LIMIT 1", number),
    };
    let mut select = sql::query(SELECT).bind(node).bind(number);
    select.push(rest);
    let row: Option<Row> = select.rows().fetch_optional(db).await?;
    row.map(Row::read).transpose()
}

/// The numbers of a page of a node's reports, newest first, and the number of all.
///
/// # Errors
/// When the database fails.
pub async fn numbers(db: &Pool, node: i64, page: Page) -> anyhow::Result<(i64, Vec<i64>)> {
    let total = sql::query_scalar("SELECT count(*) FROM reports WHERE node = $1").bind(node).fetch_one(db).await?;
    let select = sql::query_scalar("SELECT id FROM reports WHERE node = $1 ORDER BY id DESC LIMIT $2 OFFSET $3");
    Ok((total, select.bind(node).bind(page.limit).bind(page.start).fetch_all(db).await?))
}
