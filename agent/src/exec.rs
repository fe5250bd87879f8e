//! The only file that starts processes. Each child has standard input closed off, an environment of three variables
//! and a process group of its own. [`run`] is for one-shot commands of units and command line; PID 1 never uses it,
//! since it reaps all children by itself.

use std::os::unix::process::CommandExt as _;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::limits::COMMAND_OUTPUT;

/// Where programs are looked for, in children and in the agent itself.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a command printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Output {
    /// Exit status 0.
    pub(crate) success: bool,
    /// Exit status or signal, for people.
    pub(crate) status: String,
    /// Standard output and standard error as they came, cut to their last [`COMMAND_OUTPUT`] bytes.
    pub(crate) text: String,
}

/// Runs a command to its end, or kills it and all that it started when the time is over.
///
/// # Errors
/// The command cannot be started, or it took too long; both name it. An exit status other than 0 is no error.
pub(crate) fn run(command: &[&str], timeout: Duration) -> anyhow::Result<Output> {
    let (program, args) = command.split_first().context("an empty command was to be run")?;
    let line = command.join(" ");
    #[expect(clippy::disallowed_methods, reason = "this is the place where processes are started")]
    let handle = duct::cmd(*program, args)
        .stdin_null()
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .full_env(environment())
        .before_spawn(|command| {
            command.process_group(0);
            Ok(())
        })
        .start()
        .with_context(|| format!("cannot start `{line}`"))?;
    let ended = handle.wait_timeout(timeout).with_context(|| format!("cannot wait for `{line}`"))?;
    if let Some(output) = ended {
        return Ok(Output {
            success: output.status.success(),
            status: output.status.to_string(),
            text: tail(&output.stdout),
        });
    }
    for pid in handle.pids() {
        if let Ok(pid) = i32::try_from(pid) {
            let _: Result<(), _> = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    anyhow::bail!("`{line}` did not end within {} s and was killed", timeout.as_secs())
}

/// Variables of every child.
fn environment() -> [(&'static str, &'static str); 3] {
    [("PATH", PATH), ("HOME", "/root"), ("LANG", "C")]
}

fn tail(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(COMMAND_OUTPUT)..]).into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_command_gives_its_output_and_status() {
        let output = run(&["sh", "-c", "echo out; echo err >&2; exit 3"], Duration::from_secs(10)).unwrap();
        assert_eq!((output.success, output.text.as_str()), (false, "out\nerr\n"));
        assert!(output.status.contains('3'), "{}", output.status);
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_its_children() {
        let started = Instant::now();
        let error = run(&["sh", "-c", "sleep 60 & sleep 60"], Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_missing_command_is_named() {
        let error = run(&["mk-no-such-program"], Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("mk-no-such-program"), "{error}");
    }
}
