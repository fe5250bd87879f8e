//! The database: one SQLite file in the data folder, or a PostgreSQL database that several servers share. All changes of a server
//! go through one [`writer`], which commits in groups; readers have connections of their own. Times are milliseconds since 1970.

pub mod adopted;
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
pub mod operators;
mod postgres;
pub mod provisional;
pub mod racks;
pub mod reports;
pub mod retention;
pub mod search;
pub mod settled;
pub mod sql;
mod sqlite;
pub mod unchanged;
pub mod undo;
pub mod view;
pub mod webhooks;
pub mod writer;

use std::path::Path;

use anyhow::Context as _;
pub use clock::now_ms;
use sql::Pool;
pub use sqlite::FILE;
use tokio::task::JoinHandle;
use writer::Writer;

/// An open database.
#[derive(Debug, Clone)]
pub struct Store {
    /// Carries out every change.
    pub writer: Writer,
    /// Connections that only read.
    pub readers: Pool,
}

impl Store {
    /// Opens the database in `folder`, makes it where there is none, and brings it to this version's schema. The task
    /// that is returned beside it writes; it ends when the last handle is dropped.
    ///
    /// # Errors
    /// When the file cannot be opened, is damaged, or was written by a later version; says what to do.
    pub async fn open(folder: &Path) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let file = folder.join(FILE);
        let (changes, readers) = sqlite::open(&file).await?;
        Self::over(changes, readers).await.with_context(|| sqlite::unusable(&file))
    }

    /// The same with the PostgreSQL database at `url`, which other servers may use as well.
    ///
    /// # Errors
    /// When it cannot be reached or used, or was written by a later version; says what to do.
    pub async fn connect(url: &str) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let (changes, readers) = postgres::open(url).await?;
        clock::begin(&readers).await.context(postgres::UNUSABLE)?;
        Self::over(changes, readers).await.context(postgres::UNUSABLE)
    }

    /// With a pool of one connection for all changes.
    async fn over(changes: Pool, readers: Pool) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let mut connection = changes.acquire().await?;
        let mut start = connection.write().await?;
        feed::begin(&mut start).await?;
        start.commit().await?;
        drop(connection);
        let (writer, writing) = Writer::spawn(changes);
        Ok((Self { writer, readers }, writing))
    }
}

/// A database in memory with the newest schema.
#[cfg(test)]
pub(crate) async fn in_memory() -> sql::Connection {
    let mut db = sqlite::in_memory_until(i64::MAX).await;
    sqlite::migrate(&mut db).await;
    db
}

#[cfg(test)]
mod tests {
    use super::sqlite::{in_memory_until, migrate};
    use super::*;

    /// From then on it is kept what a node was told.
    const INTERVALS: i64 = 12;

    /// The last one in which every machine was let in.
    const OPEN: i64 = 16;

    /// Databases keep a digest of each migration that they have been through, and none is opened that went through another
    /// one: this list is only added to.
    const MIGRATIONS: [(&str, &str); 21] = [
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
        ("0018_history.sql", "acf483b6f514e59785fea3ffeebb60f73dcb677f7c6f6c6e73d585af8c8d02f5"),
        ("0019_fleet.sql", "3969260c2822948e1b33808ca0015aacf81b665ba7ca382e456f8f8dcbe6e23c"),
        ("0020_access.sql", "815e8689628e7a3df4890b7df325d6871c54061710270f807025faa6bf587aaf"),
        ("0021_feed.sql", "1b556c6bbeff5fec111864af8df9d6fde516219d4cadb5c177765c7cdc90c58d"),
    ];

    /// The same for PostgreSQL, which begins with the whole schema of that time.
    const ON_POSTGRES: [(&str, &str); 5] = [
        ("0017_whole_schema.sql", "3f55096da10d2b4688a4686f5aa9630887516c39ce2f8f74b0184ff8b7fde70f"),
        ("0018_history.sql", "eda27a7fa50306d7cf3ddf0f8f7b5941feb4d9f1e978abccaba7052addb514e2"),
        ("0019_fleet.sql", "b343ac8440d3c3ac64daf56f821f96b01342915884b23c93d7c9a0ff3f893867"),
        ("0020_access.sql", "921fa4b21ddcc2a5449efb2365aa1958100deb8150ddd10647b3d6747be77874"),
        ("0021_feed.sql", "b7c4630600911b6a4d016594855834144c21f41f89cdb01375e5d2f28af4afad"),
    ];

    #[test]
    fn no_migration_is_changed_and_later_ones_come_in_pairs() {
        let found = |folder: &str| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let mut found: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            found.sort();
            let name = |file: &Path| file.file_name().unwrap().to_str().unwrap().to_owned();
            let digest = |file: &Path| wire::digest::sha256_hex(&std::fs::read(file).unwrap());
            found.iter().map(|file| (name(file), digest(file))).collect::<Vec<_>>()
        };
        let owned = |list: &[(&str, &str)]| -> Vec<_> {
            list.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect()
        };
        assert_eq!(found("migrations"), owned(&MIGRATIONS));
        assert_eq!(found("migrations-postgres"), owned(&ON_POSTGRES));
        let later = |list: &[(&'static str, &str)]| -> Vec<_> {
            list.iter().map(|(name, _)| *name).filter(|name| *name > ON_POSTGRES[0].0).collect()
        };
        assert_eq!(later(&MIGRATIONS), later(&ON_POSTGRES));
    }

    #[tokio::test]
    async fn a_database_with_another_schema_of_this_number_is_not_called_damaged() {
        let folder = tempfile::tempdir().unwrap();
        Store::open(folder.path()).await.unwrap();
        let (db, _) = sqlite::open(&folder.path().join(FILE)).await.unwrap();
        let other = "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = $1";
        sql::query(other).bind(INTERVALS).execute(&db).await.unwrap();
        let why = format!("{:#}", Store::open(folder.path()).await.unwrap_err());
        assert!(why.contains("is sound, but its schema 12") && why.contains("Use that build"), "{why}");
    }

    #[tokio::test]
    async fn nodes_of_before_are_accepted_whatever_they_are() {
        let mut db = in_memory_until(OPEN).await;
        let fill = "INSERT INTO nodes (id, first_seen, hw_info, decision, state, facts_digest, installed) VALUES
             (1, 7, '[]', '{}', 'normal', 'd', NULL), (2, 7, '[]', '{}', 'held', 'd', NULL),
             (3, 7, '[]', '{}', 'normal', NULL, 'registered'), (4, 7, '[]', '{}', 'normal', NULL, NULL)";
        sql::raw(fill, &mut db).await.unwrap();
        migrate(&mut db).await;
        for (id, what) in [(1, "reported"), (2, "in dispute"), (3, "registered"), (4, "named without being installed")]
        {
            let node = nodes::Node::get(&mut db, id).await.unwrap().unwrap();
            assert_eq!((node.accepted, node.refused), (Some(7), None), "{id}: {what}");
        }
    }

    #[tokio::test]
    async fn nodes_of_before_begin_with_the_interval_that_is_configured_for_them() {
        let mut db = in_memory_until(INTERVALS).await;
        let fill = "INSERT INTO nodes (id, first_seen, hw_info, decision, boot_id, interval) VALUES
             (1, 0, '[]', '{}', 'a', NULL), (2, 0, '[]', '{}', 'b', NULL), (3, 0, '[]', '{}', 'c', NULL),
             (4, 0, '[]', '{}', NULL, NULL), (5, 0, '[]', '{}', 'e', 30);
             INSERT INTO configs (node, at, body) VALUES
             (1, 0, '{\"mk_checkin_interval\": 3600}'), (2, 0, '{\"mk_checkin_skew\": 1}'),
             (4, 0, '{\"mk_checkin_interval\": 9}'), (NULL, 0, '{\"mk_checkin_interval\": 600}')";
        sql::raw(fill, &mut db).await.unwrap();
        migrate(&mut db).await;
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
