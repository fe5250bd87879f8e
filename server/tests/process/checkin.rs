//! The check-in of agents of ours: order, signatures, what is asked for and what is answered.

use serde_json::{Value, json};
use wire::checkin::CheckinReply;

use crate::agents::{Boot, inventory};
use crate::support::Server;

const A: &str = "00-11-22-33-44-aa";
const B: &str = "00-11-22-33-44-bb";

#[tokio::test]
async fn a_machine_from_media_becomes_a_node() {
    let server = Server::start("checkin_interval = 7\n");
    let mut boot = Boot::new(1);
    let mut report = inventory(&[A, B], "S1");
    report["inventory"]["volatile"] = json!({"memory_usable_bytes": 1024});
    report["agent"] = json!({"version": "9.9", "variant": "production", "image": "1", "units": [{"name": "net", "state": "running"}]});
    let (status, reply) = boot.send(&server, &report).await;
    assert_eq!(status, 200, "{reply}");
    let reply: CheckinReply = serde_json::from_value(reply).unwrap();
    assert_eq!((reply.action.as_str(), reply.id, reply.name.as_deref()), ("none", Some(1), Some("node1")));
    assert_eq!((reply.interval, reply.send_inventory, reply.config_version), (Some(7), Some(false), Some(0)));
    assert_eq!(reply.state, Some(wire::checkin::NodeState::Normal));
    assert!(reply.clock_s.unwrap() > 1_600_000_000);

    let node = server.node(1).await;
    assert_eq!(node["inventory"]["stable"], report["inventory"]["stable"]);
    assert_eq!(node["inventory"]["volatile"]["memory_usable_bytes"], 1024);
    assert_eq!(node["agent"]["units"][0]["name"], "net");
    assert_eq!(node["boot_id"], boot.id);
    assert_eq!(node["facts"]["macaddress"], "00:11:22:33:44:aa", "facts follow from the inventory");
    assert_eq!(node["hw_info"], json!({"mac": [A, B], "serial": "s1"}));
    assert_eq!(node["identity"]["state"], "normal");
}

#[tokio::test]
async fn what_went_wrong_on_a_node_is_in_its_log() {
    let server = Server::start("");
    let mut report = inventory(&[A], "S1");
    report["problems"] = json!([{"code": "no_driver", "error": "e", "remedy": "r"}]);
    report["results"] = json!([{"id": 3, "outcome": "unsupported", "detail": "d"}]);
    assert_eq!(Boot::new(1).send(&server, &report).await.0, 200);
    let log = server.log(1).await;
    assert!(log.iter().any(|e| e["code"] == "no_driver" && e["severity"] == "warn"), "{log:?}");
    assert!(log.iter().any(|e| e["event"] == "command" && e["outcome"] == "unsupported"), "{log:?}");
}

#[tokio::test]
async fn the_inventory_is_asked_for_only_when_it_is_not_known() {
    let server = Server::start("");
    let mut boot = Boot::new(1);
    let report = inventory(&[A], "S1");
    let digest_only = json!({"inventory_digest": report["inventory_digest"]});
    let (_, reply) = boot.send(&server, &digest_only).await;
    assert_eq!((&reply["send_inventory"], reply.get("id")), (&json!(true), None), "an unknown boot: {reply}");
    assert_eq!(boot.send(&server, &report).await.1["send_inventory"], false);
    let (_, reply) = boot.send(&server, &digest_only).await;
    assert_eq!((&reply["send_inventory"], &reply["id"]), (&json!(false), &json!(1)), "known: {reply}");
    let other = inventory(&[A, B], "S1");
    let changed = json!({"inventory_digest": other["inventory_digest"]});
    assert_eq!(boot.send(&server, &changed).await.1["send_inventory"], true, "the machine changed");
    assert_eq!(boot.send(&server, &other).await.1["send_inventory"], false);
    let (_, reports) = server.get("/api/collections/nodes/node1/reports").await;
    assert_eq!(reports["total"], 2, "only changes are kept: {reports}");
    let newest = reports["items"][0]["id"].as_i64().unwrap();
    let (_, content) = server.get(&format!("/api/collections/nodes/node1/reports/{newest}")).await;
    assert_eq!(content, other["inventory"]["stable"]);
}

#[tokio::test]
async fn a_repeat_is_answered_alike_and_a_replay_is_refused() {
    let mut server = Server::start("");
    let mut boot = Boot::new(1);
    let first = boot.next(&inventory(&[A], "S1"));
    let signed = boot.sign(&first);
    let answer = server.post(None, &first, &signed).await;
    assert_eq!(answer.0, 200);
    assert_eq!(server.post(None, &first, &signed).await, answer, "the same request once more");
    server.restart("");
    assert_eq!(server.post(None, &first, &signed).await, answer, "also after an unclean stop");
    assert_eq!(boot.send(&server, &json!({})).await.0, 200);
    let (status, problem) = server.post(None, &first, &signed).await;
    assert_eq!((status, &problem["code"]), (409, &json!("replay")));
    let other = json!({"boot_id": boot.id, "seq": boot.seq, "hw_id": "y"}).to_string().into_bytes();
    let (status, problem) = server.post(None, &other, &boot.sign(&other)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("replay")), "the same number for another body");
}

#[tokio::test]
async fn a_boot_keeps_its_key() {
    let server = Server::start("");
    let (mut boot, thief) = (Boot::new(1), Boot::new(2));
    assert_eq!(boot.send(&server, &inventory(&[A], "S1")).await.0, 200);
    let body = boot.next(&json!({}));
    let (status, problem) = server.post(None, &body, &thief.sign(&body)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("wrong_key")));
    let (status, problem) = server.post(None, &body, &[]).await;
    assert_eq!((status, &problem["code"]), (401, &json!("wrong_key")), "unsigned");
    let mut forged = body.clone();
    forged.push(b' ');
    let (status, problem) = server.post(None, &forged, &boot.sign(&body)).await;
    assert_eq!((status, &problem["code"]), (401, &json!("bad_signature")));
    assert_eq!(server.post(None, &body, &boot.sign(&body)).await.0, 200, "the rightful one goes on");
}

#[tokio::test]
async fn the_id_of_the_boot_is_taken_up() {
    let server = Server::start("");
    let id = server.boot(&format!("net0={A}&asset=x")).await.unwrap();
    let mut boot = Boot::new(1);
    let body = boot.next(&inventory(&[A], "S1"));
    let (status, reply) = server.post(Some(id), &body, &boot.sign(&body)).await;
    assert_eq!((status, &reply["id"]), (200, &json!(id)));
    assert_eq!(server.hw_info(id).await, json!({"asset": "x", "mac": [A], "serial": "s1"}));
    assert_eq!(server.count().await, 1);
}

#[tokio::test]
async fn an_id_that_proves_nothing_is_set_right() {
    let server = Server::start("");
    let mut first = Boot::new(1);
    assert_eq!(first.send(&server, &inventory(&[A], "S1")).await.1["id"], 1);
    let mut second = Boot::new(2);
    let body = second.next(&inventory(&[B], "S2"));
    let (_, reply) = server.post(Some(1), &body, &second.sign(&body)).await;
    assert_eq!(reply["id"], 2, "another machine with a stale id: {reply}");
    let mut third = Boot::new(3);
    let body = third.next(&inventory(&["00-11-22-33-44-cc"], "S3"));
    let (status, reply) = server.post(Some(4711), &body, &third.sign(&body)).await;
    assert_eq!((status, &reply["id"]), (200, &json!(3)), "an id that nobody has: {reply}");
}

#[tokio::test]
async fn a_machine_without_any_value_is_told_so() {
    let server = Server::start("");
    let (status, problem) = Boot::new(1).send(&server, &json!({"facts": {"kernel": "Linux"}})).await;
    assert_eq!((status, &problem["code"]), (400, &json!("no_match_value")));
    assert!(problem["remedy"].as_str().unwrap().contains("match_nodes_on"), "{problem}");
}

#[tokio::test]
async fn a_machine_between_two_nodes_is_held_and_stays_visible() {
    let server = Server::start("match_nodes_on = [\"mac\", \"serial\"]\n");
    assert_eq!(Boot::new(1).send(&server, &inventory(&[A], "S1")).await.1["id"], 1);
    assert_eq!(Boot::new(2).send(&server, &inventory(&[B], "S2")).await.1["id"], 2);
    let mut third = Boot::new(3);
    let (status, reply) = third.send(&server, &inventory(&[A, B], "S3")).await;
    assert_eq!((status, &reply["state"], &reply["action"]), (200, &json!("held"), &json!("none")), "{reply}");
    assert_eq!(reply["reason"]["code"], "duplicate_node");
    let held = reply["id"].as_i64().unwrap();
    assert_eq!(held, 3);
    assert_eq!(server.node(held).await["facts"]["serialnumber"], "S3", "its facts are kept");
    let claims = server.node(held).await["identity"]["claims"].clone();
    let contested: Vec<&Value> = claims.as_array().unwrap().iter().filter(|c| c["state"] == "contested").collect();
    assert_eq!(contested.len(), 2, "both MACs: {claims}");
    let known = json!({"inventory_digest": inventory(&[A, B], "S3")["inventory_digest"]});
    let (_, reply) = third.send(&server, &known).await;
    assert_eq!(
        (&reply["state"], &reply["send_inventory"]),
        (&json!("held"), &json!(true)),
        "until it is settled: {reply}"
    );
    let mut again = Boot::new(4);
    assert_eq!(
        again.send(&server, &inventory(&[A, B], "S3")).await.1["id"],
        held,
        "its next boot is the same held node"
    );
    assert_eq!(server.count().await, 3, "nothing merged");

    // The hardware leaves the two nodes: their next reports say so, and the held one's frees it.
    Boot::new(5).send(&server, &inventory(&["00-11-22-33-44-01"], "S1")).await;
    Boot::new(6).send(&server, &inventory(&["00-11-22-33-44-02"], "S2")).await;
    let (_, reply) = again.send(&server, &inventory(&[A, B], "S3")).await;
    assert_eq!((&reply["state"], &reply["id"]), (&json!("normal"), &json!(held)), "{reply}");
    let node = server.node(held).await;
    let states: Vec<&Value> = node["identity"]["claims"].as_array().unwrap().iter().map(|c| &c["state"]).collect();
    assert!(states.iter().all(|s| **s == "current"), "{node}");
    assert!(node["identity"].get("reason").is_none());
}

#[tokio::test]
async fn who_does_not_sign_cannot_speak_for_a_node_whose_agent_does() {
    let mut server = Server::start("checkin_interval = 3600\nprotect_new_nodes = true\n");
    let mut boot = Boot::new(1);
    assert_eq!(boot.send(&server, &inventory(&[A], "S1")).await.1["id"], 1);
    let before = server.node(1).await;
    let forged = json!({"macaddress_eth0": A.replace('-', ":"), "serialnumber": "S2", "forged": "yes"});
    let legacy = json!({"hw_id": "x", "facts": forged}).to_string().into_bytes();
    let another_boot = Boot::new(2).next(&inventory(&[A], "S2"));
    for (id, body) in [(Some(1), &legacy), (None, &legacy), (None, &another_boot), (Some(1), &another_boot)] {
        let (status, refusal) = server.post(id, body, &[]).await;
        assert_eq!((status, &refusal["code"]), (400, &json!("spoken_for")), "{refusal}");
    }
    let after = server.node(1).await;
    for field in ["facts", "hw_info", "identity", "last_checkin", "state"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    let said: Vec<Value> = server.log(1).await.into_iter().filter(|e| e["code"] == "spoken_for").collect();
    assert_eq!((said.len(), &said[0]["times"]), (1, &json!(4)), "{said:?}");
    server.restart("checkin_interval = 1\nprotect_new_nodes = true\n");
    let (status, reply) = boot.send(&server, &json!({})).await;
    assert_eq!((status, &reply["id"], &reply["state"]), (200, &json!(1), &json!("normal")), "{reply}");
    assert_eq!(reply["interval"], 1, "and is told when to speak next");

    // Booted into an original image by its operator, it is the same node once its own agent has been silent for long enough.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while server.post(Some(1), &legacy, &[]).await != (200, json!({"action": "reboot"})) {
        assert!(std::time::Instant::now() < end, "{:?}", server.post(Some(1), &legacy, &[]).await);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!((server.count().await, &server.node(1).await["facts"]["forged"]), (1, &json!("yes")));
}
