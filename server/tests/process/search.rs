//! Which nodes a caller gets, and razor-server's way in to the API.

use serde_json::{Value, json};

use crate::agents::{Boot, inventory};
use crate::support::{FOUR_KEYS, Server};

async fn names(server: &Server, query: &str) -> Vec<String> {
    let (status, document) = server.get(&format!("/api/collections/nodes?{query}")).await;
    assert_eq!(status, 200, "{query}: {document}");
    let items = document["items"].as_array().unwrap();
    assert_eq!(document["total"].as_u64(), Some(items.len() as u64), "{query}: {document}");
    items.iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn nodes_are_found_by_razor_servers_parameters_and_by_ours() {
    let server = Server::start(&format!("{FOUR_KEYS}enrolment = \"approve\"\n"));
    let uuid = "11223344-5566-7788-99aa-bbccddeeff00";
    server.boot(&format!("net0=00-11-22-33-44-01&serial=Alpha&uuid={uuid}")).await.unwrap();
    server.boot("net0=00-11-22-33-44-02&asset=A-2").await.unwrap();
    let mut report = inventory(&["00-11-22-33-44-03"], "GAMMA");
    report["inventory"]["stable"]["system"]["product"] = json!("PowerEdge R650");
    report["inventory_digest"] = json!("0".repeat(64));
    assert_eq!(Boot::new(1).send(&server, &report).await.0, 200);
    for (query, want) in [
        ("mac=00:11:22:33:44:01", vec!["node1"]),
        ("mac=00-11-22-33-44-01&serial=gamma", vec!["node1", "node3"]),
        ("serial=ALPHA", vec!["node1"]),
        ("asset=a-2", vec!["node2"]),
        ("uuid=44332211-6655-8877-99aa-bbccddeeff00", vec!["node1"]),
        ("uuid=", vec!["node1", "node2", "node3"]),
        ("serial=none", vec![]),
        ("product=poweredge%20r650", vec!["node3"]),
        ("product=PowerEdge", vec![]),
        ("search=gamma", vec!["node3"]),
        ("search=00:11:22%20alpha", vec!["node1"]),
        ("state=pending", vec!["node1", "node2", "node3"]),
        ("state=normal", vec![]),
        ("state=silent", vec!["node1", "node2"]),
        ("state=silent&asset=a-2", vec!["node2"]),
        ("hostname=.*", vec![]),
    ] {
        assert_eq!(names(&server, query).await, want, "{query}");
    }
    let (status, refused) = server.get("/api/collections/nodes?state=lost").await;
    assert_eq!((status, &refused["code"]), (400, &"bad_parameter".into()));
    let (_, page) = server.get("/api/collections/nodes?state=pending&limit=1&start=1&depth=1").await;
    assert_eq!((&page["total"], &page["items"][0]["hw_info"]["asset"]), (&json!(3), &json!("a-2")));

    let list = |args: &[&str]| {
        let output = server.cli(&[&["nodes", "list"], args].concat());
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let found = list(&["--state", "pending", "--search", "gamma"]);
    assert!(found.contains("node3") && !found.contains("node1"), "{found}");
    assert!(list(&["--serial", "none"]).contains("No node fits"));
    let json: Value = serde_json::from_str(&list(&["--mac", "00:11:22:33:44:02", "--json"])).unwrap();
    assert_eq!((&json["total"], &json["items"][0]["name"]), (&json!(1), &json!("node2")));
    assert!(list(&["--state", "lost"]).contains("pending"));
}

#[tokio::test]
async fn every_collection_and_command_that_the_root_names_is_there_and_others_are_not() {
    let server = Server::start("");
    let (status, root) = server.get("/api").await;
    assert_eq!((status, root["version"]["server"].as_str()), (200, Some(env!("CARGO_PKG_VERSION"))));
    let links = |kind: &str| root[kind].as_array().unwrap().clone();
    for collection in links("collections") {
        let path = collection["id"].as_str().unwrap().strip_prefix(&server.url).unwrap();
        assert_eq!(server.get(path).await.0, 200, "{path}");
    }
    let post = async |path: &str| {
        let response = server.request(reqwest::Method::POST, path).body("{}").send().await.unwrap();
        (
            response.status().as_u16(),
            response.json::<Value>().await.unwrap()["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let names: Vec<Value> = links("commands").iter().map(|command| command["name"].clone()).collect();
    for name in ["register-node", "set-node-hw-info", "reinstall-node", "delete-node", "adopt-nodes"] {
        assert!(names.contains(&name.into()), "{names:?}");
    }
    for command in links("commands") {
        let path = command["id"].as_str().unwrap().strip_prefix(&server.url).unwrap();
        let (status, code) = post(path).await;
        assert!(status != 404 || code == "no_such_image", "{path}: {status} {code}");
    }
    for beyond in ["policies", "tags", "repos", "tasks", "brokers", "hooks"] {
        let (status, refused) = server.get(&format!("/api/collections/{beyond}")).await;
        assert_eq!((status, &refused["code"]), (404, &"no_such_path".into()), "{beyond}");
    }
    assert_eq!(post("/api/commands/create-policy").await, (404, "no_such_command".to_owned()));
}
