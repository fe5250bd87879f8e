//! What the supervisor does about an event: a pure function from state, event and time to the next state and a list
//! of actions. Times are since the supervisor's start.
//!
//! The state is compared with the clock at every event, whatever the event was, so that a lost or merged one does no
//! harm. A unit that ended is started again for ever: the time between starts doubles up to half a minute, and a unit
//! that ends again and again is shown as failed meanwhile.

mod reload;
mod requests;
mod shutdown;

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use wire::error::Problem;

use super::cgroup::Controllers;
use super::event::{Action, Event, Exit, Mode};
use crate::limits::{AFTER_WAIT, CRASH_LOOP, KILL_GRACE, RESTART_DELAY, RESTART_DELAY_MAX, STABLE_AFTER};
use crate::log::Level;
use crate::state::Units;
use crate::units::{Definitions, Readiness, Restart, Unit};

use shutdown::Shutdown;

/// All that the supervisor knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    mode: Mode,
    entries: Vec<Entry>,
    /// Processes stuck in the kernel, by process id, with the names of their units.
    abandoned: BTreeMap<i32, String>,
    shutdown: Option<Shutdown>,
    /// What is wrong with settings.
    problems: Vec<Problem>,
    /// What is wrong with unit files.
    skipped: Vec<Problem>,
    /// Limits that can be enforced.
    controllers: Controllers,
    /// Number of the next unit.
    next_number: usize,
    /// Makes the jitter differ between machines.
    seed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Given once: places in the list change when unit files do.
    number: usize,
    unit: Unit,
    /// Its file is gone: once it has stopped, so is it.
    leaves: bool,
    phase: Phase,
    /// Was ready at least once.
    was_ready: bool,
    restarts: u32,
    /// Ends in a row without a stable run.
    streak: u32,
    last_exit: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// For the units that it comes after.
    Waiting { since: Duration },
    /// A preparatory command or the unit itself is being started, or is not ready yet.
    Starting { step: usize, pid: Option<i32>, since: Duration },
    /// It runs and is ready.
    Running { pid: i32, since: Duration },
    /// It ended and will be started again.
    Backoff { until: Duration },
    /// It was signalled.
    Stopping { pid: i32, deadline: Duration, killed: bool, then: Then },
    /// It ended as it should, or was stopped.
    Done,
    /// It ended as it should not, and is not to be restarted.
    Failed,
}

/// What follows a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Stay,
    Start,
    Backoff,
}

/// The next state and what to do.
pub(super) fn decide(state: &State, event: &Event, now: Duration) -> (State, Vec<Action>) {
    let mut turn = Turn { state: state.clone(), now, actions: Vec::new() };
    turn.take(event);
    for index in 0..turn.state.entries.len() {
        turn.settle(index);
    }
    turn.settle_shutdown(event);
    turn.state.entries.retain(|e| !(e.leaves && e.is_over()));
    (turn.state, turn.actions)
}

impl State {
    /// Before anything was started.
    pub(super) fn new(
        mode: Mode,
        found: Definitions,
        problems: Vec<Problem>,
        controllers: Controllers,
        seed: u64,
    ) -> Self {
        let Definitions { units, problems: skipped } = found;
        let mut state = Self {
            mode,
            entries: Vec::new(),
            abandoned: BTreeMap::new(),
            shutdown: None,
            problems,
            skipped,
            controllers,
            next_number: 0,
            seed,
        };
        for unit in units {
            let entry = state.entry(unit, Duration::ZERO);
            state.entries.push(entry);
        }
        state
    }

    /// The unit that [`Action::Spawn`] names.
    pub(super) fn unit(&self, number: usize) -> Option<&Unit> {
        self.entries.iter().find(|e| e.number == number).map(|e| &e.unit)
    }

    fn entry(&mut self, unit: Unit, now: Duration) -> Entry {
        let number = self.next_number;
        self.next_number += 1;
        let phase = Phase::Waiting { since: now };
        Entry { number, unit, leaves: false, phase, was_ready: false, restarts: 0, streak: 0, last_exit: None }
    }

    /// When the state must be looked at again, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.entries.iter().filter_map(Entry::deadline).chain(self.shutdown.as_ref().map(Shutdown::deadline)).min()
    }

    /// For the state file.
    pub(super) fn published(&self) -> Units {
        let pids = self.entries.iter().filter_map(|e| Some((e.unit.name.clone(), e.pid()?))).collect();
        let units = self.entries.iter().map(Entry::published).collect();
        let lacking = self.entries.iter().filter_map(|e| self.controllers.lacking(&e.unit));
        let problems = self.skipped.iter().chain(&self.problems).cloned().chain(lacking).collect();
        Units { units, pids, problems, ..Units::default() }
    }
}

impl Entry {
    fn pid(&self) -> Option<i32> {
        match self.phase {
            Phase::Starting { pid, .. } => pid,
            Phase::Running { pid, .. } | Phase::Stopping { pid, .. } => Some(pid),
            _ => None,
        }
    }

    fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Waiting { since } => Some(since + AFTER_WAIT),
            Phase::Starting { pid: None, since, .. } => Some(since + KILL_GRACE),
            Phase::Starting { step, since, .. } => self.must_start(step).then_some(since + self.unit.start_timeout),
            Phase::Backoff { until } => Some(until),
            Phase::Stopping { deadline, .. } => Some(deadline),
            Phase::Running { .. } | Phase::Done | Phase::Failed => None,
        }
    }

    /// The unit's own command may take its time where it says itself when it is ready.
    fn must_start(&self, step: usize) -> bool {
        step < self.unit.pre.len() || self.unit.ready != Readiness::Told
    }

    fn not_started(&self, step: usize) -> String {
        let seconds = self.unit.start_timeout.as_secs();
        match (self.unit.pre.get(step), &self.unit.ready) {
            (Some(command), _) => format!("`{}` did not end within {seconds} s", command.join(" ")),
            (None, Readiness::File(path)) => format!("{} was not made within {seconds} s", path.display()),
            (None, _) => format!("it was not ready within {seconds} s"),
        }
    }

    fn crash_loops(&self) -> bool {
        self.streak >= CRASH_LOOP
    }

    /// Those that come after it need not wait for it.
    fn lets_others_start(&self) -> bool {
        self.was_ready || self.crash_loops() || self.is_over()
    }

    fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Done | Phase::Failed)
    }

    fn published(&self) -> wire::checkin::Unit {
        let state = match self.phase {
            Phase::Waiting { .. } => "waiting",
            Phase::Starting { .. } => "starting",
            Phase::Running { .. } => "running",
            Phase::Backoff { .. } if self.crash_loops() => "failed",
            Phase::Backoff { .. } => "backoff",
            Phase::Stopping { .. } => "stopping",
            Phase::Done => "done",
            Phase::Failed => "failed",
        };
        wire::checkin::Unit {
            name: self.unit.name.clone(),
            state: state.to_owned(),
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
        }
    }
}

/// One decision in the making.
struct Turn {
    state: State,
    now: Duration,
    actions: Vec<Action>,
}

impl Turn {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Started { unit, step, pid } => self.started(*unit, *step, pid),
            Event::Exited { pid, exit } => self.exited(*pid, *exit),
            Event::Ready { pid } => self.ready(*pid),
            Event::Asked { ticket, sender, request } => self.asked(*ticket, *sender, request),
            Event::UnitsRead { ticket, found } => self.units_read(*ticket, found),
            Event::Shutdown(goal) => self.shut_down(*goal, "a signal asks for it"),
            Event::ShutdownFailed(why) => self.shutdown_failed(why),
            Event::Tick | Event::Childless | Event::Synced => {}
        }
    }

    /// Does what is due for a unit.
    fn settle(&mut self, index: usize) {
        let entry = &self.state.entries[index];
        let (name, now) = (entry.unit.name.clone(), self.now);
        match entry.phase {
            Phase::Waiting { since } => {
                let missing = self.missing(index);
                if missing.is_empty() {
                    self.start(index);
                } else if now >= since + AFTER_WAIT {
                    let seconds = AFTER_WAIT.as_secs();
                    self.log(Level::Warn, format!("{name} starts after {seconds} s without {}", missing.join(", ")));
                    self.start(index);
                }
            }
            Phase::Starting { pid: None, since, .. } if now >= since + KILL_GRACE => {
                self.ended(index, "was not started", false, since);
            }
            Phase::Starting { pid: Some(pid), step, since }
                if entry.must_start(step) && now >= since + entry.unit.start_timeout =>
            {
                let why = entry.not_started(step);
                self.log(Level::Error, format!("{name}: {why}"));
                self.state.entries[index].last_exit = Some(why);
                if step < self.state.entries[index].unit.pre.len() {
                    self.kill(index, pid, Then::Backoff);
                } else {
                    self.stop(index, Then::Backoff);
                }
            }
            Phase::Backoff { until } if now >= until => self.start(index),
            Phase::Stopping { pid, deadline, killed: false, then } if now >= deadline => {
                self.log(Level::Warn, format!("{name} ({pid}) did not stop when asked and is killed"));
                self.kill(index, pid, then);
            }
            Phase::Stopping { pid, deadline, killed: true, then } if now >= deadline => {
                self.log(Level::Error, format!("{name} ({pid}) is stuck in the kernel and is left behind"));
                self.state.abandoned.insert(pid, name);
                self.stopped(index, then, "stuck in the kernel");
            }
            _ => {}
        }
    }

    /// Units that this one comes after and that are not there yet.
    fn missing(&self, index: usize) -> Vec<String> {
        let after = &self.state.entries[index].unit.after;
        let missing = self.state.entries.iter().filter(|e| after.contains(&e.unit.name) && !e.lets_others_start());
        missing.map(|e| e.unit.name.clone()).collect()
    }

    fn start(&mut self, index: usize) {
        self.step(index, 0);
    }

    fn step(&mut self, index: usize, step: usize) {
        let entry = &mut self.state.entries[index];
        entry.phase = Phase::Starting { step, pid: None, since: self.now };
        self.actions.push(Action::Spawn { unit: entry.number, step });
    }

    fn started(&mut self, number: usize, step: usize, result: &Result<i32, String>) {
        let asked = |e: &Entry| matches!(e.phase, Phase::Starting { step: s, pid: None, .. } if s == step);
        let Some(index) = self.state.entries.iter().position(|e| e.number == number && asked(e)) else {
            // It was told to stop before it came up.
            let late = result.iter().map(|pid| Action::Kill { pid: *pid });
            return self.actions.extend(late);
        };
        let (entry, since) = (&mut self.state.entries[index], self.now);
        match result {
            Ok(pid) if step == entry.unit.pre.len() && entry.unit.ready == Readiness::Running => {
                entry.was_ready = true;
                entry.phase = Phase::Running { pid: *pid, since };
            }
            Ok(pid) => entry.phase = Phase::Starting { step, pid: Some(*pid), since },
            Err(why) => self.ended(index, why, false, since),
        }
    }

    fn exited(&mut self, pid: i32, exit: Exit) {
        if let Some(name) = self.state.abandoned.remove(&pid) {
            self.log(Level::Info, format!("{name} ({pid}), left behind before, has ended: {exit}"));
        }
        let Some(index) = self.state.entries.iter().position(|e| e.pid() == Some(pid)) else { return };
        // Whatever the process has left goes with it.
        self.actions.push(Action::Kill { pid });
        let success = exit == Exit::Status(0);
        let entry = &self.state.entries[index];
        match entry.phase {
            Phase::Starting { step, .. } if step < entry.unit.pre.len() && success => self.step(index, step + 1),
            Phase::Starting { step, since, .. } if step < entry.unit.pre.len() => {
                let why = format!("`{}`: {exit}", entry.unit.pre[step].join(" "));
                self.ended(index, &why, false, since);
            }
            Phase::Starting { since, .. } | Phase::Running { since, .. } => {
                self.ended(index, &exit.to_string(), success, since);
            }
            Phase::Stopping { then, .. } => self.stopped(index, then, &exit.to_string()),
            _ => {}
        }
    }

    /// A unit ended by itself, or could not be started.
    fn ended(&mut self, index: usize, how: &str, success: bool, since: Duration) {
        let (now, seed) = (self.now, self.state.seed);
        let entry = &mut self.state.entries[index];
        let name = entry.unit.name.clone();
        entry.last_exit = Some(how.to_owned());
        if success && entry.unit.restart != Restart::Always {
            entry.phase = Phase::Done;
            return self.log(Level::Info, format!("{name} is done"));
        }
        if entry.unit.restart == Restart::Never {
            entry.phase = Phase::Failed;
            return self.log(Level::Error, format!("{name} failed ({how}) and is not restarted"));
        }
        let healthy = now.saturating_sub(since) >= STABLE_AFTER;
        entry.streak = if healthy { 1 } else { entry.streak.saturating_add(1) };
        entry.restarts = entry.restarts.saturating_add(1);
        let delay = restart_delay(entry, seed);
        entry.phase = Phase::Backoff { until: now + delay };
        let (streak, seconds) = (entry.streak, delay.as_secs_f32());
        let level = if success { Level::Info } else { Level::Warn };
        self.log(level, format!("{name} ended ({how}) and is restarted in {seconds:.1} s"));
        if streak == CRASH_LOOP {
            let text =
                format!("{name} ended {streak} times in a row: see `mk-agent logs {name}`; it is still restarted");
            self.log(Level::Error, text);
        }
    }

    /// A unit that was told to stop is gone.
    fn stopped(&mut self, index: usize, then: Then, how: &str) {
        let now = self.now;
        match then {
            Then::Backoff => {
                // Why it was stopped tells more than how it then ended.
                let why = self.state.entries[index].last_exit.take().unwrap_or_else(|| how.to_owned());
                self.ended(index, &why, false, now);
            }
            Then::Start if self.state.shutdown.is_none() => {
                let entry = &mut self.state.entries[index];
                entry.last_exit = Some(how.to_owned());
                entry.phase = Phase::Waiting { since: now };
                self.settle(index);
            }
            Then::Start | Then::Stay => {
                let entry = &mut self.state.entries[index];
                entry.last_exit = Some(how.to_owned());
                entry.phase = Phase::Done;
            }
        }
    }

    /// Tells a unit to stop, whatever it does now. A terminal's session hears of it as of a hung-up line, since a
    /// shell pays no heed to TERM.
    fn stop(&mut self, index: usize, then: Then) {
        let entry = &mut self.state.entries[index];
        match entry.phase {
            Phase::Starting { pid: Some(pid), .. } | Phase::Running { pid, .. } => {
                entry.phase =
                    Phase::Stopping { pid, deadline: self.now + entry.unit.stop_timeout, killed: false, then };
                if entry.unit.tty.is_some() {
                    self.actions.push(Action::Signal { pid, signal: Signal::SIGHUP });
                }
                self.actions.push(Action::Signal { pid, signal: Signal::SIGTERM });
            }
            Phase::Stopping { pid, deadline, killed, .. } => {
                entry.phase = Phase::Stopping { pid, deadline, killed, then };
            }
            _ if then == Then::Start => self.start(index),
            _ => entry.phase = Phase::Done,
        }
    }

    fn kill(&mut self, index: usize, pid: i32, then: Then) {
        let deadline = self.now + KILL_GRACE;
        self.state.entries[index].phase = Phase::Stopping { pid, deadline, killed: true, then };
        self.actions.push(Action::Kill { pid });
    }

    fn log(&mut self, level: Level, text: String) {
        self.actions.push(Action::Log(level, text));
    }
}

/// Doubles with each end in a row, up to a ceiling, times 3/4 to 5/4.
fn restart_delay(entry: &Entry, seed: u64) -> Duration {
    let doublings = entry.streak.saturating_sub(1).min(16);
    let delay = RESTART_DELAY.saturating_mul(1 << doublings).min(RESTART_DELAY_MAX);
    let name = entry.unit.name.bytes().fold(seed, |hash, byte| mix(hash ^ u64::from(byte)));
    let percent = mix(name ^ u64::from(entry.restarts)) % 51;
    delay * (75 + u32::try_from(percent).unwrap_or(25)) / 100
}

/// The finaliser of splitmix64.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
