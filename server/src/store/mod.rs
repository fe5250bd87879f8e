//! The database: one SQLite file in the data folder. All changes go through one [`writer`], which commits in groups;
//! readers have connections of their own. Times are milliseconds since 1970.

pub mod boots;
pub mod candidates;
pub mod claims;
pub mod commands;
pub mod configs;
pub mod conflicts;
pub mod feed;
pub mod foreign;
pub mod history;
pub mod list;
pub mod merge;
pub mod nodes;
pub mod provisional;
pub mod undo;
pub mod view;
pub mod writer;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use sqlx::ConnectOptions as _;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::limits::{BUSY_TIMEOUT, READERS};
use tokio::task::JoinHandle;
use writer::Writer;

/// Name of the database within the data folder.
pub const FILE: &str = "mk-server.sqlite";

/// An open database.
#[derive(Debug, Clone)]
pub struct Store {
    /// Carries out every change.
    pub writer: Writer,
    /// Connections that only read.
    pub readers: SqlitePool,
}

impl Store {
    /// Opens the database in `folder`, makes it where there is none, and brings it to this version's schema. The task
    /// that is returned beside it writes; it ends when the last handle is dropped.
    ///
    /// # Errors
    /// When the file cannot be opened, is damaged, or was written by a later version; says what to do.
    pub async fn open(folder: &Path) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let file = folder.join(FILE);
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let mut connection = options.connect().await.with_context(|| unusable(&file))?;
        sqlx::migrate!("./migrations").run(&mut connection).await.map_err(|e| migration(&file, e))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await
            .with_context(|| unusable(&file))?;
        let (writer, writing) = Writer::spawn(connection);
        Ok((Self { writer, readers }, writing))
    }
}

fn unusable(file: &Path) -> String {
    format!(
        "cannot use the database {}; check that its folder is writable and has room. If the file is damaged, stop the \
         server and put a backup in its place, or move it away to begin with an empty one",
        file.display()
    )
}

fn migration(file: &Path, error: MigrateError) -> anyhow::Error {
    match error {
        MigrateError::VersionMissing(version) => anyhow!(
            "the database {} has schema {version}, which this mk-server does not know: a later version wrote it. Use \
             that version, or restore the backup made before the upgrade",
            file.display()
        ),
        other => anyhow::Error::new(other).context(unusable(file)),
    }
}

/// Milliseconds since 1970.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use sqlx::migrate::Migrator;
    use sqlx::{Connection as _, SqliteConnection};

    use super::*;

    /// Until then it was not kept what a node was told.
    const BEFORE_INTERVALS: i64 = 11;

    #[tokio::test]
    async fn nodes_of_before_begin_with_the_interval_that_is_configured_for_them() {
        let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let all = sqlx::migrate!("./migrations");
        let former = all.iter().filter(|migration| migration.version <= BEFORE_INTERVALS).cloned().collect();
        Migrator::with_migrations(former).run(&mut db).await.unwrap();
        let fill = "INSERT INTO nodes (id, first_seen, hw_info, decision, boot_id)
             VALUES (1, 0, '[]', '{}', 'a'), (2, 0, '[]', '{}', 'b'), (3, 0, '[]', '{}', 'c'), (4, 0, '[]', '{}', NULL);
             INSERT INTO configs (node, at, body) VALUES
             (1, 0, '{\"mk_checkin_interval\": 3600}'), (2, 0, '{\"mk_checkin_skew\": 1}'),
             (4, 0, '{\"mk_checkin_interval\": 9}'), (NULL, 0, '{\"mk_checkin_interval\": 600}')";
        sqlx::raw_sql(fill).execute(&mut db).await.unwrap();
        all.run(&mut db).await.unwrap();
        for (node, told, what) in [
            (1, Some(3600), "its own"),
            (2, Some(600), "that of all"),
            (3, Some(600), "that of all, without keys of its own"),
            (4, None, "an original image is told none"),
        ] {
            assert_eq!(nodes::told_interval(&mut db, node).await.unwrap(), told, "{node}: {what}");
        }
    }
}
