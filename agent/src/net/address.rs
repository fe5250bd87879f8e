//! The IPv4 address of one interface: by DHCP or as the kernel line says, with its routes and the largest packet. What
//! somebody else takes away is put back.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::dhcp::{self, Action, Ask, Client, Dropped, Lease, Mac, Reply, Route, SERVER_PORT};
use super::link;
use super::socket::{PacketSocket, unicast};
use super::{Event, pause};
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
    /// What the kernel refuses of the address or its routes.
    refused: Option<Refused>,
    /// What else is wrong.
    error: Option<String>,
    /// The largest packet before a lease said otherwise.
    own_mtu: Option<u16>,
    /// Nothing is put back before that time: a program that takes it away again and again, or a kernel that refuses it, must
    /// not keep the unit busy. Never in the past after a tick.
    look_at: Option<Instant>,
    events: UnboundedSender<Event>,
}

/// What the kernel refuses, and how many times in a row it has.
struct Refused {
    text: String,
    times: u32,
}

/// An address with its routes.
struct InForce {
    address: (Ipv4Addr, u8),
    routes: Vec<Route>,
    /// Where an operator looks if the kernel refuses it.
    source: String,
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
            refused: None,
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
            Addressing::Static(wanted) if self.applied.as_ref() != Some(wanted) && self.look_at.is_none() => {
                let applied = self.apply_static(wanted);
                self.came_of(applied, now);
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
            self.act(action, now);
        }
    }

    fn act(&mut self, action: Action, now: Instant) {
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
                let applied = self.apply(&lease);
                self.came_of(applied, now);
                let error = self.set_mtu(lease.mtu).err().map(|why| format!("{why:#}"));
                if let Some(why) = error.as_ref().filter(|why| self.error.as_ref() != Some(why)) {
                    tracing::warn!("{name}: {why}");
                }
                self.error = error;
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

    /// Sets address and routes. One bad route among good ones must not cost the machine its address: everything is tried,
    /// and the first failure is told.
    fn apply(&self, lease: &Lease) -> anyhow::Result<()> {
        let in_force = InForce::from(lease);
        let same_routes = self.lease.as_ref().is_none_or(|old| old.routes == lease.routes);
        // After a restart of this unit the port still has its address: connections over it stay.
        if !same_routes || !self.has(in_force.address) {
            self.set(in_force.address)?;
        }
        self.route(&in_force)
    }

    fn set(&self, (address, prefix): (Ipv4Addr, u8)) -> anyhow::Result<()> {
        link::set_address(&self.name, address, prefix)
    }

    fn route(&self, InForce { address, routes, source }: &InForce) -> anyhow::Result<()> {
        let mut routed = Ok(());
        for route in routes {
            routed = routed.and(link::add_route(&self.name, self.index, *address, route));
        }
        routed.map_err(|why| anyhow::anyhow!("{why:#}; see whether {source} is right"))
    }

    /// Setting the address or its routes ended like that. What is refused is told once, and tried ever more seldom.
    fn came_of(&mut self, done: anyhow::Result<()>, now: Instant) {
        let former = self.refused.take();
        let Err(why) = done else { return };
        let (text, times) = (format!("{why:#}"), former.as_ref().map_or(1, |former| former.times.saturating_add(1)));
        if former.is_none_or(|former| former.text != text) {
            tracing::warn!("{}: {text}", self.name);
        }
        self.look_at = Some(now + pause(times));
        self.refused = Some(Refused { text, times });
    }

    /// Sets the largest packet; without a word of the server it is as before.
    fn set_mtu(&mut self, wanted: Option<u16>) -> anyhow::Result<()> {
        if wanted.is_some() && self.own_mtu.is_none() {
            self.own_mtu = link::mtu(&self.name);
        }
        wanted.or(self.own_mtu).map_or(Ok(()), |mtu| link::set_mtu(&self.name, mtu))
    }

    fn apply_static(&mut self, wanted: &Static) -> anyhow::Result<()> {
        let in_force = InForce::from(wanted);
        self.set(in_force.address)?;
        tracing::info!("{}: {}/{} as the kernel line says", self.name, wanted.address, wanted.prefix);
        self.applied = Some(wanted.clone());
        self.route(&in_force)
    }

    fn has(&self, (address, prefix): (Ipv4Addr, u8)) -> bool {
        link::addresses(&self.name).contains(&format!("{address}/{prefix}"))
    }

    /// Puts back what somebody has taken away, at once and then no sooner than after a while, and tries again what the kernel
    /// has refused.
    fn mend(&mut self, now: Instant) {
        let leased = self.lease.as_ref().map(InForce::from);
        let Some(in_force) = leased.or_else(|| self.applied.as_ref().map(InForce::from)) else { return };
        let (address, prefix) = in_force.address;
        let has_address = self.has(in_force.address);
        let lost: Vec<String> = match has_address {
            true => link::lacking(&self.name, &in_force.routes).iter().map(ToString::to_string).collect(),
            false => vec![format!("address {address}/{prefix}")],
        };
        if lost.is_empty() {
            self.refused = None;
            return;
        }
        self.look_at = Some(now + PORT_RETRY);
        let set = if has_address { Ok(()) } else { self.set(in_force.address) };
        let done = set.and_then(|()| self.route(&in_force));
        if done.is_ok() {
            let (name, lost) = (&self.name, lost.join(", "));
            match &self.refused {
                Some(_) => tracing::info!("{name}: the kernel no longer refuses its {lost}"),
                None => tracing::warn!("{name}: somebody has taken its {lost} away; it is there again"),
            }
        }
        self.came_of(done, now);
    }

    fn clear(&mut self) {
        (self.lease, self.refused) = (None, None);
        let restored = self.set_mtu(None);
        if let Err(why) = link::clear_address(&self.name).and(restored) {
            tracing::warn!("{why:#}");
        }
    }

    /// What is wrong with it.
    pub(super) fn error(&self) -> Option<String> {
        self.refused.as_ref().map(|refused| refused.text.clone()).or_else(|| self.error.clone())
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

impl From<&Lease> for InForce {
    fn from(lease: &Lease) -> Self {
        let source = format!("what DHCP server {} gives", lease.server);
        Self { address: (lease.address, lease.prefix), routes: lease.routes.clone(), source }
    }
}

impl From<&Static> for InForce {
    fn from(wanted: &Static) -> Self {
        let routes = wanted.gateway.map(Route::default_by).into_iter().collect();
        Self { address: (wanted.address, wanted.prefix), routes, source: "razor.gw".to_owned() }
    }
}
