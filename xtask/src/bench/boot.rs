//! Row `boot`: from the kernel's start to the check-in that the server has recorded, on the guest's own clock, which
//! starts with the kernel: the same on every machine, whatever the firmware does before.
//!
//! Under plain TCG the clock is real time, repeated since the host is never quite idle; counted, it is instructions at
//! 2 ns each, which says the same on every host and in which a change of the code is seen without repetition.

use std::path::Path;

use anyhow::Context as _;

use super::guest::{CHECKED_IN, Guest, Lab, MEMORY_MIB, Machine, STARTED, Start};
use super::table::{Detail, Findings, Goal, Line, Samples};
use super::{Inputs, stock};
use crate::images::Variant;
use crate::limits;

/// Seconds from the kernel's start to the check-in, on Tiny Core 17.
const GOAL_S: f64 = 5.0;
/// Network controllers of the machines, for people and for the harness.
const NICS: [(&str, &str); 2] = [("virtio-net", "virtio"), ("e1000", "e1000")];
/// How often ours fits into the stock boot, on Tiny Core 17.
const GOAL_RATIO: f64 = 4.0;
/// What the peer does and does not.
const PEER: &str = "The peer is the base's own init up to a log-in shell at its prompt and an address on eth0, on the same \
    kernel, drivers and kernel arguments; ours takes stock of the machine and checks in with it besides.";
/// Why there is none.
const NO_PEER: &str = "No peer: the base of Debian packages has no stock boot to an address. MK_TINYCORE_ROOTFS names a root \
    file system of Tiny Core, which has one.";
/// Why there is none on Tiny Core either.
const NO_DRIVER: &str = "No peer: this root file system came without its kernel's modules, so that its own init has no network \
    driver and its stock boot ends without an address.";
/// Words on the console, and what has happened then.
const STAGES: [(&str, &str); 6] = [
    (STARTED, "agent starts (kernel, unpacking)"),
    ("mirror: ", "first units run"),
    ("link is up", "first link"),
    (" by DHCP from ", "address"),
    (" modules loaded", "devices at rest"),
    (CHECKED_IN, "checked in"),
];

/// Measures.
///
/// # Errors
/// A guest does not check in.
pub(crate) fn run(inputs: &Inputs) -> anyhow::Result<Findings> {
    let mut lab = Lab::new(inputs.dir.join("boot"))?;
    let production = inputs.image(Variant::Production)?;
    let ours = lab.image(&production)?;
    let peer = if inputs.tinycore { stock::image(inputs.base, &inputs.dir.join("stock"))? } else { None };
    let mut real: [Runs; 2] = Default::default();
    for _ in 0..limits::BENCH_BOOTS {
        for (runs, (_, nic)) in real.iter_mut().zip(NICS) {
            runs.add(&mut lab, nic, &ours, peer.as_deref(), "tcg")?;
        }
    }
    let mut counted: [Runs; 2] = Default::default();
    for (runs, (_, nic)) in counted.iter_mut().zip(NICS) {
        runs.add(&mut lab, nic, &ours, peer.as_deref(), "counted")?;
    }
    lab.close()?;
    let mut lines = Vec::new();
    for (clock, all) in [("", &real), (", by count of instructions", &counted)] {
        for (runs, (name, _)) in all.iter().zip(NICS) {
            let ratio = peer.is_some().then_some(GOAL_RATIO);
            let counts = clock.is_empty() && *name == *NICS[0].0;
            let goal = if counts { Goal { at_most: Some(GOAL_S), ratio } } else { Goal::default() };
            lines.push(runs.line(&format!("kernel start to check-in, {name}{clock}"), goal));
        }
    }
    let note = match (inputs.tinycore, peer) {
        (true, Some(_)) => PEER,
        (true, None) => NO_DRIVER,
        (false, _) => NO_PEER,
    };
    Ok(Findings { lines, details: vec![stages(&counted)], notes: vec![note.into()] })
}

/// Times of several starts.
#[derive(Default)]
struct Runs {
    /// When ours reached each stage, by start.
    ours: Vec<Vec<f64>>,
    /// When the stock boot was at its prompt.
    peer: Vec<f64>,
}

impl Runs {
    /// One start of ours, and one of the peer where there is one.
    fn add(
        &mut self,
        lab: &mut Lab,
        nic: &'static str,
        ours: &Path,
        peer: Option<&Path>,
        accel: &str,
    ) -> anyhow::Result<()> {
        let machine = Machine { nic, memory_mib: MEMORY_MIB };
        let of = |iso, until| Start { iso, machine, accel, until, timeout: limits::BENCH_START, more: &[] };
        self.ours.push(start(lab, &of(ours, CHECKED_IN), reached)?);
        if let Some(peer) = peer {
            self.peer.push(start(lab, &of(peer, stock::PROMPT), |guest| guest.when(stock::PROMPT))?);
        }
        Ok(())
    }

    fn line(&self, what: &str, goal: Goal) -> Line {
        Line {
            what: what.to_owned(),
            unit: "s",
            ours: Samples::new(self.ours.iter().filter_map(|times| times.last().copied()).collect()),
            peer: (!self.peer.is_empty()).then(|| ("stock boot".into(), Samples::new(self.peer.clone()))),
            goal,
        }
    }
}

/// Starts a machine, reads its console and ends it.
fn start<T>(lab: &mut Lab, start: &Start<'_>, read: impl Fn(&Guest) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let guest = lab.boot(start)?;
    let guest = guest.with_context(|| format!("no {:?} within {} s", start.until, start.timeout.as_secs()))?;
    let result = read(&guest);
    lab.stop(guest)?;
    result
}

fn reached(guest: &Guest) -> anyhow::Result<Vec<f64>> {
    STAGES.iter().map(|(words, _)| guest.when(words)).collect()
}

/// Where the time goes, by count of instructions.
fn stages(counted: &[Runs]) -> Detail {
    let cell = |runs: &Runs, index: usize| {
        runs.ours.first().and_then(|times| times.get(index)).map(|time| format!("{time:.3} s")).unwrap_or_default()
    };
    let row = |(index, (_, stage)): (usize, &(&str, &str))| {
        std::iter::once((*stage).to_owned()).chain(counted.iter().map(|runs| cell(runs, index))).collect()
    };
    Detail {
        title: "When each stage of ours is reached, by count of instructions".into(),
        head: std::iter::once("stage").chain(NICS.map(|(name, _)| name)).map(str::to_owned).collect(),
        rows: STAGES.iter().enumerate().map(row).collect(),
    }
}
