//! Fleets whose hardware changes, against the real registry and database: each machine must stay the node that it is.
//!
//! The generator knows nothing of how the server decides. `MK_IDENTITY_CASES` says how many cases are run; a small share
//! of them is run without it. `MK_IDENTITY_FLEET` runs one fleet alone and tells its story. No machine has a TPM key;
//! with `MK_IDENTITY_TPM=1` half of all models show one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod change;
mod hardware;
mod random;
mod story;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use change::Change;
use mk_server::store::Store;
use world::{Outcome, World};

/// Cases that every test run has.
const SHARE: usize = 1500;
/// Cases of one fleet.
const PER_FLEET: usize = 40;
/// Machines of one fleet to begin with.
const MACHINES: usize = 8;
/// Fleets in one database.
const PER_DATABASE: u64 = 50;
/// Fleets that are worked on at a time.
const WORKERS: usize = 2;
/// Cases after which the progress is told.
const CHUNK: usize = 10_000;
/// Stories that a failure tells.
const STORIES: usize = 5;

/// Counts of one kind of change.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    cases: u64,
    right: u64,
    held: u64,
    lost: u64,
    silent: u64,
    wrong: u64,
}

impl Count {
    fn add(&mut self, outcome: &Outcome) {
        self.cases += 1;
        self.right += u64::from(outcome.is_right());
        self.held += u64::from(outcome.held);
        self.lost += u64::from(outcome.lost);
        self.silent += u64::from(outcome.silent);
        self.wrong += u64::from(outcome.wrong);
    }

    fn line(&self, name: &str) -> String {
        let Self { cases, right, held, lost, silent, wrong } = self;
        format!("| {name} | {cases} | {right} | {held} | {lost} | {silent} | {wrong} |")
    }
}

/// All counts: by change, several changes at once, and cases in which nothing tells a machine from others.
#[derive(Debug, Default)]
struct Tally {
    one: BTreeMap<Change, Count>,
    several: Count,
    apart: Count,
    failures: Vec<String>,
}

impl Tally {
    fn add(&mut self, change: Change, outcome: &Outcome, world: &World) {
        let count = match (outcome.apart, outcome.several) {
            (true, _) => &mut self.apart,
            (false, true) => &mut self.several,
            (false, false) => self.one.entry(change).or_default(),
        };
        count.add(outcome);
        let bad = if outcome.several { outcome.wrong || outcome.silent } else { !outcome.is_right() };
        if !outcome.apart && bad {
            eprintln!("{change:?} in fleet {} went wrong", world.number());
            let marks = format!("wrong {} lost {} held {}", outcome.wrong, outcome.lost, outcome.held);
            self.failures.push(format!("{change:?}: {marks}: {}\n  {}", world.describe(), outcome.story.join("\n  ")));
        }
    }

    fn merge(&mut self, other: Self) {
        let sum = |into: &mut Count, from: &Count| {
            into.cases += from.cases;
            into.right += from.right;
            into.held += from.held;
            into.lost += from.lost;
            into.silent += from.silent;
            into.wrong += from.wrong;
        };
        for (change, count) in &other.one {
            sum(self.one.entry(*change).or_default(), count);
        }
        sum(&mut self.several, &other.several);
        sum(&mut self.apart, &other.apart);
        self.failures.extend(other.failures);
    }

    fn cases(&self) -> u64 {
        self.one.values().map(|c| c.cases).sum::<u64>() + self.several.cases + self.apart.cases
    }

    fn table(&self) -> String {
        let mut lines = vec![
            "| change | cases | right, not held | held | lost | lost, and its log says nothing | taken for another |"
                .to_owned(),
            "|---|---|---|---|---|---|---|".to_owned(),
        ];
        lines.extend(self.one.iter().map(|(change, count)| count.line(&format!("{change:?}"))));
        lines.push(self.several.line("several parts at once"));
        lines.push(self.apart.line("nothing tells the machine apart"));
        lines.join("\n")
    }
}

/// Runs fleets until there were `cases`, from fleet number `next` on.
async fn work(cases: usize, next: Arc<AtomicU64>, folder: &Path) -> Tally {
    let mut tally = Tally::default();
    let mut open: Option<(u64, Store, tempfile::TempDir)> = None;
    while tally.cases() < u64::try_from(cases).unwrap() {
        let fleet = next.fetch_add(1, Ordering::Relaxed);
        let store = match &open {
            Some((since, store, _)) if fleet < since + PER_DATABASE => store.clone(),
            _ => {
                let folder = tempfile::tempdir_in(folder).unwrap();
                let (store, _) = Store::open(folder.path()).await.unwrap();
                open = Some((fleet, store.clone(), folder));
                store
            }
        };
        run_fleet(store, fleet, &mut tally, false).await;
    }
    tally
}

async fn run_fleet(store: Store, fleet: u64, tally: &mut Tally, tell: bool) {
    let mut world = World::new(store, fleet, MACHINES, std::env::var_os("MK_IDENTITY_TPM").is_some());
    let first = world.first_boots().await;
    tally.add(Change::NewMachines, &first, &world);
    let mut sound = first.is_right();
    let mut done = 0;
    while sound && done < PER_FLEET {
        let change = Change::any(&mut world.random);
        let outcome = world.case(change).await;
        done += 1;
        let Some(outcome) = outcome else { continue };
        if tell {
            eprintln!("{change:?}\n  {}", outcome.story.join("\n  "));
        }
        tally.add(change, &outcome, &world);
        sound = outcome.is_right();
    }
}

#[test]
fn each_machine_stays_the_node_that_it_is() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    // Durability is not the subject: memory in place of a disk.
    let shm = Path::new("/dev/shm");
    let folder = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    let cases = number("MK_IDENTITY_CASES").map_or(SHARE, |n| usize::try_from(n).unwrap());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut tally = Tally::default();
    let began = std::time::Instant::now();
    if let Some(fleet) = number("MK_IDENTITY_FLEET") {
        let folder = tempfile::tempdir_in(folder).unwrap();
        runtime().block_on(async {
            let (store, _) = Store::open(folder.path()).await.unwrap();
            run_fleet(store, fleet, &mut tally, true).await;
        });
    } else {
        let next = Arc::new(AtomicU64::new(1));
        while tally.cases() < u64::try_from(cases).unwrap() {
            let workers: Vec<_> = (0..WORKERS)
                .map(|_| {
                    let (next, folder) = (Arc::clone(&next), folder.clone());
                    std::thread::spawn(move || runtime().block_on(work(CHUNK.min(cases) / WORKERS, next, &folder)))
                })
                .collect();
            for worker in workers {
                tally.merge(worker.join().unwrap());
            }
            // All of it each time: a run of hours that is cut off has its counts.
            let (done, took) = (tally.cases(), began.elapsed().as_secs_f64());
            println!("{done} of {cases} cases in {took:.0} s, {} went wrong\n{}", tally.failures.len(), tally.table());
        }
    }
    let told = tally.failures.iter().take(STORIES).cloned().collect::<Vec<_>>();
    assert!(told.is_empty(), "{} cases went wrong, the first of them:\n{}", tally.failures.len(), told.join("\n"));
}
