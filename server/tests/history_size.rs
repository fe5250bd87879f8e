//! What the history of a node takes on the disk, and how long a changed report takes to be held against the one before. By hand:
//! `MK_INVENTORIES=DIR cargo test -p mk-agent --lib inventories_as_json -- --ignored` writes what is read of the recorded machines,
//! `MK_INVENTORIES=DIR cargo test --release -p mk-server --test history_size -- --ignored --nocapture` prints a table of them.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mk_server::config::Config;
use mk_server::difference::{self, View};
use mk_server::newcomers::Room;
use mk_server::registry::checkin::Checkin;
use mk_server::registry::said::Said;
use mk_server::store::{Store, history};
use serde_json::{Value, json};
use wire::checkin::CheckinRequest;
use wire::inventory::{Inventory, Stable};

/// Nodes of each machine.
const NODES: u64 = 50;
/// Changed reports of each node, beside its first.
const REPORTS: u64 = 10;
/// Comparisons of which the middle one counts.
const COMPARISONS: usize = 101;

/// The components in a list of an inventory.
fn entries<'a>(machine: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    machine.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

/// The machine as node number `node` has it: with numbers of its own.
fn machine(inventory: &Value, node: u64) -> Value {
    let mut machine = inventory.clone();
    let own = |value: &mut Value, name: &str| {
        if let Some(number) = value.get_mut(name).filter(|number| number.is_string()) {
            *number = json!(format!("{}-{node}", number.as_str().unwrap_or_default()));
        }
    };
    for part in ["board", "chassis"] {
        machine.get_mut(part).into_iter().for_each(|part| own(part, "serial"));
    }
    machine["system"]["serial"] = json!(format!("S{node}"));
    machine["system"]["uuid"] = json!(format!("4c4c4544-0042-4310-8031-{node:012x}"));
    for dimm in entries(&mut machine, "/memory/dimms") {
        own(dimm, "serial");
    }
    for disk in entries(&mut machine, "/disks") {
        ["key", "serial", "wwn"].into_iter().for_each(|name| own(disk, name));
    }
    let [.., a, b, c] = node.to_be_bytes();
    for (port, nic) in entries(&mut machine, "/nics").enumerate() {
        nic["mac"] = json!(format!("3c:{port:02x}:01:{a:02x}:{b:02x}:{c:02x}"));
    }
    machine
}

/// The same after so many changes: of firmware, of what a port is plugged into, and of a module, by turns.
fn changed(machine: &Value, changes: u64) -> Value {
    let mut machine = machine.clone();
    machine["bios"]["version"] = json!(format!("1.{}", changes.div_ceil(3)));
    let port = format!("Ethernet1/{}", (changes + 1) / 3);
    if let Some(nic) = entries(&mut machine, "/nics").next() {
        let neighbour = json!({"chassis": "44:38:39:00:00:17", "port": port, "raw": "0207".repeat(60)});
        nic["lldp"] = json!({"neighbours": [neighbour]});
    }
    if let Some(dimm) = entries(&mut machine, "/memory/dimms").next() {
        dimm["serial"] = json!(format!("D{}", changes / 3));
    }
    machine
}

/// Checks in with this inventory; gives the time that it takes until it is durable.
async fn report(store: &Store, config: &Arc<Config>, node: u64, seq: u64, stable: &Value) -> Duration {
    let stable: Stable = serde_json::from_value(stable.clone()).unwrap();
    let request = CheckinRequest {
        inventory_digest: Some(wire::digest::stable(&stable)),
        inventory: Some(Inventory { stable, volatile: None }),
        boot_id: Some(format!("{node}")),
        seq: Some(seq),
        uptime_s: Some(1000 + seq),
        ..CheckinRequest::default()
    };
    let said = Said::of(&request, config).unwrap();
    let (config, room, now) = (Arc::clone(config), Room::BOUNDLESS, i64::try_from(seq).unwrap());
    let work = Checkin { config, now, url_id: None, request, body: seq.to_string(), key: None, said, room };
    let began = Instant::now();
    store.writer.write(work).await.unwrap().unwrap();
    began.elapsed()
}

/// Bytes of the database that hold something.
async fn bytes(store: &Store) -> u64 {
    let select = "SELECT (p.page_count - f.freelist_count) * s.page_size
                  FROM pragma_page_count p, pragma_freelist_count f, pragma_page_size s";
    let bytes: i64 = mk_server::store::sql::query_scalar(select).fetch_one(&store.readers).await.unwrap();
    bytes.try_into().unwrap()
}

fn middle(mut times: Vec<Duration>) -> u128 {
    times.sort();
    times[times.len() / 2].as_micros()
}

/// A row of the table.
async fn row(name: &str, inventory: &Value) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (store, _writing) = Store::open(folder.path()).await.unwrap();
    let config = Arc::new(Config::parse("match_nodes_on = [\"mac\", \"serial\", \"uuid\"]").unwrap());
    let empty = bytes(&store).await;
    let mut first = Vec::new();
    for node in 0..NODES {
        first.push(report(&store, &config, node, 1, &changed(&machine(inventory, node), 0)).await);
    }
    let nodes = bytes(&store).await;
    let mut later = Vec::new();
    for node in 0..NODES {
        let machine = machine(inventory, node);
        for n in 1..=REPORTS {
            later.push(report(&store, &config, node, n + 1, &changed(&machine, n)).await);
        }
    }
    let reports = bytes(&store).await;
    let select = "SELECT count(*) FROM node_log WHERE entry LIKE '%firmware-updated%' OR entry LIKE '%link-moved%'";
    let told: i64 = mk_server::store::sql::query_scalar(select).fetch_one(&store.readers).await.unwrap();
    assert!(told >= i64::try_from(NODES).unwrap(), "the changes are told: {told}");

    let (old, new) = (changed(&machine(inventory, 1), 0), changed(&machine(inventory, 1), 1));
    let pack = |value: &Value| history::Content::new("inventory", None, value.to_string().as_bytes()).unwrap();
    let (old, new) = (pack(&old), pack(&new));
    let compare = || {
        let began = Instant::now();
        let [old, new] = [&old, &new].map(|content| history::unpack(&content.packed).unwrap());
        assert!(!difference::inventories(&old, &new, View::Time).is_empty());
        began.elapsed()
    };
    let compared = middle((0..COMPARISONS).map(|_| compare()).collect());
    let (per_node, per_report) = ((nodes - empty) / NODES, (reports - nodes) / (NODES * REPORTS));
    format!(
        "| {name} | {} | {} | {per_node} | {per_report} | {} µs | {} µs | {compared} µs |",
        old.bytes,
        old.packed.len(),
        middle(first),
        middle(later),
    )
}

#[tokio::test]
#[ignore = "needs inventories; see the first lines of this file"]
async fn what_a_node_takes() {
    let folder = std::env::var("MK_INVENTORIES").unwrap();
    let mut files: Vec<_> = std::fs::read_dir(Path::new(&folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "json"));
    files.sort();
    assert!(!files.is_empty(), "no inventory in {folder}");
    println!(
        "| machine | JSON, bytes | packed | node with its first report, bytes | each changed report | check-in, first | changed | of it comparison |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for file in files {
        let inventory: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        println!("{}", row(&file.file_stem().unwrap().to_string_lossy(), &inventory).await);
    }
}
