//! What was answered is kept: after a kill, and when the disk is full. And what a server says that cannot start.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

use crate::agents::{Boot, inventory};
use crate::database;
use crate::simulate::Fleet;
use crate::support::{PROGRAM, SERVE, Server, refused_start};

/// Kills in a row, unless `MK_KILLS` says otherwise.
const KILLS: u32 = 20;

fn mac(n: u8) -> String {
    format!("00-11-22-33-44-{n:02x}")
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_a_kill() {
    let kills = std::env::var("MK_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut server = Server::start("");
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let fleet = Fleet::start(&server, &["--nodes", "32", "--changed", "60"]);
    fleet.is_in(&server).await;
    for number in 0..kills {
        // At any moment of a commit.
        tokio::time::sleep(Duration::from_millis(200 + u64::from(number) * 37 % 300)).await;
        server.stop();
        server.start_again(&address);
    }
    let report = fleet.end();
    assert_eq!(report["sound"], true, "{report:#}");
    let steady = report["phases"].as_array().unwrap().iter().find(|phase| phase["phase"] == "check-ins").unwrap();
    let (reports, unanswered) = (steady["reports"].as_u64().unwrap(), steady["errors"]["no_answer"].as_u64());
    assert!(reports > u64::from(kills) / 2 && unanswered >= Some(u64::from(kills)), "there was no load: {steady:#}");
    assert_eq!(server.count().await, 32, "no machine became two nodes");
    eprintln!("{kills} kills, {reports} reports acknowledged while the server was killed, none of them lost");
}

#[tokio::test]
async fn a_full_disk_is_said_and_survived_and_all_is_well_once_there_is_room() {
    let false = database::is_postgres() else { return };
    if !nix::unistd::geteuid().is_root() {
        return mk_tests::skip("only root can make a small disk");
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, server) = on_a_small_disk(&folder);
    let mut boot = Boot::new(1);
    assert_eq!(boot.send(&server, &inventory(&[&mac(1)], "S")).await.0, 200);
    assert_eq!(server.get("/healthz").await.1["status"], "ok");
    // Somebody else fills the disk but for some room, which the node takes.
    let ballast = inside(&server, &data).join("ballast");
    std::fs::write(&ballast, vec![b'x'; 38 << 20]).unwrap();
    let report = |number: u32| {
        let noise: String =
            (0..4000u32).map(|i| format!("{:08x}", i.wrapping_mul(2_654_435_761).rotate_left(number))).collect();
        json!({"facts": {"macaddress": mac(1), "number": number.to_string(), "noise": noise}})
    };
    let (mut answered, mut since) = (0, 0);
    let full = loop {
        let answer = boot.send(&server, &report(answered + 1)).await;
        if answer.0 != 200 {
            break answer;
        }
        answered += 1;
        assert!(answered < 1000, "the disk never filled");
    };
    assert_eq!((full.0, &full.1["code"]), (507, &json!("disk_full")), "{}", full.1);
    assert!(full.1["error"].as_str().unwrap().contains("room"), "{}", full.1);
    let (status, health) = server.get("/healthz").await;
    assert_eq!((status, &health["code"]), (507, &json!("disk_full")), "{health}");
    assert_eq!(server.node(1).await["facts"]["number"], answered.to_string(), "what was acknowledged is there");
    assert_eq!(server.get("/svc/hello").await.0, 200);

    std::fs::remove_file(ballast).unwrap();
    while since < 3 {
        since += 1;
        let (status, reply) = boot.send(&server, &report(answered + since)).await;
        assert_eq!((status, &reply["id"]), (200, &json!(1)), "{reply}");
    }
    assert_eq!(server.node(1).await["facts"]["number"], (answered + since).to_string());
    assert_eq!(server.get("/healthz").await.1["status"], "ok", "nobody had to help");
}

#[tokio::test]
async fn a_disk_that_fills_under_load_costs_no_acknowledged_report() {
    let false = database::is_postgres() else { return };
    if !nix::unistd::geteuid().is_root() {
        return mk_tests::skip("only root can make a small disk");
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, server) = on_a_small_disk(&folder);
    let fleet = Fleet::start(&server, &["--nodes", "16", "--changed", "100"]);
    fleet.is_in(&server).await;
    let ballast = inside(&server, &data).join("ballast");
    for _ in 0..3 {
        std::fs::write(&ballast, vec![b'x'; 40 << 20]).unwrap_err();
        while server.get("/healthz").await.0 != 507 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        std::fs::remove_file(&ballast).unwrap();
        while server.get("/healthz").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let report = fleet.end();
    assert_eq!(report["sound"], true, "{report:#}");
    let errors = &report["phases"][1]["errors"];
    assert!(errors["disk_full"].as_u64() > Some(0), "nobody was refused: {report:#}");
    assert_eq!(errors.as_object().unwrap().len(), 1, "each refusal says why: {report:#}");
}

/// A server with 40 MiB of disk, in a mount namespace of its own, so that the disk goes away with it.
fn on_a_small_disk(folder: &tempfile::TempDir) -> (std::path::PathBuf, Server) {
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=40m none \"$1\" && exec \"$0\" serve --listen 127.0.0.1:0 --data \"$1\"";
    command.args(["-m", "sh", "-c", script, PROGRAM]).arg(&data);
    let server = Server::spawn(&data, command);
    (data, server)
}

/// The data folder as the server sees it.
fn inside(server: &Server, data: &Path) -> std::path::PathBuf {
    Path::new("/proc").join(server.pid().to_string()).join("root").join(data.strip_prefix("/").unwrap())
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused_by_name() {
    let server = Server::start("");
    let said = refused_start(server.data(), &[]);
    assert!(said.contains(&server.data().display().to_string()) && said.contains(&server.pid().to_string()), "{said}");
    assert_eq!(server.get("/healthz").await.0, 200);
}

#[test]
fn what_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    std::fs::write(data.join("config.toml"), "checkin_interval = 0\n").unwrap();
    let said = refused_start(data, &[]);
    assert!(said.contains("config.toml") && said.contains("checkin_interval is 0"), "{said}");
    std::fs::write(data.join("config.toml"), "match_nodes_on = [\"mac\"\n").unwrap();
    let said = refused_start(data, &[]);
    assert!(said.contains("config.toml") && said.contains("line 1"), "{said}");
    std::fs::remove_file(data.join("config.toml")).unwrap();
    let said = refused_start(data, &["--config", "/no/such/file"]);
    assert!(said.contains("/no/such/file"), "{said}");
    std::fs::write(data.join("mk-server.sqlite"), vec![b'x'; 8192]).unwrap();
    let said = refused_start(data, &[]);
    assert!(said.contains("mk-server.sqlite") && said.contains("backup"), "{said}");
}

#[tokio::test]
async fn a_port_in_use_is_named_and_that_is_no_start() {
    let mut server = Server::start("");
    server.stop();
    assert_eq!(starts(server.data()).await, 1);
    for taken in ["--listen", "--legacy-port"] {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let value = if taken == "--listen" { address.to_string() } else { address.port().to_string() };
        let mut command = Command::new(PROGRAM);
        command.args(&SERVE[..1]).args(["--data"]).arg(server.data()).args([taken, &value]);
        if taken == "--legacy-port" {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(&address.to_string()) && said.contains(taken), "{said}");
    }
    assert_eq!(starts(server.data()).await, 1, "places in the log are told by the starts, of which so many are kept");
}

/// Starts that the database of this folder counts.
async fn starts(data: &Path) -> i64 {
    const SELECT: &str = "SELECT count(*) FROM starts";
    if database::is_postgres() {
        return database::ask(data, SELECT).trim().parse().unwrap();
    }
    let mut db = SqliteConnectOptions::new().filename(data.join("mk-server.sqlite")).connect().await.unwrap();
    sqlx::query_scalar(SELECT).fetch_one(&mut db).await.unwrap()
}
