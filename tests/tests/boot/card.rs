//! The report card of a booted machine: its stages are there in their order, and the slowest is named.

use std::time::Instant;

use mk_tests::limits;
use mk_tests::vm::Guest;
use wire::card::{Card, Span};

use super::lab::{Server, wait};

/// Waits until the card of a machine that was started at this time is complete, and checks it.
pub(crate) fn is_told(server: &Server, guest: &Guest, started: Instant) {
    let (card, slowest) = wait("the report card is complete", limits::INVENTORY, guest, || {
        let boot = server.node()?["boot"].clone();
        let card: Card = serde_json::from_value(boot["stages"].clone()).ok()?;
        card.exchange.is_some().then(|| (card, boot["slowest"].as_str().map(str::to_owned)))
    });
    let up_ms = u64::try_from(started.elapsed().as_millis()).unwrap();
    println!("report card after {up_ms} ms: {card:#?}");
    // Drivers and network go on side by side, each in its own order.
    in_order("devices", &[card.kernel, card.extensions, card.drivers], up_ms);
    in_order("network", &[card.kernel, card.link, card.dhcp, card.connect, card.exchange], up_ms);
    in_order("report", &[card.kernel, card.inventory, card.connect, card.exchange], up_ms);
    assert_eq!((card.base, card.tls), (None, None), "the agent is PID 1, and the server has no certificate");
    let longest = card.steps().iter().map(|step| step.span.took_ms).max();
    let named = card.steps().into_iter().find(|step| Some(step.key) == slowest.as_deref());
    assert_eq!(named.map(|step| step.span.took_ms), longest, "{slowest:?}");
    let shown = server.ask(&["nodes", "show", "node1"]);
    assert!(shown.contains(", slowest: ") && shown.contains(named.unwrap().hint), "{shown}");
}

/// Stages that follow one another, none of which is missing, and which together take no longer than the machine runs.
fn in_order(what: &str, stages: &[Option<Span>], up_ms: u64) {
    let all = stages.len();
    let stages: Vec<Span> = stages.iter().copied().flatten().collect();
    assert!(stages.len() == all && stages[0].begin_ms == 0, "{what}: {stages:?}");
    assert!(stages.windows(2).all(|pair| pair[0].end_ms() <= pair[1].begin_ms), "{what}: {stages:?}");
    let sum: u64 = stages.iter().map(|stage| stage.took_ms).sum();
    assert!(sum > 0 && sum <= up_ms, "{what} took {sum} of {up_ms} ms: {stages:?}");
}
