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
    let address = start(routes);
    let large = format!("{{\"x\": \"{}\"}}", "y".repeat(CONFIG_BODY));
    for (request, body, code, name) in [
        ("GET /nothing", "", 404, "not_found"),
        ("POST /setMkConfig", "no", 400, "bad_config"),
        ("POST /setMkConfig", r#"{"mk_checkin_interval": 0}"#, 400, "bad_config"),
        ("POST /setMkConfig", "%7B%22mk_checkin_interval%22%3A60%7D=", 501, "config_from_server_only"),
        ("POST /setMkConfig", &large, 413, "too_large"),
    ] {
        let Answer { code: got, body: answer, .. } = ask(address, request, "", body);
        let problem: Problem = serde_json::from_str(&answer).unwrap();
        assert_eq!((got, problem.code.as_str()), (code, name), "{request}");
    }
}

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
