//! The unit's loop: events of the kernel and results of module loads come in over one channel; modules are started, and
//! what is known is published whenever things have come to rest. All decisions are in the pure modules beside it.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use wire::card::Span;
use wire::checkin::Extension;

use super::coldplug::{self, Device};
use super::database::Database;
use super::findings::findings;
use super::firmware::Owners;
use super::insert::insert;
use super::kmsg::MissingFirmware;
use super::schedule::Schedule;
use super::table::Step;
use super::uevent::Heard;
use crate::init::client;
use crate::limits::{DEVICES_QUIET, DEVICES_SETTLE, IDLE_WAKE, MODULE_LOAD, MODULES_AT_ONCE, SMALL_STACK};
use crate::state::{Devices, Published as _, uptime_ms};
use crate::tree::Tree;

/// What the unit waits for.
#[derive(Debug)]
pub(crate) enum Event {
    /// From the kernel's device events.
    Kernel(Heard),
    /// From the kernel's log.
    Firmware(MissingFirmware),
    /// A module load ended.
    Module { name: String, result: Result<(), String>, took: Duration },
}

/// The unit's memory.
pub(crate) struct Unit {
    tree: Tree,
    database: Database,
    schedule: Schedule,
    /// Modalias values that were looked up already.
    seen: BTreeSet<String>,
    firmware: BTreeSet<MissingFirmware>,
    owners: Owners,
    extensions: Vec<Extension>,
    /// Modules that were loaded before the schedule existed.
    first: Vec<String>,
    /// What was timed: mounting the extensions, and then the first pass over the devices.
    mounting: Span,
    settling: Option<Span>,
    sender: Sender<Event>,
    started: Instant,
    /// When something last happened.
    stirred: Instant,
    /// Something happened since the state was published.
    changed: bool,
    settled: bool,
}

impl Unit {
    /// A unit that has looked at nothing yet.
    pub(crate) fn new(
        database: Database,
        extensions: Vec<Extension>,
        first: Vec<String>,
        mounting: Span,
        sender: Sender<Event>,
    ) -> Self {
        let now = Instant::now();
        // One that was started again tells of the first time.
        let before = Devices::read().unwrap_or_default();
        Self {
            tree: Tree::live(),
            database,
            schedule: Schedule::new(MODULES_AT_ONCE, MODULE_LOAD),
            seen: BTreeSet::new(),
            firmware: BTreeSet::new(),
            owners: Owners::load(),
            extensions,
            first,
            mounting: before.mounting.unwrap_or(mounting),
            settling: before.settling,
            sender,
            started: now,
            stirred: now,
            changed: true,
            settled: false,
        }
    }

    /// Runs for ever.
    ///
    /// # Errors
    /// When nobody can send events any more.
    pub(crate) fn run(mut self, events: &Receiver<Event>) -> anyhow::Result<()> {
        self.look();
        loop {
            for step in self.schedule.start(Instant::now()) {
                self.start(step);
            }
            match events.recv_timeout(self.patience(Instant::now())) {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("all sources of device events ended"),
            }
            for name in self.schedule.overdue(Instant::now()) {
                self.stir();
                tracing::error!(
                    "module {name} has not returned within {} s; going on without it",
                    MODULE_LOAD.as_secs()
                );
            }
            self.rest(Instant::now());
        }
    }

    /// How long nothing needs to be done unless an event comes.
    fn patience(&self, now: Instant) -> Duration {
        let quiet = self.changed.then_some(self.stirred + DEVICES_QUIET).filter(|_| self.schedule.is_idle());
        let settle = (!self.settled).then_some(self.started + DEVICES_SETTLE);
        let next = [quiet, settle, self.schedule.next_deadline()].into_iter().flatten().min();
        next.map_or(IDLE_WAKE, |at| at.saturating_duration_since(now))
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Kernel(Heard::Overflow) => {
                self.stir();
                self.look();
            }
            Event::Kernel(Heard::Event(event)) => match event.modalias {
                Some(modalias) if event.action == "add" => {
                    self.stir();
                    self.want(&[modalias]);
                }
                // Devices without a modalias, such as disks and ports, tell that things still move.
                _ if !self.settled || matches!(event.action.as_str(), "bind" | "unbind" | "remove") => self.stir(),
                _ => {}
            },
            Event::Firmware(missing) => {
                tracing::warn!("{} did not get firmware {}", missing.device, missing.file);
                self.changed |= self.firmware.insert(missing);
            }
            Event::Module { name, result, took } => {
                self.stir();
                match &result {
                    Ok(()) => tracing::debug!("module {name} loaded in {} ms", took.as_millis()),
                    Err(reason) => tracing::warn!("module {name} does not load: {reason}"),
                }
                self.schedule.finished(&name, result);
            }
        }
    }

    fn stir(&mut self) {
        self.stirred = Instant::now();
        self.changed = true;
    }

    /// When nothing has happened for a while: one more look, since a device may have come without a word, and then
    /// the state is published.
    fn rest(&mut self, now: Instant) {
        let overtime = !self.settled && now.duration_since(self.started) >= DEVICES_SETTLE;
        let quiet = self.changed && self.schedule.is_idle() && now.duration_since(self.stirred) >= DEVICES_QUIET;
        if !quiet && !overtime {
            return;
        }
        let devices = self.look();
        if overtime {
            tracing::warn!(
                "devices have not come to rest within {} s; going on with what is there",
                DEVICES_SETTLE.as_secs()
            );
        } else if !self.schedule.is_idle() {
            return;
        }
        self.changed = false;
        self.publish(&devices, now);
    }

    /// Looks at all devices and asks for what they need.
    fn look(&mut self) -> Vec<Device> {
        let devices = coldplug::scan(&self.tree);
        let aliases: Vec<String> = devices.iter().map(|d| d.modalias.clone()).collect();
        self.want(&aliases);
        devices
    }

    fn want(&mut self, modaliases: &[String]) {
        let mut fresh: Vec<&String> = modaliases.iter().filter(|m| self.seen.insert((*m).clone())).collect();
        fresh.sort_by_key(|m| coldplug::rank(m));
        let mut modules: Vec<String> = fresh.iter().flat_map(|m| self.database.serving(m)).collect();
        modules.extend(coldplug::companions(&modules));
        for step in self.database.steps(&modules) {
            match self.database.denied(&step.module).map(str::to_owned) {
                Some(reason) => self.schedule.refuse(step, reason),
                None => self.schedule.add(vec![step]),
            }
        }
    }

    /// Each load has a thread of its own: the kernel may keep it for as long as it likes.
    fn start(&self, step: Step) {
        let (path, sender, name) = (self.database.path(&step.file), self.sender.clone(), step.module);
        let module = name.clone();
        let load = move || {
            let begin = Instant::now();
            let result = insert(&path).map_err(|e| format!("{e:#}"));
            // The receiver lives as long as the process.
            let _: Result<(), _> = sender.send(Event::Module { name: module, result, took: begin.elapsed() });
        };
        if let Err(error) = thread::Builder::new().stack_size(SMALL_STACK).spawn(load) {
            let result = Err(format!("no thread can be started: {error}"));
            let _: Result<(), _> = self.sender.send(Event::Module { name, result, took: Duration::ZERO });
        }
    }

    fn publish(&mut self, devices: &[Device], now: Instant) {
        let failed = self.schedule.failed();
        let loaded: Vec<String> = self.first.iter().chain(self.schedule.loaded()).cloned().collect();
        if !self.settled {
            let took = now.duration_since(self.started).as_millis();
            tracing::info!(
                "{} modules loaded, {} not, {} devices, {took} ms",
                loaded.len(),
                failed.len(),
                devices.len()
            );
        }
        let findings = findings(devices, &self.database, &failed, &self.firmware, &self.owners);
        let extensions = self.extensions.clone();
        let settling = *self.settling.get_or_insert_with(|| Span::between(self.mounting.end_ms(), uptime_ms()));
        let (mounting, settling) = (Some(self.mounting), Some(settling));
        let state = Devices { settled: true, loaded, failed, findings, extensions, mounting, settling };
        if let Err(error) = state.publish() {
            tracing::error!("{error:#}");
        }
        if !self.settled {
            self.settled = true;
            client::ready();
        }
    }
}
