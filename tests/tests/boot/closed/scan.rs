//! A scan of TCP and UDP ports of a machine, from a station of its segment.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::frames::{Said, Station, datagram, hang_up, knock, said};
use super::segment::Segment;

/// The station that asks, by the family of what it asks. No other machine has these.
const MAC: [u8; 6] = [0x02, 0x4d, 0x4b, 0, 0, 0x77];
pub(super) const OURS: [&str; 2] = ["10.0.2.77", "fe80::4d4b:77"];
/// Ports that are asked before one of them has answered: fewer than a network card has room for.
const WINDOW: usize = 64;
/// Without an answer for so long, what was asked counts as lost, and is asked again in the next round.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a port is asked.
const ROUNDS: usize = 4;

/// What a scan has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// TCP ports that are open.
    pub(super) tcp: BTreeSet<u16>,
    /// UDP ports from which something came.
    pub(super) udp: BTreeSet<u16>,
    /// TCP ports that have refused.
    pub(super) refused: BTreeSet<u16>,
    /// UDP ports that were reported closed; the kernel reports few of them in a second.
    pub(super) unreachable: BTreeSet<u16>,
}

impl Found {
    /// Asks these ports of a machine: UDP first, then TCP. A frame comes behind those that were sent before it, so that a TCP
    /// port's answer tells that the question to the UDP port of the same number has arrived too.
    pub(super) fn by_asking(segment: &Segment, them: &Station, ports: &[u16]) -> Self {
        let ours = OURS[usize::from(them.address.is_ipv6())];
        let us = Station { mac: MAC, address: ours.parse().unwrap() };
        let (begun, mut found) = (Instant::now(), Self::default());
        // What was said before is none of its business.
        segment.frames.try_iter().for_each(drop);
        for round in 1..=ROUNDS {
            let left: Vec<u16> = ports.iter().copied().filter(|port| !found.knows(*port)).collect();
            if left.is_empty() {
                break;
            }
            println!("round {round}: {} ports of {}", left.len(), them.address);
            let mut open = 0;
            for port in left {
                segment.say(&datagram(&us, them, port));
                segment.say(&knock(&us, them, port));
                open += 1;
                while open >= WINDOW {
                    open = if found.hears(segment, &us, them) { open - 1 } else { 0 };
                }
            }
            while found.hears(segment, &us, them) {}
        }
        println!("{} was asked for {:.1?}", them.address, begun.elapsed());
        found
    }

    /// Those of the TCP ports that were silent however often they were asked.
    pub(super) fn silent(&self, ports: &[u16]) -> Vec<u16> {
        ports.iter().copied().filter(|port| !self.knows(*port)).collect()
    }

    fn knows(&self, port: u16) -> bool {
        self.tcp.contains(&port) || self.refused.contains(&port)
    }

    /// Waits for a TCP port to answer for the first time; false when none does.
    fn hears(&mut self, segment: &Segment, us: &Station, them: &Station) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(frame) = segment.frames.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            let news = match said(&frame, them, us) {
                Some(Said::Refused(port)) => self.refused.insert(port),
                Some(Said::Open(port)) => {
                    segment.say(&hang_up(us, them, port));
                    self.tcp.insert(port)
                }
                Some(Said::Datagram(port)) => {
                    self.udp.insert(port);
                    false
                }
                Some(Said::Unreachable(port)) => {
                    self.unreachable.insert(port);
                    false
                }
                Some(Said::Asked(answer)) => {
                    segment.say(&answer);
                    false
                }
                None => false,
            };
            if news {
                return true;
            }
        }
        false
    }
}

/// A machine's station by the first address of either family that its server shows.
pub(super) fn station(mac: &str, addresses: &[String], is_it: impl Fn(&IpAddr) -> bool) -> Station {
    let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let mut plain = addresses.iter().filter_map(|address| address.split('/').next()?.parse().ok());
    let address = plain.find(is_it).unwrap_or_else(|| panic!("{mac} has {addresses:?}"));
    Station { mac: bytes.try_into().unwrap(), address }
}
