//! The only file that starts processes. Each child has standard input closed off, an environment of three variables
//! and a process group of its own. [`spawn`] is the supervisor's, which reaps all children by itself; [`run`] is for
//! one-shot commands of the units and never used by the supervisor.

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use crate::limits::{COMMAND_DRAIN, COMMAND_OUTPUT};

/// Where programs are looked for, in children and in the agent itself.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A process that the supervisor started.
pub(crate) struct Spawned {
    /// Process id, and that of its group.
    pub(crate) pid: i32,
    /// Standard output and standard error; a process on a terminal has none.
    pub(crate) output: Option<PipeReader>,
}

/// The control group that a process is to be in from its start.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its `cgroup.procs`.
    pub(crate) entrance: File,
    /// Without it, the process must not run: it would be without its limits.
    pub(crate) required: bool,
}

/// Starts a command in the background. On a terminal it becomes the leader of a session with that terminal; without
/// one, standard input is empty and all output goes into one pipe.
///
/// # Errors
/// The terminal or the program cannot be opened; both are named.
pub(crate) fn spawn(command: &[String], tty: Option<&str>, group: Option<&Group>) -> anyhow::Result<Spawned> {
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
    let entrance = group.map(|group| (group.entrance.as_raw_fd(), group.required));
    // SAFETY: the closure makes plain system calls only, which are safe between fork and exec.
    unsafe { child.pre_exec(move || enter(entrance).and_then(|()| prepare_child(on_terminal))) };
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

/// Moves this process, which runs no program yet, into the group of that descriptor.
fn enter(entrance: Option<(RawFd, bool)>) -> std::io::Result<()> {
    let Some((descriptor, required)) = entrance else { return Ok(()) };
    // SAFETY: the parent keeps it open until this process has begun its program or failed to.
    let entrance = unsafe { BorrowedFd::borrow_raw(descriptor) };
    match nix::unistd::write(entrance, b"0") {
        Err(error) if required => Err(error.into()),
        _ => Ok(()),
    }
}

/// Runs in the child before the program: no longer spared when memory runs out, and ended with the supervisor; no signal
/// blocked, since the supervisor blocks those that it waits for; a new session with its terminal; no descriptor but the
/// standard three.
fn prepare_child(on_terminal: bool) -> std::io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    set_pdeathsig(Signal::SIGKILL)?;
    if let Ok(score) = open(c"/proc/self/oom_score_adj", OFlag::O_WRONLY, Mode::empty()) {
        let _: nix::Result<usize> = nix::unistd::write(&score, b"0");
    }
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

/// Runs a command to its end, or kills it and all that it started when the time is over. It does not outlive the thread
/// that waits for it.
///
/// # Errors
/// The command cannot be started, or it took too long; both name it. An exit status other than 0 is no error.
pub(crate) fn run(command: &[&str], timeout: Duration) -> anyhow::Result<Output> {
    Ok(ended(command, timeout, None)?.0)
}

/// The same, with what it wrote to standard error by itself, for a command whose standard output is data.
///
/// # Errors
/// As for [`run`].
pub(crate) fn run_apart(command: &[&str], timeout: Duration) -> anyhow::Result<(Output, String)> {
    ended(command, timeout, Some(std::io::pipe().context("cannot make a pipe")?))
}

/// Standard error goes into the pipe that is given, else where standard output goes.
fn ended(
    command: &[&str],
    timeout: Duration,
    errors: Option<(PipeReader, PipeWriter)>,
) -> anyhow::Result<(Output, String)> {
    let (program, args) = command.split_first().context("an empty command was to be run")?;
    let line = command.join(" ");
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    #[expect(clippy::disallowed_methods, reason = "this is the place where processes are started")]
    let expression = duct::cmd(*program, args).stdin_null();
    let (expression, errors) = match errors {
        Some((reader, writer)) => (expression.stderr_file(writer), Some(reader)),
        None => (expression.stderr_to_stdout(), None),
    };
    // The expression holds the pipes' other ends, and ends with this statement.
    let handle = expression
        .stdout_file(writer)
        .unchecked()
        .full_env(environment())
        .before_spawn(|command| {
            command.process_group(0);
            // SAFETY: a plain system call, which is safe between fork and exec.
            unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
            Ok(())
        })
        .start()
        .with_context(|| format!("cannot start `{line}`"))?;
    let (text, errors) = (Tail::of(reader)?, errors.map(Tail::of).transpose()?);
    let status = handle.wait_timeout(timeout).with_context(|| format!("cannot wait for `{line}`"))?;
    if let Some(status) = status.map(|output| output.status) {
        let errors = errors.map(Tail::text).unwrap_or_default();
        let output = Output { success: status.success(), status: status.to_string(), text: text.text() };
        return Ok((output, errors));
    }
    for pid in handle.pids() {
        if let Ok(pid) = i32::try_from(pid) {
            let _: Result<(), _> = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    anyhow::bail!("`{line}` did not end within {} s and was killed", timeout.as_secs())
}

/// The end of what comes out of a pipe, which is read by a thread of its own: a command that prints without end takes
/// no more memory than one that prints little.
struct Tail {
    kept: Arc<Mutex<Vec<u8>>>,
    /// Ends with the pipe.
    ended: Receiver<()>,
}

impl Tail {
    fn of(mut pipe: PipeReader) -> anyhow::Result<Self> {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (sender, ended) = mpsc::channel();
        let keep = Arc::clone(&kept);
        let read = move || {
            let _sender: Sender<()> = sender;
            let mut bytes = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut bytes) {
                let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&bytes[..count]);
                if kept.len() > 2 * COMMAND_OUTPUT {
                    let excess = kept.len() - COMMAND_OUTPUT;
                    kept.drain(..excess);
                }
            }
        };
        thread::Builder::new().name("output".to_owned()).spawn(read).context("cannot start a thread")?;
        Ok(Self { kept, ended })
    }

    /// What was read, once the pipe has ended. A command may leave something behind that holds it: that is not waited for.
    fn text(self) -> String {
        let _: Result<(), _> = self.ended.recv_timeout(COMMAND_DRAIN);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept[kept.len().saturating_sub(COMMAND_OUTPUT)..]).into_owned()
    }
}

/// Variables of every child.
fn environment() -> [(&'static str, &'static str); 3] {
    [("PATH", PATH), ("HOME", "/root"), ("LANG", "C")]
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
    fn a_command_that_prints_without_end_takes_no_memory() {
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = resident();
        // `yes` writes more than a gigabyte in this time; what the tests beside this one take is in the count too.
        let error = run_apart(&["yes"], Duration::from_secs(2)).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
        let grown = resident().saturating_sub(before);
        assert!(grown < 256 << 20, "{grown} bytes");
        let output = run(&["sh", "-c", "yes x | head -c 1000000; echo last"], Duration::from_secs(30)).unwrap();
        assert!(output.text.len() <= COMMAND_OUTPUT && output.text.ends_with("last\n"));
    }

    #[test]
    fn what_a_command_leaves_behind_is_not_waited_for() {
        let started = Instant::now();
        let output = run(&["sh", "-c", "sleep 60 & echo done"], Duration::from_secs(30)).unwrap();
        assert_eq!(output.text, "done\n");
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_missing_command_is_named() {
        let error = run(&["mk-no-such-program"], Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("mk-no-such-program"), "{error}");
    }
}
