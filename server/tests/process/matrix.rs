//! The original's test matrix of node identity, item by item, against a running server. `matrix_items.rs` says of each item
//! where it is tested or why it is not; what the original's own tests leave out stands in `matrix_gaps.rs`.
//!
//! Deviations: a merged node goes on answering as an alias of the survivor (48, 79); a registered node's check-in merges
//! unregistered duplicates (82); no two nodes can be given the same matching value, so that fixtures which have such nodes
//! are made by a change of `match_nodes_on`.

use crate::images::put_in_use;
use crate::support::{FOUR_KEYS, Server};
use serde_json::{Value, json};

const MAC: &str = "match_nodes_on = [\"mac\"]\n";
const A: &str = "00-11-22-33-44-aa";
const B: &str = "00-11-22-33-44-bb";
const C: &str = "00-11-22-33-44-cc";

fn facts_on(keys: &str, pattern: &str) -> String {
    format!("match_nodes_on = [{keys}]\n[facts]\nmatch_on = [\"{pattern}\"]\n")
}

async fn refused(server: &Server, query: &str) -> String {
    let (status, problem) = server.boot(query).await.unwrap_err();
    assert_eq!(status, 400, "{problem}");
    problem["code"].as_str().unwrap().to_owned()
}

fn says_microkernel(log: &[Value]) -> bool {
    log[0]["event"] == "boot"
        && log[0]["task"] == "microkernel"
        && log[0]["template"] == "boot"
        && log[0]["severity"] == "info"
}

// B. State predicates

#[tokio::test]
async fn items_6_to_12_33_34_39_69_83_109_111_and_112_state_decides_what_boots() {
    let mut server = Server::start(MAC);
    put_in_use(&server);
    let boot = format!("net0={A}");
    let id = server.boot(&boot).await.unwrap();
    assert!(server.node(id).await.get("facts").is_none(), "6: unregistered");
    assert!(says_microkernel(&server.log(id).await), "10: new");
    assert_eq!(server.node(id).await["state"]["installed"], false, "34: not protected");
    assert_eq!(server.legacy(id, json!({"macaddress": A})).await, (200, json!({"action": "none"})));
    assert_eq!(server.node(id).await["facts"]["macaddress"], A, "7: registered");
    server.boot(&boot).await.unwrap();
    assert!(says_microkernel(&server.log(id).await), "12: registered, not installed");

    server.restart(&format!("{MAC}protect_new_nodes = true\n"));
    let boot = format!("net0={B}");
    let id = server.boot(&boot).await.unwrap();
    assert_eq!(server.node(id).await["state"]["installed"], "+protected", "33");
    assert!(says_microkernel(&server.log(id).await), "11: installed, unregistered");
    assert_eq!(server.legacy(id, json!({"macaddress": B})).await.1["action"], "reboot", "83");
    assert!(
        server.log(id).await.iter().any(|e| e["msg"].as_str().is_some_and(|m| m.contains("protect_new_nodes"))),
        "35"
    );
    assert_eq!(server.node(id).await["state"]["installed"], "+protected", "39: untouched by the check-in");
    server.boot(&boot).await.unwrap();
    let newest = &server.log(id).await[0];
    assert_eq!((&newest["task"], &newest["template"]), (&json!("noop"), &json!("boot_local")), "9: both");

    let command = |name: &str| {
        let sent = server.request(reqwest::Method::POST, "/api/commands/reinstall-node");
        sent.body(json!({"name": name}).to_string()).send()
    };
    assert_eq!(command(&format!("node{id}")).await.unwrap().status(), 202, "109");
    assert!(server.node(id).await["state"]["installed"] != "+protected", "109: cleared");
    server.boot(&boot).await.unwrap();
    assert!(says_microkernel(&server.log(id).await), "109: boots the microkernel again");
    assert_eq!(command(&format!("node{id}")).await.unwrap().status(), 202, "111: neither bound nor installed");
    assert_eq!(command("node999").await.unwrap().status(), 404, "112");
    assert_eq!(command("nobody").await.unwrap().status(), 404, "112");
}

#[tokio::test]
async fn items_13_and_14_nodes_by_name() {
    let server = Server::start(MAC);
    let id = server.boot(&format!("net0={A}")).await.unwrap();
    assert_eq!(server.node(id).await["name"], format!("node{id}"));
    for name in ["node42", "hello%20there", "%20"] {
        let (status, problem) = server.get(&format!("/api/collections/nodes/{name}")).await;
        assert_eq!((status, &problem["code"]), (404, &json!("no_such_node")), "{name}");
    }
}

// C. lookup

#[tokio::test]
async fn items_16_17_and_68_a_match_value_is_needed() {
    let mut server = Server::start(MAC);
    assert_eq!(refused(&server, "").await, "no_match_value", "16, 68");
    assert_eq!(refused(&server, "serial=1").await, "no_match_value", "68: not a match key");
    server.boot(&format!("net0={A}&asset=1")).await.unwrap();
    server.restart("match_nodes_on = [\"serial\", \"uuid\"]\n");
    assert_eq!(refused(&server, &format!("net0={A}&asset=1")).await, "no_match_value", "17");
}

#[tokio::test]
async fn items_18_to_20_and_26_known_hardware_finds_its_node() {
    let server = Server::start(FOUR_KEYS);
    let query = format!("net0={A}&asset=abcd");
    let id = server.boot(&query).await.unwrap();
    assert_eq!(server.hw_info(id).await, json!({"asset": "abcd", "mac": [A]}), "20");
    assert!(server.node(id).await.get("facts").is_none(), "26: created, not registered");
    assert_eq!(server.boot(&query).await, Ok(id), "18");
    assert_eq!(server.boot("asset=ABCD").await, Ok(id), "19");
}

#[tokio::test]
async fn items_21_and_66_shared_values_are_a_duplicate() {
    let mut server = Server::start(MAC);
    let a = server.boot(&format!("net0={A}&asset=s")).await.unwrap();
    let b = server.boot(&format!("net0={B}&asset=s")).await.unwrap();
    server.restart(FOUR_KEYS);
    assert_eq!(refused(&server, "asset=s").await, "duplicate_node");
    for id in [a, b] {
        let newest = &server.log(id).await[0];
        assert_eq!(newest["severity"], "error");
        assert_eq!(newest["event"], "boot");
        assert_eq!(newest["error"], "duplicate_node");
        assert_eq!(newest["nodes"], json!([{"name": "node1", "id": 1}, {"name": "node2", "id": 2}]));
    }
}

#[tokio::test]
async fn item_22_a_shared_value_of_no_match_key_does_no_harm() {
    let server = Server::start("match_nodes_on = [\"serial\", \"mac\", \"uuid\"]\n");
    let a = server.boot(&format!("net0={A}&asset=s")).await.unwrap();
    let b = server.boot(&format!("net0={B}&asset=s")).await.unwrap();
    assert_ne!(a, b);
    assert_eq!(server.boot(&format!("net0={A}&asset=s")).await, Ok(a));
    assert_eq!(server.boot(&format!("net0={B}&asset=s")).await, Ok(b));
}

#[tokio::test]
async fn item_23_a_boot_teaches_no_macs() {
    let server = Server::start("match_nodes_on = [\"mac\", \"asset\"]\n");
    let id = server.boot(&format!("net0={A}&asset=s")).await.unwrap();
    assert_eq!(server.boot(&format!("net0={B}&asset=s")).await, Ok(id));
    assert_eq!(server.hw_info(id).await["mac"], json!([A]));
}

#[tokio::test]
async fn item_24_a_boot_teaches_facts() {
    let mut server = Server::start(MAC);
    let id = server.boot(&format!("net0={A}&uuid=before&fact_overwrite=old")).await.unwrap();
    let query = format!("net0={A}&uuid=after&fact_overwrite=new&fact_new=1");
    assert_eq!(server.boot(&query).await, Ok(id));
    let want = json!({"mac": [A], "uuid": "before", "fact_overwrite": "new", "fact_new": "1"});
    assert_eq!(server.hw_info(id).await, want);
    server.restart(MAC);
    assert_eq!(server.hw_info(id).await, want, "persisted");
}

#[tokio::test]
async fn items_25_and_28_one_machine_with_the_hardware_of_many() {
    let server = Server::start(FOUR_KEYS);
    for (mac, serial) in [(A, "1"), (B, "2"), (C, "3")] {
        server.boot(&format!("net0={mac}&serial={serial}")).await.unwrap();
    }
    assert_eq!(refused(&server, &format!("net0={A}&net1={B}&serial=2")).await, "duplicate_node", "25");
    assert_eq!(refused(&server, &format!("net0={A}&net1={B}&net2={C}")).await, "duplicate_node", "28");
    assert_eq!(server.count().await, 3);
}

#[tokio::test]
async fn item_27_the_boot_type_identifies_nobody() {
    let server = Server::start(MAC);
    let a = server.boot(&format!("net0={A}&fact_boot_type=pcbios")).await.unwrap();
    let b = server.boot(&format!("net0={B}&fact_boot_type=pcbios")).await.unwrap();
    assert_ne!(a, b);
    assert_eq!(server.hw_info(b).await["fact_boot_type"], "pcbios");
}

// D. Log, and T: what scripts on nodes write into it

#[tokio::test]
async fn items_29_and_138_log_lines_have_a_severity() {
    let server = Server::start(MAC);
    let id = server.boot(&format!("net0={A}")).await.unwrap();
    assert_eq!(server.text(&format!("/svc/log/{id}?msg=one")).await.0, 204);
    assert_eq!(server.text(&format!("/svc/log/{id}?msg=two&severity=warn&node_id=99&policy=x")).await.0, 204, "138");
    let log = server.log(id).await;
    assert_eq!((&log[0]["msg"], &log[0]["severity"]), (&json!("two"), &json!("warn")), "29: newest first");
    assert_eq!((&log[1]["msg"], &log[1]["severity"]), (&json!("one"), &json!("info")), "29: the default");
}

// G. register

#[tokio::test]
async fn item_43_registration_learns_hardware() {
    let server = Server::start(&facts_on("\"mac\", \"uuid\"", "/fact\\\\d+/"));
    let id = server.boot(&format!("net0={A}")).await.unwrap();
    let facts = json!({"macaddress_eth0": "00:11:22:33:44:AA", "uuid": "U1", "fact1": "x", "fact2": "y", "other": "z"});
    assert_eq!(server.legacy(id, facts).await.0, 200);
    assert_eq!(server.hw_info(id).await, json!({"fact_fact1": "x", "fact_fact2": "y", "mac": [A], "uuid": "u1"}));
}

#[tokio::test]
async fn items_44_and_45_two_registered_nodes_are_a_duplicate() {
    let mut server = Server::start(&facts_on("\"mac\", \"uuid\"", "/fact\\\\d+/"));
    let a = server.boot(&format!("net0={A}")).await.unwrap();
    assert_eq!(server.legacy(a, json!({"macaddress": A, "uuid": "u1"})).await.0, 200);
    let b = server.boot(&format!("net0={B}")).await.unwrap();
    assert_eq!(server.legacy(b, json!({"macaddress": B, "fact1": "x"})).await.0, 200);
    let c = server.boot(&format!("net0={C}")).await.unwrap();
    let all = json!({"macaddress": C, "uuid": "u1", "fact1": "x"});
    let (status, problem) = server.legacy(c, all.clone()).await;
    assert_eq!((status, &problem["code"]), (400, &json!("duplicate_node")));
    server.restart(&facts_on("\"mac\", \"uuid\"", "/fact\\\\d+/"));
    assert_eq!(server.legacy(c, all).await.0, 400, "still");
    assert_eq!(server.count().await, 3, "nothing changed");
    assert!(server.node(c).await.get("facts").is_none());
}

#[tokio::test]
async fn items_46_to_48_an_unregistered_node_merges_into_the_registered_one() {
    let server = Server::start(&facts_on("\"mac\", \"uuid\"", "/fact\\\\d+/"));
    let n1 = server.boot(&format!("net0={A}&uuid=u1")).await.unwrap();
    let facts = json!({"macaddress": A, "uuid": "u1", "fact1": "x", "fact2": "y"});
    assert_eq!(server.legacy(n1, facts).await.0, 200);
    let n2 = server.boot(&format!("net0={B}&uuid=u2")).await.unwrap();
    let (before1, before2) = (server.log(n1).await.len(), server.log(n2).await.len());
    let facts = json!({"macaddress": B, "uuid": "u2", "fact1": "x", "fact2": "y"});
    assert_eq!(server.legacy(n2, facts).await, (200, json!({"action": "none"})));
    let want = json!({"mac": [B], "uuid": "u2", "fact_fact1": "x", "fact_fact2": "y"});
    assert_eq!(server.hw_info(n1).await, want, "46: replaced");
    let log = server.log(n1).await;
    assert_eq!(log.len(), before1 + before2 + 1, "47: both logs and the merge");
    assert_eq!(log.iter().filter(|e| e["written_as"] == "node2").count(), before2);
    assert_eq!(server.count().await, 1, "48: gone");
    assert_eq!(server.node(n2).await["name"], "node1", "48: and answers as an alias");
    assert_eq!(server.node(n1).await["identity"]["aliases"], json!(["node2"]));
    assert_eq!(server.legacy(n2, json!({"macaddress": B, "uuid": "u2"})).await.0, 200, "the booted id stays good");
}

#[tokio::test]
async fn item_49_facts_of_the_first_check_in_are_kept() {
    let server = Server::start(&facts_on("\"mac\", \"uuid\"", "/fact\\\\d+/"));
    let id = server.boot(&format!("net0={A}")).await.unwrap();
    server.legacy(id, json!({"macaddress": A, "uuid": "u1", "fact1": "x"})).await;
    assert_eq!(server.legacy(id, json!({"macaddress": A, "uuid": "u2"})).await.0, 200);
    assert_eq!(server.hw_info(id).await, json!({"mac": [A], "uuid": "u2", "fact_fact1": "x"}));
}

// I. last_checkin

#[tokio::test]
async fn items_52_to_57_last_checkin_rises() {
    let server = Server::start(MAC);
    let id = server.boot(&format!("net0={A}")).await.unwrap();
    server.boot(&format!("net0={A}")).await.unwrap();
    assert!(server.node(id).await.get("last_checkin").is_none(), "52, 53");
    assert_eq!(server.node(id).await["state"], json!({"installed": false}), "57");
    let mut times = Vec::new();
    for facts in [json!({"macaddress": A}), json!({"macaddress": A, "x": 1}), json!({"macaddress": A, "x": 1})] {
        assert_eq!(server.legacy(id, facts).await.0, 200);
        let shown = server.node(id).await["last_checkin"].as_str().unwrap().to_owned();
        times.push(time::OffsetDateTime::parse(&shown, &time::format_description::well_known::Rfc3339).unwrap());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(times.windows(2).all(|w| w[0] < w[1]), "54 to 56: {times:?}");
}

// K. search

#[tokio::test]
async fn items_62_and_63_nodes_are_found_by_mac_and_asset() {
    let server = Server::start(MAC);
    server.boot(&format!("net0={A}&asset=Rack-7-U12")).await.unwrap();
    server.boot(&format!("net0={B}&asset=Rack-8")).await.unwrap();
    for words in [A, "00-11-22-33-44-AA", "00:11:22:33:44:aa", "rack-7-u12", "RACK-7-U12"] {
        let (status, page) = server.text(&format!("/nodes?q={words}")).await;
        assert_eq!(status, 200, "{words}");
        assert!(page.contains("/nodes/node1\"") && !page.contains("/nodes/node2\""), "{words}: {page}");
    }
}

// L. Provisioning endpoints

#[tokio::test]
async fn items_64_65_and_67_boot_takes_what_ipxe_sends() {
    let server = Server::start(FOUR_KEYS);
    let id = server.boot("net0=00:11:22:33:44:AA&serial=S%201&asset=A:1").await.unwrap();
    assert_eq!(server.hw_info(id).await, json!({"mac": [A], "serial": "s 1", "asset": "a-1"}), "64, 65");
    assert!(server.boot(&format!("net0={B}&net1=&asset=&nic_max=4")).await.is_ok(), "67");
    let response = server.request(reqwest::Method::GET, &format!("/svc/boot?net0={A}")).send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain"), "64");
}

#[tokio::test]
async fn item_71_dhcp_mac_is_stored_as_given() {
    let server = Server::start(FOUR_KEYS);
    let id = server.boot(&format!("net0={A}")).await.unwrap();
    assert!(server.node(id).await.get("dhcp_mac").is_none());
    for (query, want) in
        [("&dhcp_mac=00:11:22:33:44:AA", "00:11:22:33:44:AA"), ("", "00:11:22:33:44:AA"), ("&dhcp_mac=x", "x")]
    {
        assert_eq!(server.boot(&format!("net0={A}{query}")).await, Ok(id));
        assert_eq!(server.node(id).await["dhcp_mac"], want);
    }
}

#[tokio::test]
async fn items_74_to_76_what_is_no_check_in_is_refused() {
    let server = Server::start(FOUR_KEYS);
    for (kind, body, status, code) in [
        ("text/plain", "{\"facts\": {}}", 400, "bad_content_type"),
        ("application/json; charset=utf-8", "{\"facts\": {}}", 400, "bad_content_type"),
        ("application/json", "{}}", 400, "bad_json"),
        ("application/json", "{}", 400, "no_facts"),
        (
            "application/json",
            "{\"hw_id\": \"x\", \"facts\": {\"macaddress\": \"00:11:22:33:44:aa\"}}",
            404,
            "no_such_node",
        ),
    ] {
        let request = server.request(reqwest::Method::POST, "/svc/checkin/42").header("content-type", kind).body(body);
        let response = request.send().await.unwrap();
        let got = response.status().as_u16();
        let problem: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert_eq!((got, problem["code"].as_str().unwrap()), (status, code), "{kind} {body}");
        assert!(!problem["error"].as_str().unwrap().is_empty() && !problem["remedy"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn item_78_check_in_learns_only_what_matches() {
    let server = Server::start(&facts_on("\"mac\", \"serial\"", "/f\\\\d+/"));
    let id = server.boot("serial=1").await.unwrap();
    let facts = json!({"serialnumber": "1", "f1": "x", "g1": "y", "macaddress_eth0": A, "macaddress_eth1": B});
    assert_eq!(server.legacy(id, facts).await, (200, json!({"action": "none"})));
    assert_eq!(server.hw_info(id).await, json!({"fact_f1": "x", "mac": [A, B], "serial": "1"}));
}

/// n1 with serial 1 and f1=a, n2 and n3 with serial 2; `register` lists those that have checked in.
async fn three(register: &[i64]) -> Server {
    let mut server = Server::start(&facts_on("\"mac\"", "/f\\\\d+/"));
    for (id, mac, more) in [(1, A, "serial=1&fact_f1=a"), (2, B, "serial=2"), (3, C, "serial=2")] {
        assert_eq!(server.boot(&format!("net0={mac}&{more}")).await, Ok(id));
        if register.contains(&id) {
            let (serial, fact) = if id == 1 { ("1", "f1") } else { ("2", "g") };
            let facts = json!({"macaddress": mac, "serialnumber": serial, fact: "a"});
            assert_eq!(server.legacy(id, facts).await.0, 200);
        }
    }
    server.restart(&facts_on("\"serial\"", "/f\\\\d+/"));
    server
}

#[tokio::test]
async fn item_79_duplicates_merge_into_the_registered_node() {
    let server = three(&[1]).await;
    assert_eq!(server.legacy(2, json!({"serialnumber": "2", "f1": "a"})).await, (200, json!({"action": "none"})));
    assert_eq!(server.hw_info(1).await["serial"], "2");
    assert_eq!(server.count().await, 1);
    assert_eq!(server.node(1).await["identity"]["aliases"], json!(["node2", "node3"]));
}

#[tokio::test]
async fn item_80_without_a_registered_node_one_is_left() {
    let server = three(&[]).await;
    assert_eq!(server.legacy(3, json!({"serialnumber": "2", "f1": "a"})).await.0, 200);
    assert_eq!(server.count().await, 1);
    assert!(server.node(1).await.get("facts").is_some(), "the lowest id, registered");
}

#[tokio::test]
async fn items_81_and_82_two_registered_nodes() {
    let server = three(&[1, 2]).await;
    let facts = json!({"serialnumber": "2", "f1": "a"});
    let (status, problem) = server.legacy(3, facts.clone()).await;
    assert_eq!((status, &problem["code"]), (400, &json!("duplicate_node")), "81");
    assert_eq!(server.count().await, 3, "81: all remain");
    assert_eq!(server.legacy(2, facts).await.0, 200, "82: a registered node stays what it is");
    assert_eq!(server.node(1).await["name"], "node1", "82: registered nodes remain");
    assert_eq!(server.node(2).await["identity"]["aliases"], json!(["node3"]), "82: an unregistered duplicate merges");
    assert!(
        server.log(1).await.iter().any(|e| e["event"] == "identity" && e["severity"] == "warn"),
        "82: and it is told"
    );
}

// M. nodeid

#[tokio::test]
async fn items_86_to_88_the_extension_of_old_clients() {
    let unset = Server::start(MAC);
    assert_eq!(unset.get("/svc/mk/extension.zip").await.1["error"], "No extension file configured", "86");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mk.zip");
    let config = format!("{MAC}[microkernel]\nextension-zip = {file:?}\n");
    let server = Server::start(&config);
    assert_eq!(server.get("/svc/mk/extension.zip").await.0, 404, "a file that is not there");
    for (number, content) in [(87, &b"PK\x05\x06\0\0\0\0"[..]), (88, b"no zip at all")] {
        std::fs::write(&file, content).unwrap();
        let response = server.request(reqwest::Method::GET, "/svc/mk/extension.zip").send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"application/zip".parse().unwrap()),
            "{number}"
        );
        assert_eq!(response.headers()["content-disposition"], "attachment; filename=\"extension.zip\"");
        assert_eq!(response.bytes().await.unwrap(), content, "{number}");
    }
}

#[tokio::test]
async fn items_84_and_85_nodeid() {
    let server = Server::start(MAC);
    assert_eq!(server.get("/svc/nodeid").await.0, 400, "84");
    let id = server.boot(&format!("net0={A}")).await.unwrap();
    assert_eq!(server.get(&format!("/svc/nodeid?net0={A}")).await, (200, json!({"id": id})), "85");
}

// R. Bootstrap, T. access

#[tokio::test]
async fn items_116_to_119_121_124_to_126_and_140_bootstrap() {
    let server = Server::start(MAC);
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    for (query, ports, url) in [
        ("", 4, port.as_str()),
        ("?nic_max=7", 7, port.as_str()),
        ("?http_port=8002", 4, "8002"),
        ("?nic_max=2&http_port=8001", 2, "8001"),
    ] {
        let (status, script) = server.text(&format!("/api/microkernel/bootstrap{query}")).await;
        assert_eq!(status, 200, "140");
        let asks = script.lines().filter(|l| l.starts_with("dhcp net")).count();
        assert_eq!(asks, ports, "116, 117, 125: {query}: {script}");
        assert!(script.contains(&format!("127.0.0.1:{url}/svc/boot?")), "118, 121, 124: {query}: {script}");
        assert!(script.contains("set tries:int32 0"), "119");
    }
    for bad in ["-80", "65536", "6a", "0"] {
        let (status, problem) = server.get(&format!("/api/microkernel/bootstrap?http_port={bad}")).await;
        let words = "The http_port parameter must be an integer between 1 and 65535";
        assert_eq!((status, &problem["error"]), (400, &json!(words)), "126: {bad}");
    }
}
