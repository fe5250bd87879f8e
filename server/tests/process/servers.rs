//! Several servers on one PostgreSQL database: one machine is one node whichever of them it asks, a server that dies takes nothing
//! along that it answered, and so does the database. Only where the tests are about PostgreSQL.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agents::{Boot, inventory};
use crate::database::{self, Cluster};
use crate::stream::Events;
use crate::support::Server;
use crate::wait::{LONG_S, SOON, ask, version};

/// Machines that boot, or check in while something dies.
const MACHINES: u8 = 9;
/// Answers that each of them gets at least, before and after.
const ANSWERS: u64 = 5;
/// Longest wait for that on a busy machine.
const LONGEST: Duration = Duration::from_secs(120);

/// Three servers on one database, and the folder by which that is named.
fn three() -> Option<([Server; 3], tempfile::TempDir)> {
    if !database::is_postgres() {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let url = database::of(folder.path())?;
    Some(([(); 3].map(|()| Server::sharing(&url)), folder))
}

fn mac(n: u8) -> String {
    format!("00-11-22-33-44-{n:02x}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_boots_first_at_three_servers_at_once_is_one_node() {
    let Some(([one, two, three], folder)) = three() else { return };
    for n in 0..MACHINES {
        let query = format!("net0={}", mac(n));
        let (a, b, c) = tokio::join!(one.boot(&query), two.boot(&query), three.boot(&query));
        assert!(a == b && b == c && a.is_ok(), "{a:?} {b:?} {c:?}");
    }
    for n in MACHINES..2 * MACHINES {
        let mut boots = [3 * n, 3 * n + 1, 3 * n + 2].map(Boot::new);
        let [x, y, z] = &mut boots;
        let machine = inventory(&[&mac(n)], &format!("S{n}"));
        let answers = tokio::join!(x.send(&one, &machine), y.send(&two, &machine), z.send(&three, &machine));
        assert!([&answers.0, &answers.1, &answers.2].iter().all(|(status, _)| *status == 200), "{answers:?}");
    }
    // Three boots of one machine at a time are a machine and copies of it; what each port leads to is one node all the same.
    for n in 0..MACHINES {
        let holders = format!("SELECT count(*) FROM claims WHERE value = '{}' AND state = 'current'", mac(n));
        assert_eq!(database::ask(folder.path(), &holders).trim(), "1");
    }
    let numbers = database::ask(folder.path(), "SELECT count(*) = max(id) FROM nodes");
    assert_eq!(numbers.trim(), "t", "no number was left out");
    database::remove(folder.path());
}

/// Sends reports with rising serial numbers until `ended`, to another server whenever one does not answer; gives the node, the last
/// number that was answered, and how many were.
async fn check_in(
    servers: Arc<Vec<Server>>,
    n: u8,
    counts: Arc<Vec<std::sync::atomic::AtomicU64>>,
    ended: Arc<AtomicBool>,
) -> (i64, u64) {
    let (mut boot, mut at) = (Boot::new(1 + n), usize::from(n));
    let (mut id, mut serial) = (0, 0_u64);
    while !ended.load(Ordering::Relaxed) {
        let body = boot.next(&inventory(&[&mac(n)], &(serial + 1).to_string()));
        let headers = boot.sign(&body);
        // The same body again until it is answered, as an agent does.
        let reply = loop {
            let server = &servers[at % servers.len()];
            let mut request = server.request(reqwest::Method::POST, "/svc/checkin");
            request = request.header("content-type", "application/json").timeout(SOON);
            for (name, value) in &headers {
                request = request.header(*name, value);
            }
            if let Ok(response) = request.body(body.clone()).send().await {
                let status = response.status().as_u16();
                let text = response.text().await.unwrap_or_default();
                if status == 200 {
                    break serde_json::from_str::<Value>(&text).unwrap();
                }
                assert_eq!(status, 503, "{text}");
            }
            if ended.load(Ordering::Relaxed) {
                return (id, serial);
            }
            at += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        (id, serial) = (reply["id"].as_i64().unwrap(), serial + 1);
        counts[usize::from(n)].fetch_add(1, Ordering::Relaxed);
    }
    (id, serial)
}

/// Waits until each machine got so many answers more.
async fn answered(counts: &[std::sync::atomic::AtomicU64]) {
    let before: Vec<u64> = counts.iter().map(|c| c.load(Ordering::Relaxed)).collect();
    let begun = Instant::now();
    while counts.iter().zip(&before).any(|(c, before)| c.load(Ordering::Relaxed) < before + ANSWERS) {
        assert!(begun.elapsed() < LONGEST, "{counts:?} were answered, {before:?} before");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// All machines check in at these servers while `event` happens; then nothing is lost of what was answered.
async fn under_load(servers: Vec<Server>, event: impl AsyncFnOnce(&[Server])) {
    let servers = Arc::new(servers);
    let counts: Arc<Vec<_>> = Arc::new((0..MACHINES).map(|_| std::sync::atomic::AtomicU64::new(0)).collect());
    let ended = Arc::new(AtomicBool::new(false));
    let mut machines = tokio::task::JoinSet::new();
    for n in 0..MACHINES {
        machines.spawn(check_in(Arc::clone(&servers), n, Arc::clone(&counts), Arc::clone(&ended)));
    }
    answered(&counts).await;
    event(&servers).await;
    answered(&counts).await;
    ended.store(true, Ordering::Relaxed);
    let last = servers.last().unwrap();
    for (id, serial) in machines.join_all().await {
        let node = last.node(id).await;
        let kept = node["facts"]["serialnumber"].as_str().unwrap().parse::<u64>().unwrap();
        assert!(kept == serial || kept == serial + 1, "node{id}: {serial} was answered, {kept} is kept");
    }
    assert_eq!(last.count().await, i64::from(MACHINES), "no machine became two nodes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_takes_nothing_along_that_was_answered() {
    let Some((servers, folder)) = three() else { return };
    under_load(servers.into(), async |servers| {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(servers[0].pid()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
    })
    .await;
    database::remove(folder.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_killed_and_comes_back_is_said_and_nothing_that_was_answered_is_lost() {
    if !database::is_postgres() {
        return;
    }
    let cluster = Cluster::start();
    let url = cluster.database("fleet");
    under_load(vec![Server::sharing(&url), Server::sharing(&url)], async |servers| {
        tokio::task::block_in_place(|| cluster.kill());
        for server in servers {
            let (status, health) = server.get("/healthz").await;
            assert_eq!((status, health["code"].as_str()), (503, Some("database_away")), "{health}");
        }
        tokio::task::block_in_place(|| cluster.start_again());
        let begun = Instant::now();
        for server in servers {
            while server.get("/healthz").await.0 != 200 {
                assert!(begun.elapsed() < LONGEST, "{:?}", server.get("/healthz").await);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_that_waits_at_one_server_hears_at_once_what_is_told_at_another() {
    let Some(([one, two, _three], folder)) = three() else { return };
    let mut boot = Boot::new(1);
    boot.send(&one, &inventory(&[&mac(1)], "S1")).await;
    let config = version(&one, &mut boot).await;
    let begun = Instant::now();
    let question = format!("config={config}&number=1&wait={LONG_S}");
    let (answer, ()) = tokio::join!(ask(&one, 1, &boot.id, &boot, &question), async {
        // Most likely it waits by then; where it does not yet, it is answered as well.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut command = two.command(&["nodes", "doctor", "node1"]);
        assert!(tokio::task::spawn_blocking(move || command.output().unwrap().status).await.unwrap().success());
    });
    assert_eq!(answer, (200, json!({"due": true})));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    database::remove(folder.path());
}

#[tokio::test]
async fn a_folder_with_a_database_of_its_own_and_a_backup_are_refused_with_what_to_do() {
    let Some(([one, ..], folder)) = three() else { return };
    let url = database::of(folder.path()).unwrap();
    let file = folder.path().join("mk-server.sqlite");
    std::fs::write(&file, "").unwrap();
    let said = crate::support::refused_start(folder.path(), &["--database", &url]);
    assert!(said.contains("has a database of its own") && said.contains("name another data folder"), "{said}");
    let backup = one.command(&["backup", "--out", "-", "--data", one.data().to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&backup.stderr);
    assert!(!backup.status.success() && said.contains("pg_dump"), "{said}");
    database::remove(folder.path());
}

/// Columns as `table.column type null`, and indexes by name, of the file's schema.
async fn of_the_file() -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = mk_server::store::Store::open(folder.path()).await.unwrap();
    let columns = "SELECT m.name || '.' || c.name || ' ' || CASE c.type WHEN 'INTEGER' THEN 'bigint' WHEN 'BLOB' THEN 'bytea'
                   ELSE lower(c.type) END || CASE WHEN c.\"notnull\" + c.pk > 0 THEN '' ELSE ' null' END
                   FROM sqlite_master m JOIN pragma_table_xinfo(m.name) c
                   WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE '_sqlx%'
                   UNION ALL SELECT 'index ' || name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1";
    mk_server::store::sql::query_scalar(columns).fetch_all(&store.readers).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_hears_what_other_servers_write_and_its_place_outlives_another_servers_start() {
    let Some(([one, two, _], folder)) = three() else { return };
    let mut events = Events::open(&one, "", None).await.unwrap();
    two.boot(&format!("net0={}", mac(1))).await.unwrap();
    // Before the first server's own upkeep has it look.
    let heard = tokio::time::timeout(mk_server::limits::EXPIRY_PAUSE / 2, events.kind("node-created")).await;
    assert_eq!(heard.expect("it heard nothing of another server").1["node"], "node1");
    let _later = Server::sharing(&database::of(folder.path()).unwrap());
    two.boot(&format!("net0={}", mac(2))).await.unwrap();
    let (place, _) = events.kind("node-created").await;
    drop(events);
    two.boot(&format!("net0={}", mac(3))).await.unwrap();
    let mut again = Events::open(&one, "", Some(&place)).await.unwrap();
    assert_eq!(again.kind("node-created").await.1["node"], "node3");
    database::remove(folder.path());
}

#[tokio::test]
async fn both_databases_have_the_same_tables_columns_and_indexes() {
    let Some((_servers, folder)) = three() else { return };
    let columns = "SELECT c.table_name || '.' || column_name || ' ' || data_type
                   || CASE is_nullable WHEN 'NO' THEN '' ELSE ' null' END
                   FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
                   WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND c.table_name !~ '^(sqlite|_sqlx)'
                   UNION ALL SELECT 'index ' || indexname FROM pg_indexes
                   WHERE schemaname = 'public' AND indexname NOT IN (SELECT conname FROM pg_constraint)
                   AND indexname !~ '^(sqlite|_sqlx)'";
    let there: BTreeSet<String> = database::ask(folder.path(), columns).lines().map(str::to_owned).collect();
    let here: BTreeSet<String> = of_the_file().await.into_iter().collect();
    let apart: Vec<_> = there.symmetric_difference(&here).collect();
    assert!(apart.is_empty(), "in one of them alone: {apart:?}");
    database::remove(folder.path());
}

#[tokio::test]
async fn a_dump_is_put_back_whole_and_goes_on() {
    let Some(([one, two, three], folder)) = three() else { return };
    let id = one.boot(&format!("net0={}", mac(1))).await.unwrap();
    let url = database::of(folder.path()).unwrap();
    let dump = folder.path().join("razor.dump");
    let run = |program: &str, args: &[&str]| {
        let output = std::process::Command::new(program).args(["-d", &url]).args(args).arg(&dump).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("pg_dump", &["-Fc", "-f"]);
    two.boot(&format!("net0={}", mac(2))).await.unwrap();
    drop((one, two, three));
    run("pg_restore", &["--clean", "--if-exists"]);
    let again = Server::sharing(&url);
    assert_eq!((again.count().await, again.boot(&format!("net0={}", mac(1))).await), (1, Ok(id)));
    assert_eq!(again.boot(&format!("net0={}", mac(3))).await, Ok(id + 1));
    database::remove(folder.path());
}
