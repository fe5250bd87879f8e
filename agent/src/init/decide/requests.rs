//! What others ask of the supervisor.

use super::{Phase, Then, Turn};
use crate::init::client::{Reply, Request};
use crate::init::event::{Action, Goal};
use crate::log::Level;

/// Why nothing else is done during a shutdown.
pub(super) const STOPPING: &str = "the units are being stopped";

impl Turn {
    pub(super) fn asked(&mut self, ticket: u64, sender: i32, request: &Request) {
        let reply = match request {
            Request::Ready => {
                self.ready(sender);
                Reply::Accepted
            }
            Request::Reboot { reason } => self.goal(Goal::Reboot, reason),
            Request::Poweroff { reason } => self.goal(Goal::Poweroff, reason),
            Request::Start(name) => self.change("start", name, Self::ask_start),
            Request::Want(name) => self.want(name),
            Request::Stop(name) => self.change("stop", name, |turn, index| turn.stop(index, Then::Stay)),
            Request::Restart(name) => self.change("restart", name, Self::restart),
            Request::Reload => return self.actions.push(Action::ReadUnits { ticket }),
            Request::Logs(name) => match self.index(name) {
                Ok(_) => return self.actions.push(Action::ReplyLines { ticket, unit: name.clone() }),
                Err(reply) => reply,
            },
        };
        self.actions.push(Action::Reply { ticket, reply });
    }

    fn goal(&mut self, goal: Goal, reason: &str) -> Reply {
        self.shut_down(goal, reason);
        Reply::Accepted
    }

    pub(super) fn ready(&mut self, sender: i32) {
        for entry in &mut self.state.entries {
            if let Phase::Starting { pid: Some(pid), step, since } = entry.phase
                && pid == sender
                && step == entry.unit.pre.len()
            {
                entry.was_ready = true;
                entry.phase = Phase::Running { pid, since };
            }
        }
    }

    fn change(&mut self, what: &str, name: &str, change: impl FnOnce(&mut Self, usize)) -> Reply {
        if self.state.shutdown.is_some() {
            return Reply::Refused(STOPPING.to_owned());
        }
        match self.index(name) {
            Ok(index) => {
                self.log(Level::Info, format!("{name}: {what} on request"));
                change(self, index);
                Reply::Accepted
            }
            Err(reply) => reply,
        }
    }

    /// One that was not started yet goes on waiting for those that it comes after.
    fn restart(&mut self, index: usize) {
        if !matches!(self.state.entries[index].phase, Phase::Waiting { .. }) {
            self.stop(index, Then::Start);
        }
    }

    /// Repeated by who wants it until it has run: nothing is said of those that change nothing.
    fn want(&mut self, name: &str) -> Reply {
        match self.index(name) {
            Ok(index) if self.state.entries[index].phase == Phase::Done => self.change("start", name, Self::start),
            Ok(_) => Reply::Accepted,
            Err(reply) => reply,
        }
    }

    /// An operator's start makes good for all ends before.
    fn ask_start(&mut self, index: usize) {
        self.state.entries[index].streak = 0;
        match self.state.entries[index].phase {
            Phase::Starting { .. } | Phase::Running { .. } => {}
            _ => self.stop(index, Then::Start),
        }
    }

    fn index(&self, name: &str) -> Result<usize, Reply> {
        self.state.entries.iter().position(|e| e.unit.name == name && !e.leaves).ok_or_else(|| {
            let known: Vec<&str> = self.state.entries.iter().map(|e| e.unit.name.as_str()).collect();
            Reply::Refused(format!("there is no unit {name}; there are {}", known.join(", ")))
        })
    }
}
