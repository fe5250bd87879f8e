//! The server's clock is put forward and back while it runs: commands wait as long as before, and machines that reboot are known.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::agents::{Boot, inventory};
use crate::support::{PROGRAM, SERVE, Server};

/// What stands between programs and the clock.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
/// Longer than the server takes to look at the clock again.
const LOOK: Duration = Duration::from_secs(4);

const MACS: [&str; 2] = ["00-11-22-33-44-01", "00-11-22-33-44-02"];

/// Puts the clock off by this.
fn put(clock: &Path, by: &str) {
    let next = clock.with_extension("next");
    fs::write(&next, by).unwrap();
    fs::rename(next, clock).unwrap();
}

#[tokio::test]
async fn a_clock_that_jumps_ends_no_command_and_makes_no_machine_another() {
    if !Path::new(LIBRARY).exists() {
        return mk_tests::skip("it needs libfaketime");
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, clock) = (folder.path().join("data"), folder.path().join("clock"));
    fs::create_dir(&data).unwrap();
    put(&clock, "+0");
    let mut command = Command::new(PROGRAM);
    command.args(SERVE).arg(&data).env("LD_PRELOAD", LIBRARY).env("FAKETIME_TIMESTAMP_FILE", &clock);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let server = Server::spawn(&data, command);
    let report = |n: usize| {
        let mut report = inventory(&[MACS[n]], &format!("S{n}"));
        report["uptime_s"] = json!(1);
        report
    };
    let mut boots = [Boot::new(1), Boot::new(2)];
    for (n, boot) in boots.iter_mut().enumerate() {
        assert_eq!(boot.send(&server, &report(n)).await.1["id"], json!(n + 1));
    }
    for (round, by) in (1..).zip(["+400d", "-3000d", "+0", "+2h"]) {
        assert!(server.cli(&["nodes", "doctor", "node1"]).status.success());
        put(&clock, by);
        tokio::time::sleep(LOOK).await;
        let (_, events) = server.get("/api/collections/events").await;
        let is_jump =
            |event: &&Value| event["text"].as_str().is_some_and(|text| text.contains("the server's clock was put"));
        assert_eq!(events["items"].as_array().unwrap().iter().filter(is_jump).count(), round, "{by}: {events}");
        // One goes on, and the other boots anew.
        let (status, told) = boots[0].send(&server, &report(0)).await;
        assert_eq!((status, &told["id"], &told["state"]), (200, &json!(1), &json!("normal")), "{by}: {told}");
        assert_eq!(told["commands"][0]["kind"], "doctor", "{by}: {told}");
        let id = &told["commands"][0]["id"];
        let done = json!({"results": [{"id": id, "outcome": "done", "detail": ""}]});
        assert_eq!(boots[0].send(&server, &done).await.0, 200);
        boots[1] = Boot::new(u8::try_from(10 + round).unwrap());
        let (status, told) = boots[1].send(&server, &report(1)).await;
        assert_eq!((status, &told["id"], &told["state"]), (200, &json!(2), &json!("normal")), "{by}: {told}");
        let off = server.node(1).await["last_checkin"].as_str().unwrap().to_owned();
        println!("{by}: node1 was heard at {off}");
    }
    assert_eq!(server.count().await, 2);
    let log = server.log(1).await;
    assert!(!log.iter().any(|entry| entry["outcome"] == "expired"), "{log:?}");
}
