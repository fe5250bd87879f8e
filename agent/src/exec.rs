//! The only file that starts processes. Each child has standard input closed off, an environment of three variables
//! and a process group of its own. [`spawn`] is the supervisor's, which reaps all children by itself; [`run`] is for
//! one-shot commands of the units and never used by the supervisor.

use std::fs::{File, OpenOptions};
use std::io::PipeReader;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

use crate::limits::COMMAND_OUTPUT;

/// Where programs are looked for, in children and in the agent itself.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A process that the supervisor started.
pub(crate) struct Spawned {
    /// Process id, and that of its group.
    pub(crate) pid: i32,
    /// Standard output and standard error; a process on a terminal has none.
    pub(crate) output: Option<PipeReader>,
}

/// Starts a command in the background. On a terminal it becomes the leader of a session with that terminal; without
/// one, standard input is empty and all output goes into one pipe.
///
/// # Errors
/// The terminal or the program cannot be opened; both are named.
pub(crate) fn spawn(command: &[String], tty: Option<&str>) -> anyhow::Result<Spawned> {
    let (program, args) = command.split_first().context("the command is empty")?;
    #[expect(clippy::disallowed_methods, reason = "this is the place where processes are started")]
    let mut child = Command::new(program);
    child.args(args).env_clear().envs(environment()).current_dir("/");
    let output = match tty {
        Some(tty) => {
            let terminal = open_terminal(tty).with_context(|| format!("cannot open terminal {tty}"))?;
            child.env("TERM", if tty.starts_with("/dev/ttyS") { "vt102" } else { "linux" });
            child.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal);
            None
        }
        None => {
            let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
            child.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
            Some(reader)
        }
    };
    let on_terminal = tty.is_some();
    // SAFETY: the closure makes plain system calls only, which are safe between fork and exec.
    unsafe { child.pre_exec(move || prepare_child(on_terminal)) };
    let child = child.spawn().with_context(|| format!("cannot start {program}"))?;
    Ok(Spawned { pid: i32::try_from(child.id())?, output })
}

/// Opening must not wait for a carrier, and must not make it the supervisor's own controlling terminal.
fn open_terminal(tty: &str) -> anyhow::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let terminal = OpenOptions::new().read(true).write(true).custom_flags(flags).open(tty)?;
    let flags = OFlag::from_bits_retain(fcntl(&terminal, FcntlArg::F_GETFL)?);
    fcntl(&terminal, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    Ok(terminal)
}

/// Runs in the child before the program: no signal blocked, since the supervisor blocks those that it waits for; a new
/// session with its terminal; no descriptor but the standard three.
fn prepare_child(on_terminal: bool) -> std::io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    if on_terminal {
        nix::unistd::setsid()?;
        // SAFETY: standard input is an open terminal; the argument 1 takes it from any other session.
        if unsafe { libc::ioctl(0, libc::TIOCSCTTY, 1) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    // Marked rather than closed, since std reports a failing exec through one. Kernels before 5.11 lack the call; all
    // descriptors of ours are marked anyway.
    // SAFETY: a plain system call on descriptor numbers.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Ok(())
}

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
    Ok(ended(command, timeout, duct::Expression::stderr_to_stdout)?.0)
}

/// The same, with what it wrote to standard error by itself, for a command whose standard output is data.
///
/// # Errors
/// As for [`run`].
pub(crate) fn run_apart(command: &[&str], timeout: Duration) -> anyhow::Result<(Output, String)> {
    ended(command, timeout, duct::Expression::stderr_capture)
}

fn ended(
    command: &[&str],
    timeout: Duration,
    errors: fn(&duct::Expression) -> duct::Expression,
) -> anyhow::Result<(Output, String)> {
    let (program, args) = command.split_first().context("an empty command was to be run")?;
    let line = command.join(" ");
    #[expect(clippy::disallowed_methods, reason = "this is the place where processes are started")]
    let expression = duct::cmd(*program, args).stdin_null();
    let handle = errors(&expression)
        .stdout_capture()
        .unchecked()
        .full_env(environment())
        .before_spawn(|command| {
            command.process_group(0);
            Ok(())
        })
        .start()
        .with_context(|| format!("cannot start `{line}`"))?;
    let output = handle.wait_timeout(timeout).with_context(|| format!("cannot wait for `{line}`"))?;
    if let Some(output) = output {
        let (success, status) = (output.status.success(), output.status.to_string());
        return Ok((Output { success, status, text: tail(&output.stdout) }, tail(&output.stderr)));
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
