//! Unit files that were read anew: what they add is started, what has changed is restarted by its new definition, what is
//! gone from them is stopped and leaves the list; the rest is not touched. Afterwards all is as after a start with them.

use super::requests::STOPPING;
use super::{Phase, Then, Turn};
use crate::init::client::Reply;
use crate::init::event::Action;
use crate::log::Level;
use crate::units::{Definitions, Unit};

impl Turn {
    pub(super) fn units_read(&mut self, ticket: u64, found: &Definitions) {
        let reply = if self.state.shutdown.is_some() {
            Reply::Refused(STOPPING.to_owned())
        } else {
            self.reload(found);
            if found.problems.is_empty() { Reply::Accepted } else { Reply::Skipped(found.problems.clone()) }
        };
        self.actions.push(Action::Reply { ticket, reply });
    }

    fn reload(&mut self, found: &Definitions) {
        for problem in found.problems.iter().filter(|p| !self.state.skipped.contains(p)) {
            self.actions.push(Action::Log(Level::Warn, problem.to_string()));
        }
        self.state.skipped.clone_from(&found.problems);
        let mut former = std::mem::take(&mut self.state.entries);
        for unit in &found.units {
            let entry = match former.iter().position(|e| e.unit.name == unit.name) {
                Some(at) => former.remove(at),
                None => {
                    self.log(Level::Info, format!("{}: is added", unit.name));
                    self.tell_lacking(unit);
                    self.state.entry(unit.clone(), self.now)
                }
            };
            self.state.entries.push(entry);
        }
        self.state.entries.append(&mut former);
        for index in 0..self.state.entries.len() {
            match found.units.get(index) {
                Some(unit) => self.redefine(index, unit),
                None => self.remove(index),
            }
        }
    }

    fn redefine(&mut self, index: usize, unit: &Unit) {
        let entry = &mut self.state.entries[index];
        if entry.unit == *unit && !entry.leaves {
            return;
        }
        (entry.leaves, entry.was_ready, entry.streak) = (false, false, 0);
        match entry.phase {
            // Its first command has not been started yet, and will be the new one.
            Phase::Waiting { .. } | Phase::Starting { step: 0, pid: None, .. } => {}
            Phase::Backoff { .. } | Phase::Done | Phase::Failed => entry.phase = Phase::Waiting { since: self.now },
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping { .. } => self.stop(index, Then::Start),
        }
        self.state.entries[index].unit = unit.clone();
        self.log(Level::Info, format!("{}: has another definition from now on", unit.name));
        self.tell_lacking(unit);
    }

    fn tell_lacking(&mut self, unit: &Unit) {
        if let Some(problem) = self.state.controllers.lacking(unit) {
            self.log(Level::Warn, problem.to_string());
        }
    }

    fn remove(&mut self, index: usize) {
        let entry = &mut self.state.entries[index];
        if !entry.leaves {
            entry.leaves = true;
            let text = format!("{}: is removed", entry.unit.name);
            self.log(Level::Info, text);
            self.stop(index, Then::Stay);
        }
    }
}
