//! One port: brought up, given an address by DHCP or as the kernel line says, and described for others.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use wire::card::Span;

use super::Event;
use super::dhcp::{self, Action, Ask, Client, Dropped, Lease, Mac, Reply, Route, SERVER_PORT};
use super::link;
use super::lldp::{Ears, Heard, Hearing};
use super::socket::{PacketSocket, unicast};
use crate::limits::{DHCP_SILENCE, PORT_RETRY};
use crate::random::random;
use crate::state::uptime_ms;
use crate::{ifreq, nic, state};

/// Where a port's address comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Addressing {
    /// By DHCP.
    Dhcp,
    /// As the kernel line says.
    Static(Static),
    /// From nowhere: another port has the static address.
    None,
}

/// A static IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Static {
    pub(super) address: Ipv4Addr,
    pub(super) prefix: u8,
    pub(super) gateway: Option<Ipv4Addr>,
}

enum Raised {
    /// A thread is at it.
    Pending,
    /// It is up.
    Done,
    /// It is not, and is tried again at that time.
    Failed(String, Instant),
}

/// A DHCP client with its sockets.
struct Dhcp {
    client: Client,
    socket: Arc<PacketSocket>,
    reader: AbortHandle,
}

impl Drop for Dhcp {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// A port under our care.
pub(super) struct Port {
    pub(super) nic: nic::Port,
    pub(super) index: u32,
    pub(super) mac: Mac,
    pub(super) carrier: bool,
    pub(super) lease: Option<Lease>,
    raised: Raised,
    dhcp: Option<Dhcp>,
    applied: Option<Static>,
    error: Option<String>,
    lldp: Hearing,
    /// When it was first brought up, in milliseconds since the kernel started.
    raised_ms: u64,
    linking: Option<Span>,
    leasing: Option<Span>,
    ears: Option<Ears>,
    /// When listening is tried again.
    listen_at: Option<Instant>,
    events: UnboundedSender<Event>,
}

impl Port {
    /// Takes a port into care, which was `former` before this unit was started again, and begins to bring it up.
    pub(super) fn new(
        nic: nic::Port,
        index: u32,
        mac: Mac,
        former: state::Port,
        events: UnboundedSender<Event>,
    ) -> Self {
        let lldp = former.lldp.map(|lldp| Hearing::remembering(lldp, Instant::now())).unwrap_or_default();
        let mut port = Self {
            nic,
            index,
            mac,
            carrier: false,
            lease: None,
            raised: Raised::Pending,
            dhcp: None,
            applied: None,
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
        self.raised = Raised::Pending;
        let (name, index, events) = (self.nic.name.clone(), self.index, self.events.clone());
        tokio::task::spawn_blocking(move || {
            // Without a receiver the unit is ending.
            let _: Result<(), _> = events.send(Event::Raised(index, ifreq::up(&name)));
        });
    }

    /// The thread is done.
    pub(super) fn raised(&mut self, result: anyhow::Result<()>, now: Instant) {
        let name = &self.nic.name;
        match result {
            Ok(()) => {
                tracing::info!("{name} ({}, {}) is up", self.nic.key, mac_text(self.mac));
                self.raised = Raised::Done;
                self.error = None;
            }
            Err(why) => {
                let why = format!("{why:#}");
                if !matches!(&self.raised, Raised::Failed(old, _) if *old == why) && self.error.as_ref() != Some(&why) {
                    tracing::warn!("{why}");
                }
                self.error = Some(why.clone());
                self.raised = Raised::Failed(why, now + PORT_RETRY);
            }
        }
    }

    /// Whether the port is up, with or without a carrier.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.raised, Raised::Done)
    }

    /// The carrier as the kernel sees it now.
    pub(super) fn set_carrier(&mut self, carrier: bool, now: Instant) {
        if carrier != self.carrier {
            tracing::info!("{}: link is {}", self.nic.name, if carrier { "up" } else { "down" });
            self.carrier = carrier;
            if carrier {
                self.linking.get_or_insert_with(|| Span::between(self.raised_ms, uptime_ms()));
            }
            self.dhcp(&dhcp::Event::Carrier(carrier), now);
        }
    }

    /// Makes the port's address come from where it should.
    pub(super) fn address_by(&mut self, addressing: &Addressing, now: Instant) {
        match addressing {
            Addressing::Dhcp if self.dhcp.is_none() && self.carrier && self.is_up() => self.start_dhcp(now),
            Addressing::Static(wanted) if self.is_up() && self.applied.as_ref() != Some(wanted) => {
                let applied = self.apply_static(wanted);
                self.applied = applied.is_ok().then(|| wanted.clone());
                self.error = applied.err().map(|e| format!("{e:#}"));
            }
            Addressing::None if self.applied.take().is_some() => self.clear(),
            Addressing::Dhcp | Addressing::Static(_) | Addressing::None => {}
        }
    }

    fn start_dhcp(&mut self, now: Instant) {
        let socket = match PacketSocket::open(self.index) {
            Ok(socket) => Arc::new(socket),
            Err(why) => {
                self.error = Some(format!("{why:#}"));
                return;
            }
        };
        let (reader, index, events) = (Arc::clone(&socket), self.index, self.events.clone());
        let reader = tokio::spawn(async move {
            loop {
                let event = match reader.receive().await {
                    Ok(packet) => Event::Packet(index, packet),
                    // The port went down: the kernel says so once.
                    Err(_) => Event::Changed,
                };
                if events.send(event).is_err() {
                    return;
                }
            }
        });
        let client = Client::new(self.mac, now);
        self.dhcp = Some(Dhcp { client, socket, reader: reader.abort_handle() });
        self.error = None;
        self.dhcp(&dhcp::Event::Carrier(true), now);
    }

    /// A packet came.
    pub(super) fn packet(&mut self, packet: &[u8], now: Instant) {
        if let Some(reply) = dhcp::unwrap(packet).and_then(Reply::decode) {
            self.dhcp(&dhcp::Event::Reply(&reply), now);
        }
    }

    /// Somebody spoke LLDP.
    pub(super) fn heard(&mut self, heard: Heard, now: Instant) {
        self.lldp.heard(heard, now);
    }

    /// Listens for LLDP once the port is up, and as long as it is there.
    fn listen(&mut self, now: Instant) {
        if self.ears.is_some() || !self.is_up() || self.listen_at.is_some_and(|at| at > now) {
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
        if matches!(&self.raised, Raised::Failed(_, at) if *at <= now) {
            self.raise();
        }
        self.dhcp(&dhcp::Event::Tick, now);
        self.listen(now);
        // Before it is up nobody can tell whether it has a link.
        if self.is_up() {
            self.lldp.can_hear(self.carrier && self.ears.is_some(), now);
        }
        self.lldp.tick(now);
    }

    /// When the next [`Self::tick`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let raise = if let Raised::Failed(_, at) = self.raised { Some(at) } else { None };
        let listen = self.listen_at.filter(|_| self.ears.is_none());
        [raise, self.dhcp.as_ref().and_then(|d| d.client.due()), listen, self.lldp.due()].into_iter().flatten().min()
    }

    fn dhcp(&mut self, event: &dhcp::Event, now: Instant) {
        let Some(dhcp) = &mut self.dhcp else { return };
        for action in dhcp.client.handle(event, now, random()) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        let name = self.nic.name.clone();
        match action {
            Action::Send(request) => {
                let Some(dhcp) = &mut self.dhcp else { return };
                let sent = match request.ask {
                    Ask::Extend { address, server: Some(server) } => {
                        Dhcp::extend(&name, address, server, &request.encode())
                    }
                    Ask::Extend { address, server: None } => dhcp.socket.send(&request.encode(), address),
                    _ => dhcp.socket.send(&request.encode(), Ipv4Addr::UNSPECIFIED),
                };
                if let Err(why) = sent {
                    tracing::debug!("{name}: {why:#}");
                }
            }
            Action::Use(lease) => {
                self.error = self.apply(&lease).err().map(|e| format!("{e:#}"));
                if let Some(why) = &self.error {
                    tracing::warn!("{name}: {why}");
                }
                if self.lease.as_ref() != Some(&lease) {
                    let Lease { address, prefix, server, .. } = &lease;
                    tracing::info!("{name}: {address}/{prefix} by DHCP from {server}");
                }
                self.lease = Some(lease);
                if let (None, Some(linking)) = (self.leasing, self.linking) {
                    self.leasing = Some(Span::between(linking.end_ms(), uptime_ms()));
                }
            }
            Action::Drop(why) => {
                self.clear();
                let why = match why {
                    Dropped::Expired => "its lease expired and no DHCP server extended it".to_owned(),
                    Dropped::Refused { server, text } => {
                        let server = server.map_or_else(|| "a DHCP server".to_owned(), |s| format!("DHCP server {s}"));
                        let text = text.map(|t| format!(": {t}")).unwrap_or_default();
                        format!("{server} took the address back{text}")
                    }
                };
                tracing::warn!("{name}: {why}");
            }
        }
    }

    /// Sets address, routes and MTU. A driver that refuses the MTU, or one bad route among good ones, must not cost the
    /// machine its address: everything is tried, and the first failure is told.
    fn apply(&self, lease: &Lease) -> anyhow::Result<()> {
        let name = &self.nic.name;
        let local = (lease.address, lease.prefix);
        let same_routes = self.lease.as_ref().is_none_or(|old| old.routes == lease.routes);
        // After a restart of this unit the port still has its address: connections over it stay.
        if !same_routes || !link::addresses(name).contains(&format!("{}/{}", local.0, local.1)) {
            link::set_address(name, local.0, local.1)?;
        }
        let mut routed = Ok(());
        for route in &lease.routes {
            routed = routed.and(link::add_route(name, self.index, local, route));
        }
        routed.and(lease.mtu.map_or(Ok(()), |mtu| link::set_mtu(name, mtu)))
    }

    fn apply_static(&self, wanted: &Static) -> anyhow::Result<()> {
        let local = (wanted.address, wanted.prefix);
        link::set_address(&self.nic.name, local.0, local.1)?;
        tracing::info!("{}: {}/{} as the kernel line says", self.nic.name, local.0, local.1);
        wanted.gateway.map_or(Ok(()), |g| link::add_route(&self.nic.name, self.index, local, &Route::default_by(g)))
    }

    fn clear(&mut self) {
        self.lease = None;
        if let Err(why) = link::clear_address(&self.nic.name) {
            tracing::warn!("{why:#}");
        }
    }

    /// What others are told.
    pub(super) fn describe(&self, addressing: &Addressing) -> state::Port {
        let gateway = self.lease.as_ref().and_then(Lease::gateway).or(self.applied.as_ref().and_then(|s| s.gateway));
        let unanswered = self.dhcp.as_ref().map_or(0, |d| d.client.unanswered());
        let silence = || {
            let text = format!("no DHCP server has answered on {}", self.nic.name);
            (self.lease.is_none() && self.carrier && unanswered >= DHCP_SILENCE).then_some(text)
        };
        state::Port {
            name: self.nic.name.clone(),
            key: self.nic.key.clone(),
            mac: mac_text(self.mac),
            up: self.carrier,
            addresses: link::addresses(&self.nic.name),
            gateway: gateway.map(|g| g.to_string()),
            source: self.source(addressing),
            error: self.error.clone().or_else(silence),
            lldp: self.lldp.describe(),
            linking: self.linking,
            leasing: self.leasing,
        }
    }

    fn source(&self, addressing: &Addressing) -> String {
        match (&self.lease, &self.raised, addressing) {
            (_, Raised::Pending, _) => "bringing the port up".to_owned(),
            (_, Raised::Failed(..), _) => "waiting to bring the port up".to_owned(),
            (_, _, Addressing::Static(_)) => "static".to_owned(),
            (_, _, Addressing::None) => "unused: another port has the static address".to_owned(),
            (Some(lease), ..) => format!("dhcp from {}", lease.server),
            (None, ..) if self.carrier => "waiting for a DHCP server".to_owned(),
            (None, ..) => "waiting for a link".to_owned(),
        }
    }

    /// Name servers that came with the lease.
    pub(super) fn dns(&self) -> impl Iterator<Item = IpAddr> {
        self.lease.iter().flat_map(|l| l.dns.iter().map(|a| IpAddr::V4(*a)))
    }
}

impl Dhcp {
    fn extend(name: &str, source: Ipv4Addr, server: Ipv4Addr, message: &[u8]) -> anyhow::Result<()> {
        // Closed at once, since nothing on the machine may listen; the packet socket hears the answer.
        unicast(name, source)?.send_to(message, (server, SERVER_PORT))?;
        Ok(())
    }
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
    fn macs() {
        assert_eq!(mac_of("52:54:00:ab:cd:ef").map(mac_text).as_deref(), Some("52:54:00:ab:cd:ef"));
        for bad in ["", "52:54:00:ab:cd", "52:54:00:ab:cd:ef:01", "52:54:00:ab:cd:xx"] {
            assert_eq!(mac_of(bad), None, "{bad}");
        }
    }
}
