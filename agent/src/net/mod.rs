//! Unit `net`: brings all ports of the machine up as they appear, gets addresses on all of them side by side, writes
//! `/etc/resolv.conf` and looks for a server; and listens on each which switch it is plugged into. What it found is in
//! [`crate::state::Net`].
//!
//! One task owns all state and looks at the whole of it at each event, so that events may be lost or come twice.

mod dhcp;
mod dns;
mod link;
mod lldp;
mod names;
mod port;
mod resolv;
mod servers;
mod socket;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use wire::error::Problem;

use crate::cmdline::{KernelLine, PortName};
use crate::init::client;
use crate::limits::{DNS_RETRY, PORT_RESCAN};
use crate::nic;
use crate::settings::Settings;
use crate::state::{self, Net, Published as _};
use crate::tree::Tree;

use dns::Found;
use port::{Addressing, Port, Static};
use resolv::Resolvers;

/// Dead links keep no route, and a dead port's default route does not shadow a living one's.
const IGNORE_DEAD_ROUTES: &str = "/proc/sys/net/ipv4/conf/all/ignore_routes_with_linkdown";

/// What happens to the unit.
enum Event {
    /// Something changed in the kernel.
    Changed,
    /// A packet came over the port with this index.
    Packet(u32, Vec<u8>),
    /// Somebody spoke LLDP to the port with this index.
    Heard(u32, Box<lldp::Heard>),
    /// The port with this index was brought up, or not.
    Raised(u32, anyhow::Result<()>),
    /// What DNS knows of our server.
    Found(Vec<Found>),
}

/// Runs the unit until it is told to stop.
///
/// # Errors
/// The kernel refuses the sockets that the unit needs.
pub(crate) fn run() -> anyhow::Result<()> {
    if let Err(why) = std::fs::write(IGNORE_DEAD_ROUTES, "1") {
        tracing::debug!("cannot write {IGNORE_DEAD_ROUTES}: {why}");
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the unit")?;
    runtime.block_on(async {
        let changes = socket::Changes::listen()?;
        let (sender, receiver) = unbounded_channel();
        let settings = Settings::load();
        let mut unit = Unit::new(settings.line, settings.site.ca_pem.is_some(), sender);
        let former = Net::read().unwrap_or_default().ports.into_iter();
        unit.former = former.map(|port| (port.key.clone(), port)).collect();
        unit.run(changes, receiver).await
    })
}

struct Unit {
    line: KernelLine,
    /// The image pins a CA.
    is_pinned: bool,
    /// By index, which is not used twice.
    ports: BTreeMap<u32, Port>,
    events: UnboundedSender<Event>,
    resolvers: Resolvers,
    found: Vec<Found>,
    asking: Option<AbortHandle>,
    /// When DNS is asked again.
    ask_at: Option<Instant>,
    published: Option<Net>,
    /// Ports as they were before this unit was started again, by key.
    former: BTreeMap<String, state::Port>,
}

impl Unit {
    fn new(line: KernelLine, is_pinned: bool, events: UnboundedSender<Event>) -> Self {
        Self {
            line,
            is_pinned,
            ports: BTreeMap::new(),
            events,
            resolvers: Resolvers::default(),
            found: Vec::new(),
            asking: None,
            ask_at: None,
            published: None,
            former: BTreeMap::new(),
        }
    }

    async fn run(mut self, changes: socket::Changes, mut receiver: UnboundedReceiver<Event>) -> anyhow::Result<()> {
        loop {
            self.update(Instant::now());
            let event = tokio::select! {
                event = receiver.recv() => event,
                changed = changes.next() => {
                    changed.context("cannot hear of changes of links")?;
                    Some(Event::Changed)
                }
                () = tokio::time::sleep_until(self.due().into()) => None,
            };
            if let Some(event) = event {
                self.handle(event, Instant::now());
            }
        }
    }

    fn due(&self) -> Instant {
        let rescan = Instant::now() + PORT_RESCAN;
        self.ports.values().filter_map(Port::due).chain(self.ask_at).fold(rescan, Instant::min)
    }

    fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Changed => {}
            Event::Packet(index, packet) => {
                if let Some(port) = self.ports.get_mut(&index) {
                    port.packet(&packet, now);
                }
            }
            Event::Heard(index, heard) => {
                if let Some(port) = self.ports.get_mut(&index) {
                    port.heard(*heard, now);
                }
            }
            Event::Raised(index, result) => {
                if let Some(port) = self.ports.get_mut(&index) {
                    port.raised(result, now);
                }
            }
            Event::Found(found) => {
                self.asking = None;
                self.ask_at = found.is_empty().then(|| now + DNS_RETRY);
                self.found = found;
            }
        }
    }

    /// Looks at everything, does what is due and publishes what changed.
    fn update(&mut self, now: Instant) {
        self.scan(now);
        let holder = self.static_holder();
        let wanted = static_address(&self.line);
        let addressing = |port: &Port| match &wanted {
            None => Addressing::Dhcp,
            Some(wanted) if holder == Some(port.index) => Addressing::Static(wanted.clone()),
            Some(_) => Addressing::None,
        };
        for port in self.ports.values_mut() {
            port.tick(now);
            port.address_by(&addressing(port), now);
        }
        let mut described: Vec<_> = self.ports.values().map(|p| p.describe(&addressing(p))).collect();
        described.sort_by(|a, b| (&a.key, &a.name).cmp(&(&b.key, &b.name)));
        lldp::bound(described.iter_mut().filter_map(|port| port.lldp.as_mut()));
        self.resolve(now);
        self.publish(described);
    }

    /// Takes new ports into care and forgets those that are gone.
    fn scan(&mut self, now: Instant) {
        let tree = Tree::live();
        let mut seen = Vec::new();
        for nic in nic::ports(&tree) {
            let dir = Path::new("/sys/class/net").join(&nic.name);
            // A port that belongs to another one, as behind Hyper-V's, is brought up and addressed by that one.
            if tree.path(dir.join("master")).exists() {
                continue;
            }
            let index = tree.number(dir.join("ifindex")).and_then(|n| u32::try_from(n).ok());
            let mac = tree.text(dir.join("address")).and_then(|t| port::mac_of(&t));
            let (Some(index), Some(mac)) = (index, mac) else { continue };
            seen.push(index);
            let (events, former) = (self.events.clone(), &mut self.former);
            let port = self.ports.entry(index).or_insert_with(|| {
                let former = former.remove(&nic.key).unwrap_or_default();
                Port::new(nic, index, mac, former, events)
            });
            port.set_carrier(tree.number(dir.join("carrier")) == Some(1), now);
        }
        self.ports.retain(|index, port| {
            let stays = seen.contains(index);
            if !stays {
                tracing::info!("{} ({}) is gone", port.nic.name, port.nic.key);
            }
            stays
        });
    }

    /// The port that has the static address, if there is to be one: the named one, or the first with a link.
    fn static_holder(&self) -> Option<u32> {
        let ip = self.line.ip.as_ref()?;
        let mut ports: Vec<&Port> = self.ports.values().collect();
        ports.sort_by(|a, b| a.nic.key.cmp(&b.nic.key));
        ports.into_iter().find(|p| ip.port.as_ref().map_or(p.carrier, |wanted| is_port(p, wanted))).map(|p| p.index)
    }

    /// Name servers of the kernel line, then those of the leases, ports with a link first.
    fn resolve(&mut self, now: Instant) {
        let mut resolvers = Resolvers::default();
        resolvers.add(self.line.dns.iter().copied(), &[]);
        let mut ports: Vec<&Port> = self.ports.values().collect();
        ports.sort_by_key(|p| (!p.carrier, p.index));
        for port in ports {
            resolvers.add(port.dns(), port.lease.as_ref().map_or(&[], |l| &l.search));
        }
        let changed = resolvers != self.resolvers;
        if changed {
            if let Err(why) = resolvers.write(Path::new(resolv::PATH)) {
                tracing::warn!("{why:#}");
            }
            self.resolvers = resolvers;
        }
        if changed || self.ask_at.is_some_and(|at| at <= now) {
            self.ask_dns();
        }
    }

    fn ask_dns(&mut self) {
        self.ask_at = None;
        if let Some(asking) = self.asking.take() {
            asking.abort();
        }
        if self.resolvers.servers.is_empty() {
            self.found.clear();
            return;
        }
        let (Resolvers { servers, search }, events) = (self.resolvers.clone(), self.events.clone());
        let task = tokio::spawn(async move {
            let found = dns::look_up(&servers, &search).await;
            // Without a receiver the unit is ending.
            let _: Result<(), _> = events.send(Event::Found(found));
        });
        self.asking = Some(task.abort_handle());
    }

    fn publish(&mut self, ports: Vec<state::Port>) {
        let mut leases: Vec<&Port> = self.ports.values().collect();
        leases.sort_by_key(|p| (!p.carrier, p.index));
        let leases: Vec<(&str, &dhcp::Lease)> =
            leases.into_iter().filter_map(|p| Some((p.nic.name.as_str(), p.lease.as_ref()?))).collect();
        let net = Net {
            ports,
            dns: self.resolvers.servers.iter().map(IpAddr::to_string).collect(),
            search: self.resolvers.search.clone(),
            servers: servers::hints(&self.line, &leases, &self.found, self.is_pinned),
            problems: problems(&self.line, |wanted| self.ports.values().any(|p| is_port(p, wanted))),
        };
        if self.published.as_ref() == Some(&net) {
            return;
        }
        match net.publish() {
            Ok(()) if self.published.is_none() => client::ready(),
            Ok(()) => {}
            Err(why) => return tracing::warn!("{why:#}"),
        }
        self.published = Some(net);
    }
}

/// The static address of the kernel line; IPv6 is reported by [`problems`].
fn static_address(line: &KernelLine) -> Option<Static> {
    let v4 = |address| if let IpAddr::V4(address) = address { Some(address) } else { None };
    let ip = line.ip.as_ref()?;
    Some(Static { address: v4(ip.address)?, prefix: ip.prefix, gateway: line.gw.and_then(v4) })
}

fn is_port(port: &Port, wanted: &PortName) -> bool {
    match wanted {
        PortName::Name(name) => port.nic.name == *name,
        PortName::Mac(mac) => port::mac_text(port.mac) == *mac,
    }
}

/// What the kernel line asks for and this version does not do.
fn problems(line: &KernelLine, exists: impl Fn(&PortName) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut not_yet = |what: &str, instead: &str| {
        let remedy = format!("Take it off the kernel line; {instead}");
        problems.push(Problem::new("not_supported", format!("{what} is not supported yet and is ignored"), remedy));
    };
    if line.vlan.is_some() {
        not_yet("razor.vlan", "make the switch port untagged for discovery.");
    }
    if line.bond.is_some() {
        not_yet("razor.bond", "all ports are tried one by one.");
    }
    if line.ip.as_ref().is_some_and(|ip| ip.address.is_ipv6()) {
        not_yet("an IPv6 address in razor.ip", "router advertisements give one.");
    }
    if line.gw.is_some_and(|gw| gw.is_ipv6()) {
        not_yet("an IPv6 address in razor.gw", "router advertisements give one.");
    }
    if let Some(wanted) = line.ip.as_ref().and_then(|ip| ip.port.as_ref()).filter(|p| !exists(p)) {
        let (PortName::Name(wanted) | PortName::Mac(wanted)) = wanted;
        let text = format!("razor.ip names {wanted}, and this machine has no such port");
        problems.push(Problem::new(
            "no_such_port",
            text,
            "Name a port that `mk-agent status` shows, by its MAC at best.",
        ));
    }
    problems
}
