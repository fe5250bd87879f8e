//! What it costs to know a machine again, from a thousand to a million nodes. Run by hand, since it fills gigabytes:
//! `cargo test --release -p mk-server --test lookup_cost -- --ignored --nocapture`. `MK_NODES` is the largest number.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mk_server::config::Config;
use mk_server::http::query;
use mk_server::newcomers::Room;
use mk_server::registry::checkin::Checkin;
use mk_server::registry::lookup::{Asked, Lookup};
use mk_server::registry::said::Said;
use mk_server::store::{FILE, Store};
use serde_json::json;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use wire::checkin::CheckinRequest;
use wire::inventory::Inventory;

/// Largest number of nodes unless `MK_NODES` says otherwise.
const MOST: u64 = 1_000_000;
/// Look-ups of each kind per number of nodes.
const SAMPLES: u64 = 501;
/// Most that a look-up may cost with the most nodes, against the fewest.
const FLAT: f64 = 1.5;

/// Nodes `from..to` as a check-in leaves them: three MACs and a serial to match, and evidence in five groups.
async fn fill(file: &Path, from: u64, to: u64) {
    let mut db = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {to}) ");
    let mac = "printf('3c-%02x-%02x-%02x-%02x-%02x', p.value, i >> 24 & 255, i >> 16 & 255, i >> 8 & 255, i & 255)";
    let port = "json_each('[0,2,4]') p";
    sqlx::raw_sql("PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; BEGIN").execute(&mut db).await.unwrap();
    for statement in [
        "INSERT INTO nodes (id, first_seen, last_checkin, hw_info, facts, facts_digest, decision)
         SELECT i + 1, 0, 0, json_array('serial=s' || i), '{}', 'd', '{\"row\":6,\"verdict\":{\"create\":{\"conflict\":[]}},\"evidence\":[]}' FROM n"
            .to_owned(),
        format!("INSERT INTO claims SELECT i + 1, 'mac', {mac}, 'current', 1, 0 FROM n, {port}"),
        "INSERT INTO claims SELECT i + 1, 'serial', 's' || i, 'current', 1, 0 FROM n".to_owned(),
        format!("INSERT INTO evidence SELECT i + 1, 'nic', {mac} FROM n, {port}"),
        "INSERT INTO evidence SELECT i + 1, g.value, g.value || i FROM n, json_each('[\"uuid\",\"board\",\"dimm\",\"disk\"]') g"
            .to_owned(),
        "INSERT INTO evidence SELECT i + 1, 'serial', 's' || i FROM n".to_owned(),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("{numbers}{statement}"))).execute(&mut db).await.unwrap();
    }
    sqlx::raw_sql("COMMIT").execute(&mut db).await.unwrap();
    db.close().await.unwrap();
}

/// Runs a statement on the database of a server that does nothing.
async fn run(file: &Path, statement: String) {
    let mut db = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
}

/// How long it takes to look up new machines of a delivery in which all `nodes` have one serial number.
async fn new_ones_of_a_delivery(store: &Store, config: &Arc<Config>, file: &Path, nodes: u64) -> Vec<Duration> {
    run(file, "INSERT INTO claims SELECT id, 'serial', 'delivery', 'contested', 1, 0 FROM nodes".to_owned()).await;
    let mut times = Vec::new();
    for machine in 0..SAMPLES {
        let pairs = vec![("net0".to_owned(), mac(6, nodes + machine)), ("serial".to_owned(), "DELIVERY".to_owned())];
        let query::Machine { info, dhcp_mac } = query::machine(&pairs);
        let look =
            Lookup { config: Arc::clone(config), now: 1, info, dhcp_mac, asked: Asked::Id, room: Room::BOUNDLESS };
        let mut db = store.readers.acquire().await.unwrap();
        let began = Instant::now();
        let found = look.weigh(&mut db).await.unwrap().unwrap();
        times.push(began.elapsed());
        assert!(!found.decision.evidence.is_empty(), "others have its number");
    }
    run(file, "DELETE FROM claims WHERE kind = 'serial' AND value = 'delivery'".to_owned()).await;
    times
}

fn mac(port: u64, node: u64) -> String {
    let [.., a, b, c, d] = node.to_be_bytes();
    format!("3c:{port:02x}:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// A boot by iPXE of node number `node`.
async fn boot(store: &Store, config: &Arc<Config>, node: u64) -> i64 {
    let pairs = vec![("net0".to_owned(), mac(0, node)), ("serial".to_owned(), format!("S{node}"))];
    let query::Machine { info, dhcp_mac } = query::machine(&pairs);
    let work = Lookup {
        config: Arc::clone(config),
        now: 1,
        info,
        dhcp_mac,
        asked: Asked::Boot { image: true },
        room: Room::BOUNDLESS,
    };
    store.writer.write(work).await.unwrap().unwrap().id
}

/// A whole first report of a new boot of node number `node`.
async fn check_in(store: &Store, config: &Arc<Config>, node: u64, boot: u64) -> i64 {
    let nics: Vec<_> = [0, 2, 4].map(|p| json!({"key": format!("{p}"), "mac": mac(p, node), "bus": "pci"})).into();
    let stable = json!({"system": {"serial": format!("S{node}")}, "nics": nics, "disks": [{"key": "a", "serial": format!("disk{node}")}]});
    let request = CheckinRequest {
        inventory: Some(Inventory { stable: serde_json::from_value(stable).unwrap(), volatile: None }),
        inventory_digest: Some(format!("{node}")),
        boot_id: Some(format!("{boot}")),
        seq: Some(1),
        uptime_s: Some(0),
        ..CheckinRequest::default()
    };
    let said = Said::of(&request, config).unwrap();
    let body = format!("{boot}");
    let work = Checkin {
        config: Arc::clone(config),
        now: 2,
        url_id: None,
        request,
        body,
        key: None,
        said,
        room: Room::BOUNDLESS,
    };
    i64::try_from(store.writer.write(work).await.unwrap().unwrap().id.unwrap()).unwrap()
}

/// What a tenth of them is faster than: other work on the machine makes times longer, never shorter.
fn undisturbed(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 10]
}

#[tokio::test]
#[ignore = "fills gigabytes; see the first lines of this file"]
async fn cost_does_not_grow_with_the_number_of_nodes() {
    let most = std::env::var("MK_NODES").ok().map_or(MOST, |n| n.parse().unwrap());
    let shm = Path::new("/dev/shm");
    let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
    let config = Arc::new(Config::parse("match_nodes_on = [\"mac\", \"serial\"]\n").unwrap());
    let (mut filled, mut boots) = (0, 0);
    let mut first: Option<[Duration; 3]> = None;
    let mut worst: f64 = 0.0;
    println!(
        "| nodes | boot | check-in with a new report | look-up where all have its serial number | against the fewest |"
    );
    println!("|---|---|---|---|---|");
    let mut nodes = 1000;
    while nodes <= most {
        Store::open(folder.path()).await.unwrap();
        fill(&folder.path().join(FILE), filled, nodes).await;
        filled = nodes;
        let (store, _) = Store::open(folder.path()).await.unwrap();
        let (mut by_boot, mut by_report) = (Vec::new(), Vec::new());
        for _ in 0..SAMPLES {
            boots += 1;
            // A stride that is prime to the number of nodes visits them in no order.
            let node = boots * 7919 % nodes;
            let began = Instant::now();
            assert_eq!(boot(&store, &config, node).await, i64::try_from(node + 1).unwrap());
            by_boot.push(began.elapsed());
            let began = Instant::now();
            assert_eq!(check_in(&store, &config, node, boots).await, i64::try_from(node + 1).unwrap());
            by_report.push(began.elapsed());
        }
        let shared = new_ones_of_a_delivery(&store, &config, &folder.path().join(FILE), nodes).await;
        let now = [undisturbed(by_boot), undisturbed(by_report), undisturbed(shared)];
        let base = *first.get_or_insert(now);
        let ratios = [0, 1, 2].map(|i| now[i].as_secs_f64() / base[i].as_secs_f64());
        worst = ratios.iter().copied().fold(worst, f64::max);
        let [boot, report, shared] = now.map(|t| t.as_micros());
        let [r, s, t] = ratios;
        println!("| {nodes} | {boot} µs | {report} µs | {shared} µs | {r:.2}, {s:.2}, {t:.2} |");
        nodes *= 10;
    }
    assert!(worst <= FLAT, "it grew by {worst:.2}");
}
