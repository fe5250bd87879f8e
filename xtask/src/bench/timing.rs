//! Times programs as a user waits for them.

use std::time::Instant;

use anyhow::ensure;
use xshell::Cmd;

use crate::limits;

/// Runs a program to its end without showing what it prints; gives the seconds that it took.
///
/// # Errors
/// It cannot be started, or fails; with the last that it said.
pub(crate) fn seconds(command: Cmd) -> anyhow::Result<f64> {
    let shown = command.to_string();
    let started = Instant::now();
    let output = command.quiet().ignore_status().output()?;
    let took = started.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{shown} ended with {}; it said:\n{}", output.status, last_lines(&said));
    Ok(took)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(limits::LINES_IN_FAILURE)..].join("\n")
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

#[cfg(test)]
mod tests {
    use xshell::{Shell, cmd};

    use super::*;

    #[test]
    fn a_program_that_fails_is_quoted() {
        let sh = Shell::new().unwrap();
        assert!(seconds(cmd!(sh, "true")).is_ok());
        let script = "echo first >&2; seq 100 >&2; exit 3";
        let error = seconds(cmd!(sh, "sh -c {script}")).unwrap_err().to_string();
        assert!(
            error.contains("exit status: 3") && error.ends_with("\n99\n100") && !error.contains("first\n"),
            "{error}"
        );
    }
}
