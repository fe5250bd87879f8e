//! Configuration for nodes, from the command line to what a machine is sent, and back.

use serde_json::{Value, json};

use crate::agents::{Boot, inventory};
use crate::conflicts::said;
use crate::support::Server;

const A: &str = "00-11-22-33-44-aa";
const B: &str = "00-11-22-33-44-bb";

/// A machine that has checked in as the node with its number.
async fn machine(server: &Server, n: u8, mac: &str) -> Boot {
    let mut boot = Boot::new(n);
    let answer = boot.send(server, &inventory(&[mac], &format!("S{n}"))).await;
    assert_eq!((answer.0, &answer.1["id"]), (200, &json!(n)), "{answer:?}");
    boot
}

/// What a check-in of an agent with this version is answered: version, keys, interval.
async fn told(server: &Server, boot: &mut Boot, version: u64) -> (Value, Value, Value) {
    let (status, reply) = boot.send(server, &json!({"config": {"version": version}})).await;
    assert_eq!(status, 200, "{reply}");
    (reply["config_version"].clone(), reply["config"].clone(), reply["interval"].clone())
}

#[tokio::test]
async fn nodes_get_what_is_set_once_and_say_what_became_of_it() {
    let server = Server::start("checkin_interval = 40\n");
    let (mut one, mut two) = (machine(&server, 1, A).await, machine(&server, 2, B).await);
    assert_eq!(told(&server, &mut one, 0).await, (json!(0), Value::Null, json!(40)), "nothing was set");
    let trial = said(&server, &["config", "set", "mk_checkin_interval=30", "--dry-run"]);
    assert!(trial.starts_with("Trial only") && trial.contains("mk_checkin_interval=30"), "{trial}");
    assert_eq!(told(&server, &mut one, 0).await.0, json!(0), "a trial changes nothing");

    said(&server, &["config", "set", "mk_checkin_interval=30", "mk_log_level=Logger::DEBUG"]);
    said(&server, &["config", "set", "--node", "node1", "mk_checkin_interval=5"]);
    let all = json!({"mk_checkin_interval": 30, "mk_log_level": "Logger::DEBUG"});
    let own = json!({"mk_checkin_interval": 5, "mk_log_level": "Logger::DEBUG"});
    assert_eq!(told(&server, &mut one, 0).await, (json!(2), own, json!(5)));
    assert_eq!(told(&server, &mut two, 0).await, (json!(1), all, json!(30)));
    let shown = said(&server, &["nodes", "show", "node1"]);
    assert!(shown.contains("version 2 waits for its next check-in, version 0 is in force"), "{shown}");
    assert_eq!(told(&server, &mut one, 2).await, (json!(2), Value::Null, json!(5)), "it has it");
    assert!(said(&server, &["config", "show", "node1"]).starts_with("node1: version 2 is in force\n"));
    let again = said(&server, &["config", "set", "--node", "node1", "mk_checkin_interval=5"]);
    assert!(again.contains("nothing was changed"), "{again}");

    let list = said(&server, &["config", "show"]);
    assert!(list.contains("mk_checkin_interval  30") && list.contains("Keys of their own: node1"), "{list}");
    said(&server, &["config", "unset", "--node", "node1", "mk_checkin_interval"]);
    let (version, keys, interval) = told(&server, &mut one, 2).await;
    assert_eq!((version, &keys["mk_checkin_interval"], interval), (json!(3), &json!(30), json!(30)), "a change too");
    said(&server, &["config", "unset", "mk_checkin_interval", "mk_log_level"]);
    assert_eq!(told(&server, &mut two, 1).await, (json!(4), json!({}), json!(40)), "as the image has it");
    let log = said(&server, &["log"]);
    for words in ["configuration 1 for all nodes: mk_checkin_interval=30", "Configuration 2 is in force"] {
        assert!(log.contains(words), "{words} is missing:\n{log}");
    }
}

#[tokio::test]
async fn what_a_node_refuses_is_shown_and_not_sent_again() {
    let mut server = Server::start("");
    let mut boot = machine(&server, 1, A).await;
    said(&server, &["config", "set", "mk_checkin_skew=7"]);
    server.restart("");
    assert_eq!(told(&server, &mut boot, 0).await.1, json!({"mk_checkin_skew": 7}), "it outlives the server");
    let problem = json!({"code": "bad_config", "error": "The skew is odd.", "remedy": "Even it."});
    let refusal = json!({"config": {"version": 0, "refused": {"version": 1, "problem": problem}}});
    for _ in 0..2 {
        let (_, reply) = boot.send(&server, &refusal).await;
        assert_eq!((&reply["config_version"], reply.get("config")), (&json!(1), None), "{reply}");
    }
    let shown = said(&server, &["config", "show", "node1"]);
    assert!(shown.contains("version 1 was refused, version 0 is in force: The skew is odd."), "{shown}");
    let log: Vec<Value> = server.log(1).await.into_iter().filter(|e| e["event"] == "config").collect();
    assert_eq!((log.len(), &log[0]["severity"], log[0].get("times")), (1, &json!("warn"), None), "said once: {log:?}");
    let (_, page) = server.text("/nodes/node1").await;
    assert!(page.contains("version 1 was refused"), "{page}");
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_name_and_changes_nothing() {
    let server = Server::start("");
    let mut boot = machine(&server, 1, A).await;
    for (args, words) in [
        (&["config", "set", "mk_checkin_skew=7", "mk_chekin_interval=30"][..], "mk_chekin_interval"),
        (
            &["config", "set", "mk_checkin_skew=7", "mk_checkin_interval=0"],
            "mk_checkin_interval is 0; it must be from 1",
        ),
        (&["config", "set", "mk_fact_excl_pattern=("], "mk_fact_excl_pattern"),
        (&["config", "set", "mk_uri=http://m/"], "mk_uri"),
        (&["config", "unset", "mk_log_levl"], "mk_log_levl"),
        (&["config", "set", "--node", "node9", "mk_checkin_skew=7"], "node9"),
        (&["config", "set", "mk_checkin_skew"], "KEY=VALUE"),
        (&["config", "set", "mk_checkin_skew=7", "mk_checkin_skew=8"], "given twice"),
        (&["config", "show", "node9"], "node9"),
    ] {
        let output = server.cli(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(words), "{args:?}: {text}");
    }
    assert_eq!(told(&server, &mut boot, 0).await.0, json!(0));
    assert!(said(&server, &["config", "show"]).starts_with("Nothing is set"));
}

#[tokio::test]
async fn facts_and_units_are_set_from_folders_and_checked_before_they_are_stored() {
    let server = Server::start("");
    let mut boot = machine(&server, 1, A).await;
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("facts.d/10-rack.txt", "rack=4\n");
    put("units.d/agent.toml", "name = \"agent\"\ncommand = [\"/usr/bin/agent\"]\nrestart = \"on-failure\"\n");
    let (facts, units) = (format!("mk_facts_d=@{}/facts.d", dir.path().display()), dir.path().join("units.d"));
    let units = format!("mk_units=@{}", units.display());
    let set = said(&server, &["config", "set", &facts, &units]);
    assert!(set.contains("mk_facts_d=10-rack.txt") && set.contains("mk_units=agent"), "{set}");
    let agent = json!({"command": ["/usr/bin/agent"], "restart": "on-failure"});
    let keys = json!({"mk_facts_d": {"10-rack.txt": "rack=4\n"}, "mk_units": {"agent": agent}});
    assert_eq!(told(&server, &mut boot, 0).await.1, keys);
    let again = said(&server, &["config", "set", &units]);
    assert!(again.contains("configuration 2"), "said again, it is tried again: {again}");

    put("facts.d/20-wrong.json", "[");
    put("units.d/net.toml", "name = \"net\"\ncommand = [\"/x\"]\n");
    for (setting, words) in [
        (facts.as_str(), "mk_facts_d.20-wrong.json is wrong"),
        (units.as_str(), "mk_units.net is the name of a unit of the agent's own"),
        (r#"mk_units={"a": {"command": ["x"]}}"#, "x is no absolute path"),
        (r#"mk_facts_d={"run-me": ""}"#, "mk_facts_d.run-me is no file with facts"),
    ] {
        let output = server.cli(&["config", "set", "mk_checkin_skew=7", setting]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(words), "{setting}: {text}");
    }
    assert_eq!(told(&server, &mut boot, 0).await, (json!(2), keys, json!(60)), "nothing was changed");
}

#[tokio::test]
async fn a_restored_database_that_counts_again_is_not_taken_for_the_one_before() {
    let (before, restored) = (Server::start(""), Server::start(""));
    let (mut one, mut other) = (machine(&before, 1, A).await, machine(&restored, 1, A).await);
    said(&before, &["config", "set", "mk_checkin_skew=7"]);
    said(&restored, &["config", "set", "mk_checkin_skew=8"]);
    let (_, reply) = one.send(&before, &json!({})).await;
    assert_eq!((&reply["config_version"], &reply["config"]), (&json!(1), &json!({"mk_checkin_skew": 7})), "{reply}");
    let has = json!({"config": {"version": 1, "digest": reply["config_digest"]}});
    assert_eq!(one.send(&before, &has).await.1.get("config"), None, "it has it");
    let (_, reply) = other.send(&restored, &has).await;
    assert_eq!((&reply["config_version"], &reply["config"]), (&json!(1), &json!({"mk_checkin_skew": 8})), "{reply}");
}

#[tokio::test]
async fn what_root_on_a_node_has_posted_is_shown_and_stays_until_another_is_set() {
    let server = Server::start("");
    let mut boot = machine(&server, 1, A).await;
    said(&server, &["config", "set", "mk_checkin_skew=7"]);
    let posted = json!({"config": {"version": 1, "posted": true}});
    assert_eq!(boot.send(&server, &posted).await.1.get("config"), None, "it is not taken back");
    let shown = said(&server, &["config", "show", "node1"]);
    assert!(shown.contains("in the place of version 1, root on the node has posted another"), "{shown}");
    let log = said(&server, &["log"]);
    assert!(log.contains("in the place of 1, until another one is set here"), "{log}");
    said(&server, &["config", "set", "mk_checkin_skew=8"]);
    assert_eq!(boot.send(&server, &posted).await.1["config"], json!({"mk_checkin_skew": 8}));
}

#[tokio::test]
async fn a_machine_that_is_told_to_speak_rarely_is_not_taken_for_dead() {
    let server = Server::start("checkin_interval = 1\n");
    said(&server, &["config", "set", "mk_checkin_interval=3600"]);
    let [before, rebuilt] = before_and_after();
    assert_eq!(Boot::new(1).send(&server, &before).await.1["id"], 1);
    // It does not know yet, and goes on by what it was told.
    said(&server, &["config", "unset", "mk_checkin_interval"]);
    tokio::time::sleep(std::time::Duration::from_millis(3500)).await;
    let answer = Boot::new(2).send(&server, &rebuilt).await;
    assert_eq!(answer.1["state"], "held", "node1 may be silent for an hour and run: {answer:?}");
    let (_, silent) = server.text("/nodes?show=silent").await;
    assert!(!silent.contains("id=\"node1\""), "{silent}");
}

/// A machine, and the same with another board.
fn before_and_after() -> [Value; 2] {
    let machine = |mac: &str, board: &str, uuid: &str| {
        let mut stable = crate::conflicts::machine(1, &[mac]);
        stable["board"]["serial"] = json!(board);
        stable["system"]["uuid"] = json!(uuid);
        crate::agents::report(&stable)
    };
    [
        machine(A, "BRD1", "00000001-0000-4000-8000-112233445501"),
        machine(B, "BRD9", "99999999-0000-4000-8000-112233445599"),
    ]
}

#[tokio::test]
async fn what_one_node_is_told_makes_nobody_else_wait() {
    let server = Server::start("checkin_interval = 1\n");
    let [before, rebuilt] = before_and_after();
    assert_eq!(Boot::new(1).send(&server, &before).await.1["id"], 1);
    let mut seldom = machine(&server, 2, "00-11-22-33-44-cc").await;
    said(&server, &["config", "set", "--node", "node2", "mk_checkin_interval=86400"]);
    assert_eq!(told(&server, &mut seldom, 0).await.2, json!(86400));
    tokio::time::sleep(std::time::Duration::from_millis(3500)).await;
    let (_, silent) = server.text("/nodes?show=silent").await;
    assert!(silent.contains("id=\"node1\"") && !silent.contains("id=\"node2\""), "{silent}");
    let answer = Boot::new(3).send(&server, &rebuilt).await;
    assert_eq!((&answer.1["id"], &answer.1["state"]), (&json!(1), &json!("normal")), "{answer:?}");
}

#[tokio::test]
async fn a_gem_mirror_is_sent_as_it_was_set() {
    let server = Server::start("");
    let mut boot = machine(&server, 1, A).await;
    said(&server, &["config", "set", "mk_gem_mirror_uri=http://m/gems", "mk_gemlist_uri=http://m/list"]);
    let keys = json!({"mk_gem_mirror_uri": "http://m/gems", "mk_gemlist_uri": "http://m/list"});
    assert_eq!(told(&server, &mut boot, 0).await.1, keys, "nothing of it is hashed");
}

#[tokio::test]
async fn a_duplicates_configuration_goes_over_to_the_node_that_it_is() {
    let server = Server::start("");
    let mut boot = machine(&server, 1, A).await;
    assert_eq!(server.boot(&format!("net0={B}")).await, Ok(2));
    said(&server, &["config", "set", "--node", "node2", "mk_checkin_skew=7"]);
    said(&server, &["conflicts", "merge", "node2", "node1"]);
    assert_eq!(told(&server, &mut boot, 0).await.1, json!({"mk_checkin_skew": 7}));
}
