//! A server that is away: no busy loop, no reboot, and soon after it is back all is well. A whole day of it is simulated
//! (`agent/src/checkin/tests.rs`).

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::sandbox::{eventually, possible};
use crate::server::{Server, machine, none};

/// It is away for so long.
const AWAY: Duration = Duration::from_secs(25);
/// Attempts meanwhile: after 0, ½ to 1, 1½ to 3, 3½ to 7, 7½ to 15 and 15½ to 31 seconds.
const ATTEMPTS: std::ops::RangeInclusive<u64> = 4..=6;
/// Processor time that the unit may take meanwhile; a loop would take all of it.
const BUSY: Duration = Duration::from_secs(5);
/// Growth of its memory in KiB.
const GROWTH: u64 = 4 * 1024;

#[test]
fn a_server_that_is_away_is_named_asked_seldom_and_found_again() {
    if !possible(&["unshare"]) {
        return;
    }
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    let place = machine(&[(&url, false)]);
    let (_console, unit) = (place.start("console"), place.start("checkin"));
    eventually("failure", || (place.state("checkin")["failures"].as_u64() >= Some(1)).then_some(()));
    let (busy, memory) = (unit.processor_time(), unit.memory_kib());
    thread::sleep(AWAY);
    let (busy, growth) = (unit.processor_time() - busy, unit.memory_kib().saturating_sub(memory));
    let state = place.state("checkin");
    println!("{} attempts in {AWAY:?}, {busy:?} of processor time, {growth} KiB more", state["failures"]);
    assert!(ATTEMPTS.contains(&state["failures"].as_u64().unwrap()), "{state}");
    assert!(busy < BUSY && growth < GROWTH, "{busy:?}, {growth} KiB");
    let named = |text: &str| text.contains("no connection") && text.contains("See whether the server runs");
    let serial = place.serial();
    assert!(serial.lines().any(|line| named(line) && line.contains("Next step: ")), "{serial}");
    assert!(named(&place.log("checkin")), "{}", place.log("checkin"));
    assert!(named(&place.prints("status")), "{}", place.prints("status"));
    assert!(!place.log("checkin").contains("asking the supervisor"), "{}", place.log("checkin"));

    let server = Server::on(TcpListener::bind(address).unwrap(), vec![none(&json!({}))]);
    eventually("check-in", || (place.state("checkin")["stage"] == "checked in").then_some(()));
    assert!(server.request(0).codes().contains(&"connect".to_owned()));
    let state = place.state("checkin");
    assert!(state["error"].is_null() && state["failures"] == 0, "{state}");
}
