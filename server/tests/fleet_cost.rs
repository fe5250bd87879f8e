//! What outliers and racks cost with a hundred thousand nodes, and the room that they take. Run by hand:
//! `cargo test -p mk-server --test fleet_cost -- --ignored --nocapture`. `MK_NODES` is another number of nodes.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::path::Path;
use std::time::Instant;

use mk_server::rack::Row;
use mk_server::registry::outliers::{self, Asked};
use mk_server::registry::racks::{Racks, Show};
use mk_server::store::makeups::{self, Kept};
use mk_server::store::sql::Pool;
use mk_server::store::view::Page;
use mk_server::store::{FILE, Store, racks};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

/// Nodes unless `MK_NODES` says otherwise.
const NODES: i64 = 100_000;
/// Products among which they are divided.
const PRODUCTS: i64 = 20;
/// One of so many has an odd memory module.
const ODD: i64 = 500;

/// A server with 24 memory modules, four ports, ten disks, twenty PCI functions.
fn machine(product: i64, speed: i64) -> Kept {
    let dimms: Vec<Value> = (0..24)
        .map(|n| {
            let mts = if n == 3 { speed } else { 2933 };
            json!({"slot": format!("DIMM_A{n}"), "size_bytes": 32u64 << 30, "kind": "DDR4", "configured_mts": mts, "speed_mts": 3200,
                "part": "M393A4K40DB3-CWE", "ranks": 2})
        })
        .collect();
    let nics: Vec<Value> = (0..4)
        .map(
            |n| json!({"key": format!("0000:31:00.{n}"), "pci_id": "8086:1572", "firmware": "8.30", "max_mbps": 10000}),
        )
        .collect();
    let disks: Vec<Value> = (0..10)
        .map(|n| json!({"key": "k", "path": format!("0000:00:17.0/ata{n}"), "model": "MZ7LH480", "size_bytes": 480_103_981_056u64, "firmware": "F1"}))
        .collect();
    let pci: Vec<Value> = (0..20)
        .map(|n| json!({"address": format!("0000:{n:02x}:00.0"), "id": "8086:a190", "class": "020000", "link_width": 8, "max_link_width": 8}))
        .collect();
    let stable = json!({
        "system": {"manufacturer": "Dell Inc.", "product": format!("PowerEdge R{product:03}")},
        "bios": {"version": "1.6.5", "date": "04/15/2022"}, "boot": {"mode": "uefi", "secure_boot": true},
        "cpu": {"model": "Xeon", "packages": 2, "cores": 64, "threads": 128, "microcode": "0xd0003a5", "flags": ["vmx"]},
        "memory": {"installed_bytes": 768u64 << 30, "slots": 32, "dimms": dimms},
        "nics": nics, "disks": disks, "pci": pci, "bmc": {"firmware": "5.10"}
    });
    Kept::of(&serde_json::from_value(stable).unwrap()).unwrap()
}

async fn run(db: &SqlitePool, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(db).await.unwrap();
}

/// Bytes that the database has in use.
async fn bytes(db: &SqlitePool) -> i64 {
    let pages = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    sqlx::query_scalar(pages).fetch_one(db).await.unwrap()
}

/// Nodes as their check-ins leave them, with three MACs and a serial number each, but for what is measured here.
async fn fill(file: &Path, nodes: i64) -> SqlitePool {
    // One connection for all: what it is told of writing is its own.
    let options = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let db = options.connect(&format!("sqlite://{}", file.display())).await.unwrap();
    run(&db, "PRAGMA synchronous = OFF; PRAGMA cache_size = -500000; PRAGMA journal_mode = MEMORY").await;
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {nodes}) ");
    let mac = "printf('3c-%02x-%02x-%02x-%02x-%02x', p.value, i >> 24 & 255, i >> 16 & 255, i >> 8 & 255, i & 255)";
    for statement in [
        "INSERT INTO nodes (id, first_seen, last_checkin, hw_info, facts, facts_digest, decision)
         SELECT i, 0, 0, '[]', printf('{\"productname\":\"R\",\"filler\":\"%s\"}', hex(zeroblob(1500))), 'd', '{}' FROM n"
            .to_owned(),
        format!("INSERT INTO claims SELECT i, 'mac', {mac}, 'current', 1, 0 FROM n, json_each('[0,2,4]') p"),
        "INSERT INTO claims SELECT i, 'serial', 'srv' || i, 'current', 1, 0 FROM n".to_owned(),
    ] {
        run(&db, &format!("{numbers}{statement}")).await;
    }
    db
}

/// Runs it a few times and says the best.
async fn time<T>(what: &str, mut work: impl AsyncFnMut() -> T) -> T {
    let mut best = f64::MAX;
    let mut result = None;
    for _ in 0..3 {
        let began = Instant::now();
        result = Some(work().await);
        best = best.min(began.elapsed().as_secs_f64() * 1000.0);
    }
    println!("| {what} | {best:.1} ms |");
    result.unwrap()
}

async fn look_for_outliers(store: &Store, nodes: i64, odd: i64) {
    let page = |start| Page { start, limit: 50 };
    let asked = Asked::default();
    let found =
        time("first page of outliers", async || outliers::find(&store.readers, &asked, page(0)).await.unwrap()).await;
    assert_eq!(found.total, odd);
    assert!(!found.items.is_empty());
    time("last page of outliers", async || outliers::find(&store.readers, &asked, page(odd - 50)).await.unwrap()).await;
    let node = nodes / 2 / ODD * ODD;
    let own = time("what is odd at one node", async || outliers::of_node(&store.readers, node).await.unwrap()).await;
    assert!(!own.unwrap().odd.is_empty());
}

#[tokio::test]
#[ignore = "takes minutes; see the first lines of this file"]
async fn outliers_and_racks_with_many_nodes() {
    let nodes = std::env::var("MK_NODES").ok().map_or(NODES, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    Store::open(folder.path()).await.unwrap();
    let db = fill(&folder.path().join(FILE), nodes).await;
    let before = bytes(&db).await;
    let own = Pool::Sqlite(db.clone());
    for node in 1..=PRODUCTS * 2 {
        let speed = if node > PRODUCTS { 2400 } else { 2933 };
        makeups::put(&mut own.acquire().await.unwrap(), node, &machine(node % PRODUCTS, speed)).await.unwrap();
    }
    let spread = format!(
        "UPDATE nodes SET makeup = (SELECT makeup FROM nodes s WHERE s.id =
         CASE WHEN nodes.id % {ODD} = 0 THEN {PRODUCTS} ELSE 0 END + 1 + nodes.id % {PRODUCTS}) WHERE id > {}",
        PRODUCTS * 2
    );
    run(&db, &spread).await;
    let odd_ones = nodes / ODD + PRODUCTS;
    println!(
        "{nodes} nodes of {PRODUCTS} products, {odd_ones} of them odd: {:.1} bytes a node",
        per(&db, before, nodes).await
    );
    println!("| what | time |\n|---|---|");
    let (store, _writing) = Store::open(folder.path()).await.unwrap();
    look_for_outliers(&store, nodes, odd_ones).await;

    let before = bytes(&db).await;
    run(&db, "INSERT INTO node_ports SELECT id, 'leaf-' || (id / 48) || ' et1/' || (id % 48) FROM nodes").await;
    println!("switch ports: {:.1} bytes a node", per(&db, before, nodes).await);
    look_at_racks(&store, &db, nodes).await;

    // Every machine has a module of its own kind.
    let before = bytes(&db).await;
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {nodes}) ");
    let memory = "(SELECT id FROM areas WHERE content LIKE '{\"area\":\"memory\"%' ORDER BY id LIMIT 1)";
    let own = format!(
        "{numbers}INSERT INTO areas (id, digest, content, uses) SELECT 1000000 + i, printf('%064d', i),
        (SELECT replace(content, '2933 MT/s', (2934 + i) || ' MT/s') FROM areas WHERE id = {memory}), 1 FROM n"
    );
    run(&db, &own).await;
    let areas = "(SELECT areas FROM makeups m WHERE m.id = (SELECT makeup FROM nodes WHERE id = 1 + i % 20))";
    let own = format!(
        "{numbers}INSERT INTO makeups (id, digest, product, areas) SELECT 1000000 + i, printf('%064d', i),
        (SELECT product FROM makeups WHERE id = (SELECT makeup FROM nodes WHERE id = 1 + i % {PRODUCTS})),
        replace({areas}, ',' || {memory} || ',', ',' || (1000000 + i) || ',') FROM n"
    );
    run(&db, &own).await;
    run(&db, "UPDATE nodes SET makeup = 1000000 + id").await;
    println!("every node with a makeup of its own: {:.1} bytes a node", per(&db, before, nodes).await);
    let page = Page { start: 0, limit: 50 };
    time("outliers, all of them different", async || {
        outliers::find(&store.readers, &Asked::default(), page).await.unwrap()
    })
    .await;
    time("what is odd at one node, all different", async || outliers::of_node(&store.readers, 7).await.unwrap()).await;
}

async fn per(db: &SqlitePool, before: i64, nodes: i64) -> f64 {
    f64::from(i32::try_from(bytes(db).await - before).unwrap()) / f64::from(i32::try_from(nodes).unwrap())
}

async fn look_at_racks(store: &Store, db: &SqlitePool, nodes: i64) {
    let row = |n: i64| Row {
        line: 0,
        name: format!("web{n}"),
        serial: Some(format!("SRV{n}")),
        switch: Some(format!("leaf-{}", n / 48)),
        port: Some(format!("Ethernet1/{}", n % 48)),
        ..Row::default()
    };
    let rows: Vec<Row> = (1..=nodes).map(row).collect();
    racks::put(&mut Pool::Sqlite(db.clone()).acquire().await.unwrap(), 0, Some(&racks::pack(&rows).unwrap()))
        .await
        .unwrap();
    let page = Page { start: 0, limit: 50 };
    let list = async |racks: &Racks| racks.list(&store.readers, Show::All, page).await.unwrap();
    let listed = time("the rack read and compared with all nodes", async || list(&Racks::default()).await).await;
    assert_eq!(listed.counts["present"], usize::try_from(nodes).unwrap());
    let racks = Racks::default();
    list(&racks).await;
    time("a page of the rack, compared lately", async || list(&racks).await).await;
    let ids: Vec<i64> = (nodes - 49..=nodes).collect();
    let names = time("expected names of 50 nodes", async || racks.names(&store.readers, &ids).await.unwrap()).await;
    assert_eq!(names.len(), 50);
}
