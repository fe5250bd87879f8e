//! The decisions as tables: given these units and this history, these actions follow. The driver below is the
//! executor's counterpart: it answers each spawn with a process id.

mod keys;
mod reload;

use proptest::prelude::*;

use super::*;
use crate::init::client::{Reply, Request};
use crate::init::event::Goal;
use crate::limits::{START_TIMEOUT, STOP_TIMEOUT};
use crate::units::{KillMode, Limits};

/// A machine on paper: its state, its clock, and what was done so far.
struct Paper {
    state: State,
    now: Duration,
    next_pid: i32,
    done: Vec<Action>,
}

fn unit(name: &str) -> Unit {
    Unit {
        name: name.to_owned(),
        command: vec![format!("/bin/{name}")],
        pre: Vec::new(),
        tty: None,
        restart: Restart::Always,
        after: Vec::new(),
        ready: Readiness::Running,
        start_timeout: START_TIMEOUT,
        stop_timeout: STOP_TIMEOUT,
        kill_mode: KillMode::ControlGroup,
        limits: Limits::default(),
    }
}

fn of(units: Vec<Unit>) -> Definitions {
    Definitions { units, problems: Vec::new() }
}

impl Paper {
    fn new(units: Vec<Unit>) -> Self {
        Self::of(Mode::Init, units)
    }

    fn of(mode: Mode, units: Vec<Unit>) -> Self {
        let state = State::new(mode, of(units), Vec::new(), ALL, 1);
        let mut paper = Self { state, now: Duration::ZERO, next_pid: 100, done: Vec::new() };
        paper.hear(&Event::Tick);
        paper
    }

    /// Hears an event and all that follows from it at once; gives what was done.
    fn hear(&mut self, event: &Event) -> Vec<Action> {
        let (state, actions) = decide(&self.state, event, self.now);
        self.state = state;
        let mut all = Vec::new();
        for action in actions {
            all.push(action.clone());
            if let Action::Spawn { unit, step } = action {
                self.next_pid += 1;
                all.extend(self.hear(&Event::Started { unit, step, pid: Ok(self.next_pid) }));
            }
        }
        self.done.extend(all.clone());
        all
    }

    /// Lets time pass until nothing is due before `until`.
    fn pass(&mut self, until: Duration) -> Vec<Action> {
        let mut all = Vec::new();
        while let Some(due) = self.state.next_deadline().filter(|due| *due <= until) {
            self.now = due.max(self.now);
            all.extend(self.hear(&Event::Tick));
        }
        self.now = until;
        all
    }

    fn exit(&mut self, name: &str, exit: Exit) -> Vec<Action> {
        let pid = self.pid(name);
        self.hear(&Event::Exited { pid, exit })
    }

    fn ask(&mut self, request: Request) -> Reply {
        let actions = self.hear(&Event::Asked { ticket: 7, sender: 1, request });
        let reply =
            actions.into_iter().find_map(|a| if let Action::Reply { reply, .. } = a { Some(reply) } else { None });
        reply.expect("each request has a reply")
    }

    /// The unit files say this now.
    fn reload(&mut self, units: Vec<Unit>) -> Vec<Action> {
        self.hear(&Event::UnitsRead { ticket: 8, found: of(units) })
    }

    fn pid(&self, name: &str) -> i32 {
        self.state.published().pids[name]
    }

    fn state(&self, name: &str) -> String {
        self.state.published().units.into_iter().find(|u| u.name == name).unwrap().state
    }
}

fn signals(actions: &[Action]) -> Vec<Signal> {
    let sent = |action: &Action| match action {
        Action::Signal { signal, .. } => Some(*signal),
        Action::Kill { .. } => Some(Signal::SIGKILL),
        _ => None,
    };
    actions.iter().filter_map(sent).collect()
}

fn spawns(actions: &[Action]) -> Vec<(usize, usize)> {
    actions
        .iter()
        .filter_map(|a| if let Action::Spawn { unit, step } = a { Some((*unit, *step)) } else { None })
        .collect()
}

const ALL: Controllers = Controllers { memory: true, pids: true, cpu: true };
const CRASH: Exit = Exit::Signal(libc::SIGSEGV);
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn all_units_start_at_once() {
    let paper = Paper::new(vec![unit("a"), unit("b")]);
    assert_eq!((paper.state("a"), paper.state("b")), ("running".to_owned(), "running".to_owned()));
}

#[test]
fn what_follows_an_end() {
    for (restart, exit, state) in [
        (Restart::Always, Exit::Status(0), "backoff"),
        (Restart::Always, CRASH, "backoff"),
        (Restart::OnFailure, Exit::Status(0), "done"),
        (Restart::OnFailure, Exit::Status(1), "backoff"),
        (Restart::Never, Exit::Status(0), "done"),
        (Restart::Never, CRASH, "failed"),
    ] {
        let mut paper = Paper::new(vec![Unit { restart, ..unit("a") }]);
        let actions = paper.exit("a", exit);
        assert_eq!(paper.state("a"), state, "{restart:?} {exit}");
        assert_eq!(signals(&actions), [Signal::SIGKILL], "its process group goes with it");
    }
}

#[test]
fn restarts_come_later_and_later_and_never_end() {
    let mut paper = Paper::new(vec![unit("a")]);
    let mut delays = Vec::new();
    for _ in 0..12 {
        let ended = paper.now;
        paper.exit("a", CRASH);
        let due = paper.state.next_deadline().unwrap();
        delays.push(due - ended);
        assert_eq!(spawns(&paper.pass(due)), [(0, 0)]);
    }
    assert!(delays[0] <= RESTART_DELAY * 5 / 4, "{delays:?}");
    assert!(delays[..6].windows(2).all(|d| d[0] < d[1]), "{delays:?}");
    assert!(delays[11] >= RESTART_DELAY_MAX * 3 / 4 && delays[11] <= RESTART_DELAY_MAX * 5 / 4, "{delays:?}");
}

#[test]
fn a_crash_loop_is_said_once_and_shown() {
    let mut paper = Paper::new(vec![unit("a")]);
    for _ in 0..CRASH_LOOP + 2 {
        paper.exit("a", CRASH);
        let due = paper.state.next_deadline().unwrap();
        if paper.state("a") == "failed" {
            assert!(paper.state.entries[0].streak >= CRASH_LOOP);
        }
        paper.pass(due);
    }
    let said = paper.done.iter().filter(|a| matches!(a, Action::Log(Level::Error, text) if text.contains("in a row")));
    assert_eq!(said.count(), 1);
}

#[test]
fn a_stable_run_is_forgiven() {
    let mut paper = Paper::new(vec![unit("a")]);
    for _ in 0..CRASH_LOOP {
        paper.exit("a", CRASH);
        let due = paper.state.next_deadline().unwrap();
        paper.pass(due);
    }
    paper.pass(paper.now + STABLE_AFTER);
    paper.exit("a", CRASH);
    assert_eq!(paper.state("a"), "backoff");
    assert!(paper.state.next_deadline().unwrap() - paper.now <= RESTART_DELAY * 5 / 4);
    assert_eq!(paper.state.published().units[0].restarts, CRASH_LOOP + 1);
}

#[test]
fn machines_differ_in_their_delays() {
    let delay = |seed| {
        let mut paper = Paper::new(vec![unit("a")]);
        paper.state.seed = seed;
        paper.exit("a", CRASH);
        paper.state.next_deadline().unwrap()
    };
    let delays: std::collections::BTreeSet<_> = (0..20).map(delay).collect();
    assert!(delays.len() > 5, "{delays:?}");
}

#[test]
fn a_unit_waits_for_what_it_comes_after() {
    let first = Unit { ready: Readiness::Told, ..unit("first") };
    let after = Unit { after: vec!["first".to_owned()], ..unit("after") };
    let mut paper = Paper::new(vec![first.clone(), after.clone()]);
    assert_eq!((paper.state("first").as_str(), paper.state("after").as_str()), ("starting", "waiting"));
    let sender = paper.pid("first");
    paper.hear(&Event::Asked { ticket: 1, sender: sender + 50, request: Request::Ready });
    assert_eq!(paper.state("after"), "waiting", "another process's word does not count");
    paper.hear(&Event::Asked { ticket: 2, sender, request: Request::Ready });
    assert_eq!((paper.state("first").as_str(), paper.state("after").as_str()), ("running", "running"));

    let mut late = Paper::new(vec![first.clone(), after.clone()]);
    late.pass(AFTER_WAIT - Duration::from_millis(1));
    late.ask(Request::Restart("after".to_owned()));
    assert_eq!(late.state("after"), "waiting", "there is nothing to restart yet");
    late.pass(AFTER_WAIT);
    assert_eq!(late.state("after"), "running", "it does not wait for ever");

    let mut failing = Paper::new(vec![Unit { restart: Restart::Never, ..first }, after]);
    failing.exit("first", CRASH);
    assert_eq!(failing.state("after"), "running", "nor for what has failed");
}

#[test]
fn preparatory_commands_come_first_and_must_succeed() {
    let pre = vec![vec!["/bin/one".to_owned()], vec!["/bin/two".to_owned()]];
    let mut paper = Paper::new(vec![Unit { pre, ..unit("a") }]);
    assert_eq!(paper.state("a"), "starting");
    assert_eq!(spawns(&paper.exit("a", Exit::Status(0))), [(0, 1)]);
    assert_eq!(spawns(&paper.exit("a", Exit::Status(0))), [(0, 2)]);
    assert_eq!(paper.state("a"), "running");
    paper.exit("a", CRASH);
    let due = paper.state.next_deadline().unwrap();
    assert_eq!(spawns(&paper.pass(due)), [(0, 0)], "before each start");
    paper.exit("a", Exit::Status(3));
    let unit = paper.state.published().units.remove(0);
    assert_eq!((unit.state.as_str(), unit.last_exit.as_deref()), ("backoff", Some("`/bin/one`: exit status 3")));
}

#[test]
fn a_preparatory_command_that_hangs_is_killed() {
    let mut paper = Paper::new(vec![Unit { pre: vec![vec!["/bin/one".to_owned()]], ..unit("a") }]);
    assert_eq!(signals(&paper.pass(START_TIMEOUT)), [Signal::SIGKILL]);
    paper.exit("a", Exit::Signal(libc::SIGKILL));
    let unit = paper.state.published().units.remove(0);
    let why = "`/bin/one` did not end within 60 s";
    assert_eq!((unit.state.as_str(), unit.last_exit.as_deref()), ("backoff", Some(why)));
}

#[test]
fn a_program_that_cannot_be_started_is_tried_again() {
    let state = State::new(Mode::Init, of(vec![unit("a")]), Vec::new(), ALL, 1);
    let (state, actions) = decide(&state, &Event::Tick, Duration::ZERO);
    assert_eq!(spawns(&actions), [(0, 0)]);
    let (state, _) =
        decide(&state, &Event::Started { unit: 0, step: 0, pid: Err("no such file".to_owned()) }, Duration::ZERO);
    assert_eq!(state.published().units[0].last_exit.as_deref(), Some("no such file"));
    let due = state.next_deadline().unwrap();
    assert_eq!(spawns(&decide(&state, &Event::Tick, due).1), [(0, 0)]);
}

#[test]
fn a_start_that_was_lost_is_made_good() {
    let state = State::new(Mode::Init, of(vec![unit("a")]), Vec::new(), ALL, 1);
    let (state, _) = decide(&state, &Event::Tick, Duration::ZERO);
    let due = state.next_deadline().unwrap();
    let (state, _) = decide(&state, &Event::Tick, due);
    assert_eq!(state.published().units[0].state, "backoff");
}

#[test]
fn stop_asks_then_kills_then_leaves_behind() {
    let mut paper = Paper::new(vec![unit("a")]);
    let pid = paper.pid("a");
    assert_eq!(paper.ask(Request::Restart("a".to_owned())), Reply::Accepted);
    assert_eq!((signals(&paper.done), paper.state("a").as_str()), (vec![Signal::SIGTERM], "stopping"));
    assert_eq!(signals(&paper.pass(STOP_TIMEOUT)), [Signal::SIGKILL]);
    let actions = paper.pass(STOP_TIMEOUT + KILL_GRACE);
    assert_eq!(spawns(&actions), [(0, 0)], "its successor starts");
    assert_ne!(paper.pid("a"), pid);
    let actions = paper.hear(&Event::Exited { pid, exit: Exit::Signal(libc::SIGKILL) });
    assert!(matches!(&actions[..], [Action::Log(Level::Info, _)]), "{actions:?}");
    assert_eq!(paper.state("a"), "running");
}

#[test]
fn requests_about_units() {
    let mut paper = Paper::new(vec![unit("a")]);
    assert_eq!(paper.ask(Request::Stop("a".to_owned())), Reply::Accepted);
    paper.exit("a", Exit::Status(0));
    paper.pass(LONG);
    assert_eq!(paper.state("a"), "done", "it stays stopped");
    paper.ask(Request::Start("a".to_owned()));
    assert_eq!(paper.state("a"), "running");
    let pid = paper.pid("a");
    paper.ask(Request::Start("a".to_owned()));
    assert_eq!(paper.pid("a"), pid, "it runs already");
    let Reply::Refused(why) = paper.ask(Request::Stop("b".to_owned())) else { panic!("b is no unit") };
    assert!(why.contains("there is no unit b"), "{why}");
    let actions = paper.hear(&Event::Asked { ticket: 9, sender: 1, request: Request::Logs("a".to_owned()) });
    assert_eq!(actions, [Action::ReplyLines { ticket: 9, unit: "a".to_owned() }]);
}

#[test]
fn a_start_on_request_ends_the_wait_after_crashes() {
    let mut paper = Paper::new(vec![unit("a")]);
    paper.exit("a", CRASH);
    paper.ask(Request::Start("a".to_owned()));
    assert_eq!((paper.state("a").as_str(), paper.state.entries[0].streak), ("running", 0));
}

#[test]
fn a_unit_that_is_wanted_is_started_but_not_before_its_time() {
    let mut paper = Paper::new(vec![Unit { restart: Restart::OnFailure, ..unit("a") }]);
    let want = |paper: &mut Paper| paper.ask(Request::Want("a".to_owned()));
    paper.exit("a", Exit::Status(0));
    want(&mut paper);
    assert_eq!(paper.state("a"), "running");
    for ends in 1..=CRASH_LOOP {
        paper.exit("a", Exit::Signal(libc::SIGKILL));
        want(&mut paper);
        assert_eq!(paper.state("a"), if ends < CRASH_LOOP { "backoff" } else { "failed" }, "it waits, and is counted");
        if ends < CRASH_LOOP {
            let due = paper.now + RESTART_DELAY_MAX;
            paper.pass(due);
        }
    }
    assert!(matches!(paper.ask(Request::Want("b".to_owned())), Reply::Refused(_)));
}

#[test]
fn a_terminal_hears_that_its_line_is_gone() {
    let mut paper = Paper::new(vec![Unit { tty: Some("/dev/ttyS0".to_owned()), ..unit("shell") }]);
    paper.ask(Request::Stop("shell".to_owned()));
    assert_eq!(signals(&paper.done), [Signal::SIGHUP, Signal::SIGTERM]);
}

#[test]
fn shutdown_is_a_sequence() {
    let mut paper = Paper::new(vec![unit("a"), unit("b")]);
    assert_eq!(paper.ask(Request::Reboot { reason: "test".to_owned() }), Reply::Accepted);
    assert!(matches!(paper.ask(Request::Start("a".to_owned())), Reply::Refused(_)));
    paper.exit("a", Exit::Status(0));
    assert_eq!(paper.hear(&Event::Childless), [], "b still runs");
    let actions = paper.exit("b", Exit::Signal(libc::SIGTERM));
    assert_eq!(actions.last(), Some(&Action::SignalAll(Signal::SIGTERM)));
    assert_eq!(paper.hear(&Event::Childless), [Action::Sync]);
    assert_eq!(paper.hear(&Event::Synced), [Action::Finish(Goal::Reboot)]);
}

#[test]
fn shutdown_is_bounded_whatever_hangs() {
    let mut paper = Paper::new(vec![unit("a"), unit("b")]);
    paper.hear(&Event::Shutdown(Goal::Poweroff));
    let mut finished = None;
    while finished.is_none() {
        let due = paper.state.next_deadline().unwrap();
        finished = paper.pass(due).contains(&Action::Finish(Goal::Poweroff)).then_some(due);
    }
    let bound = STOP_TIMEOUT + KILL_GRACE * 2 + Duration::from_secs(10);
    assert!(finished.unwrap() <= bound, "{finished:?}");
    assert!(paper.done.contains(&Action::SignalAll(Signal::SIGKILL)));
}

#[test]
fn units_come_back_when_the_kernel_refuses() {
    let mut paper = Paper::new(vec![unit("a")]);
    paper.hear(&Event::Shutdown(Goal::Reboot));
    paper.exit("a", Exit::Status(0));
    paper.hear(&Event::Childless);
    paper.hear(&Event::Synced);
    paper.hear(&Event::ShutdownFailed("EPERM".to_owned()));
    assert_eq!(paper.state("a"), "running");
    paper.exit("a", CRASH);
    assert_eq!(paper.state("a"), "backoff", "and are supervised as before");
}

#[test]
fn a_reboot_that_does_not_happen_is_asked_for_again() {
    let mut paper = Paper::new(Vec::new());
    paper.hear(&Event::Shutdown(Goal::Reboot));
    paper.hear(&Event::Childless);
    paper.hear(&Event::Synced);
    let due = paper.state.next_deadline().unwrap();
    assert!(paper.pass(due).contains(&Action::Finish(Goal::Reboot)));
}

#[test]
fn a_daemon_leaves_the_base_alone() {
    let mut paper = Paper::of(Mode::Daemon, vec![unit("a")]);
    paper.hear(&Event::Shutdown(Goal::Leave));
    let actions = paper.exit("a", Exit::Status(0));
    assert_eq!(actions.last(), Some(&Action::Finish(Goal::Leave)));
    assert!(!paper.done.iter().any(|a| matches!(a, Action::SignalAll(_))));
}

#[test]
fn a_process_that_comes_up_too_late_is_killed() {
    let state = State::new(Mode::Init, of(vec![unit("a")]), Vec::new(), ALL, 1);
    let (state, _) = decide(&state, &Event::Tick, Duration::ZERO);
    let (state, _) = decide(&state, &Event::Shutdown(Goal::Reboot), Duration::ZERO);
    let (_, actions) = decide(&state, &Event::Started { unit: 0, step: 0, pid: Ok(5) }, Duration::ZERO);
    assert_eq!(signals(&actions), [Signal::SIGKILL]);
}

fn any_event() -> impl Strategy<Value = Event> {
    let name = prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("none".to_owned())];
    let request = (name, 0..6).prop_map(|(name, kind)| match kind {
        0 => Request::Start(name),
        1 => Request::Stop(name),
        2 => Request::Restart(name),
        3 => Request::Logs(name),
        4 => Request::Want(name),
        _ => Request::Ready,
    });
    let unit_a = Unit { ready: Readiness::Told, ..unit("a") };
    let other_b = Unit { command: vec!["/bin/other".to_owned()], after: vec!["a".to_owned()], ..unit("b") };
    let files = prop_oneof![
        Just(of(vec![unit_a.clone()])),
        Just(of(vec![unit_a.clone(), other_b])),
        Just(of(vec![unit_a, unit("c"), unit("b")])),
    ];
    prop_oneof![
        4 => Just(Event::Tick),
        4 => (100..130, 0..2).prop_map(|(pid, status)| Event::Exited { pid, exit: Exit::Status(status) }),
        2 => (100..130, request).prop_map(|(sender, request)| Event::Asked { ticket: 1, sender, request }),
        2 => files.prop_map(|found| Event::UnitsRead { ticket: 1, found }),
        1 => Just(Event::Childless),
        1 => Just(Event::Synced),
        1 => Just(Event::ShutdownFailed("no".to_owned())),
        1 => prop_oneof![Just(Goal::Reboot), Just(Goal::Poweroff)].prop_map(Event::Shutdown),
    ]
}

proptest! {
    /// Whatever happens in whatever order: nothing panics, no process has two units, and a unit that is to run is
    /// either there or has a time at which it is looked at again.
    #[test]
    fn no_history_loses_a_unit(history in proptest::collection::vec((any_event(), 0_u64..9000), 0..60)) {
        let after = Unit { after: vec!["a".to_owned()], pre: vec![vec!["/bin/x".to_owned()]], ..unit("b") };
        let mut paper = Paper::new(vec![Unit { ready: Readiness::Told, ..unit("a") }, after]);
        for (event, pause) in history {
            paper.now += Duration::from_millis(pause);
            paper.hear(&event);
            let pids: Vec<i32> = paper.state.entries.iter().filter_map(Entry::pid).collect();
            prop_assert!(pids.iter().enumerate().all(|(at, pid)| !pids[..at].contains(pid)), "{pids:?}");
            let names: Vec<&str> = paper.state.entries.iter().map(|e| e.unit.name.as_str()).collect();
            prop_assert!(names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)), "{names:?}");
            for entry in &paper.state.entries {
                let settled = matches!(entry.phase, Phase::Done | Phase::Failed);
                prop_assert!(settled || entry.pid().is_some() || entry.deadline().is_some(), "{entry:?}");
                let due = entry.deadline().is_none_or(|at| at > paper.now);
                prop_assert!(due || paper.state.next_deadline().is_some());
            }
        }
    }
}
