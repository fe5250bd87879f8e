//! What waits to be told to the server until it answers, and what an agent says of itself.

use std::time::{SystemTime, UNIX_EPOCH};

use wire::checkin::{Agent, CommandResult};
use wire::error::Problem;
use wire::site::Image;

use crate::limits::CHECKIN_PROBLEMS;
use crate::state::{Extensions, Published as _, Units};

/// What waits for an answered check-in.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Outcomes of commands.
    pub(super) results: Vec<CommandResult>,
    pending: Vec<Problem>,
    /// Told already; not told again as long as this unit runs.
    told: Vec<Problem>,
}

impl Outbox {
    /// Adds problems that are not waiting yet and were not told before.
    pub(super) fn problems(&mut self, problems: impl IntoIterator<Item = Problem>) {
        for problem in problems {
            let known = self.pending.contains(&problem) || self.told.contains(&problem);
            if !known && self.pending.len() < CHECKIN_PROBLEMS {
                self.pending.push(problem);
            }
        }
    }

    /// Adds something that went wrong just now, even if the like of it was told before.
    pub(super) fn happened(&mut self, problem: Problem) {
        self.told.retain(|p| *p != problem);
        self.problems([problem]);
    }

    /// Problems to be told now.
    pub(super) fn pending(&self) -> Vec<Problem> {
        self.pending.clone()
    }

    /// The server answered: it has all of it.
    pub(super) fn delivered(&mut self) {
        self.results.clear();
        self.told.append(&mut self.pending);
        let excess = self.told.len().saturating_sub(CHECKIN_PROBLEMS);
        self.told.drain(..excess);
    }
}

/// The agent and what it runs.
pub(super) fn agent(image: &Image) -> Agent {
    Agent {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        variant: image.variant.clone(),
        image: image.version.clone(),
        units: Units::read().map(|u| u.units).unwrap_or_default(),
        extensions: Extensions::read().map(|e| e.extensions).unwrap_or_default(),
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
    use wire::checkin::Outcome;

    use super::*;

    #[test]
    fn each_problem_is_told_once() {
        let problem = |code: &str| Problem::new(code, "e", "r");
        let mut outbox = Outbox::default();
        outbox.results.push(CommandResult { id: 1, outcome: Outcome::Done, detail: String::new() });
        outbox.problems([problem("a"), problem("a"), problem("b")]);
        assert_eq!(outbox.pending().len(), 2);
        assert_eq!(outbox.pending().len(), 2, "until there is an answer");
        outbox.delivered();
        outbox.problems([problem("a"), problem("c")]);
        outbox.happened(problem("b"));
        assert_eq!(outbox.pending(), [problem("c"), problem("b")]);
        assert!(outbox.results.is_empty());
    }

    #[test]
    fn a_flood_of_problems_is_bounded() {
        let mut outbox = Outbox::default();
        for round in 0..3 {
            outbox.problems((0..1000).map(|n| Problem::new("flood", format!("{round} {n}"), "r")));
            assert_eq!(outbox.pending().len(), CHECKIN_PROBLEMS);
            outbox.delivered();
            assert_eq!(outbox.told.len(), CHECKIN_PROBLEMS);
        }
    }
}
