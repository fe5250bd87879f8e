//! Who shares a limit: so many connections, so much memory for each source, so that none keeps the others out.

use std::collections::HashMap;
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

/// Open connections by source.
#[derive(Debug, Clone)]
pub struct Doors {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// Most of one source.
    limit: usize,
}

/// An open connection; it no longer counts once this is dropped.
#[derive(Debug)]
pub struct Entered {
    doors: Doors,
    source: IpAddr,
}

impl Doors {
    /// With so many connections of each source.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { open: Arc::default(), limit }
    }

    /// Counts a connection from this address, unless its source has too many.
    #[must_use]
    pub fn enter(&self, ip: IpAddr) -> Option<Entered> {
        let source = source(ip);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(source).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Entered { doors: self.clone(), source })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.doors.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.source);
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
    fn one_source_cannot_have_all_connections() {
        let doors = Doors::new(2);
        let first = doors.enter(ip("10.0.0.1")).unwrap();
        let _second = doors.enter(ip("10.0.0.1")).unwrap();
        assert!(doors.enter(ip("10.0.0.1")).is_none());
        let other = doors.enter(ip("10.0.0.2"));
        assert!(other.is_some(), "the others are served");
        drop(first);
        assert!(doors.enter(ip("10.0.0.1")).is_some());
        drop(other);
        assert_eq!(doors.open.lock().unwrap().len(), 1, "who is gone is forgotten");
    }
}
