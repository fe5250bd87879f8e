//! Row `server`: what check-ins cost a server that knows so many nodes, by `mk-server simulate` on the same machine, both compiled for
//! release. Each rate is of one run, beside `/healthz` in that run, so that what else the machine does weighs on both.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use anyhow::Context as _;
use serde_json::Value;
use xshell::cmd;

use super::table::{Detail, Findings, Goal, Line, Samples};
use super::{Inputs, MIB};
use crate::boot::serve;
use crate::{limits, place, programs};

/// Nodes that the server knows. `MK_BENCH_NODES` names others, with commas between.
const NODES: [u64; 3] = [1000, 10_000, 100_000];
const NODES_VARIABLE: &str = "MK_BENCH_NODES";
/// The number of nodes at which the goal for the slowest answers is set, and the seconds between their check-ins.
const PACED: u64 = 10_000;
const PACE_S: u64 = 15;
/// Machines that send changed reports as fast as they are answered.
const CHANGING: u64 = 1000;

/// Measures.
///
/// # Errors
/// A program fails, or the server got something wrong.
pub(crate) fn run(inputs: &Inputs) -> anyhow::Result<Findings> {
    let sh = programs::shell()?;
    programs::cargo(&sh).args(["build", "--release", "-p", "mk-server"]).run().context("the server does not build")?;
    let program = place::target().join("release/mk-server");
    let named = std::env::var(NODES_VARIABLE).ok();
    let named =
        named.map(|list| list.split(',').map(|n| n.trim().parse()).collect::<Result<Vec<u64>, _>>()).transpose();
    let sizes = named.context("MK_BENCH_NODES is no list of numbers")?.unwrap_or_else(|| NODES.to_vec());
    let mut found = Findings::default();
    let head = ["nodes", "phase", "answers", "per second", "p50 ms", "p99 ms", "longest ms", "generator's share"];
    let mut detail = Detail { title: "All phases".into(), head: head.map(str::to_owned).to_vec(), rows: Vec::new() };
    for nodes in sizes {
        let dir = inputs.dir.join(format!("server-{nodes}"));
        place::clear(&dir)?;
        of_size(&program, &dir, nodes, &mut found, &mut detail)?;
        // Gigabytes.
        place::clear(&dir)?;
    }
    found.details.push(detail);
    Ok(found)
}

fn of_size(program: &Path, dir: &Path, nodes: u64, found: &mut Findings, detail: &mut Detail) -> anyhow::Result<()> {
    let (sender, events) = channel();
    let (server, url) = serve(program, dir, &sender, &events)?;
    let fleet = Fleet { program: program.to_owned(), url };
    let seconds = limits::BENCH_LOAD.as_secs();
    let all = fleet.run(&["--healthz", "--changed", "0", "--interval", "0"], nodes, seconds)?;
    let changed = fleet.run(&["--changed", "100", "--interval", "0"], nodes.min(CHANGING), seconds)?;
    let mut runs = vec![all, changed];
    if nodes == PACED {
        let pace = PACE_S.to_string();
        runs.push(fleet.run(&["--changed", "1", "--interval", &pace], nodes, 4 * PACE_S)?);
    }
    for phase in runs.iter().flat_map(|run| run["phases"].as_array().into_iter().flatten()) {
        let text = |name: &str| phase[name].as_f64().map_or_else(String::new, |value| format!("{value:.1}"));
        let share = format!("{:.0} %", 100.0 * phase["generator_share"].as_f64().unwrap_or(f64::NAN));
        let name = phase["phase"].as_str().unwrap_or_default().to_owned();
        let mut row = vec![nodes.to_string(), name, phase["answers"].to_string()];
        row.extend(["answers_per_s", "p50_ms", "p99_ms", "max_ms"].map(text));
        row.push(share);
        detail.rows.push(row);
    }
    let line = |what: &str, unit, value, peer, goal| Line {
        what: format!("{what}, {nodes} nodes known"),
        unit,
        ours: Samples::one(value),
        peer,
        goal,
    };
    let micros = |run: &Value, phase: &str| 1e6 / figure(run, phase, "answers_per_s");
    let healthz = ("/healthz".to_owned(), Samples::one(micros(&runs[0], "healthz")));
    let unchanged = micros(&runs[0], "check-ins");
    found.lines.push(line("unchanged check-in", "µs", unchanged, Some(healthz), Goal::ratio(0.5)));
    found.lines.push(line("changed report", "µs", micros(&runs[1], "check-ins"), None, Goal::at_most(500.0)));
    if let Some(paced) = runs.get(2) {
        let p99 = figure(paced, "check-ins", "p99_ms");
        found.lines.push(line(&format!("p99, each every {PACE_S} s"), "ms", p99, None, Goal::at_most(50.0)));
    }
    found.lines.push(line("most memory of the server", "MiB", memory(dir)?, None, Goal::at_most(256.0)));
    server.stop()
}

/// Machines that check in to the server.
struct Fleet {
    program: PathBuf,
    url: String,
}

impl Fleet {
    fn run(&self, arguments: &[&str], nodes: u64, seconds: u64) -> anyhow::Result<Value> {
        let (sh, Self { program, url }) = (programs::shell()?, self);
        let (nodes, seconds) = (nodes.to_string(), seconds.to_string());
        let run =
            cmd!(sh, "{program} --server {url} simulate --json --nodes {nodes} --duration {seconds} {arguments...}");
        let said = run.quiet().read().context("a simulated fleet found the server wrong")?;
        serde_json::from_str(&said).context("mk-server simulate --json printed something else")
    }
}

/// A figure of a phase; no number where there is none.
fn figure(run: &Value, phase: &str, name: &str) -> f64 {
    let phases = run["phases"].as_array();
    let phase = phases.and_then(|phases| phases.iter().find(|p| p["phase"] == phase));
    phase.and_then(|phase| phase[name].as_f64()).unwrap_or(f64::NAN)
}

/// The most that the server that works in this folder ever had in memory, in MiB.
fn memory(dir: &Path) -> anyhow::Result<f64> {
    let pid = fs::read_to_string(dir.join("data/lock")).context("the server's folder has no lock")?;
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).context("the server is gone")?;
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.map(|kib: f64| kib * 1024.0 / MIB).context("the system does not say how much memory the server took")
}
