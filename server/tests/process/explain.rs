//! `mk-server explain`: what it foretells is what happens, and asking changes nothing.

use serde_json::{Value, json};

use crate::agents::{Boot, report};
use crate::conflicts::{A, B, C, id, machine, said};
use crate::support::Server;

/// Two machines that have reported: node1 with A, node2 with B.
async fn two_machines() -> Server {
    let server = Server::start("");
    assert_eq!(id(&Boot::new(1).send(&server, &report(&machine(1, &[A]))).await), 1);
    assert_eq!(id(&Boot::new(2).send(&server, &report(&machine(2, &[B]))).await), 2);
    server
}

fn asked(server: &Server, args: &[&str]) -> Value {
    serde_json::from_str(&said(server, &[&["explain", "--json"], args].concat())).unwrap()
}

#[tokio::test]
async fn a_node_and_a_set_of_values_are_explained() {
    let server = two_machines().await;
    let text = said(&server, &["explain", "node1"]);
    assert!(text.starts_with("The last decision: A new node.\n  row 9:"), "{text}");
    let text = said(&server, &["explain", "mac=00:11:22:33:44:AA"]);
    for words in ["At a boot: It is node1.", "row 3", "node1: This is it", "match keys mac=00-11-22-33-44-aa"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(said(&server, &["explain", &format!("mac={C}")]).contains("row 2"), "an unknown machine");
    assert_eq!(server.count().await, 2, "asking makes no node");
    for (args, words) in [
        (&["explain", "node9"][..], "there is no node \"node9\""),
        (&["explain", "serial=none-of-match_nodes_on"], "no usable value"),
        (&["explain", "node1", "--what-if", "mac"], "is no change"),
        (&["explain", "node1", "--what-if", "-disk=D9"], "reports no disk \"d9\"; it reports disk1a, disk1b"),
        (&["explain", "mac=00:11:22:33:44:AA", "--what-if", "board=new"], "none is named"),
    ] {
        let refused = server.cli(args);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains(words), "{words}: {text}");
    }
}

#[tokio::test]
async fn a_card_that_would_move_is_foretold_as_it_happens() {
    let server = two_machines().await;
    let before = (server.node(1).await, server.node(2).await);
    let foretold = asked(&server, &["node2", "--what-if", &format!("+mac={A}")]);
    assert_eq!((server.node(1).await, server.node(2).await), before, "asking changes nothing");
    let checkin = &foretold["decisions"][1];
    assert_eq!((&checkin["moment"], &checkin["outcome"]), (&json!("check-in"), &json!("It is node2.")), "{foretold}");
    let follows = foretold["follows"].to_string();
    assert!(follows.contains(&format!("mac={A} is claimed by node2 and by node1")), "{follows}");

    let values = format!("net0={A}&net1={B}&serial=SYS2&uuid=00000002-0000-4000-8000-112233445502");
    let node = server.boot(&values).await.ok();
    let mut boot = Boot::new(3);
    let body = boot.next(&report(&machine(2, &[A, B])));
    assert_eq!(id(&server.post(node, &body, &boot.sign(&body)).await), 2, "and so it happens");
    assert_eq!(asked(&server, &["node2"])["decisions"][0]["row"], checkin["row"]);
}

#[tokio::test]
async fn a_replaced_board_is_foretold_with_what_would_follow() {
    let server = two_machines().await;
    let change = ["--what-if", "board=new", "--what-if", "uuid=new", "--what-if", "mac=new", "--what-if", "serial=new"];
    let foretold = asked(&server, &[&["node1"][..], &change].concat());
    let rows: Vec<&Value> = foretold["decisions"].as_array().unwrap().iter().map(|d| &d["row"]).collect();
    assert_eq!(rows, [2, 9], "a boot makes a node, which merges at the check-in: {foretold}");
    let outcome = foretold["decisions"][1]["outcome"].as_str().unwrap();
    assert!(outcome.starts_with("It is node1; node3 merges into it"), "{outcome}");
    assert!(foretold["follows"].to_string().contains("node1 came back with other hardware"), "{foretold}");
    assert_eq!(server.count().await, 2);
    // With memory and disks gone as well it would be another machine.
    let gone = asked(&server, &[&["node1"][..], &change, &["--what-if", "dimm=new", "--what-if", "disk=new"]].concat());
    assert_eq!(gone["decisions"][1]["outcome"], "It is node3.", "{gone}");
}
