//! What the units say of themselves, for people at a terminal.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::state::{Published as _, Units};

/// Prints the node's state.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn status() -> anyhow::Result<ExitCode> {
    super::print(&units()?)?;
    Ok(ExitCode::SUCCESS)
}

/// The supervised units as a table.
///
/// # Errors
/// No supervisor runs.
pub(super) fn units() -> anyhow::Result<String> {
    let state =
        Units::read().context("no supervisor has published its units: mk-agent runs neither as init nor as daemon")?;
    Ok(state.units.iter().map(|u| format!("{:12} {:9} {}\n", u.name, u.state, u.restarts)).collect())
}
