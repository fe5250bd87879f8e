//! PID 1, and the same supervisor as a daemon under another init.

pub(crate) mod client;

use std::process::ExitCode;

/// Brings the machine up and supervises for ever.
pub(crate) fn as_pid_1() -> ExitCode {
    ExitCode::FAILURE
}

/// Supervises under another init.
///
/// # Errors
/// It cannot go to the background.
pub(crate) fn as_daemon(_foreground: bool) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the supervisor is not there yet")
}
