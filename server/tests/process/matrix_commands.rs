//! Items 89 to 115 of the original's matrix: commands about nodes. `matrix_items.rs` has the index.

use serde_json::{Value, json};

use crate::support::{FOUR_KEYS, Server};

const MAC: &str = "match_nodes_on = [\"mac\"]\n";
const A: &str = "00-11-22-33-44-aa";
const B: &str = "00-11-22-33-44-bb";
const C: &str = "00-11-22-33-44-cc";

/// Sends a command; gives the status and the answer.
async fn command(server: &Server, name: &str, body: Value) -> (u16, Value) {
    let request = server.request(reqwest::Method::POST, &format!("/api/commands/{name}"));
    let response = request.body(body.to_string()).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
}

#[tokio::test]
async fn items_89_to_98_register_node() {
    let server = Server::start(FOUR_KEYS);
    let (status, answer) = command(&server, "register-node", json!({"hw_info": {"net0": A}, "installed": false})).await;
    assert_eq!((status, &answer["name"]), (202, &json!("node1")), "89, 92: {answer}");
    let again = json!({"hw_info": {"net0": A}, "installed": true});
    assert_eq!(command(&server, "register-node", again).await.1["name"], "node1", "90");
    assert_eq!(server.node(1).await["state"]["installed"], "registered", "91, 92, 96");
    let (status, _) = command(&server, "register-node", json!({"hw-info": {"net0": A}, "installed": false})).await;
    assert_eq!(status, 202, "98");
    assert_eq!(server.node(1).await["state"]["installed"], false, "92");
    assert_eq!(command(&server, "register-node", json!({"hw_info": {}, "installed": true})).await.0, 422, "93");
    let many: serde_json::Map<String, Value> =
        (0..1000).map(|n| (format!("net{n}"), json!(format!("00-11-33-00-{:02x}-{:02x}", n / 256, n % 256)))).collect();
    assert_eq!(command(&server, "register-node", json!({"hw_info": many, "installed": false})).await.0, 202, "94");
    for (key, value) in [("serial", "S9"), ("asset", "A9"), ("uuid", "11223344-5566-7788-99aa-bbccddeeff09")] {
        let body = json!({"hw_info": {key: value}, "installed": true});
        assert_eq!(command(&server, "register-node", body).await.0, 202, "95: {key}");
    }
    for word in ["true", "false"] {
        let body = json!({"hw_info": {"net0": B}, "installed": word});
        assert_eq!(command(&server, "register-node", body).await.0, 422, "97");
    }
    assert_eq!(server.count().await, 5);
}

#[tokio::test]
async fn items_99_to_107_set_node_hw_info() {
    let server = Server::start(MAC);
    let id = server.boot(&format!("net0={A}&asset=x")).await.unwrap();
    let set =
        async |info: Value| command(&server, "set-node-hw-info", json!({"node": "node1", "hw_info": info})).await.0;
    let unknown = json!({"node": "node9", "hw_info": {"net0": A}});
    assert_eq!(command(&server, "set-node-hw-info", unknown).await.0, 404, "99");
    assert_eq!(set(json!({"serial": "1"})).await, 422, "100");
    assert_eq!(set(json!({"net0": B})).await, 202);
    assert_eq!(server.hw_info(id).await, json!({"mac": [B]}), "101, 105: replaces everything");
    assert_eq!(server.boot(&format!("net0={B}")).await, Ok(id), "and the node is found by it");
    assert_eq!(set(json!({"mac": [C, A]})).await, 202);
    assert_eq!(server.hw_info(id).await, json!({"mac": [A, C]}), "102");
    assert_eq!(set(json!({"mac": [C], "net0": A})).await, 202);
    assert_eq!(set(json!({"mac": [C], "net0": A})).await, 202, "104");
    assert_eq!(server.hw_info(id).await, json!({"mac": [A, C]}), "103, 104");
    let dashed = json!({"node": "node1", "hw-info": {"mac": "00:11:22:33:44:BB"}});
    assert_eq!(command(&server, "set-node-hw-info", dashed).await.0, 202, "106");
    assert_eq!(server.hw_info(id).await, json!({"mac": [B]}), "107");
    assert_ne!(server.boot(&format!("net0={A}")).await, Ok(id), "what was replaced leads nowhere");
}

#[tokio::test]
async fn items_114_and_115_delete_node() {
    let server = Server::start(MAC);
    server.boot(&format!("net0={A}")).await.unwrap();
    let trial = json!({"name": "node1", "dry_run": true});
    assert_eq!(command(&server, "delete-node", trial).await.0, 202);
    assert_eq!(server.count().await, 1, "a trial changes nothing");
    assert_eq!(command(&server, "delete-node", json!({"name": "node1"})).await.0, 202, "114");
    assert_eq!(server.count().await, 0, "114");
    assert_eq!(command(&server, "delete-node", json!({"name": "node1"})).await.0, 202, "115");
    assert_eq!(server.boot(&format!("net0={A}")).await, Ok(2), "ids are never used again");
}
