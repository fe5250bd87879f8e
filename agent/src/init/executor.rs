//! Carries out what was decided. Nothing here waits: what may take long runs in a thread of its own and answers with
//! an event.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, sync};
use wire::error::Problem;

use super::Message;
use super::cgroup::{Cgroup, Cgroups};
use super::client::{Reply, Request};
use super::decide::State;
use super::event::{Action, Event, Exit, Goal, Mode};
use super::output::Tails;
use crate::exec::Spawned;
use crate::limits::{READY_LOOK, SMALL_STACK};
use crate::log::Level;
use crate::state::{Published as _, Start, Units};
use crate::units::{Readiness, Unit};
use crate::{exec, units};

/// The supervisor's hands.
pub(super) struct Executor {
    mode: Mode,
    start: Start,
    /// This program.
    exe: String,
    cgroups: Cgroups,
    /// Control groups by process id of those that were started in them.
    groups: BTreeMap<i32, Cgroup>,
    /// Control groups whose first process has ended, and those of a supervisor before this one, until they are empty.
    ended: Vec<Cgroup>,
    /// Units that run without a control group although there are such groups, by name.
    without_group: BTreeMap<String, Problem>,
    inbox: Sender<Message>,
    tails: Tails,
    /// Who waits for a reply, by ticket.
    askers: BTreeMap<u64, Sender<Reply>>,
    last_ticket: u64,
    published: Option<Units>,
}

impl Executor {
    pub(super) fn new(mode: Mode, start: Start, exe: String, mut cgroups: Cgroups, inbox: Sender<Message>) -> Self {
        let (tails, askers) = (Tails::default(), BTreeMap::new());
        let (groups, ended) = (BTreeMap::new(), cgroups.take_former());
        let without_group = BTreeMap::new();
        let (last_ticket, published) = (0, None);
        Self { mode, start, exe, cgroups, groups, ended, without_group, inbox, tails, askers, last_ticket, published }
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
            Action::Kill { pid } => {
                let _: nix::Result<()> = killpg(Pid::from_raw(pid), Signal::SIGKILL);
                self.groups.get(&pid).into_iter().for_each(Cgroup::kill);
            }
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
        let mut units = Units { start: Some(self.start), ..state.published() };
        self.without_group.retain(|name, _| units.pids.contains_key(name));
        units.problems.extend(self.without_group.values().cloned());
        if self.published.as_ref() == Some(&units) {
            return;
        }
        self.tails.keep(&units.units);
        if let Err(error) = units.publish() {
            tracing::warn!("{error:#}");
        }
        self.published = Some(units);
    }

    fn spawn(&mut self, state: &State, unit: usize, step: usize) -> anyhow::Result<i32> {
        let unit = state.unit(unit).ok_or_else(|| anyhow::anyhow!("there is no unit number {unit}"))?;
        let (command, tty, ready) = match unit.pre.get(step) {
            Some(command) => (command, None, &Readiness::Running),
            None => (&unit.command, unit.tty.as_deref(), &unit.ready),
        };
        let watched = if let Readiness::File(path) = ready { Some((path.clone(), identity(path))) } else { None };
        let spawned = self.spawn_in_group(unit, command, tty)?;
        if let Some(output) = spawned.output {
            // Without a reader the unit would block on a full pipe; without a pipe it gets an error at once.
            if let Err(error) = self.tails.follow(&unit.name, output) {
                tracing::error!("output of {} is lost: {error}", unit.name);
            }
        }
        if let Some((path, before)) = watched {
            self.await_file(path, before, spawned.pid, unit.start_timeout);
        }
        Ok(spawned.pid)
    }

    fn spawn_in_group(&mut self, unit: &Unit, command: &[String], tty: Option<&str>) -> anyhow::Result<Spawned> {
        let made = match self.cgroups.make(unit) {
            Ok(made) => made,
            Err(why) => {
                let problem = self.cgroups.do_without(unit, &why)?;
                tracing::error!("{problem}");
                self.without_group.insert(unit.name.clone(), problem);
                return exec::spawn(command, tty, None);
            }
        };
        self.without_group.remove(&unit.name);
        let Some((group, way_in)) = made else { return exec::spawn(command, tty, None) };
        let spawned = exec::spawn(command, tty, Some(&way_in));
        match &spawned {
            Ok(spawned) => drop(self.groups.insert(spawned.pid, group)),
            Err(_) => drop(group.remove()),
        }
        spawned
    }

    /// Looks for the file by which a unit is ready, until it is there or its time or the process is over.
    fn await_file(&self, path: PathBuf, before: Option<Identity>, pid: i32, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.in_background(move || {
            while Instant::now() < deadline && kill(Pid::from_raw(pid), None).is_ok() {
                let now = identity(&path);
                if now.is_some() && now != before {
                    return Some(Event::Ready { pid });
                }
                std::thread::sleep(READY_LOOK);
            }
            None
        });
    }

    /// Collects one child that has ended, with what its control group says of it. `None` when none has;
    /// [`Event::Childless`] when there is none at all.
    pub(super) fn reap(&mut self) -> Option<Event> {
        let mut event = reap()?;
        if let Event::Exited { pid, exit } = &mut event
            && let Some(group) = self.groups.remove(pid)
        {
            if let (Exit::Signal(libc::SIGKILL), Some(limit)) = (*exit, group.out_of_memory()) {
                *exit = Exit::OutOfMemory(limit);
            }
            self.ended.push(group);
        }
        self.ended.retain(Cgroup::is_left);
        Some(event)
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

/// What tells a file from the one that was there before, without a clock. A link counts as itself: it may lead to a file
/// system that never answers.
type Identity = (u64, u64, i64, i64);

fn identity(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|about| (about.dev(), about.ino(), about.ctime(), about.ctime_nsec()))
}

/// By the system call itself: nix takes a child that a real-time signal has killed for an error, and so it would be lost.
fn reap() -> Option<Event> {
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one integer.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        let exit = match Errno::result(pid) {
            Ok(0) => return None,
            Ok(_) if libc::WIFEXITED(status) => Exit::Status(libc::WEXITSTATUS(status)),
            Ok(_) if libc::WIFSIGNALED(status) => Exit::Signal(libc::WTERMSIG(status)),
            Err(Errno::ECHILD) => return Some(Event::Childless),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(error) => {
                tracing::error!("cannot wait for children: {error}");
                return None;
            }
        };
        return Some(Event::Exited { pid, exit });
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
