//! Notices that other units published something, and says what of it matters for a check-in.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::path::Path;

use anyhow::Context as _;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use wire::error::Problem;
use wire::inventory::{Finding, Neighbour};

use crate::state::{Devices, Extensions, Net, Port, Published as _, ServerHint};

/// State files that matter here.
const INPUTS: [&str; 5] = ["net.json", "devices.json", "ext.json", "units.json", "posted.json"];

/// Wakes when a state file was replaced.
pub(super) struct Watch {
    inotify: AsyncFd<Descriptor>,
}

/// Gives the descriptor of an [`Inotify`] in the way that the runtime asks for it.
struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    /// Watches the folder of the state files.
    ///
    /// # Errors
    /// Names the folder.
    pub(super) fn new(dir: &Path) -> anyhow::Result<Self> {
        let watch = || -> anyhow::Result<AsyncFd<Descriptor>> {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
            inotify.add_watch(dir, AddWatchFlags::IN_MOVED_TO)?;
            // SAFETY: an `Inotify` owns one open descriptor until it is dropped, after it was deregistered.
            Ok(unsafe { AsyncFd::register_with_interest(Descriptor(inotify), Interest::READABLE) }?)
        };
        Ok(Self { inotify: watch().with_context(|| format!("cannot watch {}", dir.display()))? })
    }

    /// Waits until another unit published something that may matter here.
    ///
    /// # Errors
    /// The kernel's reason.
    pub(super) async fn next(&self) -> std::io::Result<()> {
        let is_input = |name: &OsStr| INPUTS.iter().any(|input| name == *input);
        loop {
            let events = self.inotify.async_io(Interest::READABLE, |i| Ok(i.0.read_events()?)).await?;
            if events.iter().any(|e| e.name.as_deref().is_some_and(is_input)) {
                return Ok(());
            }
        }
    }
}

/// What matters of the other units' state.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Inputs {
    /// The first pass over the devices is done.
    pub(super) settled: bool,
    /// Missing drivers and firmware.
    pub(super) findings: Vec<Finding>,
    /// Addresses by key of the port.
    pub(super) addresses: Vec<(String, Vec<String>)>,
    /// Names of the ports that have one.
    pub(super) ports: Vec<String>,
    /// Switches and their ports that were heard, by key of the port. That nobody was heard can wait.
    pub(super) switches: Vec<(String, Vec<(String, String)>)>,
    /// Places where a server may be.
    pub(super) servers: Vec<ServerHint>,
    /// Number of the candidate that was dealt with last.
    pub(super) applied: Option<u64>,
}

impl Inputs {
    /// As it is now, with the whole state of the network.
    pub(super) fn read() -> (Self, Net) {
        let (net, devices) = (Net::read().unwrap_or_default(), Devices::read().unwrap_or_default());
        let applied = Extensions::read().and_then(|e| e.applied).map(|a| a.number);
        (Self { applied, ..Self::of(&net, devices) }, net)
    }

    /// Of what the units published.
    pub(super) fn of(net: &Net, devices: Devices) -> Self {
        let addresses = net.ports.iter().filter(|p| p.up).map(|p| (p.key.clone(), p.addresses.clone())).collect();
        let addressed = net.ports.iter().filter(|p| p.up && !p.addresses.is_empty());
        let (ports, servers) = (addressed.map(|p| p.name.clone()).collect(), net.servers.clone());
        let switch = |n: &Neighbour| (n.chassis.clone(), n.port.clone());
        let heard = net.ports.iter().filter_map(|p| Some((p, p.lldp.as_ref()?)));
        let switches = heard
            .map(|(p, lldp)| (p.key.clone(), lldp.neighbours.iter().map(switch).collect::<Vec<_>>()))
            .filter(|(_, neighbours)| !neighbours.is_empty())
            .collect();
        let (settled, findings) = (devices.settled, devices.findings);
        Self { settled, findings, addresses, ports, switches, servers, applied: None }
    }

    /// Whether some port with a link has an address.
    pub(super) fn has_address(&self) -> bool {
        self.addresses.iter().any(|(_, addresses)| !addresses.is_empty())
    }
}

/// Why no server can be reached at all, as far as the network's state tells.
pub(super) fn no_network(net: &Net) -> Problem {
    let port = |p: &Port| format!("{} ({}): {}", p.name, p.mac, p.error.as_deref().unwrap_or(&p.source));
    let text = match net.ports.iter().map(port).collect::<Vec<_>>() {
        ports if ports.is_empty() => "this machine has no network port that works: no driver found one".to_owned(),
        ports => format!("no network port has an address: {}", ports.join("; ")),
    };
    let remedy = if net.ports.is_empty() {
        "See the findings: a driver or its firmware may be missing from the image."
    } else if net.ports.iter().all(|p| !p.up) {
        "Plug in a cable, or switch the port on at the switch."
    } else {
        "See whether a DHCP server serves this network, or give razor.ip=ADDRESS/PREFIX on the kernel line."
    };
    Problem::new("no_address", text, remedy)
}

#[cfg(test)]
mod tests {
    use wire::inventory::Lldp;

    use super::*;

    fn port(up: bool, addresses: &[&str], source: &str, error: Option<&str>) -> Port {
        Port {
            name: "eth0".to_owned(),
            key: "0000:00:03.0".to_owned(),
            mac: "52:54:00:12:34:56".to_owned(),
            up,
            addresses: addresses.iter().map(|a| (*a).to_owned()).collect(),
            source: source.to_owned(),
            error: error.map(str::to_owned),
            ..Port::default()
        }
    }

    #[test]
    fn an_address_counts_only_with_a_link() {
        for (up, addresses, expected) in
            [(true, &["10.0.2.15/24"][..], true), (false, &["10.0.2.15/24"], false), (true, &[], false)]
        {
            let net = Net { ports: vec![port(up, addresses, "", None)], ..Net::default() };
            assert_eq!(Inputs::of(&net, Devices::default()).has_address(), expected);
        }
    }

    #[test]
    fn a_switch_is_news_and_silence_is_none() {
        let inputs = |lldp| {
            let ports = vec![Port { lldp, ..port(true, &[], "", None) }];
            Inputs::of(&Net { ports, ..Net::default() }, Devices::default())
        };
        let neighbour = Neighbour { chassis: "s".into(), port: "e1".into(), ..Neighbour::default() };
        assert_eq!(inputs(None), inputs(Some(Lldp { silent_s: Some(65), neighbours: vec![] })));
        assert_ne!(inputs(None), inputs(Some(Lldp { silent_s: None, neighbours: vec![neighbour] })));
    }

    #[test]
    fn the_cause_is_named_port_by_port_with_a_remedy() {
        for (ports, text, remedy) in [
            (vec![], "no driver", "firmware"),
            (
                vec![port(false, &[], "waiting for a link", None)],
                "eth0 (52:54:00:12:34:56): waiting for a link",
                "cable",
            ),
            (vec![port(true, &[], "", Some("no DHCP server has answered on eth0"))], "no DHCP server", "razor.ip"),
        ] {
            let problem = no_network(&Net { ports, ..Net::default() });
            assert!(problem.error.contains(text) && problem.remedy.contains(remedy), "{problem}");
        }
    }

    #[tokio::test]
    async fn it_wakes_for_its_inputs_only() {
        let dir = tempfile::tempdir().unwrap();
        let watch = Watch::new(dir.path()).unwrap();
        let put = |name: &str| {
            std::fs::write(dir.path().join("new"), "{}").unwrap();
            std::fs::rename(dir.path().join("new"), dir.path().join(name)).unwrap();
        };
        let soon = std::time::Duration::from_millis(50);
        put("console.json");
        assert!(tokio::time::timeout(soon, watch.next()).await.is_err());
        put("net.json");
        assert!(tokio::time::timeout(soon * 20, watch.next()).await.is_ok());
    }
}
