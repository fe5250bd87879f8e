//! The database as one SQLite file in the data folder.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use sqlx::ConnectOptions as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::limits::{BUSY_TIMEOUT, READERS};
use crate::store::sql::Pool;

/// Name of the database within the data folder.
pub const FILE: &str = "mk-server.sqlite";

/// From each schema to the next.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Opens the file, or makes it, and brings it to this version's schema: a pool of one connection for changes, and one of readers.
pub(super) async fn open(file: &Path) -> anyhow::Result<(Pool, Pool)> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let changes = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone());
    let changes = changes.await.with_context(|| unusable(file))?;
    MIGRATIONS.run(&changes).await.map_err(|e| migration(file, e))?;
    let readers = SqlitePoolOptions::new().max_connections(READERS).connect_with(options.read_only(true));
    Ok((Pool::Sqlite(changes), Pool::Sqlite(readers.await.with_context(|| unusable(file))?)))
}

/// What most likely stands behind it, and what to do.
pub(super) fn unusable(file: &Path) -> String {
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
        MigrateError::VersionMismatch(version) => anyhow!(
            "the database {} is sound, but its schema {version} is not the one of this mk-server: a build between two \
             releases wrote it. Use that build, or a backup from before it",
            file.display()
        ),
        other => anyhow::Error::new(other).context(unusable(file)),
    }
}

/// A database in memory with a former schema.
#[cfg(test)]
pub(crate) async fn in_memory_until(version: i64) -> super::sql::Connection {
    let options = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let pool = options.connect("sqlite::memory:").await.unwrap();
    let former = MIGRATIONS.iter().filter(|migration| migration.version <= version).cloned().collect();
    Migrator::with_migrations(former).run(&pool).await.unwrap();
    Pool::Sqlite(pool).acquire().await.unwrap()
}

/// Brings it to the newest.
#[cfg(test)]
pub(crate) async fn migrate(db: &mut super::sql::Connection) {
    let super::sql::Held::Sqlite(held) = db.held() else { unreachable!("databases in memory are of SQLite") };
    MIGRATIONS.run(&mut **held).await.unwrap();
}
