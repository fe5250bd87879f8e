//! The port over a real connection, without a supervisor.

use super::*;
use crate::loopback::tests::{Answer, ask, start};

#[test]
fn what_can_be_read() {
    let address = start(routes);
    let Answer { code, body, .. } = ask(address, "GET /status", "", "");
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert!(code == 200 && status["uptime_s"].as_f64().unwrap() > 0.0, "{body}");
    let Answer { code, body, .. } = ask(address, "GET /facts", "", "");
    let facts: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert!(code == 200 && facts["processorcount"].as_u64().unwrap() > 0, "{body}");
    let Answer { code, body, .. } = ask(address, "GET /facts?inventory", "", "");
    let inventory: wire::inventory::Inventory = serde_json::from_str(&body).unwrap();
    assert!(code == 200 && inventory.stable.cpu.is_some(), "{body}");
}

#[test]
fn what_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        return mk_tests::skip("only root is told what is wrong with a configuration");
    }
    let address = start(routes);
    let large = format!("{{\"x\": \"{}\"}}", "y".repeat(CONFIG_BODY));
    for (request, body, code, name) in [
        ("GET /nothing", "", 404, "not_found"),
        ("POST /setMkConfig", "no", 400, "bad_config"),
        ("POST /setMkConfig", r#"{"mk_checkin_interval": 0}"#, 400, "bad_config"),
        ("POST /setMkConfig", r#"{"mk_fact_excl_pattern": "("}"#, 400, "bad_config"),
        ("POST /setMkConfig", &large, 413, "too_large"),
    ] {
        let Answer { code: got, body: answer, .. } = ask(address, request, "", body);
        let problem: Problem = serde_json::from_str(&answer).unwrap();
        assert_eq!((got, problem.code.as_str()), (code, name), "{request}");
    }
}

#[test]
fn who_is_not_root_reads_and_changes_nothing() {
    if !nix::unistd::geteuid().is_root() {
        return mk_tests::skip("it takes root to become somebody else");
    }
    let address = start(routes);
    let nobody = std::thread::spawn(move || {
        // SAFETY: the call has no memory effects. Made like this, it concerns this thread alone, which ends.
        assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) }, 0);
        assert_eq!(ask(address, "GET /status", "", "").code, 200);
        ask(address, "POST /setMkConfig", "", r#"{"mk_checkin_interval": 30}"#)
    });
    let Answer { code, body, .. } = nobody.join().unwrap();
    let problem: Problem = serde_json::from_str(&body).unwrap();
    assert_eq!((code, problem.code.as_str()), (403, "root_only"));
    assert!(problem.error.contains("the user with id 65534"), "{problem}");
}

/// The user that owns nothing.
const NOBODY: libc::uid_t = 65534;

#[test]
fn without_a_supervisor_that_is_said() {
    if std::path::Path::new(client::SOCKET).exists() {
        return;
    }
    let address = start(routes);
    for (request, code, name) in [("GET /", 503, "no_supervisor"), ("GET /logs?unit=net", 502, "no_logs")] {
        let Answer { code: got, body: answer, .. } = ask(address, request, "", "");
        let problem: Problem = serde_json::from_str(&answer).unwrap();
        assert_eq!((got, problem.code.as_str()), (code, name), "{request}");
    }
}
