//! Images of the Tiny Core era, spoken as their controllers speak: a check-in in a loop, a register when told.

use serde_json::{Value, json};

use crate::agents::Boot;
use crate::conflicts::said;
use crate::support::{Answer, PROGRAM, SERVE, Server};

const OURS: &str = "00-11-22-33-44-aa";

/// A server with the port of old images open.
struct Old {
    server: Server,
    /// `http://127.0.0.1:PORT` of that port.
    url: String,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Old {
    fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join("config.toml"), config).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = std::process::Command::new(PROGRAM);
        command.args(SERVE).arg(&data).args(["--legacy-port", &port.to_string()]);
        let server = Server::spawn(&data, command);
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
        Self { server, url: format!("http://127.0.0.1:{port}"), http, _folder: folder }
    }

    async fn get(&self, path: &str) -> Answer {
        let response = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }
}

/// A check-in with this query.
async fn checkin(old: &Old, path: &str, query: &str) -> Answer {
    old.get(&format!("{path}/node/checkin?{query}&last_state=idle")).await
}

/// A register with this body.
async fn register(old: &Old, path: &str, kind: &str, body: String) -> Answer {
    let request = old.http.post(format!("{}{path}/node/register", old.url));
    let response = request.header("content-type", kind).body(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn command(answer: &Answer) -> &str {
    assert_eq!((answer.0, &answer.1["errcode"]), (200, &json!(0)), "{answer:?}");
    answer.1["response"]["command_name"].as_str().unwrap()
}

fn form(json: &Value) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("json_hash", &json.to_string()).finish()
}

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn an_image_of_razor_registers_once_and_is_acknowledged() {
    let old = Old::start("");
    let path = "/razor/api";
    let id = "hw_id=0011223344AA_0011223344BB";
    assert_eq!(command(&checkin(&old, path, &format!("{id}&first_checkin=true")).await), "register");
    assert_eq!(old.server.count().await, 0, "nothing is made before its facts are known");
    let facts =
        json!({"macaddress_eth0": "00:11:22:33:44:AA", "macaddress_eth1": "00:11:22:33:44:BB", "serialnumber": "S1"});
    let body = form(&json!({"@hw_id": "0011223344AA_0011223344BB", "@attributes_hash": facts, "@last_state": "idle"}));
    let (status, registered) = register(&old, path, FORM, body).await;
    assert_eq!((status, &registered["command"], &registered["errcode"]), (200, &json!("register_node"), &json!(0)));
    assert_eq!(registered["response"]["@attributes_hash"], facts);
    let answer = checkin(&old, path, id).await;
    assert_eq!(command(&answer), "acknowledge");
    assert_eq!(answer.1["client_config"]["mk_uri"], json!(old.url), "so that it goes on speaking to us");
    assert_eq!(command(&checkin(&old, path, &format!("{id}&first_checkin=x")).await), "register", "any value counts");
    assert_eq!(command(&checkin(&old, path, "hw_id=0011223344bb").await), "acknowledge", "by any port, in any case");

    // The same machine with one of our images is the same node.
    let (_, reply) = Boot::new(1).send(&old.server, &crate::agents::inventory(&[OURS], "S1")).await;
    assert_eq!(reply["id"], 1, "{reply}");
    assert_eq!(old.server.count().await, 1);
}

#[tokio::test]
async fn images_before_0_7_and_of_hanlon_register_in_their_forms() {
    let old = Old::start("match_nodes_on = [\"mac\", \"uuid\"]\n");
    let facts = json!({"serialnumber": "S1"});
    let body = form(&json!({"@uuid": "0011223344AA", "@attributes_hash": facts, "@last_state": "idle"}));
    assert_eq!(register(&old, "/razor/api", FORM, body).await.0, 200);
    assert_eq!(command(&checkin(&old, "/razor/api", "uuid=0011223344AA").await), "acknowledge");
    assert_eq!(old.server.hw_info(1).await["mac"], json!([OURS]), "its name for itself is its port");

    let hanlon = "/hanlon/api/v1";
    let id = "uuid=4C4C4544-0042-3510-8051-B7C04F4E3132&mac_id=0011223344CC";
    assert_eq!(command(&checkin(&old, hanlon, id).await), "register");
    let facts = json!({"macaddress_eth0": "00:11:22:33:44:CC"});
    let body = json!({"mac_id": "0011223344CC", "uuid": "4C4C4544-0042-3510-8051-B7C04F4E3132", "attributes_hash": facts, "last_state": "idle"});
    assert_eq!(register(&old, hanlon, "text/json", body.to_string()).await.0, 200);
    let answer = checkin(&old, hanlon, id).await;
    assert_eq!(command(&answer), "acknowledge");
    assert_eq!(answer.1["client_config"].get("mk_uri"), None);
    assert_eq!(command(&checkin(&old, "/razor/api/v1", id).await), "acknowledge", "under the other prefix too");
    assert_eq!(old.server.count().await, 2);
}

#[tokio::test]
async fn an_installed_node_is_told_to_reboot() {
    let old = Old::start("protect_new_nodes = true\n");
    let body = json!({"mac_id": "0011223344AA", "attributes_hash": {"a": "b"}, "last_state": "idle"});
    assert_eq!(register(&old, "/razor/api", "text/json", body.to_string()).await.0, 200);
    for want in ["reboot", "reboot", "reboot", "acknowledge"] {
        assert_eq!(command(&checkin(&old, "/razor/api", "hw_id=0011223344AA").await), want);
    }
    assert!(old.server.log(1).await.iter().any(|e| e["event"] == "reboot-loop"));
}

#[tokio::test]
async fn an_operators_reboot_is_told_once() {
    let old = Old::start("");
    let body = json!({"mac_id": "0011223344AA", "attributes_hash": {"a": "b"}, "last_state": "idle"});
    assert_eq!(register(&old, "/razor/api", "text/json", body.to_string()).await.0, 200);
    said(&old.server, &["nodes", "reboot", "node1"]);
    for want in ["reboot", "acknowledge"] {
        assert_eq!(command(&checkin(&old, "/razor/api", "hw_id=0011223344AA").await), want);
    }
    let log = said(&old.server, &["nodes", "log", "node1"]);
    assert!(log.contains("Command 1 (reboot) is sent."), "{log}");
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_in_the_old_form() {
    let old = Old::start("");
    for (status, answer) in
        [checkin(&old, "/razor/api", "hw_id=").await, register(&old, "/razor/api", FORM, "nonsense=1".to_owned()).await]
    {
        assert_eq!((status, &answer["std_err_code"], answer.get("errcode")), (400, &json!(114), None), "{answer}");
        assert!(answer["remedy"].as_str().unwrap().contains("hw_id"), "and says what to do: {answer}");
    }
    let empty = json!({"mac_id": "000000000000", "attributes_hash": {"a": "b"}, "last_state": "idle"});
    let (status, answer) = register(&old, "/razor/api", "text/json", empty.to_string()).await;
    assert_eq!((status, &answer["std_err_code"]), (400, &json!(124)), "no usable value: {answer}");
}

#[tokio::test]
async fn old_images_are_served_on_their_port_alone_and_it_serves_nothing_else() {
    let old = Old::start("");
    let path = "/razor/api/node/checkin?hw_id=0011223344AA&last_state=idle";
    assert_eq!(command(&old.get(path).await), "register");
    assert_eq!(old.server.get(path).await.0, 404, "whoever knows a MAC could speak as its machine");
    assert_eq!(old.get("/api/collections/nodes").await.0, 404);
}

#[tokio::test]
async fn two_old_machines_that_share_a_port_are_left_alone() {
    let old = Old::start("protect_new_nodes = true\n");
    let body = json!({"mac_id": "0011223344AA_0011223344BB", "attributes_hash": {"a": "b"}, "last_state": "idle"});
    assert_eq!(register(&old, "/razor/api", "text/json", body.to_string()).await.0, 200);
    let (one, two) = ("hw_id=0011223344AA_0011223344BB", "hw_id=0011223344BB_0011223344CC");
    assert_eq!(command(&checkin(&old, "/razor/api", one).await), "reboot");
    assert_eq!(command(&checkin(&old, "/razor/api", two).await), "reboot", "nobody can know yet");
    for _ in 0..2 {
        assert_eq!(command(&checkin(&old, "/razor/api", one).await), "acknowledge");
        assert_eq!(command(&checkin(&old, "/razor/api", two).await), "acknowledge");
    }
    let identity = old.server.node(1).await["identity"].clone();
    assert_eq!((&identity["state"], &identity["reason"]["code"]), (&json!("held"), &json!("taking_turns")));
    let log = old.server.log(1).await;
    let held = log.iter().filter(|entry| entry["event"] == "identity" && entry["decision"]["row"] == 13);
    assert_eq!(held.count(), 1, "its log says so, once: {log:?}");
}

#[tokio::test]
async fn an_old_image_cannot_speak_for_a_node_whose_agent_signs() {
    let old = Old::start("checkin_interval = 3600\nprotect_new_nodes = true\n");
    let stable = crate::agents::inventory(&[OURS], "S1");
    assert_eq!(Boot::new(1).send(&old.server, &stable).await.1["action"], "reboot");
    let before = old.server.node(1).await;
    for _ in 0..4 {
        let answer = checkin(&old, "/razor/api", "hw_id=0011223344AA&first_checkin=true").await;
        assert_eq!(command(&answer), "acknowledge", "it is neither rebooted nor asked for facts");
    }
    let body = json!({"mac_id": "0011223344AA", "attributes_hash": {"forged": "yes"}, "last_state": "idle"});
    let (status, answer) = register(&old, "/razor/api", "text/json", body.to_string()).await;
    assert_eq!((status, &answer["code"], answer.get("errcode")), (400, &json!("spoken_for"), None), "{answer}");
    let after = old.server.node(1).await;
    for field in ["facts", "hw_info", "identity", "last_checkin", "state"] {
        assert_eq!(after[field], before[field], "{field}");
    }
}
