//! Units of a configuration with all its parts: root posts it at the unit `control`, `checkin` places it, the supervisor runs
//! it, and what does not run is taken back.

use serde_json::{Value, json};

use crate::guest::{Guest, eventually};

/// Posts a configuration; gives the answer, once there is somebody to answer.
fn post(guest: &Guest, config: &Value) -> String {
    let body = config.to_string();
    let head =
        format!("POST /setMkConfig HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nContent-Length: {}", body.len());
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/2156 && printf '{head}\\r\\n\\r\\n%s' '{body}' >&3 && cat <&3");
    eventually("answer of the unit control", || {
        let answer = guest.shell(&format!("bash -c {} 2>/dev/null || :", quoted(&script)));
        (!answer.is_empty()).then_some(answer)
    })
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn in_force(guest: &Guest) -> Value {
    let text = guest.shell("cat /run/razor-mk/config.json 2>/dev/null || echo null");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn posted_units_run_and_one_that_crashes_takes_all_of_it_back() {
    let Some(guest) = Guest::start(&[]) else { return };
    let units = |units: Value| json!({"mk_checkin_skew": 1, "mk_units": units});
    let good = units(json!({"sleeper": {"command": ["/bin/sleep", "1000"]}}));
    assert!(post(&guest, &good).starts_with("HTTP/1.1 202 "));
    let pid = guest.successor("sleeper", None);
    eventually("end of the trial", || (in_force(&guest)["config"] == good).then_some(()));

    let broken = json!({"command": ["/bin/sh", "-c", "echo nothing works; exit 4"]});
    let bad = units(json!({"sleeper": {"command": ["/bin/sleep", "2000"]}, "broken": broken}));
    assert!(post(&guest, &bad).starts_with("HTTP/1.1 202 "));
    let other = guest.successor("sleeper", Some(pid));
    let refused =
        eventually("refusal", || Some(in_force(&guest)["answer"]["refused"].clone()).filter(Value::is_object));
    let why = refused["error"].as_str().unwrap();
    assert!(why.contains("the unit broken ended again and again, last with exit status 4"), "{why}");
    assert!(
        why.contains("nothing works") && refused["remedy"].as_str().unwrap().contains("mk_units.broken"),
        "{refused}"
    );
    assert_eq!(in_force(&guest)["config"], good, "the one before");
    guest.successor("sleeper", Some(other));
    assert!(guest.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").contains("/bin/sleep 1000"), "its unit is back");
    eventually("end of the unit that crashed", || (!guest.names().contains(&"broken".to_owned())).then_some(()));
}
