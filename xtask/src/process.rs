//! Programs that run beside us: server and guest. Their output is read by a thread each; they end when we do, orderly
//! when asked, by force when they will not.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use anyhow::Context as _;
use duct::ReaderHandle;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::limits;

/// What happens beside the main thread.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A line of a program's output.
    Line(Source, String),
    /// A program has closed its output: it has ended, or is about to.
    Ended(Source),
    /// Ctrl-C or `kill`.
    Asked,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// `mk-server`.
    Server,
    /// `mk-vm`, and through it the guest's console.
    Guest,
}

/// A running program.
pub(crate) struct Program {
    name: &'static str,
    handle: Arc<ReaderHandle>,
}

/// Where a program's standard error goes.
pub(crate) enum Errors<'a> {
    /// To a file.
    File(&'a Path),
    /// Among its output.
    Output,
}

impl Program {
    /// Starts a program. It is told to end when the calling thread does.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(
        name: &'static str,
        program: &Path,
        arguments: Vec<OsString>,
        errors: Errors,
        source: Source,
        events: Sender<Event>,
    ) -> anyhow::Result<Self> {
        let expression = duct::cmd(program, arguments).stdin_null().unchecked();
        let expression = match errors {
            Errors::File(path) => expression.stderr_path(path),
            Errors::Output => expression.stderr_to_stdout(),
        };
        let expression = expression.before_spawn(|command| {
            // A group of its own: Ctrl-C is for us, and we end the others in order.
            command.process_group(0);
            let prepare = || {
                // What we block (see `catch_signals`) would be blocked there too, and never end it.
                SigSet::empty().thread_set_mask()?;
                Ok(set_pdeathsig(Signal::SIGTERM)?)
            };
            // SAFETY: between fork and exec only system calls are made, no allocation and no lock.
            unsafe { command.pre_exec(prepare) };
            Ok(())
        });
        let handle = Arc::new(expression.reader().with_context(|| format!("cannot start {}", program.display()))?);
        let output = Arc::clone(&handle);
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || read(&output, source, &events))
            .context("cannot start a thread for a program's output")?;
        Ok(Self { name, handle })
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the process cannot be asked after.
    pub(crate) fn ended(&self) -> anyhow::Result<Option<ExitStatus>> {
        let output = self.handle.try_wait().with_context(|| format!("cannot ask after {}", self.name))?;
        Ok(output.map(|o| o.status))
    }

    /// Asks it to end, waits, and kills it when it does not.
    ///
    /// # Errors
    /// When it can be neither ended nor killed.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        for pid in self.handle.pids() {
            // An error means that it has ended by itself.
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
        }
        let deadline = Instant::now() + limits::PROGRAM_END;
        while self.ended()?.is_none() {
            if Instant::now() >= deadline {
                return self.handle.kill().with_context(|| format!("cannot end {}", self.name));
            }
            std::thread::sleep(limits::POLL);
        }
        Ok(())
    }
}

fn read(handle: &ReaderHandle, source: Source, events: &Sender<Event>) {
    let mut lines = BufReader::new(handle);
    let mut line = Vec::new();
    // An unreadable output is an ended one. Nobody listens any more when sending fails.
    while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let text = clean(&String::from_utf8_lossy(&line));
        line.clear();
        if events.send(Event::Line(source, text)).is_err() {
            return;
        }
    }
    let _ = events.send(Event::Ended(source));
}

/// Turns Ctrl-C and `kill` into events from now on. Threads that start later inherit the blocked signals, and so would
/// programs.
///
/// # Errors
/// When signals cannot be blocked.
pub(crate) fn catch_signals(events: Sender<Event>) -> anyhow::Result<()> {
    let set = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    set.thread_block().context("cannot block signals")?;
    let wait = move || while set.wait().is_ok() && events.send(Event::Asked).is_ok() {};
    std::thread::Builder::new().name("signals".into()).spawn(wait).context("cannot start the signal thread")?;
    Ok(())
}

/// A console line without what moves cursors and rings bells.
fn clean(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' if rest.next_if_eq(&'[').is_some() => {
                // A control sequence ends with its first byte from @ to ~.
                while rest.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            '\x1b' => drop(rest.next()),
            '\t' => text.push(' '),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn lines_lose_what_moves_the_cursor() {
        assert_eq!(clean("\x1b[2J\x1b[01;33mboot\x1b[0m:\tok\r\n"), "boot: ok");
        assert_eq!(clean("\x1bcafter reset\x07"), "after reset");
        assert_eq!(clean("cut \x1b[12"), "cut");
        assert_eq!(clean("\x1b"), "");
    }

    #[test]
    fn a_program_speaks_ends_and_is_asked_after() {
        let (sender, events) = channel();
        let script = vec!["-c".into(), "echo one; echo two >&2; exit 3".into()];
        let program = Program::start("sh", "/bin/sh".as_ref(), script, Errors::Output, Source::Server, sender).unwrap();
        let seen: Vec<Event> = events.iter().collect();
        let line = |text: &str| Event::Line(Source::Server, text.into());
        assert_eq!(seen, [line("one"), line("two"), Event::Ended(Source::Server)]);
        program.stop().unwrap();
        assert_eq!(program.ended().unwrap().and_then(|s| s.code()), Some(3));
    }

    /// Also when we ourselves keep the signal from our threads.
    #[test]
    fn a_running_program_ends_when_asked() {
        let (sender, _events) = channel();
        catch_signals(sender.clone()).unwrap();
        let program =
            Program::start("sleep", "/bin/sleep".as_ref(), vec!["600".into()], Errors::Output, Source::Guest, sender);
        let program = program.unwrap();
        assert!(program.ended().unwrap().is_none());
        let started = Instant::now();
        program.stop().unwrap();
        assert!(started.elapsed() < limits::PROGRAM_END);
    }
}
