//! The wire formats as they were first shipped: each golden file is read by today's types and written again without a
//! difference, and the full ones name every field there is. Files are only ever added.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wire::card::Card;
use wire::checkin::{CheckinReply, CheckinRequest, Hello, WaitReply};
use wire::embed::Embed;
use wire::error::Problem;
use wire::inventory::Inventory;
use wire::site::{Image, Site};

fn golden(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/v1").join(format!("{name}.json"));
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
}

/// Reads a golden file as `T` and expects to get it back; nothing may be lost or added.
fn round_trip<T: Serialize + DeserializeOwned>(name: &str) -> T {
    let file = golden(name);
    let value: T = serde_json::from_value(file.clone()).unwrap();
    assert_eq!(serde_json::to_value(&value).unwrap(), file, "{name}.json does not survive reading and writing");
    value
}

#[test]
fn every_message_survives_reading_and_writing() {
    round_trip::<CheckinRequest>("checkin_request_full");
    round_trip::<CheckinRequest>("checkin_request_unchanged");
    round_trip::<CheckinRequest>("checkin_request_original");
    round_trip::<CheckinReply>("checkin_reply_full");
    round_trip::<CheckinReply>("checkin_reply_original");
    round_trip::<Hello>("hello");
    round_trip::<WaitReply>("wait_reply");
    round_trip::<Card>("card");
    round_trip::<Problem>("problem");
    round_trip::<Site>("site");
    round_trip::<Image>("image");
    round_trip::<Embed>("embed");
    round_trip::<Embed>("embed_ca");
}

/// Unknown fields of a newer peer do no harm.
#[test]
fn unknown_fields_are_ignored() {
    let mut reply = golden("checkin_reply_original");
    reply["a_later_field"] = Value::from(1);
    let read: CheckinReply = serde_json::from_value(reply).unwrap();
    assert_eq!(read.action, "reboot");
}

/// A field that no golden file holds could change its meaning unnoticed.
#[test]
fn the_full_request_and_reply_hold_every_field() {
    let request: CheckinRequest = round_trip("checkin_request_full");
    let reply: CheckinReply = round_trip("checkin_reply_full");
    for (name, debug) in [("request", format!("{request:#?}")), ("reply", format!("{reply:#?}"))] {
        let absent: Vec<&str> = debug
            .lines()
            .map(str::trim)
            .filter(|l| l.ends_with(": None,") || l.ends_with(": [],") || l.ends_with(": {},"))
            .collect();
        assert_eq!(absent, Vec::<&str>::new(), "fields that the golden {name} leaves out");
    }
}

/// The golden units are what today's unit files have, in each field.
#[test]
fn the_golden_units_are_understood() {
    let reply: CheckinReply = round_trip("checkin_reply_full");
    let config = reply.config.unwrap();
    let units = config.units().unwrap();
    assert!(units["sshd"].restart == wire::unit::Restart::OnFailure && units["sshd"].tty.is_some(), "{units:?}");
    let named = wire::unit::UnitFile { name: String::new(), ..units["sshd"].clone() };
    assert_eq!(serde_json::to_value(named).unwrap(), config.mk_units["sshd"]);
}

/// The order of the stable inventory's bytes is part of the format: agents compare digests across versions.
#[test]
fn the_digest_of_the_golden_inventory_stays() {
    let request: CheckinRequest = round_trip("checkin_request_full");
    let inventory: Inventory = request.inventory.unwrap();
    assert_eq!(
        wire::digest::stable(&inventory.stable),
        "e63841e1a9bd78fbbde9f4559d94ed4bc4e1fcd9f218b105a476d91f275396fc"
    );
}
