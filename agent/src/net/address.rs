//! The IPv4 address of one interface: by DHCP or as the kernel line says, with its routes and the largest packet. What
//! somebody else takes away is put back.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::Event;
use super::dhcp::{self, Action, Ask, Client, Dropped, Lease, Mac, Reply, Route, SERVER_PORT};
use super::link;
use super::socket::{PacketSocket, unicast};
use crate::limits::{DHCP_SILENCE, PORT_RETRY};
use crate::random::random;

/// Where an interface's address comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Addressing {
    /// By DHCP.
    Dhcp,
    /// As the kernel line says.
    Static(Static),
    /// From nowhere: another interface has the static address.
    None,
    /// From nowhere: what is made on top of it, with this name, has one in its place.
    Part(String),
}

/// A static IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Static {
    pub(super) address: Ipv4Addr,
    pub(super) prefix: u8,
    pub(super) gateway: Option<Ipv4Addr>,
}

/// An interface's address.
pub(super) struct Address {
    name: String,
    index: u32,
    mac: Mac,
    pub(super) lease: Option<Lease>,
    dhcp: Option<Dhcp>,
    applied: Option<Static>,
    pub(super) error: Option<String>,
    /// The largest packet before a lease said otherwise.
    own_mtu: Option<u16>,
    /// When it is looked at again, if something was put back too short a while ago. Never in the past after a tick.
    look_at: Option<Instant>,
    events: UnboundedSender<Event>,
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

impl Address {
    /// None yet.
    pub(super) fn new(name: &str, index: u32, mac: Mac, events: UnboundedSender<Event>) -> Self {
        Self {
            name: name.to_owned(),
            index,
            mac,
            lease: None,
            dhcp: None,
            applied: None,
            error: None,
            own_mtu: None,
            look_at: None,
            events,
        }
    }

    /// Makes it come from where it should, on an interface that is up, with or without a carrier.
    pub(super) fn come_by(&mut self, addressing: &Addressing, carrier: bool, now: Instant) {
        match addressing {
            Addressing::Dhcp if self.dhcp.is_none() && carrier => self.start_dhcp(now),
            Addressing::Static(wanted) if self.applied.as_ref() != Some(wanted) => {
                let applied = self.apply_static(wanted);
                self.applied = applied.is_ok().then(|| wanted.clone());
                self.error = applied.err().map(|e| format!("{e:#}"));
            }
            Addressing::None | Addressing::Part(_) if self.applied.is_some() || self.dhcp.is_some() => {
                (self.applied, self.dhcp) = (None, None);
                self.clear();
            }
            Addressing::Dhcp | Addressing::Static(_) | Addressing::None | Addressing::Part(_) => {}
        }
        if carrier && self.look_at.is_none() {
            self.mend(now);
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

    /// Time went by.
    pub(super) fn tick(&mut self, now: Instant) {
        self.look_at = self.look_at.filter(|at| *at > now);
        self.dhcp(&dhcp::Event::Tick, now);
    }

    /// When the next [`Self::tick`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.dhcp.as_ref().and_then(|d| d.client.due()).into_iter().chain(self.look_at).min()
    }

    /// Hands an event to the DHCP client, if there is one.
    pub(super) fn dhcp(&mut self, event: &dhcp::Event, now: Instant) {
        let Some(dhcp) = &mut self.dhcp else { return };
        for action in dhcp.client.handle(event, now, random()) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        let name = self.name.clone();
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
    fn apply(&mut self, lease: &Lease) -> anyhow::Result<()> {
        let local = (lease.address, lease.prefix);
        let same_routes = self.lease.as_ref().is_none_or(|old| old.routes == lease.routes);
        // After a restart of this unit the port still has its address: connections over it stay.
        if !same_routes || !self.has(local) {
            link::set_address(&self.name, local.0, local.1)?;
        }
        let routed = self.route(local, &lease.routes);
        routed.and(self.set_mtu(lease.mtu))
    }

    fn route(&self, local: (Ipv4Addr, u8), routes: &[Route]) -> anyhow::Result<()> {
        let mut routed = Ok(());
        for route in routes {
            routed = routed.and(link::add_route(&self.name, self.index, local, route));
        }
        routed
    }

    /// Sets the largest packet; without a word of the server it is as before.
    fn set_mtu(&mut self, wanted: Option<u16>) -> anyhow::Result<()> {
        if wanted.is_some() && self.own_mtu.is_none() {
            self.own_mtu = link::mtu(&self.name);
        }
        wanted.or(self.own_mtu).map_or(Ok(()), |mtu| link::set_mtu(&self.name, mtu))
    }

    fn apply_static(&self, wanted: &Static) -> anyhow::Result<()> {
        let local = (wanted.address, wanted.prefix);
        link::set_address(&self.name, local.0, local.1)?;
        tracing::info!("{}: {}/{} as the kernel line says", self.name, local.0, local.1);
        self.route(local, &wanted.routes())
    }

    fn has(&self, (address, prefix): (Ipv4Addr, u8)) -> bool {
        link::addresses(&self.name).contains(&format!("{address}/{prefix}"))
    }

    /// Puts back what somebody has taken away, at once and then no sooner than after a while: a program that takes it away
    /// again and again must not keep the unit busy.
    fn mend(&mut self, now: Instant) {
        let in_force = match (&self.lease, &self.applied) {
            (Some(lease), _) => Some(((lease.address, lease.prefix), lease.routes.clone())),
            (None, Some(applied)) => Some(((applied.address, applied.prefix), applied.routes())),
            (None, None) => None,
        };
        let Some((local, routes)) = in_force else { return };
        let (name, address) = (&self.name, format!("{}/{}", local.0, local.1));
        let has_address = self.has(local);
        let lost: Vec<String> = match has_address {
            true => link::lacking(name, &routes).iter().map(ToString::to_string).collect(),
            false => vec![format!("address {address}")],
        };
        if lost.is_empty() {
            return;
        }
        self.look_at = Some(now + PORT_RETRY);
        let addressed = if has_address { Ok(()) } else { link::set_address(name, local.0, local.1) };
        match addressed.and_then(|()| self.route(local, &routes)) {
            Ok(()) => {
                tracing::warn!("{name}: somebody has taken its {} away; it is there again", lost.join(", "));
                self.error = None;
            }
            Err(why) => {
                tracing::warn!("{name}: its {} is gone and cannot be put back: {why:#}", lost.join(", "));
                self.error = Some(format!("{why:#}"));
            }
        }
    }

    fn clear(&mut self) {
        self.lease = None;
        let restored = self.set_mtu(None);
        if let Err(why) = link::clear_address(&self.name).and(restored) {
            tracing::warn!("{why:#}");
        }
    }

    /// The first hop of the default route.
    pub(super) fn gateway(&self) -> Option<Ipv4Addr> {
        self.lease.as_ref().and_then(Lease::gateway).or(self.applied.as_ref().and_then(|s| s.gateway))
    }

    /// Whether DHCP servers have been asked for long enough to call their silence an error.
    pub(super) fn is_unanswered(&self) -> bool {
        self.lease.is_none() && self.dhcp.as_ref().is_some_and(|d| d.client.unanswered() >= DHCP_SILENCE)
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

impl Static {
    fn routes(&self) -> Vec<Route> {
        self.gateway.map(Route::default_by).into_iter().collect()
    }
}
