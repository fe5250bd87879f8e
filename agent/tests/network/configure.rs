//! Pushed configuration while the check-in runs: each key is taken without a restart, a wrong one leaves all as it was, and
//! units that do not run take the whole configuration back. The test stands in for the supervisor.

use std::cell::Cell;
use std::fs;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::sandbox::{Place, Unit, eventually, possible};
use crate::server::{Seen, Server, machine, none, say};
use crate::supervisor::Supervisor;

/// A machine that checks in, and a server that pushes what it is told to until that is in force or refused.
struct Node {
    place: Place,
    server: Server,
    supervisor: Supervisor,
    push: Arc<Mutex<Value>>,
    /// Requests that were there when it was pushed.
    before: Cell<usize>,
    _unit: Unit,
}

impl Node {
    fn new() -> Self {
        let push = Arc::new(Mutex::new(json!({})));
        let pushed = Arc::clone(&push);
        let server = Server::answering(TcpListener::bind("127.0.0.1:0").unwrap(), move |request, stream| {
            let mut more = pushed.lock().unwrap().clone();
            let has = request.json()["config"].clone();
            if [&has["version"], &has["refused"]["version"]].contains(&&more["config_version"]) {
                more.as_object_mut().unwrap().remove("config");
            }
            // What the node itself was told counts.
            more["interval"] = Value::Null;
            say(stream, &none(&more).to_string());
        });
        let place = machine(&[(&server.url(), false)]);
        let supervisor = Supervisor::of(&place);
        let unit = place.start("checkin");
        *push.lock().unwrap() =
            json!({"config_version": 1, "config": {"mk_checkin_interval": 1, "mk_checkin_skew": 0}});
        let node = Self { place, server, supervisor, push, before: Cell::new(0), _unit: unit };
        node.told(|config| config["version"] == 1);
        node
    }

    fn push(&self, version: u64, config: &Value) {
        self.before.set(self.server.seen.lock().unwrap().len());
        *self.push.lock().unwrap() = json!({"config_version": version, "config": config});
    }

    /// The first request since the push whose configuration's state is like this.
    fn told(&self, like: impl Fn(&Value) -> bool) -> Seen {
        eventually("configuration's state", || {
            let seen = self.server.seen.lock().unwrap();
            seen.iter().skip(self.before.get()).find(|s| like(&s.json()["config"])).cloned()
        })
    }

    /// Says what the supervisor would of this unit.
    fn say_unit(&self, name: &str, state: &str) {
        let unit = json!({"name": name, "state": state, "restarts": 5, "last_exit": "exit status 3"});
        self.place.publish("units", &json!({"units": [unit], "pids": {}, "problems": []}));
    }

    /// A pushed file; empty where there is none.
    fn file(&self, path: &str) -> String {
        fs::read_to_string(self.place.path(&format!("run/razor-mk/{path}"))).unwrap_or_default()
    }

    /// The last inventory that came.
    fn site(&self) -> Value {
        let seen = self.server.seen.lock().unwrap();
        let last = seen.iter().rev().map(Seen::json).find(|body| body["facts"].is_object()).unwrap();
        last["inventory"]["stable"]["site"].clone()
    }
}

const RELOAD: &str = "reload";

/// A configuration with all that is taken while the unit runs.
fn all(rack: &str, argument: &str) -> Value {
    json!({
        "mk_checkin_interval": 1,
        "mk_checkin_skew": 0,
        "mk_log_level": "Logger::DEBUG",
        "mk_fact_excl_pattern": "^kernel",
        "mk_facts_d": {"10-rack.txt": format!("rack={rack}\n")},
        "mk_units": {"tool": {"command": ["/bin/tool", argument], "restart": "on-failure"}},
    })
}

#[test]
fn each_key_is_taken_while_the_unit_runs_and_a_wrong_one_leaves_all_as_it_was() {
    if !possible(&["unshare"]) {
        return;
    }
    let node = Node::new();
    node.say_unit("tool", "done");
    let is_verbose = || node.place.log("checkin").contains("connecting to");
    assert!(!is_verbose());
    node.push(2, &all("4", "one"));
    let taken = node.told(|config| config["version"] == 2).json();
    assert_eq!((&taken["config"]["refused"], &taken["facts"]["rack"]), (&Value::Null, &json!("4")), "in one report");
    assert!(taken["facts"].is_object() && taken["facts"].get("kernel").is_none(), "{}", taken["facts"]);
    assert!(node.file("units.d/tool.toml").contains("\"one\""), "{}", node.file("units.d/tool.toml"));
    let state = node.place.state("config");
    assert_eq!((&state["version"], &state["candidate"]), (&json!(2), &Value::Null));
    assert_eq!(node.supervisor.count(&json!(RELOAD)), 1);
    eventually("lines of the level that was pushed", || is_verbose().then_some(()));
    // With the interval of 60 s before, these would not come.
    let seen = node.server.seen.lock().unwrap().len();
    node.server.request(seen + 2);

    let mut wrong = all("5", "two");
    wrong["mk_log_level"] = json!("LOUD");
    node.push(3, &wrong);
    let refused = node.told(|config| config["refused"]["version"] == 3);
    let config = &refused.json()["config"];
    assert_eq!(config["version"], 2);
    let why = config["refused"]["problem"]["error"].as_str().unwrap();
    assert!(why.contains("mk_log_level is LOUD; it must be one of"), "{why}");
    assert_eq!(refused.codes(), Vec::<String>::new(), "one report");
    let seen = node.server.seen.lock().unwrap().len();
    node.server.request(seen + 1);
    assert_eq!((node.file("facts.d/10-rack.txt").as_str(), node.site()["rack"].clone()), ("rack=4\n", json!("4")));
    assert!(node.file("units.d/tool.toml").contains("\"one\""));
    assert_eq!(node.supervisor.count(&json!(RELOAD)), 1, "the supervisor was told nothing");

    node.push(4, &json!({"mk_checkin_interval": 1}));
    let bare = node.told(|config| config["version"] == 4).json();
    assert!(bare["facts"]["kernel"].is_string() && bare["facts"].get("rack").is_none(), "{bare}");
    assert_eq!((node.file("units.d/tool.toml").as_str(), node.file("facts.d/10-rack.txt").as_str()), ("", ""));
}

#[test]
fn a_unit_that_crashes_again_and_again_takes_the_whole_configuration_back() {
    if !possible(&["unshare"]) {
        return;
    }
    let mut node = Node::new();
    node.say_unit("tool", "done");
    node.push(2, &all("4", "one"));
    node.told(|config| config["version"] == 2);
    node.say_unit("tool", "backoff");
    node.supervisor.answer(&json!({"logs": "tool"}), &json!({"lines": ["line 1", "no such device"]}));
    node.push(3, &all("5", "two"));
    eventually("units on trial", || node.file("units.d/tool.toml").contains("\"two\"").then_some(()));
    assert_eq!(node.file("facts.d/10-rack.txt"), "rack=4\n", "nothing else of it is in force yet");
    // The check-in dies meanwhile; what comes after it goes on.
    eventually("trial", || node.place.state("config")["candidate"]["stage"]["units"].as_f64());
    node._unit = node.place.start("checkin");
    node.say_unit("tool", "failed");
    let config = node.told(|config| config["refused"]["version"] == 3).json()["config"].clone();
    let problem = &config["refused"]["problem"];
    let why = problem["error"].as_str().unwrap();
    assert!(why.contains("the unit tool ended again and again, last with exit status 3"), "{why}");
    assert!(why.contains("line 1 | no such device") && problem["remedy"].as_str().unwrap().contains("mk_units.tool"));
    assert_eq!(config["version"], 2);
    assert!(node.file("units.d/tool.toml").contains("\"one\""), "the former unit is back");
    assert_eq!(node.site()["rack"], "4");
    // For the first, for the second, by the check-in that was started again, and for the return.
    assert_eq!(node.supervisor.count(&json!(RELOAD)), 4);
}

#[test]
fn a_unit_that_the_supervisor_does_not_take_is_refused_for_its_reason() {
    if !possible(&["unshare"]) {
        return;
    }
    let node = Node::new();
    let why = "unit file /run/razor-mk/units.d/tool.toml is skipped: there is a unit tool already";
    let skipped = json!({"skipped": [{"code": "bad_unit_file", "error": why, "remedy": "r"}]});
    node.supervisor.answer(&json!(RELOAD), &skipped);
    node.push(2, &all("4", "one"));
    let config = node.told(|config| config["refused"]["version"] == 2).json()["config"].clone();
    assert_eq!((&config["refused"]["problem"]["error"], &config["version"]), (&json!(why), &json!(1)));
    assert_eq!((node.file("units.d/tool.toml").as_str(), node.file("facts.d/10-rack.txt").as_str()), ("", ""));
}

#[test]
fn what_cannot_be_placed_is_refused_as_a_whole_and_a_folder_of_an_operator_is_kept() {
    if !possible(&["unshare"]) {
        return;
    }
    let node = Node::new();
    node.say_unit("tool", "done");
    let path = |name: &str| node.place.path(&format!("run/razor-mk/{name}"));
    for (version, folder, reloads) in [(2, "units.d", 0), (3, "facts.d", 2)] {
        // A file in the place of each of the two folders that a set would be written to.
        let blocks = ["a", "b"].map(|which| path(&format!(".{folder}.{which}")));
        blocks.iter().for_each(|block| fs::write(block, "").unwrap());
        node.push(version, &all("4", "one"));
        let told = node.told(|config| config["refused"]["version"] == version).json();
        let why = told["config"]["refused"]["problem"]["error"].as_str().unwrap();
        assert!(why.contains(&format!("cannot write /run/razor-mk/{folder}")), "{why}");
        assert_eq!(told["config"]["version"], 1);
        assert_eq!((node.file("units.d/tool.toml").as_str(), node.file("facts.d/10-rack.txt").as_str()), ("", ""));
        assert_eq!(node.supervisor.count(&json!(RELOAD)), reloads, "{folder}");
        blocks.iter().for_each(|block| fs::remove_file(block).unwrap());
    }
    fs::remove_file(path("units.d")).unwrap();
    fs::create_dir(path("units.d")).unwrap();
    fs::write(path("units.d/own.toml"), "own").unwrap();
    node.push(4, &all("4", "one"));
    node.told(|config| config["version"] == 4);
    assert!(node.file("units.d/tool.toml").contains("\"one\"") && node.file("units.d/own.toml").is_empty());
    assert_eq!(node.file("units.d.aside-1/own.toml"), "own");
    assert!(node.place.log("checkin").contains("it is /run/razor-mk/units.d.aside-1 now"));
}
