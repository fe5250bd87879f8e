//! The database on a PostgreSQL server, which several servers may use at once.

use anyhow::{Context as _, anyhow};
use sqlx::ConnectOptions as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::limits::{DATABASE_TIMEOUT, READERS, STATEMENTS, TRANSACTION_SILENCE, TURN_TIMEOUT};
use crate::store::sql::Pool;

/// From each schema to the next: the first is the whole of that time.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations-postgres");

/// What most likely stands behind it, and what to do.
pub(super) const UNUSABLE: &str = "cannot use the database that --database names; check that PostgreSQL runs, can be \
    reached from here, and lets this user make tables in it";

/// Connects, and brings the database to this version's schema: a pool of one connection for changes, and one of readers.
pub(super) async fn open(url: &str) -> anyhow::Result<(Pool, Pool)> {
    let options: PgConnectOptions = url.parse().context(FORM)?;
    let options =
        options.application_name("mk-server").statement_cache_capacity(STATEMENTS).disable_statement_logging();
    let options = options.options([
        ("idle_in_transaction_session_timeout", TRANSACTION_SILENCE.as_millis().to_string()),
        ("lock_timeout", TURN_TIMEOUT.as_millis().to_string()),
    ]);
    let pool = |most| PgPoolOptions::new().max_connections(most).acquire_timeout(DATABASE_TIMEOUT);
    let changes = pool(1).connect_with(options.clone()).await.context(UNUSABLE)?;
    MIGRATIONS.run(&changes).await.map_err(migration)?;
    // One of them only listens.
    let readers = pool(READERS + 1).connect_with(options).await.context(UNUSABLE)?;
    Ok((Pool::Postgres(changes), Pool::Postgres(readers)))
}

/// What is wrong with a URL that cannot be read.
const FORM: &str = "--database wants a URL such as postgres://user:password@host/database";

fn migration(error: MigrateError) -> anyhow::Error {
    match error {
        MigrateError::VersionMissing(version) => anyhow!(
            "the database has schema {version}, which this mk-server does not know: a later version wrote it. Use that \
             version for all servers of this database, or restore the dump made before the upgrade"
        ),
        MigrateError::VersionMismatch(version) => anyhow!(
            "the database is sound, but its schema {version} is not the one of this mk-server: a build between two \
             releases wrote it. Use that build, or a dump from before it"
        ),
        other => anyhow::Error::new(other).context(UNUSABLE),
    }
}
