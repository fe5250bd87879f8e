//! Unit `checkin`: says to a server what this machine is, for ever, and does what the answers ask.
//!
//! Input: the state of `net` and `devices`, the settings, the facts. Output: [`crate::state::Checkin`], the pushed
//! configuration, requests to the supervisor. No answer means no action; the unit never restarts the machine by itself.
//! Decisions are pure and each in a file of its own; this file only joins them.

mod ask;
mod beside;
mod bundle;
mod card;
mod clock;
mod compose;
mod configure;
mod doctor;
mod former;
mod gather;
mod idle;
mod jobs;
mod key;
mod names;
mod orders;
mod outbox;
mod pace;
mod placed;
mod pushed;
mod reply;
mod route;
mod sealed;
mod secrets;
mod stopwatch;
mod token;
mod transport;
mod trial;
pub(crate) mod verdict;
mod wait;
mod watch;

#[cfg(test)]
mod precedence;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use wire::checkin::CheckinReply;
use wire::error::Problem;

use crate::init::client::{self, Request};
use crate::limits::{CHECKIN_GAP, CHECKIN_START, CHECKIN_STOCK, FORMER_HOLD};
use crate::random::random;
use crate::settings::Settings;
use crate::state::{Checkin, Published as _, RUN_DIR, ServerHint, uptime};
use crate::tree::Tree;
use crate::{facts, units};

use beside::Next;
use compose::{Ledger, View};
pub(crate) use doctor::doctor;
use former::Former;
use gather::Gatherer;
use jobs::Jobs;
use key::Speaker;
use orders::Orders;
use outbox::Outbox;
use pace::{Bucket, Hurries, Pace};
pub(crate) use pushed::{Candidate, Pushed, Stage, check};
use reply::{Effects, Power};
use route::Route;
use sealed::Sealed;
use transport::{Timeouts, Transport};
use trial::Trial;
use verdict::Failure;
use wait::Wait;
use watch::{Inputs, Watch};

/// Stages that last.
const NO_ADDRESS: &str = "waiting for an address";
const RETRYING: &str = "waiting to try again";
const CHECKED_IN: &str = "checked in";

/// Runs the unit until it is told to stop.
///
/// # Errors
/// The state folder cannot be used, or the key of this boot is damaged.
pub(crate) fn run() -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the unit")?;
    runtime.block_on(async { Unit::new(Settings::load())?.run().await })
}

struct Unit {
    settings: Settings,
    speaker: Speaker,
    watch: Watch,
    transport: Result<Transport, Failure>,
    gatherer: Gatherer,
    /// What was found last, and when.
    stock: Option<(Instant, View)>,
    route: Route,
    ledger: Ledger,
    /// What the server has of an earlier run, until this one has read as much, or has tried for long.
    former: Option<Former>,
    /// When that is.
    former_end: Instant,
    /// What is kept for a later run.
    kept: Option<Former>,
    outbox: Outbox,
    /// The request whose answer was lost.
    lost: Option<Sealed>,
    pushed: Pushed,
    /// What was seen of its units.
    trial: Trial,
    /// The supervisor has read the units that are placed.
    units_known: bool,
    orders: Orders,
    jobs: Jobs,
    wait: Wait,
    /// What the next wait has added to it once.
    skew: bool,
    hurries: Hurries,
    /// Check-ins that are due to the server.
    bucket: Bucket,
    /// To be done after the next attempt to check in, which reports it.
    power: Option<Power>,
    state: Checkin,
    published: Option<Checkin>,
    /// What was logged last, so that it is logged once.
    logged: String,
}

/// What one round came to.
enum Round {
    /// The next one is due after this time.
    Wait(Duration),
    /// The next one is due as soon as may be.
    Again,
}

/// What a check-in is due to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Time went by, or the node has changed.
    Node,
    /// The server has something to tell, or is to be told what came of that. The machine need not be looked at for it.
    Server,
}

impl Unit {
    fn new(settings: Settings) -> anyhow::Result<Self> {
        let dir = Path::new(RUN_DIR);
        let speaker = Speaker::load(dir)?;
        let pushed = Pushed::read().unwrap_or_default();
        let (orders, results) = Orders::load();
        let mut outbox = Outbox::default();
        outbox.results(results);
        outbox.problems(pushed.answer.iter().filter_map(|answer| answer.refused.clone()));
        let former = Former::load();
        let mut unit = Self {
            transport: Transport::new(settings.ca(), Timeouts::default()),
            watch: Watch::new(dir)?,
            gatherer: Gatherer::new(|| facts::collect(&Tree::live(), facts::Asker::Checkin)),
            stock: None,
            route: Route::default(),
            ledger: Ledger::default(),
            kept: former.clone(),
            former,
            former_end: Instant::now() + FORMER_HOLD,
            outbox,
            lost: None,
            jobs: Jobs::default(),
            wait: Wait::default(),
            skew: true,
            hurries: Hurries::default(),
            bucket: Bucket::default(),
            power: orders.power(),
            state: Checkin { first: Self::first_of_boot(), key: Some(speaker.fingerprint()), ..Checkin::default() },
            published: None,
            logged: String::new(),
            orders,
            settings,
            speaker,
            pushed,
            trial: Trial::default(),
            units_known: !Path::new(units::PUSHED_DIR).exists(),
        };
        unit.place();
        Ok(unit)
    }

    async fn run(mut self) -> anyhow::Result<()> {
        self.wait_for_start().await?;
        let mut cause = Cause::Node;
        loop {
            let begun = Instant::now();
            let (inputs, net) = Inputs::read();
            self.settle();
            self.take_posted();
            let view = match cause {
                Cause::Node => self.timed_view().await,
                Cause::Server => self.recent_view().await,
            };
            let power = self.power.take();
            let round = if inputs.has_address() {
                self.round(&inputs, &view).await
            } else {
                self.failed(NO_ADDRESS, watch::no_network(&net), None)
            };
            if let Some(power) = power {
                self.switch(&power);
            }
            match round {
                Round::Wait(wait) => {
                    self.state.next_attempt_s = Some(uptime() + wait.as_secs_f64());
                    self.publish();
                    cause = self.sleep(begun, wait, &inputs, &view).await?;
                }
                Round::Again => cause = Cause::Server,
            }
            if cause == Cause::Server {
                // A server that always has more must not make this a busy loop.
                tokio::time::sleep(self.bucket.take(Instant::now())).await;
            }
        }
    }

    /// The first check-in waits a little for the devices, so that it is whole, and for an address, so that a boot in
    /// good order reports no trouble.
    async fn wait_for_start(&mut self) -> anyhow::Result<()> {
        let end = tokio::time::Instant::now() + CHECKIN_START;
        loop {
            self.take_posted();
            let (inputs, _) = Inputs::read();
            match (inputs.settled, inputs.has_address()) {
                (true, true) => return Ok(()),
                (false, _) => self.say("waiting for the devices"),
                (true, false) => self.say(NO_ADDRESS),
            }
            tokio::select! {
                changed = self.watch.next() => changed.context("cannot hear of changes")?,
                () = tokio::time::sleep_until(end) => return Ok(()),
            }
        }
    }

    /// Sleeps for this time, or until something changed that the server should know or that may mend a failure, or until
    /// the server has something to tell.
    async fn sleep(&mut self, begun: Instant, wait: Duration, seen: &Inputs, sent: &View) -> anyhow::Result<Cause> {
        let end = tokio::time::Instant::now() + wait;
        let mut seen = seen.clone();
        // Taken back when this function ends.
        let mut _waiting = self.ask_to_be_told(end.into_std());
        let mut quiet = tokio::time::Instant::now();
        loop {
            let (current, now) = (Inputs::read().0, tokio::time::Instant::now());
            let trial = self.trial_due();
            if self.is_posted() || trial == Some(Duration::ZERO) {
                tokio::time::sleep(CHECKIN_GAP.saturating_sub(begun.elapsed())).await;
                return Ok(Cause::Node);
            }
            if current != seen && quiet <= now {
                seen = current;
                let settles = self.pushed.candidate.as_ref().is_some_and(|c| seen.applied == Some(c.number));
                // Without an address nobody is asked: such a round costs the server nothing.
                let may_hurry = !seen.has_address() || self.hurries.is_left();
                // The machine is looked at only where something can come of it.
                let matters = may_hurry
                    && (settles || self.state.failures > 0 || self.view().await.fingerprint != sent.fingerprint);
                if matters && (!seen.has_address() || self.hurries.take()) {
                    tokio::time::sleep(CHECKIN_GAP.saturating_sub(begun.elapsed())).await;
                    return Ok(Cause::Node);
                }
                // Whoever is on the wire can change what is heard there all the time.
                quiet = tokio::time::Instant::now() + CHECKIN_GAP;
            }
            tokio::select! {
                changed = self.watch.next() => changed.context("cannot hear of changes")?,
                Some(event) = self.jobs.next() => match self.happened(event) {
                    Next::Wait => {}
                    Next::AskAgain => _waiting = self.ask_to_be_told(end.into_std()),
                    Next::CheckIn => return Ok(Cause::Server),
                },
                // What changed in the meantime is looked at now.
                () = tokio::time::sleep_until(quiet), if now < quiet => {}
                () = tokio::time::sleep(trial.unwrap_or_default()), if trial.is_some() => {}
                () = tokio::time::sleep_until(end) => {
                    self.hurries.waited();
                    return Ok(Cause::Node);
                }
            }
        }
    }

    async fn view(&mut self) -> View {
        let (inventory, problem) = self.gatherer.gather().await;
        self.outbox.problems(problem);
        let view = View::of(inventory, self.pushed.excluded().as_ref());
        self.stock = Some((Instant::now(), view.clone()));
        view
    }

    /// The machine as it was found last, if that is not long ago.
    async fn recent_view(&mut self) -> View {
        match self.stock.as_ref().filter(|(at, _)| at.elapsed() < CHECKIN_STOCK) {
            Some((_, view)) => view.clone(),
            None => self.view().await,
        }
    }

    /// This server answered, after those before it had failed.
    fn answered(
        &mut self,
        hint: &ServerHint,
        view: &View,
        sealed: Sealed,
        reply: &CheckinReply,
        failed: &[Problem],
    ) -> Round {
        let Sealed { parts, fingerprint, told, repeated, .. } = sealed;
        self.answered_well();
        self.route.answered(hint, reply.id);
        self.ledger.answered(&hint.url, &fingerprint, parts, reply.send_inventory, Instant::now());
        self.outbox.delivered(told);
        // What was answered may be old: what happened since follows at once.
        let more = repeated && !(self.outbox.is_empty() && fingerprint == view.fingerprint);
        self.keep(hint, view, reply, repeated);
        let effects = reply::effects(reply, &self.orders.known, parts.facts && parts.inventory);
        if !repeated {
            self.orders.forget_but(&reply.commands, &self.outbox.pending().results);
            // The answer to a repeated request is the first one's, and so is its clock.
            self.compare_clocks(reply);
        }
        let is_news = self.configure(reply);
        self.wait.answered(&hint.url, reply);
        self.outbox.problems(failed.iter().cloned());
        self.note(hint, reply, failed);
        match self.apply(effects, reply.interval) {
            // What came of a configuration, and its facts, are told at once.
            Round::Wait(_) if is_news => Round::Again,
            Round::Wait(_) if more => Round::Again,
            round => round,
        }
    }

    /// Keeps what this server has, for a later run of this unit. One that does not have it gets what there is.
    fn keep(&mut self, hint: &ServerHint, view: &View, reply: &CheckinReply, repeated: bool) {
        let is_held_back = self.former.as_ref().is_some_and(|former| former.server == hint.url);
        if reply.send_inventory != Some(false) {
            self.former.take_if(|_| is_held_back);
        } else if !is_held_back && !repeated {
            let now = Some(Former::of(&hint.url, view, self.kept.as_ref()));
            if now != self.kept {
                if let Some(Err(why)) = now.as_ref().map(Former::keep) {
                    tracing::warn!("{why:#}");
                }
                self.kept = now;
            }
        }
    }

    fn apply(&mut self, effects: Effects, interval: Option<u32>) -> Round {
        let Effects { power, send_all, mut at_once, jobs, results, problems } = effects;
        if !jobs.is_empty() || !results.is_empty() {
            self.wait.brought();
        }
        self.orders.begin(&jobs, &results, power.as_ref());
        self.outbox.results(results);
        // Before anything is begun: what ends this unit is not begun again.
        self.orders.keep(&self.outbox.pending().results);
        at_once |= self.start(jobs);
        self.outbox.problems(problems);
        if send_all {
            self.ledger.forget();
            (self.former, self.stock) = (None, None);
            self.outbox.forget_card();
        }
        if let Some(power) = power {
            // A command is acknowledged first; the action has no acknowledgement.
            match at_once {
                true => self.power = Some(power),
                false => self.switch(&power),
            }
        }
        if at_once {
            return Round::Again;
        }
        let pace = Pace::of(&self.pushed.config, self.settings.line.interval);
        Round::Wait(pace.after_answer(self.pushed.interval(interval), std::mem::take(&mut self.skew), random()))
    }

    fn compare_clocks(&mut self, reply: &CheckinReply) {
        let mut warning = clock::wrong(outbox::clock(), reply.clock_s);
        if let (Some(problem), Some(servers), true) = (&warning, reply.clock_s, self.settings.is_pinned()) {
            match clock::set(servers) {
                Ok(()) => {
                    tracing::warn!("{}; it is set to the server's, which has proved who it is", problem.error);
                    // Told once: what is wrong is the one on the board.
                    self.outbox.happened(problem.clone());
                    warning = None;
                }
                Err(why) => tracing::warn!("{why:#}"),
            }
        }
        if let Some(problem) = warning.as_ref().filter(|_| warning != self.state.warning) {
            tracing::warn!("{problem}");
        }
        self.outbox.problems(warning.clone());
        self.state.warning = warning;
    }

    fn note(&mut self, hint: &ServerHint, reply: &CheckinReply, failed: &[Problem]) {
        let state = &mut self.state;
        state.node_id = reply.id.or(state.node_id);
        state.node_name = reply.name.clone().or(state.node_name.take());
        state.state = reply.state;
        state.reason.clone_from(&reply.reason);
        state.server = Some(hint.url.clone());
        state.last_contact_s = Some(uptime());
        state.failures = 0;
        state.error = None;
        state.action = Some(reply.action.clone());
        let name = state.node_name.clone().unwrap_or_else(|| "this node".to_owned());
        let held = state.reason.as_ref().map(|r| format!(", but {r}")).unwrap_or_default();
        let others: String = failed.iter().map(|p| format!("; {}", p.error)).collect();
        let text = format!("checked in as {name} with {} ({}){held}{others}", hint.url, hint.source);
        if text != self.logged {
            tracing::info!("{text}");
            self.logged = text;
        }
        if self.published.as_ref().is_none_or(|p| p.last_contact_s.is_none()) {
            client::ready();
        }
        self.tell_card();
        self.say(CHECKED_IN);
    }

    fn failed(&mut self, stage: &str, problem: Problem, asked: Option<Duration>) -> Round {
        let text = problem.to_string();
        if text != self.logged {
            tracing::warn!("{text}");
            self.logged = text;
        }
        self.state.failures = self.state.failures.saturating_add(1);
        self.wait.unanswered();
        stage.clone_into(&mut self.state.stage);
        self.outbox.happened(problem.clone());
        self.state.error = Some(problem);
        Round::Wait(pace::after_failure(self.state.failures, asked, random()))
    }

    fn switch(&mut self, power: &Power) {
        // At most once, whatever comes of it.
        self.orders.switched(&self.outbox.pending().results);
        let request = match power {
            Power::Reboot(reason) => Request::Reboot { reason: reason.clone() },
            Power::Off(reason) => Request::Poweroff { reason: reason.clone() },
        };
        tracing::info!("asking the supervisor: {request:?}");
        if let Err(why) = client::request(&request) {
            let problem = Problem::new("power", format!("{why:#}"), "Use the BMC or the button of this machine.");
            tracing::warn!("{problem}");
            self.outbox.happened(problem);
        }
    }

    fn say(&mut self, stage: &str) {
        stage.clone_into(&mut self.state.stage);
        self.publish();
    }

    fn publish(&mut self) {
        if self.published.as_ref() == Some(&self.state) {
            return;
        }
        if let Err(why) = self.state.publish() {
            tracing::warn!("{why:#}");
            let remedy = "Make room in /run of this node: see what has filled it, or reboot the machine.";
            self.outbox.problems([Problem::new("state_not_kept", format!("{why:#}"), remedy)]);
        }
        self.published = Some(self.state.clone());
    }
}

#[cfg(test)]
mod tests;
