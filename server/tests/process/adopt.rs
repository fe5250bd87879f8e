//! Nodes of a razor-server, taken over from a dump in its own form.

use std::path::Path;

use serde_json::{Value, json};

use crate::agents::{Boot, inventory};
use crate::support::Server;

/// A collection as razor-server's `GET /api/collections/nodes?depth=1` gives it: what is nil or an empty object is left out of a
/// node, `tags` stays.
fn dump() -> Value {
    let url = |name: &str| format!("http://razor.example:8150/api/collections/nodes/{name}");
    let node = |name: &str, more: Value| {
        let params = json!({"limit": {"type": "number"}, "start": {"type": "number"}});
        let mut node = json!({
            "spec": "http://api.puppetlabs.com/razor/v1/collections/nodes/member", "id": url(name), "name": name,
            "log": {"id": url(name) + "/log", "name": "log", "params": params}, "tags": [], "state": {"installed": false},
        });
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node
    };
    let policy = json!({"spec": "http://api.puppetlabs.com/razor/v1/collections/policies/member", "id": "http://razor.example:8150/api/collections/policies/debian", "name": "debian"});
    let installed = json!({
        "hw_info": {"mac": ["00-11-22-33-44-17", "00-11-22-33-44-18"], "serial": "s17", "uuid": "11223344-5566-7788-99aa-bbccddeeff17", "fact_boot_type": "pcbios"},
        "dhcp_mac": "00-11-22-33-44-17", "policy": policy,
        "facts": {"macaddress": "00:11:22:33:44:17", "serialnumber": "S17", "productname": "PowerEdge R620", "is_virtual": "false", "uptime": "1 day"},
        "metadata": {"rack": 12}, "state": {"installed": "debian", "installed_at": "2019-05-21T18:15:26-07:00", "stage": "boot_local"},
        "hostname": "web17.example", "root_password": "secret", "last_checkin": "2020-06-01T10:00:00+00:00"
    });
    let waiting = json!({
        "hw_info": {"mac": ["00-11-22-33-44-29"]}, "dhcp_mac": "net0$00-11-22-33-44-29", "metadata": {"note": "spare"},
        "tags": [{"spec": "http://api.puppetlabs.com/razor/v1/collections/tags/member", "id": "http://razor.example:8150/api/collections/tags/small", "name": "small"}]
    });
    json!({"spec": "http://api.puppetlabs.com/razor/v1/collections/nodes", "items": [node("node17", installed), node("node29", waiting)], "total": 2})
}

fn write(folder: &Path, name: &str, document: &Value) -> String {
    let file = folder.join(name);
    std::fs::write(&file, document.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Runs `mk-server adopt`; gives whether it succeeded, and all that it says.
fn adopt(server: &Server, args: &[&str]) -> (bool, String) {
    let output = server.cli(&[&["adopt", "--from"], args].concat());
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[tokio::test]
async fn nodes_are_taken_over_with_their_ids_and_a_machine_that_boots_is_its_node() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "nodes.json", &dump());
    let server = Server::start("");
    let (done, said) = adopt(&server, &[&file, "--dry-run"]);
    assert!(done && said.contains("Trial only") && said.contains("2 nodes were taken over"), "{said}");
    assert!(said.contains("metadata of 2 nodes") && said.contains("policy of 1") && !said.contains("secret"), "{said}");
    assert_eq!(server.count().await, 0, "only a trial");
    let (done, said) = adopt(&server, &[&file]);
    assert!(done && said.contains("2 nodes were taken over"), "{said}");

    let node = server.node(17).await;
    assert_eq!(node["hw_info"], dump()["items"][0]["hw_info"]);
    assert_eq!(node["state"], json!({"installed": "debian", "installed_at": "2019-05-22T01:15:26Z"}));
    assert_eq!((&node["last_checkin"], &node["hostname"]), (&json!("2020-06-01T10:00:00Z"), &json!("web17.example")));
    assert_eq!((&node["facts"]["serialnumber"], &node["facts"]["uptime"]), (&json!("S17"), &Value::Null));
    assert_eq!((&node["identity"]["state"], &node["dhcp_mac"]), (&json!("normal"), &json!("00-11-22-33-44-17")));
    assert!(server.log(17).await[0]["msg"].as_str().unwrap().contains("razor-server"));
    for (query, want) in [
        ("hostname=WEB1%5B0-9%5D", vec!["node17"]),
        ("hostname=db", vec![]),
        ("product=PowerEdge%20R620", vec!["node17"]),
    ] {
        let (_, found) = server.get(&format!("/api/collections/nodes?{query}")).await;
        let names: Vec<&str> = found["items"].as_array().unwrap().iter().filter_map(|n| n["name"].as_str()).collect();
        assert_eq!(names, want, "{query}");
    }

    // Again, also of the collection in parts, changes nothing.
    let parts = folder.path().join("parts");
    std::fs::create_dir(&parts).unwrap();
    for (index, node) in dump()["items"].as_array().unwrap().iter().enumerate() {
        write(&parts, &format!("{index}.json"), node);
    }
    let (done, said) = adopt(&server, &[parts.to_str().unwrap()]);
    assert!(done && said.contains("0 nodes were taken over") && said.contains("2 had been before"), "{said}");

    let (_, script) = server.text("/svc/boot?net0=00-11-22-33-44-18").await;
    assert!(script.contains("node17:") && script.contains("exit"), "an installed machine boots its disk: {script}");
    assert_eq!(server.boot("net0=00-11-22-33-44-29").await.unwrap(), 29);
    assert_eq!(server.legacy(17, json!({"macaddress": "00:11:22:33:44:17"})).await, (200, json!({"action": "reboot"})));
    let report = inventory(&["00-11-22-33-44-29"], "S29");
    assert_eq!(Boot::new(1).send(&server, &report).await.1["id"], 29, "without an id, by its port");
    assert_eq!(server.boot("net0=00-11-22-33-44-99").await.unwrap(), 30, "ids go on after them");
    let (done, said) = adopt(&server, &[&file]);
    assert!(done && said.contains("2 had been before"), "what became of them since is no conflict: {said}");
}

#[tokio::test]
async fn one_node_that_cannot_be_is_none_and_all_that_is_in_the_way_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("");
    for n in 1..=3 {
        server.boot(&format!("net0=00-11-22-33-44-0{n}")).await.unwrap();
    }
    server.boot("net0=a%07b").await.unwrap();
    server.cli(&["nodes", "delete", "node3"]);
    let node = |name: &str, mac: &str| json!({"name": name, "hw_info": {"mac": [mac]}, "state": {"installed": false}});
    let nodes = json!([
        node("node61", "a\u{7}b"),
        node("node1", "00-11-22-33-44-41"),
        node("node3", "00-11-22-33-44-43"),
        node("node50", "00-11-22-33-44-02"),
        node("node51", "00-11-22-33-44-51"),
        node("node52", "00-11-22-33-44-51"),
        node("node53", "00-11-22-33-44-53")
    ]);
    let (done, said) = adopt(&server, &[&write(folder.path(), "nodes.json", &nodes)]);
    assert!(!done);
    for words in [
        "node1 is here already",
        "of node61 is node4's here",
        "node3 was here and is gone",
        "mac=00-11-22-33-44-02 of node50 is node2's here",
        "node51 and node52 of the dump both have mac=00-11-22-33-44-51",
        "empty data folder",
    ] {
        assert!(said.contains(words), "{words} is missing: {said}");
    }
    assert!(!said.contains("node53") && !said.contains('\u{7}'), "{said}");
    assert_eq!(server.count().await, 3, "not node53 either");

    let good = json!([node("node53", "00-11-22-33-44-53")]);
    assert!(adopt(&server, &[&write(folder.path(), "good.json", &good)]).0);
    let changed = json!([node("node53", "00-11-22-33-44-54")]);
    let (done, said) = adopt(&server, &[&write(folder.path(), "changed.json", &changed)]);
    assert!(!done && said.contains("node53 was taken over before, with other hardware values"), "{said}");
    let names = json!({"items": [{"name": "node60", "id": "u", "spec": "s"}]});
    let (done, said) = adopt(&server, &[&write(folder.path(), "names.json", &names)]);
    assert!(!done && said.contains("depth=1"), "{said}");
    let (done, said) = adopt(&server, &[&write(folder.path(), "bad.json", &json!([node("web1", "a")]))]);
    assert!(!done && said.contains("web1") && said.contains("node17"), "{said}");
}

#[tokio::test]
async fn a_running_server_is_asked_page_by_page() {
    let (old, new) = (Server::start(""), Server::start(""));
    for n in 0..101 {
        old.boot(&format!("net0=00-11-22-33-44-{n:02x}")).await.unwrap();
    }
    let (done, said) = adopt(&new, &[&old.url]);
    assert!(done && said.contains("101 nodes were taken over"), "{said}");
    assert_eq!(new.boot("net0=00-11-22-33-44-64").await.unwrap(), 101);
    let (done, said) = adopt(&new, &["http://127.0.0.1:1"]);
    assert!(!done && said.contains("razor-server's URL"), "{said}");
}
