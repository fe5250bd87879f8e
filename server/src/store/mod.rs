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
