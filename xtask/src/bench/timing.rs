//! Times programs as a user waits for them.

use std::time::Instant;

use anyhow::ensure;
use xshell::Cmd;

/// Runs a program to its end without showing what it prints; gives the seconds that it took.
///
/// # Errors
/// It cannot be started, or fails.
pub(crate) fn seconds(command: Cmd) -> anyhow::Result<f64> {
    let started = Instant::now();
    command.quiet().ignore_stdout().ignore_stderr().run()?;
    Ok(started.elapsed().as_secs_f64())
}

/// Seconds until a program has told what it knows. How it ends does not count: facter fails as a whole when one of its
/// facts cannot be read.
///
/// # Errors
/// It cannot be started, or tells nothing.
pub(crate) fn seconds_to_tell(command: Cmd) -> anyhow::Result<f64> {
    let shown = command.to_string();
    let started = Instant::now();
    let told = command.quiet().ignore_stderr().ignore_status().read()?;
    let took = started.elapsed().as_secs_f64();
    ensure!(!told.is_empty(), "{shown} printed nothing");
    Ok(took)
}
