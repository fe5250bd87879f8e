//! Boots of agents of ours: the key that speaks for each, and the last request that was answered.

use sqlx::{FromRow, SqliteConnection};

/// A boot as it was last heard of.
#[derive(Debug, Clone, FromRow)]
pub struct Boot {
    /// Kernel's boot id.
    pub boot_id: String,
    /// The node that it is, once that is decided.
    pub node: Option<i64>,
    /// Public key; `None` for a boot that does not sign.
    pub key: Option<Vec<u8>>,
    /// Number of the last request.
    pub seq: i64,
    /// SHA-256 of its body.
    pub body: String,
    /// JSON of the answer to it.
    pub reply: String,
    /// Seconds since the kernel started.
    pub uptime_s: Option<i64>,
}

impl Boot {
    /// The boot with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get(db: &mut SqliteConnection, boot_id: &str) -> anyhow::Result<Option<Self>> {
        let select = "SELECT boot_id, node, key, seq, body, reply, uptime_s FROM boots WHERE boot_id = ?1";
        Ok(sqlx::query_as(select).bind(boot_id).fetch_optional(db).await?)
    }

    /// Stores it as heard of at `at`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put(&self, db: &mut SqliteConnection, at: i64) -> anyhow::Result<()> {
        let upsert = sqlx::query(
            "INSERT INTO boots (boot_id, node, key, seq, body, reply, uptime_s, first_seen, last_seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)
             ON CONFLICT (boot_id) DO UPDATE SET node = ?2, seq = ?4, body = ?5, reply = ?6, uptime_s = ?7, last_seen = ?8",
        );
        let upsert = upsert.bind(&self.boot_id).bind(self.node).bind(&self.key).bind(self.seq).bind(&self.body);
        upsert.bind(&self.reply).bind(self.uptime_s).bind(at).execute(db).await?;
        Ok(())
    }
}
