//! Nodes whose question waits here until there is something to tell them, at most one for each node, so that a command need
//! not wait for the next check-in. A waiting question is a few hundred bytes and a connection; there are at most so many
//! altogether and of one address, so that check-ins find room. They end when the server does.
//!
//! Numbers of a boot rise, also after its question was answered, so that one that was overheard and sent again neither waits nor
//! ends another. They are kept in memory, of so many nodes: a question whose number was forgotten may wait once more, in the
//! place of none, until the node's own takes its place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::http::peer::{Doors, Entered};
use crate::limits::MAX_WAIT_NUMBERS;
use crate::registry::Refusal;

/// All that wait.
#[derive(Debug, Clone)]
pub struct Waits {
    table: Arc<Mutex<Table>>,
    doors: Doors,
}

#[derive(Debug, Default)]
struct Table {
    by_node: HashMap<i64, Asker>,
    /// Boot and number of each node's last question, of all that wait and of some that do not any more.
    heard: HashMap<i64, (String, u64)>,
    /// Number of the last that came.
    last: u64,
    /// The server is about to end.
    ended: bool,
}

/// A node that waits.
#[derive(Debug)]
struct Asker {
    ticket: u64,
    answer: oneshot::Sender<()>,
}

/// A question that waits; it no longer does once this is dropped.
#[derive(Debug)]
pub struct Waiting {
    table: Arc<Mutex<Table>>,
    node: i64,
    ticket: u64,
    told: oneshot::Receiver<()>,
    _entered: Entered,
}

impl Waits {
    /// Half of so many connections as the server takes may wait, so that check-ins find room: of each source too, whose share of
    /// both is the same.
    #[must_use]
    pub fn beside(connections: usize) -> Self {
        Self { table: Arc::default(), doors: Doors::new(connections / 2) }
    }

    /// Has a question of this node and boot wait, in the place of an earlier one of it.
    ///
    /// # Errors
    /// When it is a replay, or too many wait.
    pub fn enter(&self, node: i64, boot_id: &str, number: u64, peer: IpAddr) -> Result<Waiting, Refusal> {
        let full = || {
            let error = "as many nodes wait here for commands as there is room for";
            Refusal::new(503, "busy", error, "Go on with check-ins, and ask again in a while.")
        };
        let entered = self.doors.enter(peer).ok_or_else(full)?;
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, last)) = table.heard.get(&node).filter(|(boot, last)| boot == boot_id && number <= *last) {
            let error = format!("question {number} of boot {boot_id} comes too late; the last one was {last}");
            return Err(Refusal::new(409, wire::error::REPLAY, error, "Send a higher number."));
        }
        table.hear(node, boot_id, number);
        table.last += 1;
        let (ticket, (answer, told)) = (table.last, oneshot::channel());
        if !table.ended {
            table.by_node.insert(node, Asker { ticket, answer });
        }
        drop(table);
        Ok(Waiting { table: Arc::clone(&self.table), node, ticket, told, _entered: entered })
    }

    /// How many wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).by_node.len()
    }

    /// There is something to tell this node.
    pub fn wake(&self, node: i64) {
        let asker = self.table.lock().unwrap_or_else(PoisonError::into_inner).by_node.remove(&node);
        if let Some(asker) = asker {
            // It may have gone away.
            let _: Result<(), ()> = asker.answer.send(());
        }
    }

    /// There is something to tell all nodes.
    pub fn wake_all(&self) {
        let askers = std::mem::take(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner).by_node);
        for (_, asker) in askers {
            // It may have gone away.
            let _: Result<(), ()> = asker.answer.send(());
        }
    }

    /// All questions are answered with nothing, and those that come are too.
    pub fn end(&self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.ended = true;
        table.by_node.clear();
    }
}

impl Table {
    /// Notes a question. Where there is no room for a further node, those are forgotten that do not wait.
    fn hear(&mut self, node: i64, boot_id: &str, number: u64) {
        if self.heard.len() >= MAX_WAIT_NUMBERS && !self.heard.contains_key(&node) {
            let Self { by_node, heard, .. } = self;
            heard.retain(|node, _| by_node.contains_key(node));
        }
        self.heard.insert(node, (boot_id.to_owned(), number));
    }
}

impl Waiting {
    /// Waits; true when there is something to be told, false when another question took its place or the server ends.
    pub async fn told(&mut self) -> bool {
        (&mut self.told).await.is_ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.by_node.get(&self.node).is_some_and(|asker| asker.ticket == self.ticket) {
            table.by_node.remove(&self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections.
    const ROOM: usize = 896;

    fn peer(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[tokio::test]
    async fn each_node_waits_once_and_is_woken_alone() {
        let waits = Waits::beside(ROOM);
        let mut former = waits.enter(1, "b", 5, peer(1)).unwrap();
        assert_eq!(waits.enter(1, "b", 5, peer(2)).unwrap_err().problem.code, "replay");
        let mut one = waits.enter(1, "b", 6, peer(1)).unwrap();
        assert!(!former.told().await, "another took its place");
        drop(former);
        let mut two = waits.enter(2, "c", 1, peer(1)).unwrap();
        waits.wake(1);
        assert!(one.told().await);
        waits.wake_all();
        assert!(two.told().await);
        drop((one, two));
        assert!(waits.table.lock().unwrap().by_node.is_empty());
        assert_eq!(waits.enter(1, "b", 6, peer(1)).unwrap_err().problem.code, "replay", "also when none waits");
        assert!(waits.enter(1, "another boot", 1, peer(1)).is_ok());
    }

    #[test]
    fn so_many_numbers_are_kept_and_those_of_all_that_wait() {
        let waits = Waits::beside(ROOM);
        let waiting = waits.enter(0, "b", 7, peer(1)).unwrap();
        for node in 1..=i64::try_from(2 * MAX_WAIT_NUMBERS).unwrap() {
            drop(waits.enter(node, "b", 1, peer(1)).unwrap());
            assert!(waits.table.lock().unwrap().heard.len() <= MAX_WAIT_NUMBERS);
        }
        assert_eq!(waits.enter(0, "b", 7, peer(2)).unwrap_err().problem.code, "replay");
        drop(waiting);
    }

    #[tokio::test]
    async fn who_goes_away_leaves_nothing_behind() {
        let waits = Waits::beside(ROOM);
        drop(waits.enter(1, "b", 1, peer(1)).unwrap());
        assert!(waits.table.lock().unwrap().by_node.is_empty());
        waits.wake(1);
    }

    #[tokio::test]
    async fn the_end_of_the_server_answers_all() {
        let waits = Waits::beside(ROOM);
        let mut before = waits.enter(1, "b", 1, peer(1)).unwrap();
        waits.end();
        assert!(!before.told().await);
        assert!(!waits.enter(2, "b", 1, peer(1)).unwrap().told().await);
    }

    #[test]
    fn one_address_cannot_take_all_the_room() {
        let waits = Waits::beside(ROOM);
        let node = |n: usize| i64::try_from(n).unwrap();
        let all: Vec<Waiting> = (0..ROOM / 8).map(|n| waits.enter(node(n), "b", 1, peer(1)).unwrap()).collect();
        assert_eq!(waits.enter(-1, "b", 1, peer(1)).unwrap_err().status, 503);
        let other = waits.enter(-1, "b", 1, peer(2));
        assert!(other.is_ok());
        drop(all);
        assert!(waits.enter(1, "b", 2, peer(1)).is_ok());
    }
}
