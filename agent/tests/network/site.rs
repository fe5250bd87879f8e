//! The site's programs for facts: who runs them, whose word counts, and what becomes of one when its asker dies.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::sandbox::{Place, eventually, possible};
use crate::server::{Seen, Server, machine, none};

const PROGRAM: &str = "/etc/razor-mk/facts.d/10-rack";

/// Puts the program there, in place of the one before.
fn put(place: &Place, script: &str) {
    let (path, new) = (place.path(&PROGRAM[1..]), place.path("etc/new"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, path).unwrap();
}

/// The fact that it gives, as `mk-agent facts` has it.
fn rack(place: &Place) -> Value {
    let facts: Value = serde_json::from_str(&place.prints("facts --flat")).unwrap();
    facts["rack"].clone()
}

#[test]
fn the_check_in_alone_runs_the_sites_programs_and_none_outlives_it() {
    if !possible(&["unshare"]) {
        return;
    }
    let server = Server::start(vec![none(&json!({}))]);
    let place = machine(&[(&server.url(), false)]);
    // Longer than other facts are waited for.
    put(&place, "sleep 6; echo $PPID >> /run/asked; echo rack=4");
    assert_eq!(rack(&place), "4", "where nothing checks in, the command runs it and waits for it");

    let unit = place.start("checkin");
    let word = || place.state("facts")["programs"][PROGRAM]["facts"]["rack"].clone();
    eventually("what the program says", || (word() == "4").then_some(()));
    assert_eq!(rack(&place), "4");
    let asked = fs::read_to_string(place.path("run/asked")).unwrap();
    let askers: BTreeSet<&str> = asked.lines().collect();
    assert_eq!(askers.len(), 2, "the first command and the check-in: {asked}");

    // It crashes, and the program hangs from now on.
    drop(unit);
    put(&place, "echo $$ > /run/hangs; exec sleep 600");
    let before = server.seen.lock().unwrap().len();
    let unit = place.start("checkin");
    let whole = eventually("whole check-in", || {
        let seen = server.seen.lock().unwrap();
        seen.iter().skip(before).map(Seen::json).find(|body| body["facts"].is_object())
    });
    assert_eq!(whole["facts"]["rack"], "4", "a crash is no news of what the programs say");
    let hangs = || fs::read_to_string(place.path("run/hangs")).ok().filter(|text| text.ends_with('\n'));
    let pid = eventually("program that hangs", hangs);
    let lives = || fs::read(format!("/proc/{}/cmdline", pid.trim())).is_ok_and(|line| !line.is_empty());
    assert!(lives());
    drop(unit);
    eventually("end of the program", || (!lives()).then_some(()));
}

#[test]
fn a_predecessor_that_hangs_with_the_lock_is_named_and_its_word_is_gone_on_from() {
    if !possible(&["unshare"]) {
        return;
    }
    let server = Server::start(vec![none(&json!({}))]);
    let place = machine(&[(&server.url(), false)]);
    put(&place, "sleep 6; echo rack=5");
    let before = json!({"facts": {"rack": "4"}, "said_s": 1.0, "failure": null});
    place.publish("facts", &json!({"programs": {PROGRAM: before}}));
    let lock = fs::File::create(place.path("run/razor-mk/facts.lock")).unwrap();
    lock.try_lock().unwrap();
    let _unit = place.start("checkin");
    let first = server.request(0).json();
    assert_eq!(first["facts"]["rack"], "4", "what it said is not taken back");
    let why = &first["inventory"]["volatile"]["failures"]["/run/razor-mk/facts.lock"];
    assert!(why.as_str().unwrap().contains("a former process of the unit checkin has it"), "{first}");
    assert!(place.log("checkin").contains("facts.lock: a former process"), "{}", place.log("checkin"));
    let word = || place.state("facts")["programs"][PROGRAM]["facts"]["rack"].clone();
    eventually("news of the program", || (word() == "5").then_some(()));
    assert_eq!(rack(&place), "5", "to others the lock says that a check-in lives");
}
