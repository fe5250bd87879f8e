//! A pushed gem mirror: the check-in has the unit `gems` run again, which asks that mirror although the image has no CAs. A
//! program stands in for RubyGems and writes down what it is told; the test stands in for the supervisor.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::sandbox::{eventually, possible};
use crate::server::{Server, machine, none};
use crate::supervisor::Supervisor;

#[test]
fn a_pushed_gem_mirror_is_installed_from_in_an_image_without_cas() {
    if !possible(&["unshare"]) {
        return;
    }
    let mirror = Server::answering(TcpListener::bind("127.0.0.1:0").unwrap(), |request, mut stream| {
        assert!(request.line.starts_with("GET /m/gems/gem.list "), "{}", request.line);
        let list = "mk-tool  >= 1.0 # ours\n";
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{list}", list.len());
    });
    let config = |version: u32, config: Value| none(&json!({"config_version": version, "config": config}));
    let uri = format!("{}/m", mirror.url());
    let server = Server::start(vec![
        config(1, json!({"mk_gem_mirror_uri": uri})),
        config(2, json!({"mk_gem_mirror_uri": uri, "mk_checkin_skew": 0})),
    ]);
    let place = machine(&[(&server.url(), false)]).with_folders(&["usr/local"]);
    let gem = place.path("usr/local/bin/gem");
    fs::create_dir_all(gem.parent().unwrap()).unwrap();
    fs::write(&gem, "#!/bin/sh\necho \"$@\" >> /run/gem\n").unwrap();
    fs::set_permissions(&gem, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(!place.path("etc/ssl").exists(), "the image brings no CAs");
    let supervisor = Supervisor::of(&place);
    let _unit = place.start("checkin");
    let is_told = |version| server.seen.lock().unwrap().iter().any(|s| s.json()["config"]["version"] == version);
    eventually("second configuration", || is_told(2).then_some(()));
    assert_eq!(supervisor.count(&json!({"restart": "gems"})), 1, "a change of other keys is none of its business");

    place.prints("run gems");
    let told = fs::read_to_string(place.path("run/gem")).unwrap_or_default();
    let source = format!("--clear-sources --source {uri}/ mk-tool --version >= 1.0\n");
    assert_eq!(told, format!("install --no-document --conservative {source}"));
}

#[test]
fn a_pushed_gem_mirror_outlives_a_check_in_that_died_before_it_told_the_unit() {
    if !possible(&["unshare"]) {
        return;
    }
    let config = json!({"config_version": 1, "config": {"mk_gem_mirror_uri": "http://10.9.0.1/m"}});
    // Once taken, it is not sent again.
    let server = Server::start(vec![none(&config), none(&json!({}))]);
    let place = machine(&[(&server.url(), false)]);
    let taken = |from: usize| {
        eventually("configuration in force", || {
            let seen = server.seen.lock().unwrap();
            seen.iter().skip(from).any(|s| s.json()["config"]["version"] == 1).then_some(seen.len())
        })
    };
    // Nobody supervises, so that the unit `gems` cannot be told; then the check-in dies.
    let unit = place.start("checkin");
    let before = taken(0);
    drop(unit);
    let supervisor = Supervisor::of(&place);
    let told = || supervisor.count(&json!({"restart": "gems"}));
    let unit = place.start("checkin");
    eventually("word to the unit gems", || (told() > 0).then_some(()));
    // What it has told is kept before it checks in again.
    let heard = server.seen.lock().unwrap().len();
    let before = taken(before.max(heard));
    drop(unit);
    let count = told();
    let _unit = place.start("checkin");
    // One of the former's may have come late, and its own first one goes out before it could tell.
    taken(before + 2);
    assert_eq!(told(), count, "it knows by now");
}
