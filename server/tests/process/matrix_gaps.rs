//! What the original's own tests leave out (`V` of its matrix): each gap has a test here, or says where it has one.
//!
//! Elsewhere: charset suffix on the media type (`items_74_to_76`); concurrent first boots, placeholder serials, UUID byte
//! order (`identity.rs`); NIC moved from a registered node to a new machine (`conflicts.rs`); check-in to a merged-away id
//! (`items_46_to_48`); key `NET0`, `subnet0` (`canonical.rs`, unit test). Out of scope, since this server has no tags and
//! stages: stage-done for an unknown node, tag error on a bound node.

use serde_json::{Value, json};

use crate::agents::{Boot, report};
use crate::support::{FOUR_KEYS, Server};

const A: &str = "00-11-22-33-44-aa";
const B: &str = "00-11-22-33-44-bb";

#[tokio::test]
async fn facts_may_be_empty_or_of_any_type() {
    let server = Server::start("");
    let id = server.boot(&format!("net0={A}")).await.unwrap();
    let (status, problem) = server.legacy(id, json!({})).await;
    assert_eq!((status, &problem["code"]), (400, &json!("no_match_value")), "nothing says that it is this machine");
    let odd = json!({"macaddress": A, "count": 7, "flag": true, "nothing": null, "list": [1, "x"], "map": {"a": 1}});
    assert_eq!(server.legacy(id, odd.clone()).await.0, 200);
    assert_eq!(server.node(id).await["facts"], odd, "kept as they are");
    assert_eq!(
        server.legacy(id, json!({"macaddress": 7})).await.0,
        200,
        "a MAC that is a number: this client's own node"
    );
}

#[tokio::test]
async fn an_id_that_is_no_number_is_refused() {
    let server = Server::start("");
    for path in ["/svc/checkin/node1", "/svc/checkin/1x", "/svc/checkin/99999999999999999999"] {
        let request = server.request(reqwest::Method::POST, path).header("content-type", "application/json");
        let response =
            request.body(json!({"hw_id": "x", "facts": {"macaddress": A}}).to_string()).send().await.unwrap();
        let status = response.status().as_u16();
        let problem: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert_eq!((status, &problem["code"]), (400, &json!("bad_node_id")), "{path}");
    }
}

#[tokio::test]
async fn two_machines_may_name_one_dhcp_mac() {
    let server = Server::start("");
    let a = server.boot(&format!("net0={A}&dhcp_mac=00:e0:4c:00:00:01")).await.unwrap();
    let b = server.boot(&format!("net0={B}&dhcp_mac=00:e0:4c:00:00:01")).await.unwrap();
    assert_ne!(a, b, "it says which port got an address, not which machine it is");
    assert_eq!(server.boot(&format!("net0={A}&dhcp_mac=00:e0:4c:00:00:01")).await, Ok(a));
}

#[tokio::test]
async fn a_mac_is_one_in_any_notation_and_any_number() {
    let server = Server::start("");
    let id = server.boot(&format!("net0={A}&net1=00:11:22:33:44:AA")).await.unwrap();
    for query in ["net0=0011223344aa", "mac=00:11:22:33:44:aa", "net7=0011.2233.44aa", "subnet0=00-11-22-33-44-aa"] {
        assert_eq!(server.boot(query).await, Ok(id), "{query}");
    }
    assert_eq!(server.boot(&format!("NET0={A}")).await.unwrap_err().1["code"], "no_match_value", "as in the original");
}

#[tokio::test]
async fn a_boot_port_that_the_system_does_not_show_leaves_nothing_behind() {
    let server = Server::start("");
    let booted = server.boot(&format!("net0={B}&serial=S1&uuid=11111111-2222-4333-8444-555555555555")).await.unwrap();
    let system = json!({"serial": "S1", "uuid": "11111111-2222-4333-8444-555555555555"});
    let stable = json!({"system": system, "nics": [{"key": "1", "mac": "00:11:22:33:44:aa", "bus": "pci"}]});
    let mut boot = Boot::new(1);
    let body = boot.next(&report(&stable));
    let (status, reply) = server.post(Some(booted), &body, &boot.sign(&body)).await;
    assert_eq!((status, &reply["id"], &reply["state"]), (200, &json!(booted), &json!("normal")), "{reply}");
    assert_eq!(server.count().await, 1);
}

#[tokio::test]
async fn a_registered_node_that_gains_a_port_is_known_by_it() {
    let server = Server::start("");
    let id = server.boot(&format!("net0={A}")).await.unwrap();
    assert_eq!(server.legacy(id, json!({"macaddress_eth0": A})).await.0, 200);
    assert_eq!(server.legacy(id, json!({"macaddress_eth0": A, "macaddress_eth1": B})).await.0, 200);
    assert_eq!(server.boot(&format!("net0={B}")).await, Ok(id), "unlike the original, which never learned it");
}

#[tokio::test]
async fn a_fact_from_ipxe_that_another_node_has_is_a_match_as_in_the_original() {
    let server = Server::start("");
    let id = server.boot(&format!("net0={A}&fact_rack=r1")).await.unwrap();
    assert_eq!(
        server.boot(&format!("net0={B}&fact_rack=r1")).await,
        Ok(id),
        "sites name facts that tell machines apart"
    );
    let other = server.boot(&format!("net0={B}&fact_rack=r2")).await.unwrap();
    assert_ne!(other, id);
    assert_eq!(server.boot(&format!("net0={B}&fact_rack=r1")).await.unwrap_err().1["code"], "duplicate_node");
}

#[tokio::test]
async fn a_port_moved_from_a_node_that_never_checked_in_leaves_that_node_alone() {
    let server = Server::start(FOUR_KEYS);
    let donor = server.boot(&format!("net0={A}&serial=S1&uuid=11111111-2222-4333-8444-555555555555")).await.unwrap();
    let system = json!({"serial": "S2", "uuid": "66666666-7777-4888-8999-aaaaaaaaaaaa"});
    let nics = json!([{"key": "1", "mac": "00:11:22:33:44:aa", "bus": "pci"}, {"key": "2", "mac": "00:11:22:33:44:bb", "bus": "pci"}]);
    let (status, reply) = Boot::new(1).send(&server, &report(&json!({"system": system, "nics": nics}))).await;
    assert_eq!((status, &reply["state"]), (200, &json!("normal")), "{reply}");
    assert_ne!(reply["id"], donor);
    assert_eq!(server.count().await, 2, "uuid and serial say that these are two machines");
    assert_eq!(server.boot("serial=S1&uuid=11111111-2222-4333-8444-555555555555").await, Ok(donor));
}
