//! What is fuzzed of the messages: each parser of bytes from outside by a name, with what must be true of it, and folders or files of the
//! work tree that have examples. What is read of any message can be written, and is then read as the same.
//!
//! `cargo xtask fuzz` runs them guided by coverage; the test below runs what that has found, and changes of it.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::card::Card;
use crate::checkin::{CheckinReply, CheckinRequest, Hello, WaitReply};
use crate::config::Config;
use crate::embed::Embed;
use crate::error::Problem;
use crate::site::{Image, Site};
use crate::unit::UnitFile;
use crate::{extensions, fact_file, facts, gems};

/// Name, what is checked of any bytes, and where examples are.
pub type Target = (&'static str, fn(&[u8]), &'static [&'static str]);

const GOLDEN: &[&str] = &["wire/golden/v1"];

/// All of them.
pub const TARGETS: &[Target] = &[
    ("checkin_reply", checkin_reply, GOLDEN),
    ("checkin_request", checkin_request, GOLDEN),
    ("config", config, &[]),
    ("embed_json", embed_json, GOLDEN),
    ("extension_list", extension_list, &[]),
    ("fact_file", fact_file, &[]),
    ("gem_list", gem_list, &[]),
    ("image_and_site_json", image_and_site_json, GOLDEN),
    ("small_messages", small_messages, GOLDEN),
    ("unit_toml", unit_toml, &["rootfs-overlay/etc/razor-mk/units.d"]),
];

/// Reads bytes, writes what they say and reads that.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(bytes).ok()?;
    let again = serde_json::to_vec(&value).and_then(|written| serde_json::from_slice::<T>(&written));
    assert!(again.as_ref().is_ok_and(|again| *again == value), "{value:?} became {again:?}");
    Some(value)
}

fn checkin_request(bytes: &[u8]) {
    let Some(request) = round_trip::<CheckinRequest>(bytes) else { return };
    if let Some(inventory) = &request.inventory {
        let _ =
            (facts::flatten(inventory), facts::hw_id(&inventory.stable), facts::identifying_nics(&inventory.stable));
    }
    if let Some(card) = &request.card {
        let _ = (card.summary(), card.slowest());
    }
}

fn checkin_reply(bytes: &[u8]) {
    let config = round_trip::<CheckinReply>(bytes).and_then(|reply| reply.config).unwrap_or_default();
    accepted(&config);
}

fn config(bytes: &[u8]) {
    accepted(&round_trip::<Config>(bytes).unwrap_or_default());
}

/// What is taken as a whole is right in each of its parts.
fn accepted(config: &Config) {
    if config.validate().is_ok() {
        for (name, unit) in config.units().unwrap_or_default() {
            assert!(unit.validate().is_ok() && unit.bounds().is_ok(), "{name}");
        }
        let _ = extensions::Source::of(config, "http://server:8150").folder();
    }
}

fn embed_json(bytes: &[u8]) {
    round_trip::<Embed>(bytes);
}

fn image_and_site_json(bytes: &[u8]) {
    round_trip::<Image>(bytes);
    round_trip::<Site>(bytes);
}

fn small_messages(bytes: &[u8]) {
    round_trip::<Hello>(bytes);
    round_trip::<WaitReply>(bytes);
    round_trip::<Problem>(bytes);
    if let Some(card) = round_trip::<Card>(bytes) {
        let _ = (card.summary(), card.slowest());
    }
}

fn unit_toml(bytes: &[u8]) {
    let Ok(unit) = toml::from_str::<UnitFile>(&String::from_utf8_lossy(bytes)) else { return };
    assert!(unit.validate().is_err() || unit.bounds().is_ok(), "{unit:?}");
}

fn fact_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let readers = fact_file::ENDINGS.iter().filter_map(|ending| fact_file::reader(&format!("a.{ending}")));
    for facts in readers.chain([fact_file::printed as fact_file::Reader]).filter_map(|read| read(&text).ok()) {
        assert!(facts.keys().all(|name| fact_file::is_fact_name(name)), "{facts:?}");
        let again = serde_json::to_string(&facts).map(|json| fact_file::printed(&json));
        assert!(again.is_ok_and(|again| again.as_ref() == Ok(&facts)), "{facts:?}");
    }
}

fn extension_list(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let names = extensions::list(&text);
    assert!(names.len() <= text.len());
    let again = serde_json::to_string(&names).map(|json| extensions::list(&json));
    assert!(again.is_ok_and(|again| again == names), "{names:?}");
}

fn gem_list(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for (line, name, _) in gems::lines(&text) {
        assert!(line <= text.len() + 1);
        let _ = gems::is_name(name);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_parser_keeps_its_promises_on_the_corpus_and_on_changes_of_it() {
        mk_tests::fuzz::check(super::TARGETS);
    }
}
