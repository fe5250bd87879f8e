//! Row `inventory`: `mk-agent facts` against `facter` plus `lshw` on this machine, by turns.

use xshell::cmd;

use super::Inputs;
use super::table::{Findings, Goal, Line, Samples};
use super::timing::{seconds, seconds_to_tell};
use crate::{limits, programs};

/// Measures.
///
/// # Errors
/// A program fails.
pub(crate) fn run(inputs: &Inputs) -> anyhow::Result<Findings> {
    let (sh, agent) = (programs::shell()?, inputs.agent);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=limits::BENCH_INVENTORIES {
        let agent = seconds(cmd!(sh, "{agent} facts"))?;
        let peer = seconds_to_tell(cmd!(sh, "facter --json"))? + seconds(cmd!(sh, "lshw -quiet -json"))?;
        // The first round only fills the caches.
        if round > 0 {
            ours.push(agent * 1000.0);
            theirs.push(peer * 1000.0);
        }
    }
    Ok(Findings {
        lines: vec![Line {
            what: "full inventory".into(),
            unit: "ms",
            ours: Samples::new(ours),
            peer: Some(("facter and lshw".into(), Samples::new(theirs))),
            goal: Goal::ratio(30.0),
        }],
        ..Findings::default()
    })
}
