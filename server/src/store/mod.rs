//! The database: one SQLite file in the data folder. All changes go through one [`writer`], which commits in groups;
//! readers have connections of their own. Times are milliseconds since 1970.

pub mod boots;
pub mod bundles;
pub mod candidates;
pub mod claims;
pub mod clock;
pub mod commands;
pub mod configs;
pub mod conflicts;
pub mod enrolment;
pub mod feed;
pub mod foreign;
pub mod history;
pub mod list;
pub mod makeups;
pub mod merge;
pub mod mirror_index;
pub mod nodes;
pub mod provisional;
pub mod racks;
pub mod undo;
pub mod view;
pub mod writer;

use std::path::Path;

use anyhow::{Context as _, anyhow};
use sqlx::ConnectOptions as _;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::limits::{BUSY_TIMEOUT, READERS};
pub use clock::now_ms;
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
        feed::begin(&mut connection).await.with_context(|| unusable(&file))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.clone().read_only(true))
            .await
            .with_context(|| unusable(&file))?;
        let (writer, writing) = Writer::spawn(connection, options);
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
        MigrateError::VersionMismatch(version) => anyhow!(
            "the database {} is sound, but its schema {version} is not the one of this mk-server: a build between two \
             releases wrote it. Use that build, or a backup from before it",
            file.display()
        ),
        other => anyhow::Error::new(other).context(unusable(file)),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::migrate::Migrator;
    use sqlx::{Connection as _, SqliteConnection};

    use super::*;

    /// From then on it is kept what a node was told.
    const INTERVALS: i64 = 12;

    /// The last one in which every machine was let in.
    const OPEN: i64 = 16;

    /// Databases keep a digest of each migration that they have been through, and none is opened that went through another
    /// one: this list is only added to.
    const MIGRATIONS: [(&str, &str); 18] = [
        ("0001_identity_by_claims.sql", "4f70acfd9dd1fae7050f2fad073e1d625bd540a8b60d88bcad35c90032e1bcec"),
        ("0002_identity_by_evidence.sql", "b01f47c2272b6e211c827e3bd260cfeea334e3e892febf8dfcac174e88840a99"),
        ("0003_list_and_log.sql", "f68c12bb5cea2bc1e164fbc68e51ea51d69f19e7b496a95a6afda90a98117e77"),
        ("0004_feed.sql", "8b66812984e136034b1f1c5cce3a02a8bc1a67a8ac5c84e5dc9a4319e1c3baa9"),
        ("0005_no_configs.sql", "14e46c128f7176c25cab923c97ef91667767cd4969ce8f2516238cbe6561338f"),
        ("0006_rings_of_the_log.sql", "f6efe40391614c095c6341312f0572b78a1d416fc06ac3444ebb53248b9456d6"),
        ("0007_contested.sql", "e252fcbf2a1e9cc70fd1228430d43f116e069cd0c4ec5e4d0f8a836064f8405b"),
        ("0008_commands.sql", "cbad056818518ec9157f7f05dca1c6d5d32e2a02d7304d6954807c6e7f04b6fb"),
        ("0009_configs.sql", "1706289a45003dc1079f51ee0e46137aa4a49bd716b35a1cc5b845bf8f8535b0"),
        ("0010_assured_boots.sql", "ce0f06d7b0dcf6cecd167be3a8b04a6a65ca7465f4f7ab652ea3ba590acaa6b1"),
        ("0011_provisional.sql", "86f3a853dfd3c6d8073c6f570cea0de88215ca2a1f549f8cb5ceef76bded2477"),
        ("0012_told_intervals.sql", "3f0cc415c1a8d4f7d1281749bff4a47e3dab972bba001da2c8b2417838fd10f8"),
        ("0013_intervals_of_before.sql", "1ec64c7d4edf2fd6b8d50095894f09cfc0390afa606441edcd174df09b83c9af"),
        ("0014_starts.sql", "7257d9ae6ce957ee9cda9ae401ba9c0c678e186da39e7045a9df57371dc5bce3"),
        ("0015_commands_and_bundles.sql", "1dafe85f623b2d6ea80c1ea51ea6252d2a313f93a6316e059e2b4f1f217508af"),
        ("0016_boot_cards.sql", "f917dab7aa23bf40b0799030ef78ee295ffd913b6a02cb1e512bf393f4cdcb91"),
        ("0017_enrolment.sql", "8d7d93c26633ced0b43ceab653e5d96a110f8bd0bc962c622dcb0415d9abe5f3"),
        ("0019_fleet.sql", "3969260c2822948e1b33808ca0015aacf81b665ba7ca382e456f8f8dcbe6e23c"),
    ];

    #[test]
    fn no_migration_is_changed() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"));
        let mut found: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        let name = |file: &Path| file.file_name().unwrap().to_str().unwrap().to_owned();
        let digest = |file: &Path| wire::digest::sha256_hex(&std::fs::read(file).unwrap());
        let found: Vec<_> = found.iter().map(|file| (name(file), digest(file))).collect();
        assert_eq!(found, MIGRATIONS.map(|(name, digest)| (name.to_owned(), digest.to_owned())));
    }

    #[tokio::test]
    async fn a_database_with_another_schema_of_this_number_is_not_called_damaged() {
        let folder = tempfile::tempdir().unwrap();
        Store::open(folder.path()).await.unwrap();
        let mut db = SqliteConnectOptions::new().filename(folder.path().join(FILE)).connect().await.unwrap();
        let other = "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = ?1";
        sqlx::query(other).bind(INTERVALS).execute(&mut db).await.unwrap();
        let why = format!("{:#}", Store::open(folder.path()).await.unwrap_err());
        assert!(why.contains("is sound, but its schema 12") && why.contains("Use that build"), "{why}");
    }

    #[tokio::test]
    async fn nodes_of_before_are_accepted_whatever_they_are() {
        let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let all = sqlx::migrate!("./migrations");
        let former = all.iter().filter(|migration| migration.version <= OPEN).cloned().collect();
        Migrator::with_migrations(former).run(&mut db).await.unwrap();
        let fill = "INSERT INTO nodes (id, first_seen, hw_info, decision, state, facts_digest, installed) VALUES
             (1, 7, '[]', '{}', 'normal', 'd', NULL), (2, 7, '[]', '{}', 'held', 'd', NULL),
             (3, 7, '[]', '{}', 'normal', NULL, 'registered'), (4, 7, '[]', '{}', 'normal', NULL, NULL)";
        sqlx::raw_sql(fill).execute(&mut db).await.unwrap();
        all.run(&mut db).await.unwrap();
        for (id, what) in [(1, "reported"), (2, "in dispute"), (3, "registered"), (4, "named without being installed")]
        {
            let node = nodes::Node::get(&mut db, id).await.unwrap().unwrap();
            assert_eq!((node.accepted, node.refused), (Some(7), None), "{id}: {what}");
        }
    }

    #[tokio::test]
    async fn nodes_of_before_begin_with_the_interval_that_is_configured_for_them() {
        let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let all = sqlx::migrate!("./migrations");
        let former = all.iter().filter(|migration| migration.version <= INTERVALS).cloned().collect();
        Migrator::with_migrations(former).run(&mut db).await.unwrap();
        let fill = "INSERT INTO nodes (id, first_seen, hw_info, decision, boot_id, interval) VALUES
             (1, 0, '[]', '{}', 'a', NULL), (2, 0, '[]', '{}', 'b', NULL), (3, 0, '[]', '{}', 'c', NULL),
             (4, 0, '[]', '{}', NULL, NULL), (5, 0, '[]', '{}', 'e', 30);
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
            (5, Some(30), "it was told this since"),
        ] {
            assert_eq!(nodes::told_interval(&mut db, node).await.unwrap(), told, "{node}: {what}");
        }
    }
}
