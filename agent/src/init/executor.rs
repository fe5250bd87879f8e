//! Carries out what was decided. Nothing here waits: what may take long runs in a thread of its own and answers with
//! an event.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, sync};

use super::Message;
use super::client::{Reply, Request};
use super::decide::State;
use super::event::{Action, Event, Exit, Goal, Mode};
use super::output::Tails;
use crate::limits::SMALL_STACK;
use crate::log::Level;
use crate::state::{Published as _, Units};
use crate::{exec, units};

/// The supervisor's hands.
pub(super) struct Executor {
    mode: Mode,
    /// This program.
    exe: String,
    inbox: Sender<Message>,
    tails: Tails,
    /// Who waits for a reply, by ticket.
    askers: BTreeMap<u64, Sender<Reply>>,
    last_ticket: u64,
    published: Option<Units>,
}

impl Executor {
    pub(super) fn new(mode: Mode, exe: String, inbox: Sender<Message>) -> Self {
        let (tails, askers) = (Tails::default(), BTreeMap::new());
        Self { mode, exe, inbox, tails, askers, last_ticket: 0, published: None }
    }

    /// Takes down who asks, so that [`Action::Reply`] finds them.
    pub(super) fn ask(&mut self, sender: i32, request: Request, reply_to: Sender<Reply>) -> Event {
        self.last_ticket += 1;
        self.askers.insert(self.last_ticket, reply_to);
        Event::Asked { ticket: self.last_ticket, sender, request }
    }

    /// Does one thing, and gives the event that it leads to at once, if any.
    pub(super) fn apply(&mut self, state: &State, action: Action) -> Option<Event> {
        match action {
            Action::Spawn { unit, step } => {
                let pid = self.spawn(state, unit, step).map_err(|e| format!("{e:#}"));
                return Some(Event::Started { unit, step, pid });
            }
            // A process that is gone already needs no signal.
            Action::Signal { pid, signal } => drop(killpg(Pid::from_raw(pid), signal)),
            Action::SignalAll(signal) => drop(kill(Pid::from_raw(-1), signal)),
            Action::Sync => self.in_background(|| {
                sync();
                Some(Event::Synced)
            }),
            Action::Finish(goal) => self.finish(goal),
            Action::Reply { ticket, reply } => self.reply(ticket, reply),
            Action::ReplyLines { ticket, unit } => self.reply(ticket, Reply::Lines(self.tails.of(&unit))),
            Action::ReadUnits { ticket } => return Some(Event::UnitsRead { ticket, found: units::read(&self.exe) }),
            Action::Log(level, text) => log(level, &text),
        }
        None
    }

    /// Replaces the state file when something in it has changed.
    pub(super) fn publish(&mut self, state: &State) {
        let units = state.published();
        if self.published.as_ref() == Some(&units) {
            return;
        }
        self.tails.keep(&units.units);
        if let Err(error) = units.publish() {
            tracing::warn!("{error:#}");
        }
        self.published = Some(units);
    }

    fn spawn(&self, state: &State, unit: usize, step: usize) -> anyhow::Result<i32> {
        let unit = state.unit(unit).ok_or_else(|| anyhow::anyhow!("there is no unit number {unit}"))?;
        let (command, tty) = match unit.pre.get(step) {
            Some(command) => (command, None),
            None => (&unit.command, unit.tty.as_deref()),
        };
        let spawned = exec::spawn(command, tty)?;
        if let Some(output) = spawned.output {
            // Without a reader the unit would block on a full pipe; without a pipe it gets an error at once.
            if let Err(error) = self.tails.follow(&unit.name, output) {
                tracing::error!("output of {} is lost: {error}", unit.name);
            }
        }
        Ok(spawned.pid)
    }

    fn reply(&mut self, ticket: u64, reply: Reply) {
        if let Some(asker) = self.askers.remove(&ticket) {
            // The asker may have given up waiting.
            let _: Result<(), _> = asker.send(reply);
        }
    }

    fn finish(&self, goal: Goal) {
        let mode = self.mode;
        self.in_background(move || {
            let result = match (mode, goal) {
                (_, Goal::Leave) => return None,
                (Mode::Init, Goal::Reboot) => reboot(RebootMode::RB_AUTOBOOT).map(|_| ()),
                (Mode::Init, Goal::Poweroff) => reboot(RebootMode::RB_POWER_OFF).map(|_| ()),
                // Busybox's init, which Tiny Core and our own base have, understands these.
                (Mode::Daemon, Goal::Reboot) => kill(Pid::from_raw(1), Signal::SIGTERM),
                (Mode::Daemon, Goal::Poweroff) => kill(Pid::from_raw(1), Signal::SIGUSR2),
            };
            result.err().map(|error| Event::ShutdownFailed(error.desc().to_owned()))
        });
    }

    /// The kernel may take its time over a call, or never come back from it.
    fn in_background(&self, work: impl FnOnce() -> Option<Event> + Send + 'static) {
        let inbox = self.inbox.clone();
        let run = move || {
            if let Some(event) = work() {
                let _: Result<(), _> = inbox.send(Message::Event(event));
            }
        };
        if let Err(error) = std::thread::Builder::new().stack_size(SMALL_STACK).spawn(run) {
            let _: Result<(), _> = self.inbox.send(Message::Event(Event::ShutdownFailed(error.to_string())));
        }
    }
}

/// Collects one child that has ended. `None` when none has; [`Event::Childless`] when there is none at all.
pub(super) fn reap() -> Option<Event> {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) => {
                return Some(Event::Exited { pid: pid.as_raw(), exit: Exit::Status(status) });
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                return Some(Event::Exited { pid: pid.as_raw(), exit: Exit::Signal(signal) });
            }
            Ok(WaitStatus::StillAlive) => return None,
            Err(Errno::ECHILD) => return Some(Event::Childless),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                tracing::error!("cannot wait for children: {error}");
                return None;
            }
        }
    }
}

fn log(level: Level, text: &str) {
    match level {
        Level::Error => tracing::error!("{text}"),
        Level::Warn => tracing::warn!("{text}"),
        Level::Info => tracing::info!("{text}"),
        Level::Debug => tracing::debug!("{text}"),
    }
}
