//! Who shares a limit: so many connections, so much memory for each source, so that none keeps the others out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Bits of an IPv6 address that name a network; one host may have all the rest.
const NETWORK: u32 = 64;

/// What counts as one source: an IPv4 address, or an IPv6 network.
#[must_use]
pub fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << (128 - NETWORK))).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Open connections, in all and by source. A source may have a third of what is free: alone a quarter of all, and the less the more
/// others there are, so that it takes dozens of them to take all.
#[derive(Debug, Clone)]
pub struct Doors {
    open: Arc<Mutex<Open>>,
    /// Most of all sources together.
    all: usize,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// An open connection; it no longer counts once this is dropped.
#[derive(Debug)]
pub struct Entered {
    doors: Doors,
    source: IpAddr,
}

impl Doors {
    /// With room for so many connections.
    #[must_use]
    pub fn new(all: usize) -> Self {
        Self { open: Arc::default(), all }
    }

    /// So many there are.
    #[must_use]
    pub fn room(&self) -> usize {
        self.all
    }

    /// Counts a connection from this address, unless its source has its share already.
    #[must_use]
    pub fn enter(&self, ip: IpAddr) -> Option<Entered> {
        let source = source(ip);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.by_source.get(&source).copied().unwrap_or(0);
        let free = self.all.saturating_sub(open.all);
        // The last places are for those that have none.
        let share = (free / 3).max(free.min(1));
        if own >= share {
            return None;
        }
        open.all += 1;
        open.by_source.insert(source, own + 1);
        drop(open);
        Some(Entered { doors: self.clone(), source })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.doors.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Entry::Occupied(mut own) = open.by_source.entry(self.source) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_is_one_source_however_many_addresses_it_has() {
        assert_eq!(source(ip("2001:db8:0:1::1")), source(ip("2001:db8:0:1:ffff::2")));
        assert_ne!(source(ip("2001:db8:0:1::1")), source(ip("2001:db8:0:2::1")));
        assert_eq!(source(ip("::ffff:10.0.0.1")), ip("10.0.0.1"), "as a socket for both families sees it");
        assert_ne!(source(ip("10.0.0.1")), source(ip("10.0.0.2")));
    }

    #[test]
    fn one_source_has_a_quarter_and_ten_leave_room_for_more() {
        let doors = Doors::new(400);
        let hog = |n: u8| -> Vec<Entered> { std::iter::from_fn(|| doors.enter(IpAddr::from([10, 0, 0, n]))).collect() };
        let hogs: Vec<Vec<Entered>> = (1..=10).map(hog).collect();
        assert_eq!(hogs[0].len(), 100);
        assert!(hogs.iter().is_sorted_by(|former, later| former.len() >= later.len() && !later.is_empty()));
        let others: Vec<_> = (11..=20).filter_map(|n| doors.enter(IpAddr::from([10, 0, 0, n]))).collect();
        assert_eq!(others.len(), 10, "who comes later is served too");
        drop((hogs, others));
        let open = doors.open.lock().unwrap();
        assert_eq!((open.all, open.by_source.len()), (0, 0), "who is gone is forgotten");
    }

    #[test]
    fn no_more_are_open_than_there_is_room_for() {
        let doors = Doors::new(3);
        let all: Vec<_> = (1..=9).filter_map(|n| doors.enter(IpAddr::from([10, 0, 0, n]))).collect();
        assert_eq!(all.len(), 3);
    }
}
