//! Row `boot`: from the kernel's start to the check-in that the server has recorded, on the guest's own clock, which
//! starts with the kernel: the same on every machine, whatever the firmware does before.
//!
//! Under plain TCG the clock is real time, repeated since the host is never quite idle; counted, it is instructions at
//! 2 ns each, which says the same on every host and in which a change of the code is seen without repetition.

use super::Inputs;
use super::guest::{CHECKED_IN, Guest, Lab, MEMORY_MIB, Machine, STARTED};
use super::table::{Detail, Findings, Goal, Line, Samples};
use crate::images::Variant;
use crate::limits;

/// Seconds from the kernel's start to the check-in, on Tiny Core 17.
const GOAL_S: f64 = 5.0;
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
    let mut lab = Lab::new(inputs.dir.join("boot"), &inputs.image(Variant::Production)?)?;
    let (virtio, e1000) = (machine("virtio"), machine("e1000"));
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    for _ in 0..limits::BENCH_BOOTS {
        fast.push(times(&mut lab, virtio, "tcg")?);
        slow.push(times(&mut lab, e1000, "tcg")?);
    }
    let counted = [("virtio-net", virtio), ("e1000", e1000)]
        .map(|(name, machine)| Ok((name, times(&mut lab, machine, "counted")?)))
        .into_iter()
        .collect::<anyhow::Result<Vec<_>>>()?;
    lab.close()?;
    let line = |what: &str, runs: &[Vec<f64>], stage: usize, goal| Line {
        what: what.to_owned(),
        unit: "s",
        ours: Samples::new(runs.iter().filter_map(|times| times.get(stage).copied()).collect()),
        peer: None,
        goal,
    };
    let last = STAGES.len() - 1;
    let mut lines = vec![
        line("kernel start to check-in, virtio-net", &fast, last, Goal::at_most(GOAL_S)),
        line("kernel start to check-in, e1000", &slow, last, Goal::default()),
        line("kernel start to the agent's first line", &fast, 0, Goal::default()),
    ];
    for (name, times) in &counted {
        let what = format!("the same by count of instructions, {name}");
        lines.push(line(&what, std::slice::from_ref(times), last, Goal::default()));
    }
    let notes = vec![
        "The base of Debian packages has no boot to a prompt with an address of its own (its init brings no driver), so \
         that it has no stock peer."
            .into(),
    ];
    Ok(Findings { lines, details: vec![stages(&counted)], notes })
}

fn machine(nic: &'static str) -> Machine {
    Machine { nic, memory_mib: MEMORY_MIB }
}

/// When each stage was reached.
fn times(lab: &mut Lab, machine: Machine, accel: &str) -> anyhow::Result<Vec<f64>> {
    let Some(guest) = lab.boot(machine, accel, CHECKED_IN, &[])? else {
        anyhow::bail!("the guest has not checked in within {} s", limits::BENCH_BOOT.as_secs());
    };
    let times = reached(&guest);
    lab.stop(guest)?;
    times
}

fn reached(guest: &Guest) -> anyhow::Result<Vec<f64>> {
    STAGES.iter().map(|(words, _)| guest.when(words)).collect()
}

/// Where the time goes, by count of instructions.
fn stages(counted: &[(&str, Vec<f64>)]) -> Detail {
    let cell = |times: &Vec<f64>, index: usize| times.get(index).map(|t| format!("{t:.3} s")).unwrap_or_default();
    let row = |(index, (_, stage)): (usize, &(&str, &str))| {
        std::iter::once((*stage).to_owned()).chain(counted.iter().map(|(_, times)| cell(times, index))).collect()
    };
    Detail {
        title: "When each stage is reached, by count of instructions".into(),
        head: std::iter::once("stage").chain(counted.iter().map(|(name, _)| *name)).map(str::to_owned).collect(),
        rows: STAGES.iter().enumerate().map(row).collect(),
    }
}
