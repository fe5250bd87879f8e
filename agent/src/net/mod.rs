//! Unit `net`: brings all ports of the machine up as they appear, makes a bond or VLANs of them where the kernel line asks for
//! that, gets addresses on all of them side by side, writes `/etc/resolv.conf` and looks for a server; and listens on each
//! port which switch it is plugged into. What it found is in [`crate::state::Net`].
//!
//! One task owns all state and looks at the whole of it at each event, so that events may be lost or come twice.

mod address;
pub(crate) mod dhcp;
pub(crate) mod dns;
mod layers;
mod link;
pub(crate) mod lldp;
pub(crate) mod names;
pub(crate) mod netlink;
mod port;
mod raise;
mod resolv;
mod servers;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use wire::error::Problem;

use crate::cmdline::KernelLine;
use crate::facts::permanent_address;
use crate::init::client;
use crate::limits::{BOND_IDLE, DNS_RETRY, PORT_RESCAN, PORT_RETRY, PORT_RETRY_MAX};
use crate::nic;
use crate::settings::Settings;
use crate::state::{self, Devices, Net, Published as _};
use crate::tree::Tree;

use address::Addressing;
use dhcp::Mac;
use dns::Found;
use layers::BOND;
use port::Port;
use raise::Raised;
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
    Raised(u32, anyhow::Result<Raised>),
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
        let is_pinned = settings.is_pinned();
        let mut unit = Unit::new(settings.line, is_pinned, sender);
        let former = Net::read().unwrap_or_default().ports.into_iter();
        unit.former = former.map(|port| (port.key.clone(), port)).collect();
        unit.run(changes, receiver).await
    })
}

struct Unit {
    line: KernelLine,
    /// The image pins a CA, or may do.
    is_pinned: bool,
    /// By index, which is not used twice.
    ports: BTreeMap<u32, Port>,
    events: UnboundedSender<Event>,
    resolvers: Resolvers,
    found: Vec<Found>,
    asking: Option<AbortHandle>,
    /// When DNS is asked again.
    ask_at: Option<Instant>,
    /// Since when the bond has no link although ports of it have one.
    idle_since: Option<Instant>,
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
            idle_since: None,
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
                    port.address.packet(&packet, now);
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
        let wanted = layers::static_address(&self.line);
        let addressing = |port: &Port| match (&port.top, &wanted) {
            (Some(top), _) => Addressing::Part(top.clone()),
            (None, None) => Addressing::Dhcp,
            (None, Some(wanted)) if holder == Some(port.index) => Addressing::Static(wanted.clone()),
            (None, Some(_)) => Addressing::None,
        };
        for port in self.ports.values_mut() {
            port.tick(now);
            port.address_by(&addressing(port), now);
        }
        let over = |top: &Port| {
            let below = self.ports.values().filter(|port| port.top.as_ref() == Some(&top.nic.name));
            below.map(|port| port.nic.name.clone()).collect()
        };
        let mut described: Vec<_> = self.ports.values().map(|p| p.describe(&addressing(p), over(p))).collect();
        described.sort_by(|a, b| (&a.key, &a.name).cmp(&(&b.key, &b.name)));
        lldp::bound(described.iter_mut().filter_map(|port| port.lldp.as_mut()));
        self.resolve(now);
        let is_idle = !self.linked_ports_of_dead_bond().is_empty();
        self.idle_since = is_idle.then(|| self.idle_since.unwrap_or(now));
        let problems = self.problems(now);
        self.publish(described, problems);
    }

    /// Takes new ports, and what was made on top of them, into care and forgets those that are gone.
    fn scan(&mut self, now: Instant) {
        let tree = Tree::live();
        let mut seen = Vec::new();
        let master = |nic: &nic::Port| tree.link_name(Path::new(nic::CLASS_NET).join(&nic.name).join("master"));
        // A port that belongs to another one, as behind Hyper-V's, is brought up and addressed by that one.
        let is_ours = |nic: &nic::Port| master(nic).is_none_or(|master| self.line.bond.is_some() && master == BOND);
        let nics: Vec<nic::Port> = nic::ports(&tree).into_iter().filter(is_ours).collect();
        let nics: Vec<(nic::Port, u32, Mac)> = nics.into_iter().filter_map(|nic| self.numbered(&tree, nic)).collect();
        let all: Vec<(&str, Mac)> = nics.iter().map(|(nic, _, mac)| (nic.name.as_str(), *mac)).collect();
        for (nic, index, mac) in &nics {
            let role = || layers::role_of_port(&self.line, (&nic.name, *mac), &all);
            let former = &mut self.former;
            self.ports.entry(*index).or_insert_with(|| {
                let former = former.remove(&nic.key).unwrap_or_default();
                Port::new(nic.clone(), *index, *mac, role(), former, self.events.clone())
            });
            seen.push(*index);
        }
        let tops: BTreeSet<String> = self.ports.values().filter_map(|port| port.top.clone()).collect();
        for name in tops {
            let nic = nic::Port { key: name.clone(), name };
            let Some((nic, index, mac)) = self.numbered(&tree, nic) else { continue };
            let former = &mut self.former;
            self.ports.entry(index).or_insert_with(|| {
                let role = layers::role_of_top(&self.line, &nic.name, &all);
                let former = former.remove(&nic.key).unwrap_or_default();
                Port::new(nic, index, mac, role, former, self.events.clone())
            });
            seen.push(index);
        }
        self.ports.values_mut().for_each(|port| port.look(&tree, now));
        self.ports.retain(|index, port| {
            let stays = seen.contains(index);
            if !stays {
                port.leave(now);
            }
            stays
        });
    }

    /// An interface with its number and MAC. That of a port is the hardware's own: in a bond it speaks from another one.
    fn numbered(&self, tree: &Tree, nic: nic::Port) -> Option<(nic::Port, u32, Mac)> {
        let dir = Path::new(nic::CLASS_NET).join(&nic.name);
        let index = tree.number(dir.join("ifindex")).and_then(|n| u32::try_from(n).ok())?;
        let known = self.ports.get(&index).map(|port| port.mac);
        let permanent = || port::mac_of(&permanent_address(&nic.name)?);
        let current = || tree.text(dir.join("address")).and_then(|t| port::mac_of(&t));
        let mac = known.or_else(permanent).or_else(current)?;
        Some((nic, index, mac))
    }

    /// The port that has the static address, if there is to be one: the named one, or the first with a link; or what was
    /// made on top of it.
    fn static_holder(&self) -> Option<u32> {
        let ip = self.line.ip.as_ref()?;
        let mut ports: Vec<&Port> = self.ports.values().collect();
        ports.sort_by(|a, b| (!a.is_physical(), &a.nic.key).cmp(&(!b.is_physical(), &b.nic.key)));
        let is_meant = |p: &&&Port| ip.port.as_ref().map_or(p.carrier, |wanted| layers::is_meant(p.named(), wanted));
        let mut port = *ports.iter().find(is_meant)?;
        while let Some(top) = &port.top {
            port = *ports.iter().find(|p| p.nic.name == *top && !p.is_physical())?;
        }
        Some(port.index)
    }

    /// Name servers of the kernel line, then those of the leases, ports with a link first.
    fn resolve(&mut self, now: Instant) {
        let mut resolvers = Resolvers::default();
        resolvers.add(self.line.dns.iter().copied(), &[]);
        let mut ports: Vec<&Port> = self.ports.values().collect();
        ports.sort_by_key(|p| (!p.carrier, p.index));
        for port in ports {
            resolvers.add(port.address.dns(), port.address.lease.as_ref().map_or(&[], |l| &l.search));
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

    /// Ports with a link of a bond that has none, for a moment as a link comes or for ever.
    fn linked_ports_of_dead_bond(&self) -> Vec<&str> {
        let is_dead = self.ports.values().any(|port| port.nic.name == BOND && port.is_up() && !port.carrier);
        let parts = self.ports.values().filter(|port| is_dead && port.carrier && port.top.as_deref() == Some(BOND));
        parts.map(|port| port.nic.name.as_str()).collect()
    }

    /// What the kernel line asks for and is not done.
    fn problems(&self, now: Instant) -> Vec<Problem> {
        let all: Vec<_> = self.ports.values().map(Port::named).collect();
        let is_settled = Devices::read().is_some_and(|devices| devices.settled);
        let mut problems = layers::problems(&self.line, &all, is_settled);
        problems.extend(self.ports.values().flat_map(|port| port.refused.iter().cloned()));
        let is_idle = self.idle_since.is_some_and(|since| since + BOND_IDLE <= now);
        if let Some(bond) = self.line.bond.as_ref().filter(|_| is_idle) {
            problems.push(layers::idle_bond(bond.mode, &self.linked_ports_of_dead_bond()));
        }
        problems
    }

    fn publish(&mut self, ports: Vec<state::Port>, problems: Vec<Problem>) {
        let mut leases: Vec<&Port> = self.ports.values().collect();
        leases.sort_by_key(|p| (!p.carrier, p.index));
        let leases: Vec<(&str, &dhcp::Lease)> =
            leases.into_iter().filter_map(|p| Some((p.nic.name.as_str(), p.address.lease.as_ref()?))).collect();
        let net = Net {
            problems,
            ports,
            dns: self.resolvers.servers.iter().map(IpAddr::to_string).collect(),
            search: self.resolvers.search.clone(),
            servers: servers::hints(&self.line, &leases, &self.found, self.is_pinned),
        };
        if self.published.as_ref() == Some(&net) {
            return;
        }
        let former = self.published.as_ref().map_or(&[][..], |former| &former.problems);
        net.problems.iter().filter(|problem| !former.contains(problem)).for_each(|problem| tracing::warn!("{problem}"));
        match net.publish() {
            Ok(()) if self.published.is_none() => client::ready(),
            Ok(()) => {}
            Err(why) => return tracing::warn!("{why:#}"),
        }
        self.published = Some(net);
    }
}

/// The pause after what the kernel refused so many times in a row.
fn pause(times: u32) -> Duration {
    (PORT_RETRY * 2_u32.saturating_pow(times.saturating_sub(1))).min(PORT_RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_refuses_is_tried_ever_more_seldom() {
        let pauses: Vec<u64> = [0, 1, 2, 3, 4, 5, 99, u32::MAX].map(|times| pause(times).as_secs()).to_vec();
        assert_eq!(pauses, [5, 5, 10, 20, 40, 60, 60, 60]);
    }
}
