//! Row `durability`: kills and power cuts under load, in the numbers of the goal. The tests that do a few of them in every run do the
//! work, and fail when a report is lost.

use anyhow::{Context as _, ensure};
use xshell::cmd;

use super::table::Findings;
use crate::{limits, place, programs};

/// Measures.
///
/// # Errors
/// A report was lost, or a test cannot run.
pub(crate) fn run() -> anyhow::Result<Findings> {
    let sh = programs::shell()?;
    sh.set_var("MK_SERVER_BIN", place::program("mk-server"));
    sh.set_var("MK_KILLS", limits::BENCH_KILLS.to_string());
    sh.set_var("MK_POWER_CUTS", limits::BENCH_POWER_CUTS.to_string());
    let mut found = Findings::default();
    for (package, target, test) in [
        ("mk-server", "process", "nothing_acknowledged_is_lost_by_a_kill"),
        ("mk-tests", "boot", "no_acknowledged_report_is_lost_when_the_power_is_cut"),
    ] {
        let command = cmd!(sh, "cargo test -p {package} --test {target} {test} -- --nocapture");
        let output = programs::as_typed(command).ignore_status().output().context("cargo cannot be run")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{test} failed:\n{said}{}", String::from_utf8_lossy(&output.stdout));
        found.notes.extend(said.lines().filter(|line| line.contains("none of them lost")).map(str::to_owned));
    }
    Ok(found)
}
