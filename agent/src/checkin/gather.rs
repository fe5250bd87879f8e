//! Facts in a thread of their own: a collection that hangs makes a check-in old, never mute.

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use wire::error::Problem;
use wire::inventory::Inventory;

use crate::limits::{CHECKIN_FACTS, CHECKIN_LOOK};

/// Collects facts, one collection at a time.
pub(super) struct Gatherer {
    collect: fn() -> Inventory,
    deadline: Duration,
    running: Option<Receiver<Inventory>>,
    last: Inventory,
}

impl Gatherer {
    /// Collects by this function.
    pub(super) fn new(collect: fn() -> Inventory) -> Self {
        Self { collect, deadline: CHECKIN_FACTS, running: None, last: Inventory::default() }
    }

    /// The machine as it is now; where that takes too long, as it was last, with the problem.
    pub(super) async fn gather(&mut self) -> (Inventory, Option<Problem>) {
        if self.running.is_none() {
            let (sender, receiver) = sync_channel(1);
            let collect = self.collect;
            let thread = thread::Builder::new().name("facts".to_owned()).spawn(move || {
                // Nobody listens any more when the unit ends.
                let _: Result<(), _> = sender.send(collect());
            });
            match thread {
                Ok(_) => self.running = Some(receiver),
                Err(why) => return (self.last.clone(), Some(late(&format!("no thread can be started: {why}")))),
            }
        }
        let end = Instant::now() + self.deadline;
        loop {
            match self.running.as_ref().map(Receiver::try_recv) {
                Some(Ok(inventory)) => {
                    self.running = None;
                    self.last = inventory.clone();
                    return (inventory, None);
                }
                Some(Err(TryRecvError::Empty)) if Instant::now() < end => tokio::time::sleep(CHECKIN_LOOK).await,
                // The same collection is looked at again in the next round; no second one is started beside it.
                Some(Err(TryRecvError::Empty)) => {
                    let why = format!("they have not ended within {} s", self.deadline.as_secs());
                    return (self.last.clone(), Some(late(&why)));
                }
                Some(Err(TryRecvError::Disconnected)) | None => {
                    self.running = None;
                    return (self.last.clone(), Some(late("a collector ended unexpectedly")));
                }
            }
        }
    }
}

fn late(why: &str) -> Problem {
    let remedy = "What was known before is sent. See the kernel's log on this node for hardware that does not answer.";
    Problem::new("facts", format!("the facts are not complete: {why}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(release: &str) -> Inventory {
        let mut inventory = Inventory::default();
        inventory.stable.kernel =
            Some(wire::inventory::Kernel { release: Some(release.to_owned()), ..wire::inventory::Kernel::default() });
        inventory
    }

    #[tokio::test]
    async fn a_hanging_collection_gives_what_was_known_before() {
        let mut gatherer = Gatherer { deadline: Duration::from_millis(30), ..Gatherer::new(|| kernel("1")) };
        assert_eq!(gatherer.gather().await, (kernel("1"), None));
        gatherer.collect = || {
            thread::sleep(Duration::from_millis(400));
            kernel("2")
        };
        let (old, problem) = gatherer.gather().await;
        assert_eq!((old, problem.unwrap().code.as_str()), (kernel("1"), "facts"));
        tokio::time::sleep(Duration::from_millis(450)).await;
        assert_eq!(gatherer.gather().await, (kernel("2"), None), "the late one is taken, no other was started");
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_and_the_next_round_tries_again() {
        let mut gatherer = Gatherer::new(|| panic!("bad table"));
        assert_eq!(gatherer.gather().await.1.unwrap().code, "facts");
        gatherer.collect = || kernel("3");
        assert_eq!(gatherer.gather().await, (kernel("3"), None));
    }
}
