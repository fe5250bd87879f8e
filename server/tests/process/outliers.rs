//! The odd machines of a fleet: found without a profile, by API, command line and pages; and after an upgrade.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Row as _, sqlite::SqliteConnectOptions};
use wire::inventory::Stable;

use crate::agents::Boot;
use crate::database;
use crate::fleet::machine;
use crate::support::Server;

/// Longest wait for what the server does beside its requests, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Machines that are delivered alike.
pub(crate) const ALIKE: [u8; 5] = [12, 24, 36, 48, 60];

/// What machine `n` sends, with this value at this place of its stable inventory.
pub(crate) fn changed(n: u8, place: &str, value: &Value) -> Value {
    let mut report = machine(n);
    *report["inventory"]["stable"].pointer_mut(place).unwrap() = value.clone();
    let typed: Stable = serde_json::from_value(report["inventory"]["stable"].clone()).unwrap();
    report["inventory_digest"] = json!(wire::digest::stable(&typed));
    report
}

/// Machines that are alike check in.
pub(crate) async fn delivered(server: &Server) -> Vec<Boot> {
    let mut boots = Vec::new();
    for n in ALIKE {
        let mut boot = Boot::new(n);
        let (status, reply) = boot.send(server, &machine(n)).await;
        assert_eq!(status, 200, "{reply}");
        boots.push(boot);
    }
    boots
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What statements give in the server's database: one text, or none.
async fn ask(server: &Server, statements: &'static str) -> String {
    if database::is_postgres() {
        return database::ask(server.data(), statements).trim().to_owned();
    }
    let file = server.data().join("mk-server.sqlite");
    let mut db = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let row = sqlx::raw_sql(statements).fetch_optional(&mut db).await.unwrap();
    row.map(|row| row.get(0)).unwrap_or_default()
}

async fn outliers(server: &Server, query: &str) -> Value {
    let (status, found) = server.get(&format!("/api/collections/outliers{query}")).await;
    assert_eq!(status, 200, "{found}");
    found
}

#[tokio::test]
async fn the_odd_machine_is_named_with_what_the_others_have_until_it_is_mended() {
    let server = Server::start("");
    let mut boots = delivered(&server).await;
    let found = outliers(&server, "").await;
    assert_eq!((&found["total"], &found["products"][0]["makeups"]), (&json!(0), &json!(1)), "{found}");
    assert_eq!(found["products"][0]["nodes"], 5);

    let slow = changed(24, "/memory/dimms/1/configured_mts", &json!(2400));
    assert_eq!(boots[1].send(&server, &slow).await.0, 200);
    let sentence = "DIMM_A2: speed 2400 MT/s; 4 of 4 others: 2933 MT/s";
    let found = outliers(&server, "?product=poweredge").await;
    assert_eq!((&found["total"], &found["items"][0]["name"]), (&json!(1), &json!("node2")), "{found}");
    assert_eq!(found["items"][0]["odd"][0]["text"], sentence);
    assert_eq!(outliers(&server, "?product=proliant").await["products"], json!([]));
    let most = found["products"][0]["groups"][0]["makeup"].clone();
    let alike = outliers(&server, &format!("?makeup={most}&start=1&limit=2")).await;
    let names: Vec<&str> = alike["items"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
    assert_eq!((names, &alike["total"]), (vec!["node3", "node4"], &json!(4)));

    assert_eq!(server.node(2).await["outlier"]["odd"][0]["text"], sentence);
    assert_eq!(server.node(1).await.get("outlier"), None);
    for (path, is_there) in [("/outliers", true), ("/nodes/node2", true), ("/nodes/node1", false)] {
        let (status, page) = server.text(path).await;
        assert!(status == 200 && page.contains(sentence) == is_there, "{path}: {page}");
    }
    let line = format!("node2: {sentence}");
    assert!(text(&server.cli(&["outliers"])).contains(&line));
    assert!(!text(&server.cli(&["outliers", "--product", "proliant"])).contains(&line));
    assert!(text(&server.cli(&["nodes", "show", "node2"])).contains(sentence));

    // The module is exchanged, and nothing of the odd makeup is left; nor of a node that is deleted.
    assert_eq!(boots[1].send(&server, &machine(24)).await.0, 200);
    assert_eq!(outliers(&server, "").await["total"], 0);
    text(&server.cli(&["nodes", "delete", "node1"]));
    let rows = "SELECT (SELECT count(*) FROM makeups) || ' ' || ((SELECT sum(uses) FROM areas) - (SELECT count(*) FROM areas))";
    assert_eq!(ask(&server, rows).await, "1 0", "one makeup, of which each area is used once");
}

#[tokio::test]
async fn nodes_of_before_an_upgrade_are_worked_out_by_themselves() {
    let mut server = Server::start("");
    delivered(&server).await;
    let before = outliers(&server, "").await["products"][0]["nodes"].clone();
    server.stop();
    let of_before = "UPDATE nodes SET makeup = NULL; DELETE FROM makeups; DELETE FROM areas; DELETE FROM node_ports;
                     DELETE FROM settings WHERE name = 'makeups'";
    ask(&server, of_before).await;
    server.start_again("127.0.0.1:0");
    let end = Instant::now() + PATIENCE;
    while outliers(&server, "").await["products"][0]["nodes"] != before {
        assert!(Instant::now() < end, "{}", outliers(&server, "").await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ask(&server, "SELECT count(*) || '' FROM node_ports").await, "5");
}
