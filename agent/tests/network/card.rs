//! The report card of a boot: told with the first check-in, again as long as no answer came, once more when it is complete, and
//! then no more.

use serde_json::{Value, json};

use crate::sandbox::{Place, eventually, possible};
use crate::server::{PORT, Server, machine, none};

fn span(begin_ms: u64, took_ms: u64) -> Value {
    json!({"begin_ms": begin_ms, "took_ms": took_ms})
}

/// What the other units have timed.
fn timed(place: &Place) {
    place.publish("units", &json!({"units": [], "pids": {}, "problems": [], "start": {"kernel": span(0, 2900)}}));
    let mut devices = place.state("devices");
    (devices["mounting"], devices["settling"]) = (span(2950, 200), span(3150, 1500));
    place.publish("devices", &devices);
    let mut net = place.state("net");
    (net["ports"][0]["linking"], net["ports"][0]["leasing"]) = (span(4000, 2000), span(6000, 31_000));
    place.publish("net", &net);
}

fn keys(card: &Value) -> Vec<&str> {
    card.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_card_goes_with_the_first_check_in_and_once_more_when_it_is_complete() {
    if !possible(&["unshare"]) {
        return;
    }
    // The first answer is lost.
    let server = Server::start(vec![Value::Null, none(&json!({}))]);
    let place = machine(&[(&server.url(), false)]);
    timed(&place);
    let unit = place.start("checkin");
    let cards: Vec<Value> = (0..4).map(|n| server.request(n).json()["card"].clone()).collect();
    assert_eq!(keys(&cards[0]), ["dhcp", "drivers", "extensions", "inventory", "kernel", "link"], "{cards:#?}");
    assert_eq!((&cards[0]["dhcp"], &cards[0]["kernel"]), (&span(6000, 31_000), &span(0, 2900)));
    assert_eq!(cards[1], cards[0], "the same request again");
    let whole = cards[2].clone();
    // That port's address is none of this machine's, so that no port is known to lead to the server.
    assert_eq!(keys(&whole), ["connect", "drivers", "exchange", "extensions", "inventory", "kernel"], "{cards:#?}");
    assert!(cards[3].is_null(), "it was told");
    assert_eq!(whole["inventory"], cards[0]["inventory"], "the first time counts");
    let end = |stage: &str| whole[stage]["begin_ms"].as_u64().unwrap() + whole[stage]["took_ms"].as_u64().unwrap();
    assert!(end("inventory") <= end("connect") && end("connect") <= end("exchange"), "{whole}");

    drop(unit);
    let before = server.times().len();
    let _unit = place.start("checkin");
    assert_eq!(server.request(before).json()["card"], whole, "a run that follows tells of the first");
    let status = place.prints("status");
    assert!(status.contains("boot:       first answer after ") && status.contains(", slowest: "), "{status}");
}

#[test]
fn the_port_that_leads_to_the_server_is_in_the_card_and_a_greeting_completes_it() {
    if !possible(&["unshare"]) {
        return;
    }
    let server = Server::start(vec![none(&json!({}))]);
    let place = machine(&[(&server.url(), true)]);
    timed(&place);
    let mut net = place.state("net");
    net["ports"][0]["addresses"] = json!(["127.0.0.1/8"]);
    let (mut other, address) = (net["ports"][0].clone(), json!(["10.8.0.5/24"]));
    (other["name"], other["key"], other["addresses"], other["linking"]) =
        (format!("{PORT}2").into(), "k2".into(), address, span(9, 9));
    net["ports"].as_array_mut().unwrap().insert(0, other);
    place.publish("net", &net);
    let _unit = place.start("checkin");
    // After the greeting.
    let first = server.request(1).json()["card"].clone();
    assert_eq!((&first["link"], &first["dhcp"]), (&span(4000, 2000), &span(6000, 31_000)), "{first}");
    assert!(first["exchange"].is_object() && first["connect"].is_object(), "{first}");
    assert!(server.request(2).json()["card"].is_null(), "it was whole");
    let shown = eventually("card", || Some(place.state("checkin")["card"].clone()).filter(|card| *card == first));
    assert_eq!(shown, first);
}
