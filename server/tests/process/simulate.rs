//! `mk-server simulate` against a server: what it finds right, what it finds wrong, and where it does not begin. And a fleet for other
//! tests.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::database;
use crate::support::{PROGRAM, Server};

/// Machines that check in as fast as they are answered, until they are told to end.
pub(crate) struct Fleet(Child);

impl Fleet {
    /// Against this server, with further arguments.
    pub(crate) fn start(server: &Server, more: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["--server", &server.url, "simulate", "--interval", "0", "--duration", "100000", "--json"]);
        command.args(more).stdout(Stdio::piped()).stderr(Stdio::null());
        mk_tests::process::die_with_parent(&mut command, Vec::new());
        Self(command.spawn().unwrap())
    }

    /// Waits until all machines are in: only then do they bring further reports.
    pub(crate) async fn is_in(&self, server: &Server) {
        while server.get("/api/collections/nodes/node1/reports").await.1["total"].as_i64() < Some(3) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it; gives its report.
    pub(crate) fn end(self) -> Value {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGINT).unwrap();
        let output = self.0.wait_with_output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.success(), report["sound"] == true, "{report}");
        report
    }
}

fn simulate(server: &Server, more: &[&str]) -> Output {
    let fixed = ["simulate", "--nodes", "40", "--interval", "0.5", "--duration", "2", "--changed", "30", "--healthz"];
    server.cli(&[&fixed, more].concat())
}

// The client sees that the server has closed an idle connection while a fleet runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_checks_in_and_finds_nothing_wrong() {
    let server = Server::start("");
    let output = simulate(&server, &["--json"]);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<&str> = phases.iter().map(|phase| phase["phase"].as_str().unwrap()).collect();
    assert_eq!(names, ["healthz", "arrival", "check-ins", "audit"]);
    assert!(report["report_bytes"].as_u64() >= Some(40_000));
    for phase in phases {
        let figure = |name: &str| phase[name].as_f64().unwrap();
        assert!(figure("answers") >= 40.0 && phase["errors"].as_object().unwrap().is_empty(), "{phase:#}");
        assert!(figure("p50_ms") <= figure("p99_ms") && figure("p99_ms") <= figure("max_ms"), "{phase:#}");
        assert!(figure("generator_share") > 0.0 && figure("generator_share") <= 1.01, "{phase:#}");
    }
    assert_eq!(phases[1]["reports"], 40);
    assert!(phases[2]["reports"].as_u64() > Some(0) && phases[2]["answers"].as_u64() > phases[2]["reports"].as_u64());
    assert_eq!(server.count().await, 40);
    let node = server.node(1).await;
    assert!(node["facts"]["serialnumber"].as_str().unwrap().starts_with("SIMULATED-"), "{node:#}");
    assert_eq!((&node["identity"]["state"], &node["facts"]["is_virtual"]), (&"normal".into(), &false.into()));

    let output = simulate(&server, &["--first", "20"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("p99") && said.contains("of all processors"), "{said}");
    assert_eq!(server.count().await, 60, "of its own machines some boot anew");
}

// The client sees that the server has closed an idle connection while a fleet runs.
#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_begin_beside_real_machines() {
    let server = Server::start("");
    server.boot("net0=00-11-22-33-44-55").await.unwrap();
    let output = simulate(&server, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("node1") && said.contains("--among-real-nodes"), "{said}");
    assert_eq!(server.count().await, 1);
    assert!(simulate(&server, &["--among-real-nodes"]).status.success());
    assert_eq!(server.count().await, 41);
    for (wrong, words) in
        [(["--nodes", "0"], "--nodes"), (["--nodes", "16777217"], "--first"), (["--changed", "101"], "101")]
    {
        let output = server.cli(
            &[
                &["simulate"][..],
                &wrong,
                if wrong[0] == "--nodes" { &[] } else { &["--nodes", "1"] },
                &["--among-real-nodes"],
            ]
            .concat(),
        );
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(words), "{said}");
    }
}

/// Has the stopped server's database lose something.
async fn forget(server: &Server, change: &'static str) {
    if database::is_postgres() {
        database::ask(server.data(), change);
        return;
    }
    let file = server.data().join("mk-server.sqlite");
    let mut db = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    sqlx::query(change).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
}

#[tokio::test]
async fn what_a_server_has_lost_is_found_out() {
    let mut server = Server::start("");
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let fleet = Fleet::start(&server, &["--nodes", "4", "--changed", "0"]);
    while server.count().await < 4 || server.node(4).await["facts"].is_null() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop();
    forget(&server, "UPDATE reports SET digest = 'former' WHERE node = 2").await;
    server.start_again(&address);
    let report = fleet.end();
    assert_eq!(report["sound"], false, "{report:#}");
    let lost: u64 =
        report["phases"].as_array().unwrap().iter().filter_map(|phase| phase["wrong"]["lost"].as_u64()).sum();
    assert_eq!(lost, 1, "{report:#}");
}
