//! What the units tell each other: one JSON file per unit under `/run/razor-mk`, replaced whole by rename, so that a
//! reader sees the old state or the new one and a missed change does no harm. Each file has one writer.
//! Times are seconds since the kernel started: the wall clock may be wrong or jump.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire::card::{Card, Span};
use wire::checkin::{Extension, NodeState, Unit};
use wire::config::Config;
use wire::error::Problem;
use wire::inventory::{Finding, Lldp};

use crate::file;

/// Folder of the state files.
pub(crate) const RUN_DIR: &str = "/run/razor-mk";

/// A unit's published state and the file that it lies in.
pub(crate) trait Published: Serialize + DeserializeOwned {
    /// File name without `.json`.
    const NAME: &'static str;

    /// Replaces the state file.
    ///
    /// # Errors
    /// Names the path when it cannot be written.
    fn publish(&self) -> anyhow::Result<()> {
        file::replace(&path::<Self>(), &serde_json::to_vec(self)?, 0o644)
    }

    /// The last published state; `None` before the first.
    fn read() -> Option<Self> {
        serde_json::from_slice(&fs::read(path::<Self>()).ok()?).ok()
    }
}

fn path<T: Published>() -> PathBuf {
    Path::new(RUN_DIR).join(format!("{}.json", T::NAME))
}

/// Seconds since the kernel started.
pub(crate) fn uptime() -> f64 {
    fs::read_to_string("/proc/uptime").ok().and_then(|t| t.split(' ').next()?.parse().ok()).unwrap_or(0.0)
}

/// Milliseconds since the kernel started; 0 if it does not tell, which no kernel of an image does.
pub(crate) fn uptime_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Written by PID 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Units {
    /// All units in order of start.
    pub(crate) units: Vec<Unit>,
    /// Process ids of the running ones, by name.
    pub(crate) pids: BTreeMap<String, i32>,
    /// What was wrong with settings and unit files.
    pub(crate) problems: Vec<Problem>,
    /// From the kernel's start to the supervisor's first one in this boot.
    #[serde(default)]
    pub(crate) start: Option<Start>,
}

/// What went before the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Start {
    /// The kernel alone: the agent is PID 1.
    Kernel(Span),
    /// The kernel and the base's own init.
    Base(Span),
}

impl Published for Units {
    const NAME: &'static str = "units";
}

/// Written by `devices`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Devices {
    /// The first pass over all devices is done.
    pub(crate) settled: bool,
    /// Modules loaded by this unit, in order.
    pub(crate) loaded: Vec<String>,
    /// Modules that did not load, with the reason.
    pub(crate) failed: BTreeMap<String, String>,
    /// Missing drivers and firmware.
    pub(crate) findings: Vec<Finding>,
    /// The image's early extensions: drivers and firmware.
    pub(crate) extensions: Vec<Extension>,
    /// Mounting these.
    #[serde(default)]
    pub(crate) mounting: Option<Span>,
    /// From then until the first pass over the devices was done.
    #[serde(default)]
    pub(crate) settling: Option<Span>,
}

impl Published for Devices {
    const NAME: &'static str = "devices";
}

/// Written by `ext`, which takes over what `devices` says of the early ones.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Extensions {
    /// All that were loaded or refused so far.
    pub(crate) extensions: Vec<Extension>,
    /// All of the image's own are dealt with.
    pub(crate) done: bool,
    /// Those whose loading was begun and has not ended well, with the SHA-256 of what was loaded: a step failed, or the
    /// loader died. The mark in the file system does not tell, since an extension's own script is its mark.
    #[serde(default)]
    pub(crate) unfinished: BTreeMap<String, String>,
    /// What became of the last configuration that names extensions.
    #[serde(default)]
    pub(crate) applied: Option<Applied>,
    /// The configuration that is being applied.
    #[serde(default)]
    pub(crate) attempt: Option<Attempt>,
    /// Highest number of a signed index that was believed in this boot, by the key that signed it.
    #[serde(default)]
    pub(crate) mirror_index: BTreeMap<String, u64>,
    /// The early extensions were hashed, which is done once.
    #[serde(default)]
    pub(crate) early_hashed: bool,
}

/// Starts of the unit `ext` for one candidate. It outlives the unit, so that a candidate which kills it is found out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// Which candidate of this boot.
    pub(crate) number: u64,
    /// Times that it was begun.
    pub(crate) starts: u32,
    /// The extension that is being loaded; none while they are fetched and proven.
    pub(crate) loading: Option<String>,
}

/// What became of a configuration that was pushed, as far as it is about extensions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// Its version.
    pub(crate) version: u64,
    /// Which candidate of this boot it was: another server may use the same version for another one.
    #[serde(default)]
    pub(crate) number: u64,
    /// Why it did not take, if it did not.
    pub(crate) refused: Option<Problem>,
    /// What is wrong without being in the way.
    pub(crate) warnings: Vec<Problem>,
}

impl Published for Extensions {
    const NAME: &'static str = "ext";
}

/// A configuration that root on this machine has posted. Written by `control`; `checkin` takes it or not, and answers in
/// its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Posted {
    /// Rises with each.
    pub(crate) number: u64,
    /// Its keys.
    pub(crate) config: Config,
}

impl Published for Posted {
    const NAME: &'static str = "posted";
}

/// Written by `net`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Net {
    /// Physical ports and what is made on top of them, in order of key.
    pub(crate) ports: Vec<Port>,
    /// Name servers in order.
    pub(crate) dns: Vec<String>,
    /// Search domains in order.
    pub(crate) search: Vec<String>,
    /// Places where a server may be, best first.
    pub(crate) servers: Vec<ServerHint>,
    /// What was asked for and is not done, such as a VLAN that the kernel refuses.
    pub(crate) problems: Vec<Problem>,
}

impl Published for Net {
    const NAME: &'static str = "net";
}

/// A port of [`Net`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Port {
    /// Kernel name.
    pub(crate) name: String,
    /// Key as in the inventory; the name of a bond or VLAN, which is not in it.
    pub(crate) key: String,
    /// MAC, lower case with colons.
    pub(crate) mac: String,
    /// Carrier.
    pub(crate) up: bool,
    /// Addresses with prefix length.
    pub(crate) addresses: Vec<String>,
    /// IPv4 gateway.
    pub(crate) gateway: Option<String>,
    /// Where the address is from: `dhcp from 10.0.2.2`, `static`, or what is being waited for.
    pub(crate) source: String,
    /// Why there is no address, if there is none.
    pub(crate) error: Option<String>,
    /// Who spoke LLDP to it, or that nobody did; `None` while it is too early to say.
    pub(crate) lldp: Option<Lldp>,
    /// From the time at which it was brought up to its first link.
    #[serde(default)]
    pub(crate) linking: Option<Span>,
    /// From then to its first lease.
    #[serde(default)]
    pub(crate) leasing: Option<Span>,
    /// Names of the ports that a bond or VLAN is made on top of; none for a port of the machine.
    #[serde(default)]
    pub(crate) over: Vec<String>,
}

impl Port {
    /// Where it is plugged in, for people: `Ethernet1/7 on leaf-12a, VLAN 12`.
    pub(crate) fn plugged_into(&self) -> Option<String> {
        let neighbours = &self.lldp.as_ref()?.neighbours;
        let first = neighbours.first()?;
        let switch = first.system_name.as_ref().unwrap_or(&first.chassis);
        let vlan = first.vlan.map(|vlan| format!(", VLAN {vlan}")).unwrap_or_default();
        let more = if neighbours.len() > 1 { format!(", and {} more", neighbours.len() - 1) } else { String::new() };
        Some(format!("{} on {switch}{vlan}{more}", first.port))
    }
}

/// A place where a server may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerHint {
    /// Base URL without a path, such as `http://10.0.2.2:8150`.
    pub(crate) url: String,
    /// The check-in URL with the node's id, if the boot loader gave one.
    pub(crate) checkin: Option<String>,
    /// Where that is from, for people: `site configuration`, `DHCP next-server on eth0`.
    pub(crate) source: String,
    /// It must answer `GET /svc/hello` before it is sent an inventory.
    pub(crate) guessed: bool,
}

/// Written by `checkin`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkin {
    /// The node that the server says this machine is.
    pub(crate) node_id: Option<u64>,
    /// Its name.
    pub(crate) node_name: Option<String>,
    /// How the server sees it.
    pub(crate) state: Option<NodeState>,
    /// Why that is not normal.
    pub(crate) reason: Option<Problem>,
    /// Short form of the key with which this boot signs.
    #[serde(default)]
    pub(crate) key: Option<String>,
    /// Base URL of the server that is talked to.
    pub(crate) server: Option<String>,
    /// What the unit does now, for people: `waiting for an address`, `checked in`.
    pub(crate) stage: String,
    /// Uptime of the last answered check-in.
    pub(crate) last_contact_s: Option<f64>,
    /// Uptime of the next attempt.
    pub(crate) next_attempt_s: Option<f64>,
    /// Failed attempts since the last answered check-in.
    pub(crate) failures: u32,
    /// Why the last attempt failed.
    pub(crate) error: Option<Problem>,
    /// What is wrong without being in the way, such as the clock.
    pub(crate) warning: Option<Problem>,
    /// Last action that was received.
    pub(crate) action: Option<String>,
    /// What it timed itself in this boot.
    #[serde(default)]
    pub(crate) first: First,
    /// How long the stages of this boot took, as far as is known.
    #[serde(default)]
    pub(crate) card: Card,
}

/// What the unit `checkin` did for the first time in this boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct First {
    /// Taking stock.
    pub(crate) inventory: Option<Span>,
    /// What was answered.
    pub(crate) answer: Option<FirstAnswer>,
}

/// The first request that a server answered as it should.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FirstAnswer {
    /// Key of the port that it went over.
    pub(crate) port: Option<String>,
    /// Resolution of the server's name.
    pub(crate) name: Option<Span>,
    /// The connection, with its TLS handshake where there was one.
    pub(crate) connection: Option<Span>,
    /// It was one of TLS.
    pub(crate) is_tls: bool,
    /// From then until the answer was read.
    pub(crate) exchange: Span,
}

impl Published for Checkin {
    const NAME: &'static str = "checkin";
}
