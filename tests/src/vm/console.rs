//! A guest's serial port: read by a thread that copies it to log and standard output, searched and written by others.
//!
//! Of the output the last [`limits::CONSOLE_KEPT`] bytes are kept; positions count from the guest's start, so that a
//! search can go on where another ended.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::limits;

/// A serial port.
#[derive(Debug)]
pub struct Console {
    shared: Arc<Shared>,
    writer: UnixStream,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    more: Condvar,
}

/// What the guest wrote.
#[derive(Debug, Default)]
struct Seen {
    bytes: Vec<u8>,
    dropped: u64,
    ended: bool,
}

impl Seen {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        // In large steps: moving the rest for each line would cost more than keeping it.
        if self.bytes.len() > 2 * limits::CONSOLE_KEPT {
            let excess = self.bytes.len() - limits::CONSOLE_KEPT;
            self.bytes.drain(..excess);
            self.dropped += excess as u64;
        }
    }

    fn end(&self) -> u64 {
        self.dropped + self.bytes.len() as u64
    }

    fn since(&self, from: u64) -> &[u8] {
        let skip = usize::try_from(from.saturating_sub(self.dropped)).unwrap_or(usize::MAX);
        self.bytes.get(skip..).unwrap_or_default()
    }

    /// Position behind the first occurrence of `text` at or after `from`.
    fn find(&self, text: &str, from: u64) -> Option<u64> {
        let hay = self.since(from);
        let at = hay.windows(text.len().max(1)).position(|w| w == text.as_bytes())?;
        Some(self.end() - hay.len() as u64 + (at + text.len()) as u64)
    }
}

impl Console {
    /// Starts reading. `log` gets every byte; with `echo` standard output does too.
    ///
    /// # Errors
    /// Names the log file when it cannot be made.
    pub fn new(socket: UnixStream, log: Option<&Path>, echo: bool) -> anyhow::Result<Self> {
        let log = log
            .map(|p| File::create(p).with_context(|| format!("cannot write the console's log {}", p.display())))
            .transpose()?;
        let writer = socket.try_clone().context("cannot use the serial port's socket")?;
        let shared = Arc::new(Shared::default());
        let reading = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("console".into())
            .spawn(move || read(socket, &reading, log, echo))
            .context("cannot start the thread that reads the console")?;
        Ok(Self { shared, writer })
    }

    /// Types into the serial port.
    ///
    /// # Errors
    /// When the guest has ended.
    pub fn send(&self, text: &str) -> anyhow::Result<()> {
        (&self.writer)
            .write_all(text.as_bytes())
            .with_context(|| format!("cannot type {text:?} into the guest's console"))
    }

    /// Position of the next byte that the guest will write.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.seen().end()
    }

    /// Whether the guest has written `text` at or after `from`; the position behind it.
    #[must_use]
    pub fn find(&self, text: &str, from: u64) -> Option<u64> {
        self.seen().find(text, from)
    }

    /// Waits until the guest has written `text` at or after `from`; gives the position behind it.
    ///
    /// # Errors
    /// After `timeout`, or at once when the guest has ended; with its last lines.
    pub fn wait_for(&self, text: &str, from: u64, timeout: Duration) -> anyhow::Result<u64> {
        let deadline = Instant::now() + timeout;
        let mut seen = self.seen();
        loop {
            if let Some(position) = seen.find(text, from) {
                return Ok(position);
            }
            let why = match deadline.checked_duration_since(Instant::now()) {
                _ if seen.ended => "the guest ended without".to_owned(),
                Some(left) => {
                    seen = self.shared.more.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
                None => format!("{} s without", timeout.as_secs()),
            };
            let tail = last_lines(&String::from_utf8_lossy(&seen.bytes));
            bail!("{why} {text:?} on its console; last lines:\n{tail}");
        }
    }

    /// What the guest has written at or after `from`.
    #[must_use]
    pub fn text(&self, from: u64) -> String {
        String::from_utf8_lossy(self.seen().since(from)).into_owned()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads until the guest ends. A full disk or a closed pipe ends the copy, not the guest.
fn read(mut socket: UnixStream, shared: &Shared, mut log: Option<File>, mut echo: bool) {
    let mut buffer = [0; 4096];
    loop {
        let count = match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let bytes = &buffer[..count];
        log = log.and_then(|mut f| f.write_all(bytes).is_ok().then_some(f));
        if echo {
            let mut out = std::io::stdout().lock();
            echo = out.write_all(bytes).and_then(|()| out.flush()).is_ok();
        }
        shared.seen.lock().unwrap_or_else(PoisonError::into_inner).add(bytes);
        shared.more.notify_all();
    }
    shared.seen.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
    shared.more.notify_all();
}

/// The last lines that say something.
#[must_use]
pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    lines[lines.len().saturating_sub(limits::LINES_IN_ERRORS)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn finds_what_comes_in_pieces_and_after_a_position() {
        let (ours, mut guest) = UnixStream::pair().unwrap();
        let console = Console::new(ours, None, false).unwrap();
        guest.write_all(b"boo").unwrap();
        guest.write_all(b"ted; booted").unwrap();
        let first = console.wait_for("booted", 0, LONG).unwrap();
        assert_eq!(first, 6);
        assert_eq!(console.wait_for("booted", first, LONG).unwrap(), 14);
        assert!(console.wait_for("booted", 14, SOON).is_err());
        assert_eq!(console.text(6), "; booted");
    }

    #[test]
    fn an_ended_guest_is_not_waited_for() {
        let (ours, mut guest) = UnixStream::pair().unwrap();
        let console = Console::new(ours, None, false).unwrap();
        guest.write_all(b"Kernel panic\n").unwrap();
        drop(guest);
        let started = Instant::now();
        let error = console.wait_for("ready", 0, LONG).unwrap_err().to_string();
        assert!(started.elapsed() < LONG / 2);
        assert!(error.contains("ended") && error.contains("Kernel panic"), "{error}");
    }

    #[test]
    fn typing_reaches_the_guest_and_output_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("console.log");
        let (ours, mut guest) = UnixStream::pair().unwrap();
        let console = Console::new(ours, Some(&log), false).unwrap();
        console.send("ls\n").unwrap();
        let mut typed = [0; 3];
        guest.read_exact(&mut typed).unwrap();
        assert_eq!(&typed, b"ls\n");
        guest.write_all(b"done").unwrap();
        console.wait_for("done", 0, LONG).unwrap();
        assert_eq!(std::fs::read(&log).unwrap(), b"done");
    }

    #[test]
    fn positions_survive_what_is_dropped() {
        let mut seen = Seen::default();
        seen.add(&vec![b'.'; 2 * limits::CONSOLE_KEPT]);
        seen.add(b"end");
        assert!(seen.dropped > 0);
        assert_eq!(seen.find("end", 0), Some(2 * limits::CONSOLE_KEPT as u64 + 3));
        assert_eq!(seen.since(seen.end()), b"");
    }
}
