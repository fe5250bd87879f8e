//! Expected machines: set from a file, checked off as they are found, by API, command line and pages.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::agents::Boot;
use crate::database;
use crate::fleet::machine;
use crate::outliers::{ALIKE, changed};
use crate::support::{PROGRAM, Server};

/// Machines with their serial number and switch port, as [`machine`] has them; the last one never comes.
pub(crate) fn expected(folder: &Path) -> PathBuf {
    let mut text = "name,slot,serial,switch,port\n".to_owned();
    for n in ALIKE.into_iter().chain([99]) {
        text += &format!("web{n},R12 U{n},SRV{n:05},leaf-12a,Eth1/{n}\n");
    }
    let file = folder.join("rack.csv");
    std::fs::write(&file, text).unwrap();
    file
}

/// All machines are where they are expected but two that have each other's switch port; one more is expected nowhere.
pub(crate) async fn racked(server: &Server) {
    let port = "/nics/0/lldp/neighbours/0/port";
    for (n, at) in [(12, 12), (24, 24), (36, 48), (48, 36), (60, 60), (72, 72)] {
        let report = changed(n, port, &json!(format!("Ethernet1/{at}")));
        assert_eq!(Boot::new(100 + n).send(server, &report).await.0, 200);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn standings(document: &Value) -> Vec<(String, String, String)> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = document["items"].as_array().unwrap().iter();
    items.map(|item| (word(&item["name"]), word(&item["standing"]), word(&item["node"]))).collect()
}

/// The rack of a server on what a backup of this one holds.
async fn of_a_backup(server: &Server, folder: &Path) -> Value {
    let (archive, data) = (folder.join("backup.tar"), folder.join("restored"));
    let run = |args: &[&str]| assert!(Command::new(PROGRAM).args(args).output().unwrap().status.success(), "{args:?}");
    run(&["backup", "--data", server.data().to_str().unwrap(), "--out", archive.to_str().unwrap()]);
    run(&["restore", archive.to_str().unwrap(), "--data", data.to_str().unwrap()]);
    Server::start_on(&data, "").get("/api/collections/rack").await.1
}

#[tokio::test]
async fn expected_machines_are_checked_off_and_the_others_named() {
    let mut server = Server::start("");
    let folder = tempfile::tempdir().unwrap();
    let file = expected(folder.path());
    let set = |args: &[&str]| server.cli(&[&["rack", "set"][..], args].concat());
    assert!(said(&server.cli(&["rack", "show"])).contains("No machines are expected"));

    let bad = folder.path().join("bad.csv");
    std::fs::write(&bad, "name,serial\nweb1,SRV1\nweb1,SRV1\n,\n,SRV2\n").unwrap();
    let refused = set(&[bad.to_str().unwrap()]);
    for words in ["line 3: name \"web1\" is in line 2 already", "line 3: serial srv1", "line 5: it has neither name"] {
        assert!(!refused.status.success() && said(&refused).contains(words), "{words}: {}", said(&refused));
    }
    assert!(said(&set(&[file.to_str().unwrap(), "--dry-run"])).contains("Trial only"));
    assert_eq!(server.get("/api/collections/rack").await.1["set"], Value::Null, "nothing was set yet");
    assert!(said(&set(&[file.to_str().unwrap()])).contains("6 machines are expected"));
    let check = server.cli(&["rack", "check"]);
    assert!(!check.status.success() && said(&check).contains("6 of 6 expected machines"), "{}", said(&check));

    racked(&server).await;
    let (_, rack) = server.get("/api/collections/rack").await;
    let row = |name: &str, standing: &str, node: &str| (name.to_owned(), standing.to_owned(), node.to_owned());
    let want = [
        row("web12", "present", "node1"),
        row("web24", "present", "node2"),
        row("web36", "swapped", "node3"),
        row("web48", "swapped", "node4"),
        row("web60", "present", "node5"),
        row("web99", "missing", ""),
    ];
    assert_eq!(standings(&rack), want, "{rack}");
    assert_eq!(rack["items"][2]["text"], "it and web48 have each other's place: it is at leaf-12a et1/48");
    assert!(rack["items"][0]["seen"].is_string());
    let (_, strangers) = server.get("/api/collections/rack?show=unexpected").await;
    assert_eq!(standings(&strangers), [row("", "unexpected", "node6")]);
    let (_, part) = server.get("/api/collections/rack?show=wrong&start=1&limit=2").await;
    assert_eq!((standings(&part), &part["total"]), (vec![want[3].clone(), want[5].clone()], &json!(4)));
    assert_eq!(server.get("/api/collections/rack?show=x").await.0, 400);

    assert_eq!(server.node(3).await["expected"], json!({"name": "web36", "slot": "R12 U36"}));
    assert_eq!(server.node(6).await.get("expected"), None);
    for (path, words) in
        [("/nodes", "web60"), ("/nodes/node3", "web36"), ("/rack", "web48"), ("/rack?show=missing", "web99")]
    {
        assert!(server.text(path).await.1.contains(words), "{path}");
    }
    assert!(said(&server.cli(&["nodes", "list"])).contains("web24"));
    assert!(said(&server.cli(&["rack", "check"])).contains("3 of 6 expected machines"));

    server.restart("");
    assert_eq!(standings(&server.get("/api/collections/rack").await.1), want, "it is kept");
    // Of PostgreSQL `pg_dump` makes backups.
    if !database::is_postgres() {
        assert_eq!(standings(&of_a_backup(&server, folder.path()).await), want, "so is it in a backup");
    }

    assert!(server.cli(&["rack", "unset"]).status.success());
    assert_eq!(server.get("/api/collections/rack").await.1["items"], json!([]));
    assert_eq!(server.node(3).await.get("expected"), None);
}

#[tokio::test]
async fn a_machine_that_waits_to_be_let_in_checks_nothing_off() {
    let server = Server::start("enrolment = \"approve\"\n");
    let folder = tempfile::tempdir().unwrap();
    assert!(server.cli(&["rack", "set", expected(folder.path()).to_str().unwrap()]).status.success());
    Boot::new(12).send(&server, &machine(12)).await;
    let (_, rack) = server.get("/api/collections/rack").await;
    assert_eq!((&rack["counts"]["missing"], &rack["counts"]["unexpected"]), (&json!(6), &json!(0)), "{rack}");
    assert!(server.cli(&["nodes", "approve", "node1"]).status.success());
    assert_eq!(server.get("/api/collections/rack").await.1["items"][0]["node"], "node1");
}
