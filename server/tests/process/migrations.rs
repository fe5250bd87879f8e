//! Databases of every earlier schema, with rows in all of its tables, are brought forward by the program as it is, and served.

use std::borrow::Cow;
use std::path::Path;

use serde_json::json;
use sqlx::migrate::Migrator;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::database;
use crate::support::Server;

/// Rows by the schemas that have these tables and columns in this form: the first, the last, and what is there then.
const ROWS: [(i64, i64, &str); 17] = [
    (1, i64::MAX, include_str!("rows/nodes.sql")),
    (1, 4, "INSERT INTO configs (at, body) VALUES (7, '{\"mk_checkin_interval\": 30}')"),
    (2, i64::MAX, include_str!("rows/evidence.sql")),
    (6, i64::MAX, "UPDATE node_log SET decided = 1, times = 3, since = 5 WHERE id = 1"),
    (7, i64::MAX, "INSERT INTO claims VALUES (3, 'mac', '00-11-22-33-44-01', 'contested', 1, 7)"),
    (8, 14, "INSERT INTO commands (id, node, kind, at, expires) VALUES (4, 1, 'reboot', 7, 9007199254740991)"),
    (9, i64::MAX, "INSERT INTO configs (version, node, at, body) VALUES (5, 1, 7, '{\"mk_checkin_interval\": 30}')"),
    (9, i64::MAX, "UPDATE nodes SET config = '{\"version\":5}' WHERE id = 1"),
    (10, i64::MAX, "UPDATE nodes SET assured = '[]' WHERE id = 1"),
    (11, i64::MAX, "INSERT INTO provisional VALUES (2, 7, '{\"evidence\": [], \"claims\": []}')"),
    (12, i64::MAX, "UPDATE nodes SET interval = 30 WHERE id = 1"),
    (14, i64::MAX, "INSERT INTO starts (start, log, event) VALUES (99, 2, 1)"),
    (15, i64::MAX, include_str!("rows/commands.sql")),
    (16, i64::MAX, "UPDATE boots SET card = '{\"stages\": []}' WHERE node = 1"),
    (17, i64::MAX, include_str!("rows/enrolment.sql")),
    (20, i64::MAX, include_str!("rows/access.sql")),
    (21, i64::MAX, include_str!("rows/feed.sql")),
];

/// Reports of that time.
const REPORT: &str = "{\"system\":{\"manufacturer\":\"ACME\",\"serial\":\"S1\"}}";

/// Makes a database of schema `last`, with rows.
async fn fill(file: &Path, all: &Migrator, last: i64) {
    let mut db =
        SqliteConnectOptions::new().filename(file).create_if_missing(true).foreign_keys(true).connect().await.unwrap();
    let former: Vec<_> = all.iter().filter(|migration| migration.version <= last).cloned().collect();
    Migrator { migrations: Cow::Owned(former), ..Migrator::DEFAULT }.run(&mut db).await.unwrap();
    let packed = zstd::bulk::compress(REPORT.as_bytes(), 3).unwrap();
    let content =
        sqlx::query("INSERT INTO contents (digest, bytes, zstd) VALUES ('c1', ?1, ?2)").bind(REPORT.len() as i64);
    content.bind(packed).execute(&mut db).await.unwrap();
    for (_, _, rows) in ROWS.iter().filter(|(from, to, _)| (*from..=*to).contains(&last)) {
        sqlx::raw_sql(*rows).execute(&mut db).await.unwrap();
    }
    db.close().await.unwrap();
}

/// What SQLite itself finds wrong with a database.
async fn faults(file: &Path) -> Vec<String> {
    let mut db: SqliteConnection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let whole: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut db).await.unwrap();
    let astray: Vec<(String,)> =
        sqlx::query_as("SELECT \"table\" FROM pragma_foreign_key_check").fetch_all(&mut db).await.unwrap();
    whole.into_iter().filter(|said| said != "ok").chain(astray.into_iter().map(|(table,)| table)).collect()
}

#[tokio::test]
async fn every_earlier_schema_is_brought_forward_with_all_that_is_in_it() {
    // That database begins with the schema of version 17.
    let false = database::is_postgres() else { return };
    let all = sqlx::migrate!("./migrations");
    for last in all.iter().map(|migration| migration.version) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mk-server.sqlite");
        fill(&file, &all, last).await;
        let mut server = Server::start_on(folder.path(), "");
        assert_eq!(server.count().await, 3, "schema {last}");
        let node = server.node(1).await;
        assert_eq!(node["facts"]["serialnumber"], "S1", "schema {last}: {node:#}");
        assert_eq!(node["inventory"]["stable"]["system"]["manufacturer"], "ACME", "schema {last}: {node:#}");
        assert_eq!(node["hw_info"]["mac"], json!(["00-11-22-33-44-01"]), "schema {last}: {node:#}");
        assert_eq!(server.node(3).await["identity"]["state"], "held", "schema {last}");
        let (_, reports) = server.get("/api/collections/nodes/node1/reports").await;
        assert_eq!(reports["total"], 1, "schema {last}: {reports:#}");
        let said = server.log(1).await;
        assert!(said.iter().any(|entry| entry["msg"] == "of before"), "schema {last}: {said:#?}");
        let (_, found) = server.text("/nodes?q=S1").await;
        assert!(found.contains("node1"), "schema {last}: the list finds it");
        let (_, config) = server.get("/api/collections/config").await;
        assert_eq!(config.to_string().contains("node1"), last >= 9, "schema {last}: {config:#}");
        // The machine is known again, by the id that was merged into its node too.
        assert_eq!(server.boot("net0=00-11-22-33-44-01").await.unwrap(), 1, "schema {last}");
        let facts = json!({"macaddress": "00:11:22:33:44:01", "serialnumber": "S1", "number": "2"});
        assert_eq!(server.legacy(9, facts).await.0, 200, "schema {last}");
        assert_eq!(server.node(1).await["facts"]["number"], "2", "schema {last}");
        server.stop();
        assert_eq!(faults(&file).await, Vec::<String>::new(), "schema {last}");
    }
}
