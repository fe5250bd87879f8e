//! Which module is loaded when: a queue of steps that knows what each one waits for. Pure: results and times come in,
//! the steps to start come out. A module whose initialisation does not return is given up after a deadline, so that the
//! others go on; should it return after all, it counts then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::table::Step;

/// All modules that were asked for so far, and what became of them.
#[derive(Debug)]
pub(crate) struct Schedule {
    tasks: BTreeMap<String, Task>,
    /// Names in the order in which they were asked for.
    order: Vec<String>,
    /// Modules loaded, in the order in which they were done.
    loaded: Vec<String>,
    parallel: usize,
    deadline: Duration,
}

#[derive(Debug)]
struct Task {
    step: Step,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Waiting,
    Running(Instant),
    /// Its deadline is over and it has not returned.
    Stuck,
    Loaded,
    Failed(String),
}

impl Schedule {
    /// An empty queue that loads `parallel` modules at once and gives each up after `deadline`.
    pub(crate) fn new(parallel: usize, deadline: Duration) -> Self {
        Self { tasks: BTreeMap::new(), order: Vec::new(), loaded: Vec::new(), parallel, deadline }
    }

    /// Adds steps; a module that was asked for before is not asked for again, whatever became of it.
    pub(crate) fn add(&mut self, steps: Vec<Step>) {
        for step in steps {
            let name = step.module.clone();
            if let std::collections::btree_map::Entry::Vacant(free) = self.tasks.entry(name.clone()) {
                free.insert(Task { step, state: State::Waiting });
                self.order.push(name);
            }
        }
    }

    /// Marks a module as failed without trying it.
    pub(crate) fn refuse(&mut self, step: Step, reason: String) {
        let name = step.module.clone();
        self.add(vec![step]);
        self.set(&name, State::Failed(reason));
    }

    /// The steps to start now; they count as running from here on.
    pub(crate) fn start(&mut self, now: Instant) -> Vec<Step> {
        self.give_up_the_impossible();
        let running = self.count(|s| matches!(s, State::Running(_)));
        let free = self.parallel.saturating_sub(running);
        let ready = self.order.iter().filter(|name| self.is_ready(name)).take(free).cloned();
        let ready: Vec<String> = ready.collect();
        ready.iter().filter_map(|name| self.set(name, State::Running(now))).collect()
    }

    /// Notes a result.
    pub(crate) fn finished(&mut self, module: &str, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.set(module, State::Loaded);
                self.loaded.push(module.to_owned());
            }
            Err(reason) => _ = self.set(module, State::Failed(reason)),
        }
    }

    /// Names of the modules whose deadline passed since the last call.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<String> {
        let late = |t: &Task| matches!(t.state, State::Running(since) if now.duration_since(since) >= self.deadline);
        let names: Vec<String> = self.tasks.iter().filter(|(_, t)| late(t)).map(|(n, _)| n.clone()).collect();
        for name in &names {
            self.set(name, State::Stuck);
        }
        names
    }

    /// When the next deadline passes.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let since = |t: &Task| if let State::Running(since) = t.state { Some(since) } else { None };
        self.tasks.values().filter_map(since).min().map(|since| since + self.deadline)
    }

    /// Nothing runs, and nothing can be started before a stuck module returns.
    pub(crate) fn is_idle(&self) -> bool {
        self.count(|s| matches!(s, State::Running(_))) == 0 && !self.order.iter().any(|n| self.is_ready(n))
    }

    /// Modules loaded, in the order in which they were done.
    pub(crate) fn loaded(&self) -> &[String] {
        &self.loaded
    }

    /// Modules that did not load, with the reason.
    pub(crate) fn failed(&self) -> BTreeMap<String, String> {
        let reason = |(name, task): (&String, &Task)| {
            let text = match &task.state {
                State::Failed(reason) => reason.clone(),
                State::Stuck => format!("its initialisation has not returned within {} s", self.deadline.as_secs()),
                State::Waiting => format!("it waits for {}, which does not return", self.stuck_need(task)?),
                State::Running(_) | State::Loaded => return None,
            };
            Some((name.clone(), text))
        };
        self.tasks.iter().filter_map(reason).collect()
    }

    fn stuck_need<'a>(&self, task: &'a Task) -> Option<&'a str> {
        task.step.needs.iter().map(String::as_str).find(|n| self.state(n) == Some(&State::Stuck))
    }

    /// Fails what needs a module that failed, is unknown, or waits for itself.
    fn give_up_the_impossible(&mut self) {
        loop {
            let waiting = self.order.iter().filter(|n| self.state(n) == Some(&State::Waiting));
            let lost = waiting.clone().find_map(|n| Some((n.clone(), self.lost_need(n)?)));
            let Some((name, need)) = lost.or_else(|| self.ring()) else { return };
            self.set(&name, State::Failed(format!("it needs {need}, which did not load")));
        }
    }

    fn lost_need(&self, name: &str) -> Option<String> {
        let lost = |need: &&String| matches!(self.state(need), None | Some(State::Failed(_)));
        self.tasks.get(name)?.step.needs.iter().find(lost).cloned()
    }

    /// A module of a broken table that can never start although nothing runs and nothing is stuck.
    fn ring(&self) -> Option<(String, String)> {
        if self.tasks.values().any(|t| matches!(t.state, State::Running(_) | State::Stuck)) {
            return None;
        }
        if self.order.iter().any(|n| self.is_ready(n)) {
            return None;
        }
        let name = self.order.iter().find(|n| self.state(n) == Some(&State::Waiting))?;
        let step = &self.tasks.get(name)?.step;
        let need = step.needs.iter().chain(&step.after).find(|n| self.state(n) != Some(&State::Loaded))?;
        Some((name.clone(), need.clone()))
    }

    fn is_ready(&self, name: &str) -> bool {
        let Some(Task { step, state: State::Waiting }) = self.tasks.get(name) else { return false };
        let settled = |n: &String| !matches!(self.state(n), Some(State::Waiting | State::Running(_)));
        step.needs.iter().all(|n| self.state(n) == Some(&State::Loaded)) && step.after.iter().all(settled)
    }

    fn state(&self, name: &str) -> Option<&State> {
        self.tasks.get(name).map(|t| &t.state)
    }

    fn set(&mut self, name: &str, state: State) -> Option<Step> {
        let task = self.tasks.get_mut(name)?;
        task.state = state;
        Some(task.step.clone())
    }

    fn count(&self, which: impl Fn(&State) -> bool) -> usize {
        self.tasks.values().filter(|t| which(&t.state)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn step(module: &str, needs: &[&str], after: &[&str]) -> Step {
        let own = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
        Step { module: module.into(), file: format!("{module}.ko"), needs: own(needs), after: own(after) }
    }

    fn started(schedule: &mut Schedule, now: Instant) -> Vec<String> {
        schedule.start(now).into_iter().map(|s| s.module).collect()
    }

    #[test]
    fn what_is_independent_runs_side_by_side() {
        let now = Instant::now();
        let mut s = Schedule::new(2, LIMIT);
        s.add(vec![step("a", &[], &[]), step("b", &["a"], &[]), step("c", &[], &[]), step("d", &[], &["c"])]);
        assert_eq!(started(&mut s, now), ["a", "c"]);
        assert!(started(&mut s, now).is_empty() && !s.is_idle());
        s.finished("a", Ok(()));
        assert_eq!(started(&mut s, now), ["b"]);
        s.finished("c", Err("no such device".into()));
        // A soft dependency that failed holds nobody up.
        assert_eq!(started(&mut s, now), ["d"]);
        s.finished("b", Ok(()));
        s.finished("d", Ok(()));
        assert!(s.is_idle() && s.loaded() == ["a", "b", "d"]);
        assert_eq!(s.failed()["c"], "no such device");
        s.add(vec![step("c", &[], &[])]);
        assert!(started(&mut s, now).is_empty(), "a failed module is not tried again");
    }

    #[test]
    fn a_hanging_module_holds_up_only_what_needs_it() {
        let now = Instant::now();
        let mut s = Schedule::new(1, LIMIT);
        s.add(vec![step("hangs", &[], &[]), step("child", &["hangs"], &[]), step("other", &[], &["hangs"])]);
        assert_eq!(started(&mut s, now), ["hangs"]);
        assert_eq!(s.next_deadline(), Some(now + LIMIT));
        assert!(s.overdue(now + LIMIT / 2).is_empty());
        assert_eq!(s.overdue(now + LIMIT), ["hangs"]);
        assert_eq!(started(&mut s, now + LIMIT), ["other"]);
        s.finished("other", Ok(()));
        assert!(s.is_idle());
        assert_eq!(s.failed()["hangs"], "its initialisation has not returned within 30 s");
        assert_eq!(s.failed()["child"], "it waits for hangs, which does not return");
        s.finished("hangs", Ok(()));
        assert_eq!(started(&mut s, now + LIMIT), ["child"]);
        s.finished("child", Ok(()));
        assert!(s.failed().is_empty());
    }

    #[test]
    fn failures_reach_those_who_need_them() {
        let mut s = Schedule::new(4, LIMIT);
        s.refuse(step("denied", &[], &[]), "denied: reasons".into());
        s.add(vec![step("a", &["denied"], &[]), step("b", &["a"], &[]), step("c", &["unheard_of"], &[])]);
        assert!(started(&mut s, Instant::now()).is_empty() && s.is_idle());
        let failed = s.failed();
        assert_eq!(failed["b"], "it needs a, which did not load");
        assert_eq!(failed["c"], "it needs unheard_of, which did not load");
        assert_eq!(failed["denied"], "denied: reasons");
    }

    #[test]
    fn a_ring_in_a_broken_table_ends() {
        let mut s = Schedule::new(4, LIMIT);
        s.add(vec![step("a", &["b"], &[]), step("b", &["a"], &[])]);
        assert!(started(&mut s, Instant::now()).is_empty() && s.is_idle());
        assert_eq!(s.failed().len(), 2);
    }
}
