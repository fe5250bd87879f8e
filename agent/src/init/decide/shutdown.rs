//! Shutdown as a sequence: units, all other processes, dirty pages, the kernel. Each stage ends by itself or at its
//! deadline. If the kernel refuses, the units are started again: a machine that is on must not be mute.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Entry, Then, Turn};
use crate::init::event::{Action, Event, Goal, Mode};
use crate::limits::{KILL_GRACE, REBOOT_RETRY, STRAY_GRACE, SYNC};
use crate::log::Level;

/// A shutdown under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shutdown {
    goal: Goal,
    stage: Stage,
    deadline: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Units,
    Strays { killed: bool },
    Sync,
    Kernel,
}

impl Shutdown {
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }
}

impl Turn {
    /// Begins; a later goal replaces an earlier one that is still under way.
    pub(super) fn shut_down(&mut self, goal: Goal, reason: &str) {
        if let Some(shutdown) = &mut self.state.shutdown {
            shutdown.goal = goal;
            return;
        }
        self.log(Level::Info, format!("{goal}: {reason}"));
        // Each unit has its own deadlines below this one.
        let longest = self.state.entries.iter().map(|e| e.unit.stop_timeout).max().unwrap_or_default();
        let deadline = self.now + longest + KILL_GRACE * 2;
        self.state.shutdown = Some(Shutdown { goal, stage: Stage::Units, deadline });
        for index in 0..self.state.entries.len() {
            self.stop(index, Then::Stay);
        }
    }

    pub(super) fn shutdown_failed(&mut self, why: &str) {
        let Some(Shutdown { goal, .. }) = self.state.shutdown.take() else { return };
        self.log(Level::Error, format!("the kernel refused the {goal} ({why}): all units are started again"));
        for index in 0..self.state.entries.len() {
            self.stop(index, Then::Start);
        }
    }

    /// Goes on to the next stage when this one is over.
    pub(super) fn settle_shutdown(&mut self, event: &Event) {
        let Some(Shutdown { goal, stage, deadline }) = self.state.shutdown.clone() else { return };
        let late = self.now >= deadline;
        match stage {
            Stage::Units if late || self.all_stopped() => self.after_units(goal),
            Stage::Strays { .. } if *event == Event::Childless => self.enter(Stage::Sync),
            Stage::Strays { killed: false } if late => {
                self.actions.push(Action::SignalAll(Signal::SIGKILL));
                self.enter(Stage::Strays { killed: true });
            }
            Stage::Strays { killed: true } if late => self.enter(Stage::Sync),
            Stage::Sync if late || *event == Event::Synced => self.enter(Stage::Kernel),
            Stage::Kernel if late => {
                self.log(Level::Error, format!("the {goal} has not happened yet and is asked for again"));
                self.enter(Stage::Kernel);
            }
            _ => {}
        }
    }

    fn after_units(&mut self, goal: Goal) {
        if self.state.mode == Mode::Daemon || goal == Goal::Leave {
            return self.enter(Stage::Kernel);
        }
        self.actions.push(Action::SignalAll(Signal::SIGTERM));
        self.enter(Stage::Strays { killed: false });
    }

    fn enter(&mut self, stage: Stage) {
        let Some(shutdown) = &mut self.state.shutdown else { return };
        shutdown.stage = stage;
        let (limit, action) = match stage {
            // It is where each shutdown begins.
            Stage::Units => return,
            Stage::Strays { .. } => (STRAY_GRACE, None),
            Stage::Sync => (SYNC, Some(Action::Sync)),
            Stage::Kernel => (REBOOT_RETRY, Some(Action::Finish(shutdown.goal))),
        };
        shutdown.deadline = self.now + limit;
        self.actions.extend(action);
    }

    fn all_stopped(&self) -> bool {
        self.state.entries.iter().all(Entry::is_over)
    }
}
