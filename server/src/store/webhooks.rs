//! How far each webhook has been told what happened.

use crate::store::feed::{self, Cursor};
use crate::store::sql::{self, Connection, Pool};
use crate::store::writer::Work;

/// What is known of one.
#[derive(Debug, Clone)]
pub struct Known {
    /// Place after the last entry that it has acknowledged.
    pub cursor: Cursor,
    /// When that was, in milliseconds since 1970.
    pub delivered: Option<i64>,
}

/// What is known of the webhook at `url`; nothing for a new one.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn get(db: &Pool, url: &str) -> anyhow::Result<Option<Known>> {
    let select = sql::query_as("SELECT cursor, delivered FROM webhooks WHERE url = $1");
    let row: Option<(String, Option<i64>)> = select.bind(url).fetch_optional(db).await?;
    let read = |(cursor, delivered): (String, Option<i64>)| {
        Ok(Known { cursor: cursor.parse().map_err(anyhow::Error::msg)?, delivered })
    };
    row.map(read).transpose()
}

/// Begins with webhooks at these URLs: a new one hears of what happens from now on, and one that is not among them is forgotten.
#[derive(Debug)]
pub struct Begin {
    /// Those that are configured.
    pub urls: Vec<String>,
}

impl Work for Begin {
    type Output = ();

    async fn run(&self, db: &mut Connection) -> anyhow::Result<()> {
        let known: Vec<String> = sql::query_scalar("SELECT url FROM webhooks").fetch_all(&mut *db).await?;
        for gone in known.iter().filter(|url| !self.urls.contains(url)) {
            sql::query("DELETE FROM webhooks WHERE url = $1").bind(gone).execute(&mut *db).await?;
        }
        let end = feed::end(&mut *db).await?.to_string();
        for url in self.urls.iter().filter(|url| !known.contains(url)) {
            let insert = sql::query("INSERT INTO webhooks (url, cursor) VALUES ($1, $2)");
            insert.bind(url).bind(&end).execute(&mut *db).await?;
        }
        Ok(())
    }
}

/// The webhook has acknowledged everything up to here.
#[derive(Debug)]
pub struct Acknowledge {
    /// Which.
    pub url: String,
    /// Place after the last entry.
    pub cursor: Cursor,
    /// When.
    pub at: i64,
}

impl Work for Acknowledge {
    type Output = ();

    async fn run(&self, db: &mut Connection) -> anyhow::Result<()> {
        let update = sql::query("UPDATE webhooks SET cursor = $2, delivered = $3 WHERE url = $1");
        update.bind(&self.url).bind(self.cursor.to_string()).bind(self.at).execute(db).await?;
        Ok(())
    }
}
