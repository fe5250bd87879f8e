//! The DHCP client of one port as a state machine (RFC 2131, figure 5). Pure: time and random numbers come in, packets
//! and changes of the lease go out. The caller sleeps until [`Client::due`] or the next event.
//!
//! It retries sooner than the standard's 4 seconds: a whole boot takes less. A port whose carrier was away asks whether
//! its address is still good, since the cable may be in another network now.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::lease::Lease;
use super::message::{Ask, Mac, Reply, ReplyKind, Request, code};
use crate::limits::{DHCP_FIRST_RETRY, DHCP_LONGEST_RETRY, DHCP_RENEW_RETRY, DHCP_REQUESTS, DHCP_VERIFIES};

/// What happens to the client.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// The port's carrier came or went.
    Carrier(bool),
    /// A message came.
    Reply(&'a Reply),
    /// Nothing, but time went by.
    Tick,
}

/// What the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send this: to the server that it names when it extends a lease, to all on the link otherwise.
    Send(Request),
    /// Use this lease, new or extended.
    Use(Lease),
    /// Give the address up.
    Drop(Dropped),
}

/// Why an address was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// The server took it back, in its own words if it sent any.
    Refused { server: Option<Ipv4Addr>, text: Option<String> },
    /// Nobody extended it in time.
    Expired,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// No carrier; the lease from before, if there was one.
    Away,
    /// Looking for servers.
    Discover,
    /// Taking an offer.
    Take(Box<Lease>),
    /// Asking whether the lease from before is still good.
    Verify,
    /// All is well until it is time to renew.
    Bound,
    /// Asking the server for an extension.
    Renew,
    /// Asking any server for an extension.
    Rebind,
}

/// The client of one port.
#[derive(Debug)]
pub(crate) struct Client {
    mac: Mac,
    began: Instant,
    state: State,
    /// The lease in use, and when it was granted.
    lease: Option<(Lease, Instant)>,
    xid: u32,
    /// Requests sent in this state.
    sent: u32,
    /// Time of the next step without an event.
    due: Option<Instant>,
}

impl Client {
    /// A client whose port has no carrier yet.
    pub(crate) fn new(mac: Mac, now: Instant) -> Self {
        Self { mac, began: now, state: State::Away, lease: None, xid: 0, sent: 0, due: None }
    }

    /// When the next [`Event::Tick`] is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Requests that went unanswered since the last answer.
    pub(crate) fn unanswered(&self) -> u32 {
        if matches!(self.state, State::Away | State::Bound) { 0 } else { self.sent }
    }

    /// Takes an event; `random` makes transaction numbers and jitter.
    pub(crate) fn handle(&mut self, event: &Event, now: Instant, random: u64) -> Vec<Action> {
        match event {
            Event::Carrier(false) => {
                self.state = State::Away;
                self.due = self.expiry();
                Vec::new()
            }
            Event::Carrier(true) if self.state != State::Away => Vec::new(),
            Event::Carrier(true) if self.lease.is_some() => self.enter(State::Verify, now, random),
            Event::Carrier(true) => self.enter(State::Discover, now, random),
            Event::Reply(reply) if reply.xid == self.xid && reply.mac == self.mac => self.reply(reply, now, random),
            Event::Reply(_) => Vec::new(),
            Event::Tick if self.due.is_some_and(|due| due <= now) => self.tick(now, random),
            Event::Tick => Vec::new(),
        }
    }

    fn reply(&mut self, reply: &Reply, now: Instant, random: u64) -> Vec<Action> {
        let server = reply.address_option(code::SERVER);
        match (&self.state, reply.kind) {
            (State::Discover, ReplyKind::Offer) => match Lease::of(reply) {
                Some(offer) => self.enter(State::Take(Box::new(offer)), now, random),
                None => Vec::new(),
            },
            (State::Take(offer), ReplyKind::Nak) if server == Some(offer.server) => self.start_again(now, random),
            (State::Take(offer), ReplyKind::Ack) if server == Some(offer.server) => self.bind(reply, now),
            // Some servers extend by granting another address: the former one is theirs again.
            (State::Verify | State::Renew | State::Rebind, ReplyKind::Ack) => self.bind(reply, now),
            (State::Verify | State::Renew | State::Rebind, ReplyKind::Nak) => {
                self.lease = None;
                let why = Dropped::Refused { server, text: reply.text_option(code::TEXT) };
                let mut actions = vec![Action::Drop(why)];
                actions.extend(self.enter(State::Discover, now, random));
                actions
            }
            _ => Vec::new(),
        }
    }

    fn bind(&mut self, reply: &Reply, now: Instant) -> Vec<Action> {
        let Some(lease) = Lease::of(reply) else { return Vec::new() };
        self.state = State::Bound;
        self.sent = 0;
        self.due = lease.times.map(|t| now + t.renew);
        self.lease = Some((lease.clone(), now));
        vec![Action::Use(lease)]
    }

    /// After a refused offer: not at once, or a server that always refuses is flooded.
    fn start_again(&mut self, now: Instant, random: u64) -> Vec<Action> {
        let wait = retry_wait(self.sent.saturating_add(2), random);
        self.state = State::Discover;
        self.due = Some(now + wait);
        Vec::new()
    }

    fn tick(&mut self, now: Instant, random: u64) -> Vec<Action> {
        if self.expiry().is_some_and(|at| at <= now) {
            self.lease = None;
            let mut actions = vec![Action::Drop(Dropped::Expired)];
            if self.state == State::Away {
                self.due = None;
            } else {
                actions.extend(self.enter(State::Discover, now, random));
            }
            return actions;
        }
        let rebind = self.at(|t| t.rebind).is_some_and(|at| at <= now);
        match &self.state {
            State::Away => Vec::new(),
            State::Take(_) if self.sent >= DHCP_REQUESTS => self.enter(State::Discover, now, random),
            State::Verify if self.sent >= DHCP_VERIFIES => self.enter(State::Discover, now, random),
            State::Bound => self.enter(State::Renew, now, random),
            State::Renew if rebind => self.enter(State::Rebind, now, random),
            State::Discover | State::Take(_) | State::Verify | State::Renew | State::Rebind => self.send(now, random),
        }
    }

    fn enter(&mut self, state: State, now: Instant, random: u64) -> Vec<Action> {
        // An offer is taken under the number under which it came.
        if !matches!(state, State::Take(_)) {
            self.xid = u32::try_from(random >> 32).unwrap_or(0);
        }
        self.state = state;
        self.sent = 0;
        self.send(now, random)
    }

    fn send(&mut self, now: Instant, random: u64) -> Vec<Action> {
        let held = self.lease.as_ref().map_or(Ipv4Addr::UNSPECIFIED, |(l, _)| l.address);
        let ask = match &self.state {
            State::Away | State::Bound => return Vec::new(),
            State::Discover => Ask::Discover,
            State::Take(offer) => Ask::Take { address: offer.address, server: offer.server },
            State::Verify => Ask::Verify { address: held },
            State::Renew => Ask::Extend { address: held, server: self.lease.as_ref().map(|(l, _)| l.server) },
            State::Rebind => Ask::Extend { address: held, server: None },
        };
        let retry = now + retry_wait(self.sent, random);
        let half = |end: Option<Instant>| end.map(|end| now + renew_wait(end.saturating_duration_since(now)));
        let due = match &self.state {
            State::Renew => half(self.at(|t| t.rebind)),
            State::Rebind => half(self.expiry()),
            _ => Some(retry),
        };
        self.due = [due, self.expiry()].into_iter().flatten().min();
        self.sent = self.sent.saturating_add(1);
        let secs = u16::try_from(now.saturating_duration_since(self.began).as_secs()).unwrap_or(u16::MAX);
        vec![Action::Send(Request { xid: self.xid, secs, mac: self.mac, ask })]
    }

    fn at(&self, time: impl Fn(super::lease::Times) -> Duration) -> Option<Instant> {
        let (lease, granted) = self.lease.as_ref()?;
        Some(*granted + time(lease.times?))
    }

    fn expiry(&self) -> Option<Instant> {
        self.at(|t| t.expire)
    }
}

/// Doubles from the first wait to the longest, give or take an eighth, so that a rack does not ask in step.
fn retry_wait(sent: u32, random: u64) -> Duration {
    let wait = DHCP_FIRST_RETRY.saturating_mul(1 << sent.min(16)).min(DHCP_LONGEST_RETRY);
    let eighths = u32::try_from(random % 1024).unwrap_or(0);
    wait * 7 / 8 + wait * eighths / 4096
}

/// Half of what is left, but no sooner than the shortest wait unless it ends before.
fn renew_wait(left: Duration) -> Duration {
    (left / 2).max(DHCP_RENEW_RETRY).min(left)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::message::tests::{MAC, answer};
    use super::*;

    const OFFERED: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
    const SERVER: [u8; 4] = [10, 0, 2, 2];
    const OFFER: u8 = 2;
    const ACK: u8 = 5;
    const NAK: u8 = 6;

    struct Bench {
        client: Client,
        now: Instant,
        last: Option<Request>,
    }

    impl Bench {
        fn new() -> Self {
            let now = Instant::now();
            Self { client: Client::new(MAC, now), now, last: None }
        }

        fn handle(&mut self, event: &Event) -> Vec<Action> {
            let actions = self.client.handle(event, self.now, 0x1234_5678_0000_0000 + u64::from(self.client.sent));
            for action in &actions {
                if let Action::Send(request) = action {
                    self.last = Some(request.clone());
                }
            }
            actions
        }

        fn answer(&mut self, kind: u8, seconds: u8) -> Vec<Action> {
            let options =
                [(code::SERVER, &SERVER[..]), (code::LEASE_TIME, &[0, 0, 0, seconds]), (code::TEXT, b"moved")];
            let bytes = answer(self.last.as_ref().unwrap(), kind, OFFERED, &options);
            self.handle(&Event::Reply(&Reply::decode(&bytes).unwrap()))
        }

        /// Sleeps until the next step and gives how long that was, in milliseconds, and what was done.
        fn sleep(&mut self) -> (u128, Vec<Action>) {
            let due = self.client.due().unwrap();
            let slept = due.saturating_duration_since(self.now).as_millis();
            self.now = self.now.max(due);
            (slept, self.handle(&Event::Tick))
        }

        fn bound(seconds: u8) -> Self {
            let mut bench = Self::new();
            bench.handle(&Event::Carrier(true));
            bench.answer(OFFER, seconds);
            assert!(matches!(bench.answer(ACK, seconds)[..], [Action::Use(_)]));
            bench
        }

        fn asks(&self) -> &Ask {
            &self.last.as_ref().unwrap().ask
        }
    }

    #[test]
    fn the_usual_way_to_an_address() {
        let mut bench = Bench::new();
        assert_eq!(bench.client.due(), None, "silent without carrier");
        assert!(matches!(&bench.handle(&Event::Carrier(true))[..], [Action::Send(r)] if r.ask == Ask::Discover));
        bench.answer(OFFER, 80);
        assert_eq!(*bench.asks(), Ask::Take { address: OFFERED, server: SERVER.into() });
        assert!(matches!(&bench.answer(ACK, 80)[..], [Action::Use(l)] if l.address == OFFERED));
        assert_eq!(bench.answer(ACK, 80), [], "a second answer changes nothing");
        assert_eq!(bench.client.due(), Some(bench.now + Duration::from_secs(40)));
    }

    #[test]
    fn unanswered_requests_are_repeated_ever_more_slowly() {
        let mut bench = Bench::new();
        bench.handle(&Event::Carrier(true));
        let waits: Vec<u128> = (0..8).map(|_| bench.sleep().0).collect();
        assert!(waits[0] <= 400, "the first one soon: {waits:?}");
        assert!(waits.windows(2).all(|w| w[0] <= w[1] + 1), "{waits:?}");
        assert!(waits[7] <= DHCP_LONGEST_RETRY.as_millis(), "{waits:?}");
        assert_eq!(bench.client.unanswered(), 9);
    }

    #[test]
    fn an_offer_that_is_not_honoured_is_forgotten() {
        let mut bench = Bench::new();
        bench.handle(&Event::Carrier(true));
        bench.answer(OFFER, 80);
        for _ in 0..DHCP_REQUESTS {
            assert!(matches!(bench.asks(), Ask::Take { .. }));
            bench.sleep();
        }
        assert_eq!(*bench.asks(), Ask::Discover);
        bench.answer(OFFER, 80);
        assert_eq!(bench.answer(NAK, 80), [], "no new request in the same moment");
        assert!(bench.sleep().0 > 500);
        assert_eq!(*bench.asks(), Ask::Discover);
    }

    #[test]
    fn a_lease_is_renewed_rebound_and_lost() {
        let mut bench = Bench::bound(160);
        assert_eq!(bench.sleep().0, 80_000);
        assert_eq!(*bench.asks(), Ask::Extend { address: OFFERED, server: Some(SERVER.into()) });
        assert!(matches!(bench.answer(ACK, 160)[..], [Action::Use(_)]));
        assert_eq!(bench.sleep().0, 80_000, "from the time of the extension");
        let mut slept = 80_000;
        while bench.client.state == State::Renew {
            slept += bench.sleep().0;
        }
        assert_eq!((slept, &bench.client.state), (140_000, &State::Rebind));
        assert_eq!(*bench.asks(), Ask::Extend { address: OFFERED, server: None }, "now whoever can");
        let lost = loop {
            let (wait, actions) = bench.sleep();
            slept += wait;
            if bench.client.lease.is_none() {
                break actions;
            }
        };
        assert_eq!(slept, 160_000);
        assert!(matches!(&lost[..], [Action::Drop(Dropped::Expired), Action::Send(r)] if r.ask == Ask::Discover));
    }

    #[test]
    fn an_extension_may_come_with_another_address() {
        let mut bench = Bench::bound(160);
        bench.sleep();
        let other = Ipv4Addr::new(10, 0, 2, 77);
        let options = [(code::SERVER, &SERVER[..]), (code::LEASE_TIME, &[0, 0, 0, 100])];
        let bytes = answer(bench.last.as_ref().unwrap(), ACK, other, &options);
        let actions = bench.handle(&Event::Reply(&Reply::decode(&bytes).unwrap()));
        assert!(matches!(&actions[..], [Action::Use(l)] if l.address == other), "{actions:?}");
        assert_eq!(bench.sleep().0, 50_000);
        assert!(matches!(bench.asks(), Ask::Extend { address, .. } if *address == other));
    }

    #[test]
    fn a_refused_extension_ends_the_lease_at_once() {
        let mut bench = Bench::bound(160);
        bench.sleep();
        let why = Dropped::Refused { server: Some(SERVER.into()), text: Some("moved".to_owned()) };
        assert_eq!(bench.answer(NAK, 160)[0], Action::Drop(why));
        assert_eq!(*bench.asks(), Ask::Discover);
    }

    #[test]
    fn a_carrier_that_comes_back_asks_whether_the_address_is_still_good() {
        let mut bench = Bench::bound(250);
        bench.handle(&Event::Carrier(false));
        assert!(matches!(&bench.handle(&Event::Carrier(true))[..], [Action::Send(_)]));
        assert_eq!(*bench.asks(), Ask::Verify { address: OFFERED });
        assert!(matches!(bench.answer(ACK, 250)[..], [Action::Use(_)]));

        bench.handle(&Event::Carrier(false));
        bench.handle(&Event::Carrier(true));
        for _ in 0..DHCP_VERIFIES {
            bench.sleep();
        }
        assert_eq!(*bench.asks(), Ask::Discover, "nobody answers: look for other servers, keep the address");
        assert!(bench.client.lease.is_some());

        bench.handle(&Event::Carrier(false));
        assert_eq!(bench.sleep().1, [Action::Drop(Dropped::Expired)]);
        assert_eq!(bench.client.due(), None);
    }

    #[test]
    fn answers_to_others_are_ignored() {
        let mut bench = Bench::new();
        bench.handle(&Event::Carrier(true));
        let good = bench.last.clone().unwrap();
        for request in [Request { xid: good.xid + 1, ..good.clone() }, Request { mac: [2; 6], ..good.clone() }] {
            bench.last = Some(request);
            assert_eq!(bench.answer(OFFER, 80), []);
        }
        bench.last = Some(good);
        assert_eq!(bench.answer(ACK, 80), [], "an acknowledgement that nobody asked for");
        assert!(!bench.answer(OFFER, 80).is_empty());
    }

    proptest! {
        /// Whatever happens, a client with carrier has a next step, and never sends twice within 100 ms by itself.
        #[test]
        fn it_never_stops_and_never_floods(steps in proptest::collection::vec((0u8..6, 0u8..=255), 1..60)) {
            let mut bench = Bench::new();
            bench.handle(&Event::Carrier(true));
            for (step, seconds) in steps {
                match step {
                    0 => drop(bench.handle(&Event::Carrier(seconds % 2 == 0))),
                    1 => drop(bench.answer(OFFER, seconds)),
                    2 => drop(bench.answer(ACK, seconds)),
                    3 => drop(bench.answer(NAK, seconds)),
                    _ if bench.client.due().is_some() => {
                        let (slept, actions) = bench.sleep();
                        let sends = actions.iter().any(|a| matches!(a, Action::Send(_)));
                        prop_assert!(!sends || slept >= 100 || bench.client.sent == 1, "slept {slept} ms");
                    }
                    _ => prop_assert_eq!(&bench.client.state, &State::Away),
                }
                prop_assert_eq!(bench.client.due().is_none() && bench.client.state != State::Away, false);
            }
        }
    }
}
