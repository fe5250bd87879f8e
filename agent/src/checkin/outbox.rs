//! What waits to be told to the server until it answers, and what an agent says of itself.

use std::time::{SystemTime, UNIX_EPOCH};

use wire::card::Card;
use wire::checkin::{Agent, CommandResult};
use wire::error::Problem;
use wire::site::Image;

use crate::ext::signed;
use crate::limits::CHECKIN_PROBLEMS;
use crate::state::{Extensions, Published as _, Units};

/// What one request tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Told {
    /// Outcomes of commands.
    pub(super) results: Vec<CommandResult>,
    pub(super) problems: Vec<Problem>,
    /// The boot's report card.
    pub(super) card: Option<Card>,
}

/// What waits for an answered check-in.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pending: Told,
    /// Told already; not told again as long as this unit runs.
    told: Vec<Problem>,
    /// The same of the report card.
    told_card: Option<Card>,
}

impl Outbox {
    /// Adds problems that are not waiting yet and were not told before.
    pub(super) fn problems(&mut self, problems: impl IntoIterator<Item = Problem>) {
        let pending = &mut self.pending.problems;
        for problem in problems {
            let known = pending.contains(&problem) || self.told.contains(&problem);
            if !known && pending.len() < CHECKIN_PROBLEMS {
                pending.push(problem);
            }
        }
    }

    /// Adds something that went wrong just now, even if the like of it was told before.
    pub(super) fn happened(&mut self, problem: Problem) {
        self.told.retain(|p| *p != problem);
        self.problems([problem]);
    }

    /// Adds what became of commands.
    pub(super) fn results(&mut self, results: Vec<CommandResult>) {
        self.pending.results.extend(results);
    }

    /// The report card as it is now: told once, and again when there is more in it.
    pub(super) fn card(&mut self, card: &Card) {
        self.pending.card = (*card != Card::default() && self.told_card.as_ref() != Some(card)).then(|| card.clone());
    }

    /// The server has lost it.
    pub(super) fn forget_card(&mut self) {
        self.told_card = None;
    }

    /// What is to be told now.
    pub(super) fn pending(&self) -> &Told {
        &self.pending
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.pending == Told::default()
    }

    /// The server answered a request that told this. What was added since goes on waiting.
    pub(super) fn delivered(&mut self, told: Told) {
        self.pending.results.retain(|r| !told.results.contains(r));
        self.pending.problems.retain(|p| !told.problems.contains(p));
        self.told.extend(told.problems);
        if told.card.is_some() {
            self.pending.card.take_if(|card| Some(&*card) == told.card.as_ref());
            self.told_card = told.card;
        }
        let excess = self.told.len().saturating_sub(CHECKIN_PROBLEMS);
        self.told.drain(..excess);
    }
}

/// The agent and what it runs.
pub(super) fn agent(image: &Image) -> Agent {
    let extensions = Extensions::read().unwrap_or_default();
    Agent {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        variant: image.variant.clone(),
        image: image.version.clone(),
        units: Units::read().map(|u| u.units).unwrap_or_default(),
        mirror_index: signed::known(&extensions),
        extensions: extensions.extensions,
    }
}

/// This machine's clock in seconds since 1970.
pub(super) fn clock() -> Option<i64> {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// A pushed key that this version does not know.
pub(super) fn unknown_key(key: &str) -> Problem {
    let text = format!("configuration key {key:.60} is not known to this agent; it is kept and has no effect");
    Problem::new("unknown_config_key", text, "Take it out of the configuration, or use an image whose agent knows it.")
}

#[cfg(test)]
mod tests {
    use wire::card::Span;
    use wire::checkin::Outcome;

    use super::*;

    #[test]
    fn each_problem_is_told_once() {
        let problem = |code: &str| Problem::new(code, "e", "r");
        let mut outbox = Outbox::default();
        let result = |id| CommandResult { id, outcome: Outcome::Done, detail: String::new() };
        outbox.results(vec![result(1)]);
        outbox.problems([problem("a"), problem("a"), problem("b")]);
        let sent = outbox.pending().clone();
        assert_eq!((sent.problems.len(), sent.results.len()), (2, 1));
        outbox.problems([problem("late")]);
        outbox.results(vec![result(2)]);
        outbox.delivered(sent);
        let late = Told { results: vec![result(2)], problems: vec![problem("late")], card: None };
        assert_eq!(*outbox.pending(), late, "what came after the request was sent is not taken as told");
        outbox.delivered(late);
        assert!(outbox.is_empty());
        outbox.problems([problem("a"), problem("c")]);
        outbox.happened(problem("b"));
        assert_eq!(outbox.pending().problems, [problem("c"), problem("b")]);
    }

    #[test]
    fn the_report_card_is_told_until_it_arrives_and_again_when_there_is_more_in_it() {
        let card = |begin_ms| Card { kernel: Some(Span { begin_ms, took_ms: 1 }), ..Card::default() };
        let mut outbox = Outbox::default();
        outbox.card(&Card::default());
        assert!(outbox.is_empty(), "nothing is known");
        outbox.card(&card(1));
        let sent = outbox.pending().clone();
        outbox.card(&card(2));
        outbox.delivered(sent);
        assert_eq!(outbox.pending().card, Some(card(2)), "the request that was answered did not have it");
        outbox.delivered(outbox.pending().clone());
        outbox.card(&card(2));
        assert!(outbox.is_empty());
        outbox.forget_card();
        outbox.card(&card(2));
        assert_eq!(outbox.pending().card, Some(card(2)));
    }

    #[test]
    fn a_flood_of_problems_is_bounded() {
        let mut outbox = Outbox::default();
        for round in 0..3 {
            outbox.problems((0..1000).map(|n| Problem::new("flood", format!("{round} {n}"), "r")));
            assert_eq!(outbox.pending().problems.len(), CHECKIN_PROBLEMS);
            outbox.delivered(outbox.pending().clone());
            assert_eq!(outbox.told.len(), CHECKIN_PROBLEMS);
        }
    }
}
