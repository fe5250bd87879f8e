//! Runs collectors side by side, each in its own thread with a deadline, and keeps those that hang from piling up.
//!
//! A file that never answers (a dead controller's attribute, for instance) blocks its reader in the kernel, where nothing
//! can end it. Such a thread is abandoned: its collector is reported as failed and is not started again on the same
//! tree before that thread has come back.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use wire::inventory::{Stable, Volatile};

use crate::tree::Tree;

/// Reads one kind of component.
#[derive(Clone, Copy)]
pub(super) struct Collector {
    /// Name under which a failure is reported.
    pub(super) name: &'static str,
    /// The reader. What is simply not there is no failure.
    pub(super) read: fn(&Tree) -> anyhow::Result<Found>,
}

/// Stores what a collector found in its place of the inventory.
type Put = dyn FnOnce(&mut Stable, &mut Volatile) + Send;

/// What a collector found: it knows where that belongs in the inventory.
pub(super) struct Found(Box<Put>);

impl Found {
    /// Found something; `put` stores it.
    pub(super) fn new(put: impl FnOnce(&mut Stable, &mut Volatile) + Send + 'static) -> Self {
        Self(Box::new(put))
    }

    /// Stores what was found.
    pub(super) fn put(self, stable: &mut Stable, volatile: &mut Volatile) {
        (self.0)(stable, volatile);
    }
}

/// What became of one collector.
pub(super) struct Outcome {
    /// Its name.
    pub(super) name: &'static str,
    /// What it found, or why it found nothing, for people.
    pub(super) result: Result<Found, String>,
    /// How long it took; `None` if it did not end.
    pub(super) took: Option<Duration>,
}

/// Collectors whose thread has not come back yet, by tree.
static RUNNING: Mutex<Vec<(PathBuf, &'static str)>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<(PathBuf, &'static str)>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Marks a collector as running until it is dropped, at the end of the collector's thread.
struct Mark(PathBuf, &'static str);

impl Mark {
    /// `None` if the collector still runs on this tree.
    fn set(tree: &Tree, name: &'static str) -> Option<Self> {
        let mark = (tree.path("/"), name);
        let mut running = running();
        if running.contains(&mark) {
            return None;
        }
        running.push(mark.clone());
        Some(Self(mark.0, mark.1))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        running().retain(|(path, name)| (path, *name) != (&self.0, self.1));
    }
}

/// Runs all collectors and returns when each has ended or `deadline` is over.
pub(super) fn run_all(collectors: &[Collector], tree: &Tree, deadline: Instant) -> Vec<Outcome> {
    let (sender, outcomes) = mpsc::channel();
    let mut done = Vec::new();
    let mut waiting = Vec::new();
    for collector in collectors {
        match start(*collector, tree, sender.clone()) {
            Ok(()) => waiting.push(collector.name),
            Err(reason) => done.push(Outcome { name: collector.name, result: Err(reason), took: None }),
        }
    }
    drop(sender);
    let started = Instant::now();
    while let Ok(outcome) = outcomes.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        waiting.retain(|name| *name != outcome.name);
        done.push(outcome);
    }
    for name in waiting {
        let reason = format!("abandoned: no result after {:.1} s", started.elapsed().as_secs_f64());
        done.push(Outcome { name, result: Err(reason), took: None });
    }
    done
}

fn start(collector: Collector, tree: &Tree, sender: Sender<Outcome>) -> Result<(), String> {
    let name = collector.name;
    let mark = Mark::set(tree, name).ok_or("still hanging since an earlier collection; not started again")?;
    let tree = tree.clone();
    let body = move || {
        let started = Instant::now();
        let read = catch_unwind(AssertUnwindSafe(|| (collector.read)(&tree)));
        let result = match read {
            Ok(found) => found.map_err(|error| format!("{error:#}")),
            Err(payload) => Err(format!("panicked: {}", panic_text(payload.as_ref()))),
        };
        drop(mark);
        // Nobody listens any more once the deadline is over.
        let _ = sender.send(Outcome { name, result, took: Some(started.elapsed()) });
    };
    let spawned = thread::Builder::new().name(format!("facts-{name}")).spawn(body);
    spawned.map(drop).map_err(|error| format!("cannot start a thread: {error}"))
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick(_: &Tree) -> anyhow::Result<Found> {
        Ok(Found::new(|_, volatile| volatile.load1 = Some(1.0)))
    }

    fn broken(_: &Tree) -> anyhow::Result<Found> {
        anyhow::bail!("no such luck")
    }

    fn panics(tree: &Tree) -> anyhow::Result<Found> {
        panic!("bad bytes in {}", tree.path("/x").display())
    }

    /// Blocks for ever where `tree` has a FIFO in that place.
    fn hangs(tree: &Tree) -> anyhow::Result<Found> {
        tree.bytes("/fifo");
        Ok(Found::new(|_, _| ()))
    }

    /// Long enough for a panic to print its backtrace on a busy machine.
    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(3)
    }

    #[test]
    fn one_that_fails_or_panics_or_hangs_harms_no_other() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let tree = Tree::at(dir.path());
        let collectors = [
            Collector { name: "hangs", read: hangs },
            Collector { name: "panics", read: panics },
            Collector { name: "broken", read: broken },
            Collector { name: "quick", read: quick },
        ];
        let outcome = |outcomes: &[Outcome], name: &str| {
            let one = outcomes.iter().find(|o| o.name == name).unwrap();
            one.result.as_ref().err().cloned().unwrap_or_default()
        };
        let first = run_all(&collectors, &tree, soon());
        assert_eq!(first.len(), 4);
        assert!(outcome(&first, "hangs").starts_with("abandoned: no result after"));
        assert!(outcome(&first, "panics").starts_with("panicked: bad bytes in "));
        assert_eq!(outcome(&first, "broken"), "no such luck");
        assert_eq!(outcome(&first, "quick"), "");
        // The hanging thread is still there: no second one joins it, and the collection does not wait.
        let started = Instant::now();
        let second = run_all(&collectors, &tree, Instant::now() + Duration::from_secs(60));
        assert!(started.elapsed() < Duration::from_secs(30));
        assert!(outcome(&second, "hangs").starts_with("still hanging"));
        // Once the file answers, the collector runs again.
        std::fs::write(dir.path().join("fifo"), "x").unwrap();
        while running().iter().any(|(path, _)| path == &tree.path("/")) {
            thread::sleep(Duration::from_millis(5));
        }
        std::fs::remove_file(dir.path().join("fifo")).unwrap();
        assert_eq!(outcome(&run_all(&collectors, &tree, soon()), "hangs"), "");
    }
}
