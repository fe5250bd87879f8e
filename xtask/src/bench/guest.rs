//! A server and one guest after the other that checks in to it, each a machine of its own; and what the guest's console
//! says about when.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;

use crate::boot::{guests_url, serve};
use crate::process::{Errors, Event, Program, Source};
use crate::{images, limits, place};

/// The agent's words when a server has answered its check-in.
pub(crate) const CHECKED_IN: &str = "checked in as";
/// The agent's first words.
pub(crate) const STARTED: &str = "mk-agent: Razor Microkernel";
/// The kernel's words when there is no way on.
const HOPELESS: [&str; 3] = ["Kernel panic", "Out of memory", "out of memory"];

/// A machine: its network controller and memory; one processor, no disks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    pub(crate) nic: &'static str,
    pub(crate) memory_mib: u32,
}

/// One start of a machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start<'a> {
    /// What it boots from.
    pub(crate) iso: &'a Path,
    pub(crate) machine: Machine,
    /// As `mk-vm` names it.
    pub(crate) accel: &'a str,
    /// Words on the console that are waited for, and how long.
    pub(crate) until: &'a str,
    pub(crate) timeout: Duration,
    /// Further arguments of `mk-vm`.
    pub(crate) more: &'a [String],
}

/// Memory of the machines whose start is timed, in MiB.
pub(crate) const MEMORY_MIB: u32 = 512;

/// A running server, and room for guests.
pub(crate) struct Lab {
    dir: PathBuf,
    /// The server's URL as guests reach it.
    pub(crate) url: String,
    server: Program,
    sender: Sender<Event>,
    events: Receiver<Event>,
    /// Guests so far: each gets a MAC of its own, so that the server meets each for the first time.
    count: u8,
}

/// A guest that is still running.
pub(crate) struct Guest {
    program: Program,
    /// Lines of the console so far.
    pub(crate) console: Vec<String>,
}

impl Lab {
    /// Starts a server; everything lies in `dir`.
    ///
    /// # Errors
    /// The server does not start.
    pub(crate) fn new(dir: PathBuf) -> anyhow::Result<Self> {
        place::clear(&dir)?;
        let (sender, events) = channel();
        let (server, url) = serve(&place::program("mk-server"), &dir, &sender, &events)?;
        Ok(Self { dir, url: guests_url(&url)?, server, sender, events, count: 0 })
    }

    /// A copy of an image that knows the server.
    ///
    /// # Errors
    /// The image cannot be customized.
    pub(crate) fn image(&self, built: &Path) -> anyhow::Result<PathBuf> {
        let iso = self.dir.join("boot.iso");
        images::customize(built, &self.url, &iso)?;
        Ok(iso)
    }

    /// Boots a machine until its console says what is waited for; nothing when that has not come in time, or cannot
    /// come any more.
    ///
    /// # Errors
    /// The guest ends by itself, or cannot be started.
    pub(crate) fn boot(&mut self, start: &Start<'_>) -> anyhow::Result<Option<Guest>> {
        let program = self.start(start)?;
        let mut guest = Guest { program, console: Vec::new() };
        let deadline = Instant::now() + start.timeout;
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Line(Source::Guest, line)) => {
                    let (seen, lost) = (line.contains(start.until), HOPELESS.iter().any(|words| line.contains(words)));
                    guest.console.push(line);
                    if seen {
                        return Ok(Some(guest));
                    }
                    if lost {
                        break;
                    }
                }
                Ok(Event::Ended(Source::Guest)) => {
                    bail!("the guest has ended without {:?}; its last lines:\n{}", start.until, guest.last_lines())
                }
                Ok(Event::Ended(Source::Server)) => {
                    bail!("the server has ended; its log is {}", place::shown(&self.dir.join("server.log")))
                }
                Ok(Event::Line(Source::Server, _) | Event::Asked) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => bail!("nothing is left to wait for"),
            }
        }
        self.stop(guest)?;
        Ok(None)
    }

    fn start(&mut self, start: &Start<'_>) -> anyhow::Result<Program> {
        let Machine { nic, memory_mib } = start.machine;
        self.count += 1;
        let mac = format!("52:54:00:be:7c:{:02x}", self.count);
        let spec = json!({
            "memory_mib": memory_mib,
            "cpus": 1,
            "nics": [{"model": nic, "mac": mac}],
        });
        let file = self.dir.join("machine.json");
        fs::write(&file, spec.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
        let mut arguments: Vec<OsString> = vec!["run".into(), "--iso".into(), start.iso.into()];
        arguments.extend(["--machine".into(), file.into(), "--accel".into(), start.accel.into()]);
        arguments.extend(["--serial".into(), self.dir.join(format!("console{}.log", self.count)).into()]);
        arguments.extend(start.more.iter().map(OsString::from));
        let program = place::program("mk-vm");
        Program::start("mk-vm", &program, arguments, Errors::Output, Source::Guest, self.sender.clone())
    }

    /// Ends a guest and forgets what it still says.
    ///
    /// # Errors
    /// It can be neither ended nor killed.
    pub(crate) fn stop(&self, guest: Guest) -> anyhow::Result<()> {
        guest.program.stop()?;
        while !matches!(self.events.recv_timeout(limits::PROGRAM_END), Ok(Event::Ended(Source::Guest)) | Err(_)) {}
        Ok(())
    }

    /// Ends the server.
    ///
    /// # Errors
    /// It can be neither ended nor killed.
    pub(crate) fn close(self) -> anyhow::Result<()> {
        self.server.stop()
    }
}

impl Guest {
    /// Seconds on the guest's clock, which starts with the kernel, of the first line that has `text` in it.
    ///
    /// # Errors
    /// There is no such line with a time.
    pub(crate) fn when(&self, text: &str) -> anyhow::Result<f64> {
        let found = self.console.iter().filter(|line| line.contains(text)).find_map(|line| stamp(line));
        found.with_context(|| format!("the guest's console has no time for {text:?}:\n{}", self.last_lines()))
    }

    fn last_lines(&self) -> String {
        let skip = self.console.len().saturating_sub(limits::LINES_IN_FAILURE);
        self.console.iter().skip(skip).map(|line| format!("    | {line}\n")).collect()
    }
}

/// The time that the kernel has put before a line, in seconds.
fn stamp(line: &str) -> Option<f64> {
    let (time, _) = line.split_once('[')?.1.split_once(']')?;
    time.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_log_have_a_time() {
        assert_eq!(stamp("[    5.839717] mk-agent: checkin: checked in as node1"), Some(5.839_717));
        assert_eq!(stamp("razor: checking in"), None);
        assert_eq!(stamp("array[3] of things"), Some(3.0));
        assert_eq!(stamp("[x] y"), None);
    }
}
