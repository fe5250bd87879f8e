//! Configurations one after the other, without a machine.

use serde_json::{Value, json};

use super::*;

/// As the server sends it.
fn offer(version: u64, config: &Config) -> Candidate {
    Candidate::of_server(version, None, config.clone())
}

fn considers(pushed: &mut Pushed, offer: Candidate) -> bool {
    pushed.consider(offer).is_some()
}

fn posts(pushed: &mut Pushed, number: u64, config: &Config) -> bool {
    pushed.post(number, config).is_some()
}

fn settles(pushed: &mut Pushed, applied: &Applied) -> bool {
    pushed.settle(applied).is_some()
}

fn ends_trial(pushed: &mut Pushed, verdict: Result<(), Problem>) -> bool {
    pushed.end_trial(verdict).is_some()
}

fn config(keys: Value) -> Config {
    serde_json::from_value(keys).unwrap()
}

fn failed() -> Problem {
    Problem::new("unit", "a ended", "r")
}

/// Since when units are on trial, and which.
fn on_trial(pushed: &Pushed) -> Option<(f64, Vec<String>)> {
    pushed.on_trial().map(|(since, units)| (since, units.into_keys().collect()))
}

/// A configuration with a unit of this argument.
fn unit(argument: &str) -> Config {
    config(json!({"mk_units": {"a": {"command": ["/a", argument]}}, "mk_checkin_interval": 15}))
}

#[test]
fn a_sound_configuration_replaces_the_one_before_as_a_whole() {
    let mut pushed = Pushed::default();
    let one = Config { mk_checkin_interval: Some(15), mk_fact_excl_pattern: Some("^x".into()), ..Config::default() };
    assert!(considers(&mut pushed, offer(1, &one)));
    assert!(!considers(&mut pushed, offer(1, &one)), "the same version once");
    assert!(pushed.excluded().unwrap().is_match("xyz"));
    assert!(considers(
        &mut pushed,
        offer(2, &Config { mk_log_level: Some("Logger::DEBUG".into()), ..Config::default() })
    ));
    assert_eq!((pushed.config.mk_checkin_interval, pushed.level()), (None, Some(Level::Debug)));
    assert_eq!(pushed.state(), ConfigState { version: 2, ..ConfigState::default() });
}

#[test]
fn a_wrong_one_is_refused_as_a_whole_and_reported() {
    let mut pushed = Pushed::default();
    considers(&mut pushed, offer(1, &Config { mk_checkin_interval: Some(15), ..Config::default() }));
    let wrong = [
        Config { mk_checkin_interval: Some(20), mk_log_level: Some("LOUD".into()), ..Config::default() },
        Config { mk_fact_excl_pattern: Some("(".into()), ..Config::default() },
        Config { mk_fact_excl_pattern: Some("x".repeat(5000)), ..Config::default() },
    ];
    for (version, config) in (2..).zip(wrong) {
        assert!(considers(&mut pushed, offer(version, &config)));
        assert!(!considers(&mut pushed, offer(version, &config)), "no second judgement of the same version");
        let state = pushed.state();
        assert_eq!((state.version, pushed.config.mk_checkin_interval), (1, Some(15)));
        let refused = state.refused.unwrap();
        assert_eq!((refused.version, refused.problem.code.as_str()), (version, "bad_config"));
    }
    assert!(considers(&mut pushed, offer(9, &Config::default())));
    assert_eq!(pushed.state().refused, None);
}

#[test]
fn a_gem_mirror_is_news_until_it_was_told() {
    let gems = |uri: Option<&str>| Config { mk_gem_mirror_uri: uri.map(str::to_owned), ..Config::default() };
    let mut pushed = Pushed::default();
    assert!(!pushed.has_news_for_gems());
    considers(&mut pushed, offer(1, &gems(Some("http://m"))));
    let text = serde_json::to_string(&pushed).unwrap();
    let mut pushed: Pushed = serde_json::from_str(&text).unwrap();
    assert!(pushed.has_news_for_gems(), "after a crash too");
    pushed.gems_know();
    considers(&mut pushed, offer(2, &Config { mk_checkin_interval: Some(15), ..gems(Some("http://m")) }));
    assert!(!pushed.has_news_for_gems(), "another key changed");
    considers(&mut pushed, offer(3, &gems(None)));
    assert!(pushed.has_news_for_gems(), "back to the image's own");
}

#[test]
fn a_mirror_is_taken_once_its_extensions_are_loaded_and_left_as_a_whole_otherwise() {
    let mirror = |uri: &str, interval| Config {
        mk_tce_mirror_uri: Some(uri.to_owned()),
        mk_checkin_interval: Some(interval),
        ..Config::default()
    };
    let applied = |number, works: bool| Applied {
        version: number + 1,
        number,
        refused: (!works).then(|| Problem::new("extensions", "a.tcz is refused", "r")),
        warnings: Vec::new(),
    };
    let mut pushed = Pushed::default();
    considers(&mut pushed, offer(1, &Config { mk_checkin_interval: Some(15), ..Config::default() }));
    assert!(considers(&mut pushed, offer(2, &mirror("http://m", 20))));
    assert!(!considers(&mut pushed, offer(2, &mirror("http://m", 20))), "the server sends it again meanwhile");
    assert_eq!((pushed.state().version, pushed.config.mk_checkin_interval), (1, Some(15)), "not yet");
    assert!(!settles(&mut pushed, &applied(0, true)), "that was another one");
    assert!(settles(&mut pushed, &applied(1, true)) && !settles(&mut pushed, &applied(1, true)));
    assert_eq!((pushed.state().version, pushed.config.mk_checkin_interval), (2, Some(20)));

    assert!(considers(&mut pushed, offer(3, &mirror("http://n", 30))) && settles(&mut pushed, &applied(2, false)));
    assert_eq!((pushed.state().version, pushed.config.clone()), (2, mirror("http://m", 20)), "rolled back");
    assert_eq!(pushed.state().refused.unwrap().problem.error, "a.tcz is refused");
    assert!(!considers(&mut pushed, offer(3, &mirror("http://n", 30))), "not tried again by itself");
    assert!(considers(&mut pushed, offer(4, &mirror("http://n", 30))), "but when it is said again");
    assert!(considers(&mut pushed, offer(5, &mirror("http://m", 40))), "and a later one takes its place");
    assert_eq!((pushed.candidate.clone(), pushed.state().version), (None, 5));

    considers(&mut pushed, offer(6, &mirror("http://n", 30)));
    assert!(considers(&mut pushed, offer(5, &mirror("http://m", 40))), "taken back before it was applied");
    assert_eq!((pushed.candidate.clone(), pushed.state().version), (None, 5));

    considers(&mut pushed, offer(3, &mirror("http://of-another-server", 30)));
    let former = Applied { version: 3, ..applied(2, true) };
    assert!(!settles(&mut pushed, &former), "the former server's version 3 is not this one's");
    assert_eq!(pushed.state().version, 5);
}

#[test]
fn units_are_on_trial_before_any_of_it_is_in_force() {
    let mut pushed = Pushed::default();
    assert!(considers(&mut pushed, offer(1, &unit("1"))));
    assert_eq!((pushed.version, pushed.config.clone(), pushed.on_trial()), (0, Config::default(), None), "not yet");
    assert_eq!(pushed.units()["a"].command[1], "1", "but they run");
    assert!(pushed.begin_trial(10.0) && !pushed.begin_trial(11.0), "once");
    let text = serde_json::to_string(&pushed).unwrap();
    let mut pushed: Pushed = serde_json::from_str(&text).unwrap();
    assert_eq!(on_trial(&pushed), Some((10.0, vec!["a".to_owned()])), "after a crash too");
    ends_trial(&mut pushed, Ok(()));
    assert_eq!((pushed.version, pushed.config.clone(), pushed.candidate.clone()), (1, unit("1"), None));

    considers(&mut pushed, offer(2, &Config { mk_checkin_interval: Some(20), ..unit("1") }));
    assert_eq!((pushed.version, pushed.on_trial()), (2, None), "the same units need no trial");
    let more = config(json!({"mk_units": {"a": {"command": ["/a", "1"]}, "b": {"command": ["/b"]}}}));
    considers(&mut pushed, offer(3, &more));
    pushed.begin_trial(20.0);
    assert_eq!(on_trial(&pushed), Some((20.0, vec!["b".to_owned()])), "what is as before is not judged");
    ends_trial(&mut pushed, Err(failed()));
    assert_eq!((pushed.version, pushed.config.mk_checkin_interval), (2, Some(20)), "the one before, as a whole");
    assert_eq!(pushed.units().keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(pushed.state().refused.unwrap().version, 3);
    assert!(!considers(&mut pushed, offer(3, &more)) && !pushed.mirror_returned, "not tried again by itself");
}

#[test]
fn a_mirror_and_units_are_tried_one_after_the_other_and_both_are_left() {
    let both = |mirror: &str| Config { mk_tce_mirror_uri: Some(mirror.to_owned()), ..unit("1") };
    let applied = |number| Applied { number, ..Applied::default() };
    let mut pushed = Pushed::default();
    considers(&mut pushed, offer(1, &both("http://m")));
    assert_eq!((pushed.units().len(), pushed.on_trial()), (0, None), "first what the units may need");
    assert!(!pushed.begin_trial(1.0));
    ends_trial(&mut pushed, Ok(()));
    assert!(pushed.candidate.is_some(), "no trial was there to end");
    assert!(settles(&mut pushed, &applied(1)) && !settles(&mut pushed, &applied(1)));
    assert_eq!((pushed.version, pushed.units().len()), (0, 1));
    pushed.begin_trial(1.0);
    ends_trial(&mut pushed, Err(failed()));
    assert_eq!((pushed.version, pushed.units().len(), pushed.mirror_returned), (0, 0, true));
}

#[test]
fn versions_of_another_database_are_told_apart() {
    let one = |digest: &str, interval: u32| {
        let config = Config { mk_checkin_interval: Some(interval), ..Config::default() };
        Candidate::of_server(1, Some(digest.to_owned()), config)
    };
    let mut pushed = Pushed::default();
    assert!(considers(&mut pushed, one("a", 15)) && !considers(&mut pushed, one("a", 15)));
    assert!(considers(&mut pushed, one("b", 20)), "the same number, another content");
    let state = ConfigState { version: 1, digest: Some("b".to_owned()), ..ConfigState::default() };
    assert_eq!((pushed.config.mk_checkin_interval, pushed.state()), (Some(20), state));
    assert!(considers(&mut pushed, one("c", 0)) && !considers(&mut pushed, one("c", 0)), "refused once");
    assert!(considers(&mut pushed, one("d", 0)));
    assert_eq!(pushed.state().refused.unwrap().digest.as_deref(), Some("d"));
}

#[test]
fn a_posted_one_counts_until_the_server_pushes_another() {
    let interval = |seconds| Config { mk_checkin_interval: Some(seconds), ..Config::default() };
    let refused = |pushed: &Pushed| pushed.answer.as_ref().unwrap().refused.clone();
    let mut pushed = Pushed::default();
    considers(&mut pushed, offer(3, &interval(30)));
    considers(&mut pushed, offer(4, &interval(0)));
    assert!(posts(&mut pushed, 1, &interval(15)) && !posts(&mut pushed, 1, &interval(16)), "each number once");
    assert_eq!(
        (pushed.config.clone(), pushed.answer.clone()),
        (interval(15), Some(Answer { number: 1, refused: None }))
    );
    let state = pushed.state();
    assert_eq!((state.version, state.posted, state.refused.unwrap().version), (3, true, 4));
    assert_eq!((pushed.interval(Some(60)), pushed.interval(Some(5)), pushed.interval(None)), (Some(15), Some(5), None));
    assert!(!considers(&mut pushed, offer(3, &interval(30))), "the server has said no other");

    assert!(posts(&mut pushed, 2, &interval(0)));
    assert_eq!((refused(&pushed).unwrap().code.as_str(), pushed.config.clone()), ("bad_config", interval(15)));
    assert!(posts(&mut pushed, 3, &unit("1")) && pushed.begin_trial(1.0));
    ends_trial(&mut pushed, Err(failed()));
    assert_eq!((refused(&pushed), pushed.config.clone()), (Some(failed()), interval(15)));
    assert!(pushed.state().posted && pushed.state().refused.unwrap().version == 4, "it is no refusal of the server's");

    assert!(considers(&mut pushed, offer(5, &interval(60))));
    assert_eq!((pushed.state().posted, pushed.interval(Some(60))), (false, Some(60)));
}

#[test]
fn one_that_cannot_be_placed_is_taken_back_as_a_whole() {
    let facts = |fact: &str| config(json!({"mk_facts_d": {"a.txt": fact}, "mk_checkin_interval": 15}));
    let mut pushed = Pushed::default();
    considers(&mut pushed, offer(1, &facts("a=1\n")));
    let before = pushed.clone();
    assert_eq!(pushed.consider(offer(2, &facts("a=2\n"))), Some(Outcome::Taken));
    assert_eq!(pushed.take_back(before, failed()), Outcome::Refused(failed()));
    assert_eq!((pushed.version, pushed.config.clone()), (1, facts("a=1\n")));
    assert_eq!((pushed.state().refused.unwrap().version, pushed.mirror_returned), (2, false));
    assert!(!considers(&mut pushed, offer(2, &facts("a=2\n"))), "not tried again by itself");

    let before = pushed.clone();
    assert_eq!(pushed.post(7, &facts("a=3\n")), Some(Outcome::Taken));
    pushed.take_back(before, failed());
    assert_eq!((pushed.posted, pushed.config.clone()), (false, facts("a=1\n")));
    assert_eq!(pushed.answer.clone(), Some(Answer { number: 7, refused: Some(failed()) }));

    let mirror = Config { mk_tce_mirror_uri: Some("http://m".to_owned()), ..unit("1") };
    considers(&mut pushed, offer(3, &mirror));
    settles(&mut pushed, &Applied { number: 1, ..Applied::default() });
    assert!(pushed.begin_trial(1.0));
    let before = pushed.clone();
    assert_eq!(pushed.end_trial(Ok(())), Some(Outcome::Taken));
    pushed.take_back(before, failed());
    assert_eq!((pushed.candidate.clone(), pushed.units().len(), pushed.mirror_returned), (None, 0, true));
}

#[test]
fn numbers_of_signed_indexes_only_rise_and_are_those_of_known_keys() {
    let mut pushed = Pushed::default();
    let (keys, told) = (["k".to_owned()], |key: &str, number| BTreeMap::from([(key.to_owned(), number)]));
    assert!(pushed.raise(&told("k", 7), &keys));
    assert!(!pushed.raise(&told("k", 7), &keys) && !pushed.raise(&told("k", 6), &keys));
    assert!(!pushed.raise(&told("other", 9), &keys));
    assert_eq!(pushed.mirror_index, told("k", 7));
}
