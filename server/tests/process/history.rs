//! What changed of a machine: told in its log as parts come and go, by report, and between any two reports or nodes, to programs, on a
//! terminal and on the page.

use serde_json::{Value, json};

use crate::agents::{Boot, report};
use crate::browser::{Browser, Scheme};
use crate::fleet::machine;
use crate::page::{FAINT, OVERFLOW, PHONE, WIDE, picture};
use crate::support::Server;

/// A machine as it is, after a change.
fn with(n: u8, change: impl FnOnce(&mut Value)) -> Value {
    let mut stable = machine(n)["inventory"]["stable"].clone();
    change(&mut stable);
    report(&stable)
}

/// The same, told by a kernel that has run for so long.
fn after(seconds: u64, mut message: Value) -> Value {
    message["uptime_s"] = seconds.into();
    message
}

/// Only that nothing is new.
fn unchanged(seconds: u64, message: &Value) -> Value {
    json!({"uptime_s": seconds, "inventory_digest": message["inventory_digest"]})
}

async fn say(server: &Server, boot: &mut Boot, message: &Value) {
    let (status, reply) = boot.send(server, message).await;
    assert_eq!((status, &reply["state"]), (200, &json!("normal")), "{reply}");
}

/// What the log says of a node's parts, newest first: severity and event.
async fn told(server: &Server, node: i64) -> Vec<(String, String)> {
    let log = server.log(node).await;
    let parts = log.iter().filter(|entry| entry["component"].is_string());
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    parts.map(|entry| (word(&entry["severity"]), word(&entry["event"]))).collect()
}

fn events(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(severity, event)| ((*severity).to_owned(), (*event).to_owned())).collect()
}

#[tokio::test]
async fn the_log_tells_what_changed_once_it_is_sure() {
    let server = Server::start("");
    let whole = with(1, |_| {});
    let early = with(1, |m| m["disks"] = json!([]));
    let mut boot = Boot::new(1);
    // The first boot of all: its disks come late.
    say(&server, &mut boot, &after(10, early)).await;
    say(&server, &mut boot, &after(40, whole.clone())).await;
    say(&server, &mut boot, &unchanged(400, &whole)).await;
    assert_eq!(told(&server, 1).await, []);

    // Another one, which has just begun, with other firmware, and again without disks at first.
    let mut boot = Boot::new(2);
    let early = with(1, |m| {
        m["disks"] = json!([]);
        m["bios"]["version"] = json!("1.7.0");
    });
    let whole = with(1, |m| m["bios"]["version"] = json!("1.7.0"));
    say(&server, &mut boot, &after(0, early.clone())).await;
    let firmware = ("info", "firmware-updated");
    assert_eq!(told(&server, 1).await, events(&[firmware]));
    say(&server, &mut boot, &after(40, whole)).await;
    say(&server, &mut boot, &after(50, early.clone())).await;
    assert_eq!(told(&server, 1).await, events(&[firmware]), "a part that comes late is neither gone nor new");
    // It does not come.
    say(&server, &mut boot, &unchanged(400, &early)).await;
    let gone = ("warn", "disk-gone");
    assert_eq!(told(&server, 1).await, events(&[gone, gone, firmware]));
    say(&server, &mut boot, &unchanged(460, &early)).await;
    assert_eq!(told(&server, 1).await.len(), 3, "it is told once");

    // A module of a machine that runs is told at once, and so is a cable, although the port is silent while it is moved.
    let silent = |m: &mut Value| {
        m["disks"] = json!([]);
        m["bios"]["version"] = json!("1.7.0");
        m["memory"]["dimms"][2]["serial"] = json!("44D1FFFF");
        m["nics"][0]["lldp"] = json!({"silent_s": 65});
    };
    say(&server, &mut boot, &after(500, with(1, silent))).await;
    let dimm = ("warn", "dimm-changed");
    assert_eq!(told(&server, 1).await, events(&[dimm, gone, gone, firmware]));
    let moved = |m: &mut Value| {
        silent(m);
        m["nics"][0]["lldp"] = json!({"neighbours": [{"chassis": "44:02", "port": "Eth7", "system_name": "sw2"}]});
    };
    say(&server, &mut boot, &after(600, with(1, moved))).await;
    let (status, feed) = server.get("/api/collections/events?node=node1&limit=1").await;
    assert_eq!(
        (status, &feed["items"][0]["text"], &feed["items"][0]["severity"]),
        (
            200,
            &json!(
                "Port 0000:31:00.0 is now plugged into switch sw2 port Eth7, before switch leaf-12a.dc1.example port Ethernet1/1."
            ),
            &json!("warn")
        )
    );
}

#[tokio::test]
async fn of_a_report_that_is_far_too_large_nothing_is_told_and_it_is_compared_all_the_same() {
    let server = Server::start("");
    let mut boot = Boot::new(1);
    let large = with(1, |m| m["site"] = json!({"x": "y".repeat(600 << 10)}));
    let last = with(1, |m| m["bios"]["version"] = json!("1.8.0"));
    for (seconds, message) in [(400, with(1, |_| {})), (410, large), (420, with(1, |_| {})), (430, last)] {
        say(&server, &mut boot, &after(seconds, message)).await;
    }
    assert_eq!(told(&server, 1).await, events(&[("info", "firmware-updated")]));
    let (status, document) = server.get("/api/collections/nodes/node1/diff?from=1&to=2").await;
    let text = document["changes"][0]["text"].as_str().unwrap();
    assert!(status == 200 && text.starts_with("site fact x: yyy") && text.len() < 300, "{text}");
}

const FIRMWARE: &str = "version of BIOS went from 1.6.5 to 1.7.0";
const MODULE: &str = "DIMM in DIMM_A1 (32 GiB serial 44D1A20001) is gone";

/// A server with three reports of node1, and node2, which is of the same make with other disks.
async fn two_nodes() -> Server {
    let server = Server::start("");
    let mut boot = Boot::new(1);
    say(&server, &mut boot, &after(400, with(1, |_| {}))).await;
    say(&server, &mut boot, &after(410, with(1, |m| m["bios"]["version"] = json!("1.7.0")))).await;
    let last = with(1, |m| {
        m["bios"]["version"] = json!("1.7.0");
        m["memory"]["dimms"].as_array_mut().unwrap().remove(0);
    });
    say(&server, &mut boot, &after(420, last)).await;
    say(&server, &mut Boot::new(5), &after(400, with(5, |_| {}))).await;
    server
}

#[tokio::test]
async fn any_two_reports_and_nodes_are_compared() {
    let server = two_nodes().await;
    let texts = async |query: &str| -> Vec<String> {
        let (status, document) = server.get(&format!("/api/collections/nodes/node1/diff{query}")).await;
        assert_eq!(status, 200, "{query}: {document}");
        let changes = document["changes"].as_array().unwrap();
        changes.iter().map(|change| change["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts("").await, [MODULE]);
    assert_eq!(texts("?to=2").await, [FIRMWARE]);
    assert_eq!(texts("?from=1").await, [FIRMWARE, MODULE]);
    assert_eq!(texts("?from=3&to=3").await, Vec::<String>::new());
    assert_eq!(texts("?from=3&with=node1@2").await, ["DIMM in DIMM_A1 (32 GiB serial 44D1A20001) is new"]);
    let others = texts("?with=node2").await;
    assert!(others.contains(&"version of BIOS: node1 has 1.7.0, node2 has 1.6.5".to_owned()), "{others:#?}");
    assert!(others.iter().any(|text| text.starts_with("only node2 has DIMM in DIMM_A1")), "{others:#?}");
    assert!(!others.iter().any(|text| text.contains("serial") || text.contains("MAC")), "{others:#?}");
    for (path, status, code) in [
        ("node1/diff?from=9", 404, "no_such_report"),
        ("node1/diff?from=x", 400, "bad_parameter"),
        ("node1/diff?to=4", 404, "no_such_report"),
        ("node1/diff?with=node9", 404, "no_such_node"),
        ("node1/diff?with=node2@x", 400, "bad_parameter"),
        ("node1/diff?with=node2&to=1", 400, "bad_parameter"),
        ("node2/diff", 404, "no_former_report"),
    ] {
        let (got, problem) = server.get(&format!("/api/collections/nodes/{path}")).await;
        assert_eq!((got, &problem["code"]), (status, &json!(code)), "{path}");
    }
    for (path, words) in [
        ("/nodes/node1/reports", [MODULE, FIRMWARE, "name=\"from\" value=\"2\""]),
        ("/nodes/node1/diff?from=1&to=&with=", ["2 differences", FIRMWARE, MODULE]),
        (
            "/nodes/node1/diff?with=node2",
            ["only node2 has DIMM", "no two machines", "node1 has 1.7.0, node2 has 1.6.5"],
        ),
    ] {
        let (status, page) = server.text(path).await;
        assert!(status == 200 && words.iter().all(|words| page.contains(words)), "{path}: {page}");
    }
}

#[tokio::test]
async fn a_terminal_shows_what_changed() {
    let server = two_nodes().await;
    let terminal = |args: &[&str]| {
        let output = server.cli(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let said = terminal(&["nodes", "diff", "node1"]);
    assert!(said.contains("From node1 report 2 of ") && said.ends_with(&format!("\n\n{MODULE}\n")), "{said}");
    assert!(terminal(&["nodes", "diff", "node1@1", "node1"]).contains(FIRMWARE));
    assert!(terminal(&["nodes", "diff", "node1", "node2"]).contains("only node2 has"));
    let document: Value = serde_json::from_str(&terminal(&["nodes", "diff", "node1@2", "--json"])).unwrap();
    let change = json!({"component": "bios", "key": "", "what": "changed", "field": "version", "before": "1.6.5", "after": "1.7.0", "text": FIRMWARE});
    assert_eq!((&document["changes"], &document["from"]["report"]), (&json!([change]), &json!(1)));
    let said = terminal(&["nodes", "history", "node1"]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 6, "{said}");
    assert!(lines[0].starts_with("3  ") && lines[1].trim() == MODULE && lines[3].trim() == FIRMWARE, "{said}");
    assert!(lines[0].contains("boot 00000000") && lines[5].contains("first report"), "{said}");
    let document: Value = serde_json::from_str(&terminal(&["nodes", "history", "node1", "--json"])).unwrap();
    let changes = [&document["items"][0]["changes"][0]["text"], &document["items"][2]["changes"]];
    assert_eq!(changes, [&json!(MODULE), &Value::Null]);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_two_reports_are_picked_on_the_page_without_scripts() {
    let Some(mut browser) = Browser::start() else { return };
    let server = two_nodes().await;
    for (name, ((width, height), scheme)) in [("wide", (WIDE, Scheme::Light)), ("phone", (PHONE, Scheme::Dark))] {
        browser.set(width, height, scheme, false);
        browser.open(&format!("{}/nodes/node1/reports", server.url));
        browser.picture(&picture(&format!("reports-{name}")));
        let sound = |browser: &mut Browser| {
            let found = (browser.value(OVERFLOW), browser.value(FAINT), browser.complaints());
            assert_eq!(found, (json!(0), json!([]), Vec::new()), "{name}");
        };
        sound(&mut browser);
        browser.value("document.querySelector('#report-1 [name=from]').click()");
        browser.value("document.querySelector('#report-2 [name=to]').click()");
        browser.click("document.querySelector('main form button')");
        assert_eq!(browser.value("document.querySelector('h2').textContent"), "1 difference");
        assert_eq!(browser.value("document.querySelector('.changes').innerText"), FIRMWARE);
        sound(&mut browser);
        browser.picture(&picture(&format!("diff-{name}")));
    }
}

#[tokio::test]
async fn original_clients_are_compared_by_their_facts() {
    let server = Server::start("");
    let node = server.boot("net0=00-11-22-33-44-55").await.unwrap();
    for memory in ["16 GB", "32 GB"] {
        let facts = json!({"macaddress": "00:11:22:33:44:55", "memorysize_mb": memory, "serialnumber": "S1"});
        assert_eq!(server.legacy(node, facts).await.0, 200);
    }
    let (status, document) = server.get(&format!("/api/collections/nodes/node{node}/diff")).await;
    assert_eq!((status, &document["changes"][0]["text"]), (200, &json!("fact memorysize_mb went from 16 GB to 32 GB")));
    assert_eq!(told(&server, node).await, [], "Facter's values come and go");
}
