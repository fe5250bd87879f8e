//! Row `memory`: the least RAM with which a machine registers, and what the agent's processes take of it.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};
use xshell::cmd;

use super::Inputs;
use super::guest::{CHECKED_IN, Lab, MEMORY_MIB, Machine, Start};
use super::table::{Detail, Findings, Goal, Line, Samples};
use crate::boot::free_port;
use crate::images::Variant;
use crate::{limits, programs};

/// Least and most RAM that is tried, and the steps between, in MiB.
const TRIED_MIB: (u32, u32, u32) = (96, 256, 8);
/// RAM with which an image registers, in MiB: on the base of Debian packages, and on Tiny Core's root file system.
const GOAL_RAM_MIB: (f64, f64) = (160.0, 128.0);
/// PSS of all agent processes, in MiB.
const GOAL_PSS_MIB: f64 = 12.0;
/// KiB in a MiB.
const KIB: f64 = 1024.0;

/// PSS in KiB and command line of each process of the agent, one a line.
const PSS: &str = "for d in /proc/[0-9]*; do case $(readlink $d/exe) in */mk-agent) \
    echo $(sed -n 's/^Pss: *\\([0-9]*\\).*/\\1/p' $d/smaps_rollup) $(tr '\\0' ' ' < $d/cmdline);; esac; done";

/// Measures.
///
/// # Errors
/// No guest checks in, or the debug image cannot be asked.
pub(crate) fn run(inputs: &Inputs) -> anyhow::Result<Findings> {
    let mut lab = Lab::new(inputs.dir.join("memory"))?;
    let iso = lab.image(&inputs.image(Variant::Production)?)?;
    let floor = least(TRIED_MIB, |memory_mib| {
        let machine = Machine { nic: "virtio", memory_mib };
        let guest = lab.boot(&start(&iso, machine, &[]))?;
        let registered = guest.is_some();
        eprintln!("    {memory_mib} MiB: {}", if registered { "registers" } else { "does not register" });
        guest.map_or(Ok(()), |guest| lab.stop(guest))?;
        Ok(registered)
    })?;
    lab.close()?;
    let processes = processes(inputs)?;
    let sum: f64 = processes.iter().map(|(kib, _)| kib).sum();
    let line = |what: &str, value: f64, goal| Line {
        what: what.to_owned(),
        unit: "MiB",
        ours: Samples::one(value),
        peer: None,
        goal: Goal::at_most(goal),
    };
    Ok(Findings {
        lines: vec![
            line("RAM with which a machine registers", f64::from(floor), inputs.goal(GOAL_RAM_MIB)),
            line("PSS of all agent processes", sum / KIB, GOAL_PSS_MIB),
        ],
        details: vec![Detail {
            title: "PSS by process, in a debug image after its check-in".into(),
            head: ["process", "KiB"].map(str::to_owned).into(),
            rows: processes.into_iter().map(|(kib, name)| vec![name, kib.to_string()]).collect(),
        }],
        notes: Vec::new(),
    })
}

/// A start up to the check-in.
fn start<'a>(iso: &'a Path, machine: Machine, more: &'a [String]) -> Start<'a> {
    Start { iso, machine, accel: "tcg", until: CHECKED_IN, timeout: limits::BENCH_BOOT, more }
}

/// The least size that works, by halving: what works with some memory works with more.
fn least((from, to, step): (u32, u32, u32), mut works: impl FnMut(u32) -> anyhow::Result<bool>) -> anyhow::Result<u32> {
    let (mut low, mut high) = (0, (to - from) / step);
    while low < high {
        let middle = u32::midpoint(low, high);
        if works(from + middle * step)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    if from + low * step == to && !works(to)? {
        bail!("a machine with {to} MiB does not register");
    }
    Ok(from + low * step)
}

/// PSS in KiB and name of each process of the agent, asked for over ssh in a debug image.
fn processes(inputs: &Inputs) -> anyhow::Result<Vec<(f64, String)>> {
    let mut lab = Lab::new(inputs.dir.join("pss"))?;
    let iso = lab.image(&inputs.image(Variant::Debug)?)?;
    let port = free_port()?;
    let forward = ["--forward".to_owned(), format!("{port}:22")];
    let machine = Machine { nic: "virtio", memory_mib: MEMORY_MIB };
    let guest = lab.boot(&start(&iso, machine, &forward))?.context("the debug image has not checked in")?;
    let text = ask(port, &inputs.dir.join("ssh-key"), PSS)?;
    lab.stop(guest)?;
    lab.close()?;
    let processes: Vec<_> = text.lines().filter_map(process).collect();
    if processes.is_empty() {
        bail!("the debug image shows no process of the agent: {text:?}");
    }
    Ok(processes)
}

/// Runs a command in the guest, as soon as its sshd answers.
fn ask(port: u16, key: &Path, command: &str) -> anyhow::Result<String> {
    let (sh, port) = (programs::shell()?, port.to_string());
    let deadline = Instant::now() + limits::BENCH_BOOT;
    loop {
        let options = ["UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "BatchMode=yes", "LogLevel=ERROR"];
        let options = options.iter().flat_map(|option| ["-o", option]);
        let ssh = cmd!(sh, "ssh -i {key} -p {port} {options...} root@127.0.0.1 {command}");
        match ssh.quiet().ignore_stderr().read() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(limits::POLL),
            answer => return answer.context("the debug image does not answer by ssh"),
        }
    }
}

fn process(line: &str) -> Option<(f64, String)> {
    let (kib, name) = line.split_once(' ')?;
    Some((kib.parse().ok()?, name.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_least_that_works() {
        for floor in (96..=256).step_by(8) {
            let mut tried = 0;
            let found = least(TRIED_MIB, |memory| {
                tried += 1;
                Ok(memory >= floor)
            });
            assert_eq!(found.unwrap(), floor);
            assert!(tried <= 6, "{tried} guests for {floor}");
        }
        assert!(least(TRIED_MIB, |_| Ok(false)).is_err());
    }

    #[test]
    fn processes_are_read_with_their_size() {
        assert_eq!(process("1234 /sbin/mk-agent run net "), Some((1234.0, "/sbin/mk-agent run net".into())));
        assert_eq!(process("x y"), None);
    }
}
