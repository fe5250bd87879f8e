//! Identity under load and with the values that real firmware gives.

use serde_json::json;

use crate::agents::{Boot, inventory, report};
use crate::conflicts::{id, machine};
use crate::support::{FOUR_KEYS, Server};

/// Machines of one kind that boot at the same time.
const AT_ONCE: u8 = 24;

#[tokio::test(flavor = "multi_thread")]
async fn first_boots_of_one_machine_at_once_make_one_node() {
    let server = std::sync::Arc::new(Server::start(""));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..AT_ONCE {
        let server = std::sync::Arc::clone(&server);
        tasks.spawn(async move {
            if n % 2 == 0 {
                server.boot("net0=00-11-22-33-44-aa").await.unwrap()
            } else {
                let mut boot = Boot::new(n + 1);
                boot.send(&server, &inventory(&["00-11-22-33-44-aa"], "S")).await.1["id"].as_i64().unwrap()
            }
        });
    }
    let ids: std::collections::BTreeSet<i64> = tasks.join_all().await.into_iter().collect();
    assert_eq!(ids, [1].into());
    assert_eq!(server.count().await, 1);
}

#[tokio::test]
async fn virtual_machines_with_weak_macs_are_told_apart() {
    let server = Server::start(FOUR_KEYS);
    let a =
        server.boot("net0=52-54-00-12-34-56&serial=&asset=&uuid=00000000-0000-0000-0000-000000000000").await.unwrap();
    let b =
        server.boot("net0=52-54-00-12-34-57&serial=&asset=&uuid=00000000-0000-0000-0000-000000000000").await.unwrap();
    assert_ne!(a, b);
    let report = inventory(&["52-54-00-12-34-56"], "");
    assert_eq!(Boot::new(1).send(&server, &report).await.1["id"], a);
}

#[tokio::test]
async fn placeholders_identify_nobody() {
    let server = Server::start(FOUR_KEYS);
    let junk = "serial=To%20be%20filled%20by%20O.E.M.&asset=Default%20string&uuid=03000200-0400-0500-0006-000700080009";
    let a = server.boot(&format!("net0=00-11-22-33-44-aa&{junk}")).await.unwrap();
    let b = server.boot(&format!("net0=00-11-22-33-44-bb&{junk}")).await.unwrap();
    assert_ne!(a, b);
    assert_eq!(server.boot(junk).await.unwrap_err().1["code"], "no_match_value");
    assert_eq!(server.hw_info(a).await["serial"], "to be filled by o.e.m.", "but they are kept as sent");
}

#[tokio::test]
async fn uuids_match_in_either_byte_order() {
    let server = Server::start("match_nodes_on = [\"uuid\"]\n");
    let id = server.boot("uuid=11223344-5566-7788-99aa-bbccddeeff00").await.unwrap();
    assert_eq!(server.boot("uuid=44332211-6655-8877-99aa-bbccddeeff00").await, Ok(id));
}

#[tokio::test]
async fn a_usb_dongle_that_goes_round_merges_nobody() {
    let server = Server::start("");
    let with_dongle = |mac: &str, serial: &str| {
        let mut report = inventory(&[mac], serial);
        let nics = report["inventory"]["stable"]["nics"].as_array_mut().unwrap();
        nics.push(json!({"key": "1-2", "mac": "00:e0:4c:00:00:01", "bus": "usb"}));
        report["inventory_digest"] = json!(format!("{:0>64}", serial.len()));
        report
    };
    let a = Boot::new(1).send(&server, &with_dongle("00-11-22-33-44-aa", "S1")).await.1["id"].clone();
    let b = Boot::new(2).send(&server, &with_dongle("00-11-22-33-44-bb", "S2")).await.1["id"].clone();
    assert_ne!(a, b);
}

#[tokio::test]
async fn a_machine_that_could_be_two_sees_why_and_boots_all_the_same() {
    let mut server = Server::start("");
    server.boot("net0=00-11-22-33-44-aa&serial=s").await.unwrap();
    server.boot("net0=00-11-22-33-44-bb&serial=s").await.unwrap();
    server.restart("match_nodes_on = [\"serial\"]\n");
    assert_eq!(server.boot("serial=s").await.unwrap_err().0, 400);
    let (status, script) = server.text("/svc/boot/why?serial=s").await;
    assert_eq!(status, 200);
    assert!(script.contains("echo duplicate_node: ") && script.contains("node1 and node2"), "{script}");
    assert!(script.contains("no_image"), "without an image it says so: {script}");
    let (_, events) = (0, server.log(1).await);
    assert!(events.iter().any(|e| e["error"] == "duplicate_node"));
}

#[tokio::test]
async fn a_running_machine_is_in_no_dispute_for_a_number_that_many_show() {
    let server = Server::start("");
    let (a, b, c, d) = ("00-11-22-33-44-0a", "00-11-22-33-44-0b", "00-11-22-33-44-0c", "00-11-22-33-44-0d");
    let clone = |n: u8, macs: &[&str]| {
        let mut stable = machine(n, macs);
        stable["system"]["uuid"] = json!("12345678-0000-4000-8000-112233445566");
        stable
    };
    let bare = |n: u8, macs: &[&str]| {
        let mut stable = clone(n, macs);
        for part in ["chassis", "memory", "disks"] {
            stable.as_object_mut().unwrap().remove(part);
        }
        stable
    };
    let known = report(&clone(1, &[a]));
    assert_eq!(id(&Boot::new(9).send(&server, &known).await), 1);
    assert_eq!(id(&Boot::new(2).send(&server, &report(&bare(2, &[b, c]))).await), 2);
    assert_eq!(id(&Boot::new(3).send(&server, &report(&bare(3, &[d]))).await), 3);
    let mut boot = Boot::new(1);
    assert_eq!(id(&boot.send(&server, &known).await), 1);
    // While it runs its disks are exchanged, and a card of node2 is put in.
    let mut later = clone(1, &[a, b]);
    later["disks"] = json!([{"key": "1", "serial": "NEW"}]);
    let answer = boot.send(&server, &report(&later)).await;
    assert_eq!((id(&answer), &answer.1["state"]), (1, &json!("normal")));
    let decision = server.node(1).await["identity"]["decision"].clone();
    assert_eq!(decision["verdict"]["node"]["conflict"], json!([]), "{decision}");
}
