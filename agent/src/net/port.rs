//! One port of the machine, or what is made on top of ports: brought up, listened to, and described for others. Its address
//! is in [`super::address`].

use std::path::Path;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use wire::card::Span;
use wire::error::Problem;

use super::Event;
use super::address::{Address, Addressing};
use super::dhcp::{self, Mac};
use super::layers::{BOND, Named, Role};
use super::link;
use super::lldp::{Ears, Heard, Hearing};
use super::raise::{Raised, raise};
use crate::limits::PORT_RETRY;
use crate::state::uptime_ms;
use crate::tree::Tree;
use crate::{ifreq, nic, state};

/// How far it is.
enum Stage {
    /// A thread is at it.
    Pending,
    /// It is up.
    Done,
    /// It is not, and is tried again at that time.
    Failed(String, Instant),
}

/// A port under our care.
pub(super) struct Port {
    pub(super) nic: nic::Port,
    pub(super) index: u32,
    pub(super) mac: Mac,
    pub(super) carrier: bool,
    pub(super) address: Address,
    /// What was made on top of it, which has the address in its place.
    pub(super) top: Option<String>,
    /// What could not be made of it.
    pub(super) refused: Vec<Problem>,
    role: Role,
    stage: Stage,
    error: Option<String>,
    lldp: Hearing,
    /// When it was first brought up, in milliseconds since the kernel started.
    raised_ms: u64,
    linking: Option<Span>,
    leasing: Option<Span>,
    ears: Option<Ears>,
    /// When listening is tried again; never for what is no port of the machine.
    listen_at: Option<Instant>,
    events: UnboundedSender<Event>,
}

impl Port {
    /// Takes a port into care, which was `former` before this unit was started again, and begins to bring it up. What is made
    /// on top of ports is told by its key, its own name.
    pub(super) fn new(
        nic: nic::Port,
        index: u32,
        mac: Mac,
        role: Role,
        former: state::Port,
        events: UnboundedSender<Event>,
    ) -> Self {
        let lldp = former.lldp.map(|lldp| Hearing::remembering(lldp, Instant::now())).unwrap_or_default();
        let mut port = Self {
            address: Address::new(&nic.name, index, mac, events.clone()),
            nic,
            index,
            mac,
            carrier: false,
            top: None,
            refused: Vec::new(),
            role,
            stage: Stage::Pending,
            error: None,
            lldp,
            raised_ms: uptime_ms(),
            linking: former.linking,
            leasing: former.leasing,
            ears: None,
            listen_at: None,
            events,
        };
        port.raise();
        port
    }

    /// Brings the port up in a thread: drivers may load firmware for seconds.
    fn raise(&mut self) {
        self.stage = Stage::Pending;
        let (name, index, role, events) = (self.nic.name.clone(), self.index, self.role.clone(), self.events.clone());
        tokio::task::spawn_blocking(move || {
            // Without a receiver the unit is ending.
            let _: Result<(), _> = events.send(Event::Raised(index, raise(&name, index, &role)));
        });
    }

    /// The thread is done.
    pub(super) fn raised(&mut self, result: anyhow::Result<Raised>, now: Instant) {
        let name = &self.nic.name;
        match result {
            Ok(Raised { top, refused }) => {
                let top_of = top.as_ref().map(|top| format!(" and carries {top}")).unwrap_or_default();
                tracing::info!("{name} ({}, {}) is up{top_of}", self.nic.key, mac_text(self.mac));
                (self.top, self.refused) = (top, refused);
                self.stage = Stage::Done;
                self.error = None;
            }
            Err(why) => {
                let why = format!("{why:#}");
                if !matches!(&self.stage, Stage::Failed(old, _) if *old == why) && self.error.as_ref() != Some(&why) {
                    tracing::warn!("{why}");
                }
                self.error = Some(why.clone());
                self.stage = Stage::Failed(why, now + PORT_RETRY);
            }
        }
    }

    /// Whether the port is up, with or without a carrier.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Looks at the port as the kernel sees it now. One that somebody took down or apart is made anew after a while.
    pub(super) fn look(&mut self, tree: &Tree, now: Instant) {
        let class = Path::new(nic::CLASS_NET);
        let dir = class.join(&self.nic.name);
        self.set_carrier(tree.number(dir.join("carrier")) == Some(1), now);
        let flags = tree.text(dir.join("flags"));
        let is_down = flags.is_some_and(|flags| !is_up(&flags));
        let is_apart = self.top.as_ref().is_some_and(|top| {
            let has_left = top == BOND && tree.link_name(dir.join("master")).as_ref() != Some(top);
            has_left || !tree.path(class.join(top)).exists()
        });
        if self.is_up() && (is_down || is_apart) {
            let top = self.top.as_ref().filter(|_| is_apart).map(|top| format!(" and {top}")).unwrap_or_default();
            let why = format!("somebody has taken {}{top} down or apart", self.nic.name);
            tracing::warn!("{why}; it is brought up again");
            self.error = Some(why.clone());
            self.stage = Stage::Failed(why, now + PORT_RETRY);
        }
    }

    fn set_carrier(&mut self, carrier: bool, now: Instant) {
        if carrier != self.carrier {
            tracing::info!("{}: link is {}", self.nic.name, if carrier { "up" } else { "down" });
            self.carrier = carrier;
            if carrier {
                self.linking.get_or_insert_with(|| Span::between(self.raised_ms, uptime_ms()));
            }
            self.address.dhcp(&dhcp::Event::Carrier(carrier), now);
        }
    }

    /// Makes the port's address come from where it should.
    pub(super) fn address_by(&mut self, addressing: &Addressing, now: Instant) {
        if self.is_up() {
            self.address.come_by(addressing, self.carrier, now);
        }
    }

    /// It is in care no more. What nothing is any longer made on keeps no address: another port may have it now.
    pub(super) fn leave(&mut self, now: Instant) {
        tracing::info!("{} ({}) is gone", self.nic.name, self.nic.key);
        if !self.is_physical() && ifreq::index(&self.nic.name).is_ok_and(|index| index == self.index) {
            self.address.come_by(&Addressing::None, false, now);
        }
    }

    /// Somebody spoke LLDP.
    pub(super) fn heard(&mut self, heard: Heard, now: Instant) {
        self.lldp.heard(heard, now);
    }

    /// Whether it is a port of the machine, and not made on top of ports.
    pub(super) fn is_physical(&self) -> bool {
        self.nic.key != self.nic.name
    }

    /// What an operator can name it by.
    pub(super) fn named(&self) -> Named<'_> {
        (&self.nic.name, self.mac)
    }

    /// Listens for LLDP once the port is up, and as long as it is there.
    fn listen(&mut self, now: Instant) {
        let is_late = self.listen_at.is_some_and(|at| at > now);
        if self.ears.is_some() || !self.is_up() || !self.is_physical() || is_late {
            return;
        }
        match Ears::open(self.index, self.events.clone()) {
            Ok(ears) => self.ears = Some(ears),
            Err(why) => {
                if self.listen_at.is_none() {
                    tracing::warn!("{}: cannot listen for LLDP: {why:#}", self.nic.name);
                }
                self.listen_at = Some(now + PORT_RETRY);
            }
        }
    }

    /// Time went by.
    pub(super) fn tick(&mut self, now: Instant) {
        if matches!(&self.stage, Stage::Failed(_, at) if *at <= now) {
            self.raise();
        }
        self.address.tick(now);
        if let (None, Some(linking), Some(_)) = (self.leasing, self.linking, &self.address.lease) {
            self.leasing = Some(Span::between(linking.end_ms(), uptime_ms()));
        }
        self.listen(now);
        // Before it is up nobody can tell whether it has a link.
        if self.is_up() {
            self.lldp.can_hear(self.carrier && self.ears.is_some(), now);
        }
        self.lldp.tick(now);
    }

    /// When the next [`Self::tick`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let raise = if let Stage::Failed(_, at) = self.stage { Some(at) } else { None };
        let listen = self.listen_at.filter(|_| self.ears.is_none() && self.is_up());
        [raise, self.address.due(), listen, self.lldp.due()].into_iter().flatten().min()
    }

    /// What others are told, with the names of the ports that it is made on top of.
    pub(super) fn describe(&self, addressing: &Addressing, over: Vec<String>) -> state::Port {
        let silence = || {
            let text = format!("no DHCP server has answered on {}", self.nic.name);
            (self.carrier && self.address.is_unanswered()).then_some(text)
        };
        state::Port {
            name: self.nic.name.clone(),
            key: self.nic.key.clone(),
            mac: mac_text(self.mac),
            up: self.carrier,
            addresses: link::addresses(&self.nic.name),
            gateway: self.address.gateway().map(|g| g.to_string()),
            source: self.source(addressing),
            error: self.error.clone().or_else(|| self.address.error()).or_else(silence),
            lldp: self.lldp.describe(),
            linking: self.linking,
            leasing: self.leasing,
            over,
        }
    }

    fn source(&self, addressing: &Addressing) -> String {
        match (&self.address.lease, &self.stage, addressing) {
            (_, Stage::Pending, _) => "bringing the port up".to_owned(),
            (_, Stage::Failed(..), _) => "waiting to bring the port up".to_owned(),
            (_, _, Addressing::Static(_)) => "static".to_owned(),
            (_, _, Addressing::None) => "unused: another port has the static address".to_owned(),
            (_, _, Addressing::Part(top)) => format!("carries {top}"),
            (Some(lease), ..) => format!("dhcp from {}", lease.server),
            (None, ..) if self.carrier => "waiting for a DHCP server".to_owned(),
            (None, ..) => "waiting for a link".to_owned(),
        }
    }
}

/// Whether these flags, as `/sys` has them, are those of a port that is up.
fn is_up(flags: &str) -> bool {
    let flags = flags.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok());
    flags.is_none_or(|flags| flags & 1 == 1)
}

/// Lower case with colons.
pub(super) fn mac_text(mac: Mac) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}

/// A MAC as `/sys` gives it; `None` if it is none of Ethernet.
pub(super) fn mac_of(text: &str) -> Option<Mac> {
    let bytes: Vec<u8> = text.split(':').map(|b| u8::from_str_radix(b, 16)).collect::<Result<_, _>>().ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags() {
        assert!(is_up("0x1003") && is_up("nonsense") && !is_up("0x1002"));
    }

    #[test]
    fn macs() {
        assert_eq!(mac_of("52:54:00:ab:cd:ef").map(mac_text).as_deref(), Some("52:54:00:ab:cd:ef"));
        for bad in ["", "52:54:00:ab:cd", "52:54:00:ab:cd:ef:01", "52:54:00:ab:cd:xx"] {
            assert_eq!(mac_of(bad), None, "{bad}");
        }
    }
}
