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

/// Reads one kind of component, or one component.
pub(super) struct Collector<T> {
    /// Name under which a failure is reported.
    pub(super) name: String,
    /// The reader. What is simply not there is no failure.
    pub(super) read: Box<dyn FnOnce() -> anyhow::Result<T> + Send>,
}

/// Stores what a collector found in its place of the inventory; a copy stores the same again.
trait Put: Send {
    fn put(self: Box<Self>, stable: &mut Stable, volatile: &mut Volatile);
    fn copy(&self) -> Box<dyn Put>;
}

impl<F: FnOnce(&mut Stable, &mut Volatile) + Clone + Send + 'static> Put for F {
    fn put(self: Box<Self>, stable: &mut Stable, volatile: &mut Volatile) {
        (*self)(stable, volatile);
    }

    fn copy(&self) -> Box<dyn Put> {
        Box::new(self.clone())
    }
}

/// What a collector found: it knows where that belongs in the inventory.
pub(super) struct Found(Box<dyn Put>);

impl Clone for Found {
    fn clone(&self) -> Self {
        Self(self.0.copy())
    }
}

impl Found {
    /// Found something; `put` stores it.
    pub(super) fn new(put: impl FnOnce(&mut Stable, &mut Volatile) + Clone + Send + 'static) -> Self {
        Self(Box::new(put))
    }

    /// Stores what was found.
    pub(super) fn put(self, stable: &mut Stable, volatile: &mut Volatile) {
        self.0.put(stable, volatile);
    }
}

/// What became of one collector.
pub(super) struct Outcome<T> {
    /// Its name.
    pub(super) name: String,
    /// What it found, or why it found nothing, for people.
    pub(super) result: Result<T, String>,
    /// How long it took; `None` if it did not end.
    pub(super) took: Option<Duration>,
}

/// Collectors whose thread has not come back yet, by tree.
static RUNNING: Mutex<Vec<(PathBuf, String)>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<(PathBuf, String)>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Marks a collector as running until it is dropped, at the end of the collector's thread.
struct Mark(PathBuf, String);

impl Mark {
    /// `None` if the collector still runs on this tree.
    fn set(tree: &Tree, name: &str) -> Option<Self> {
        let mark = (tree.path("/"), name.to_owned());
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
        running().retain(|(path, name)| (path, name) != (&self.0, &self.1));
    }
}

/// Runs all collectors and returns when each has ended or `deadline` is over. Outcomes are in the order of the collectors.
pub(super) fn run_all<T: Send + 'static>(
    collectors: Vec<Collector<T>>,
    tree: &Tree,
    deadline: Instant,
) -> Vec<Outcome<T>> {
    let (sender, ended) = mpsc::channel();
    let started = Instant::now();
    let (mut names, mut ends) = (Vec::new(), Vec::new());
    for (place, Collector { name, read }) in collectors.into_iter().enumerate() {
        let refused = start(&name, read, tree, place, sender.clone()).err();
        ends.push(refused.map(|reason| (Err(reason), None)));
        names.push(name);
    }
    drop(sender);
    while ends.iter().any(Option::is_none) {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((place, end)) = ended.recv_timeout(left) else { break };
        ends[place] = Some(end);
    }
    let abandoned = || (Err(format!("abandoned: no result after {:.1} s", started.elapsed().as_secs_f64())), None);
    let outcome = |(name, end): (String, Option<End<T>>)| {
        let (result, took) = end.unwrap_or_else(abandoned);
        Outcome { name, result, took }
    };
    names.into_iter().zip(ends).map(outcome).collect()
}

/// What a collector found or why not, and how long it took.
type End<T> = (Result<T, String>, Option<Duration>);

fn start<T: Send + 'static>(
    name: &str,
    read: Box<dyn FnOnce() -> anyhow::Result<T> + Send>,
    tree: &Tree,
    place: usize,
    sender: Sender<(usize, End<T>)>,
) -> Result<(), String> {
    let mark = Mark::set(tree, name).ok_or("still hanging since an earlier collection; not started again")?;
    let body = move || {
        let started = Instant::now();
        let result = match catch_unwind(AssertUnwindSafe(read)) {
            Ok(found) => found.map_err(|error| format!("{error:#}")),
            Err(payload) => Err(format!("panicked: {}", panic_text(payload.as_ref()))),
        };
        drop(mark);
        // Nobody listens any more once the deadline is over.
        let _ = sender.send((place, (result, Some(started.elapsed()))));
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
        let collectors = || {
            let one = |name: &str, read: fn(&Tree) -> anyhow::Result<Found>| {
                let tree = tree.clone();
                Collector { name: name.to_owned(), read: Box::new(move || read(&tree)) }
            };
            vec![one("hangs", hangs), one("panics", panics), one("broken", broken), one("quick", quick)]
        };
        let outcome = |outcomes: &[Outcome<Found>], name: &str| {
            let one = outcomes.iter().find(|o| o.name == name).unwrap();
            one.result.as_ref().err().cloned().unwrap_or_default()
        };
        let first = run_all(collectors(), &tree, soon());
        let names: Vec<&str> = first.iter().map(|o| o.name.as_str()).collect();
        assert_eq!(names, ["hangs", "panics", "broken", "quick"]);
        assert!(outcome(&first, "hangs").starts_with("abandoned: no result after"));
        assert!(outcome(&first, "panics").starts_with("panicked: bad bytes in "));
        assert_eq!(outcome(&first, "broken"), "no such luck");
        assert_eq!(outcome(&first, "quick"), "");
        // The hanging thread is still there: no second one joins it, and the collection does not wait.
        let started = Instant::now();
        let second = run_all(collectors(), &tree, Instant::now() + Duration::from_secs(60));
        assert!(started.elapsed() < Duration::from_secs(30));
        assert!(outcome(&second, "hangs").starts_with("still hanging"));
        // Once the file answers, the collector runs again.
        std::fs::write(dir.path().join("fifo"), "x").unwrap();
        while running().iter().any(|(path, _)| path == &tree.path("/")) {
            thread::sleep(Duration::from_millis(5));
        }
        std::fs::remove_file(dir.path().join("fifo")).unwrap();
        assert_eq!(outcome(&run_all(collectors(), &tree, soon()), "hangs"), "");
    }
}
