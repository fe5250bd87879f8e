//! An emulated TPM 2.0: swtpm, a program of its own, with its memory in a folder. Another folder is another chip. It
//! dies with the thread that started it, and with the [`Emulator`].

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use duct::cmd;

use crate::limits;
use crate::process::die_with_parent;

/// The emulator's program.
const PROGRAM: &str = "swtpm";

/// The socket that an emulator listens on, and for whom.
#[derive(Debug)]
pub enum Channel {
    /// QEMU's: it switches the chip on, and gets a second channel for commands.
    Control(PathBuf),
    /// Commands and answers, as the chip itself has them; it is on already.
    Commands(PathBuf),
}

/// A running emulator.
#[derive(Debug)]
pub struct Emulator {
    process: duct::Handle,
}

impl Emulator {
    /// Whether the program is there.
    #[must_use]
    pub fn is_installed() -> bool {
        cmd!(PROGRAM, "--version").stdout_null().stderr_null().run().is_ok()
    }

    /// Starts a chip whose memory is in `state`, and waits until it listens.
    ///
    /// # Errors
    /// When the program is missing or does not start, with what it says.
    pub fn start(state: &Path, channel: &Channel) -> anyhow::Result<Self> {
        let (said, ready) = (state.join("tpm.log"), state.join("tpm.pid"));
        // Left by an emulator that was killed.
        if ready.exists() {
            fs::remove_file(&ready).with_context(|| format!("cannot remove {}", ready.display()))?;
        }
        let mut arguments = vec!["socket".to_owned(), "--tpm2".to_owned()];
        arguments.extend(["--tpmstate".to_owned(), format!("dir={}", state.display())]);
        // Written once it listens.
        arguments.extend(["--pid".to_owned(), format!("file={}", ready.display())]);
        arguments.extend(match channel {
            Channel::Control(socket) => vec!["--ctrl".to_owned(), format!("type=unixio,path={}", socket.display())],
            Channel::Commands(socket) => vec![
                "--server".to_owned(),
                format!("type=unixio,path={}", socket.display()),
                "--flags".to_owned(),
                "not-need-init,startup-clear".to_owned(),
            ],
        });
        let expression = cmd(PROGRAM, arguments).stdin_null().stdout_null().stderr_path(&said).unchecked();
        let expression = expression.before_spawn(|command| {
            die_with_parent(command, Vec::new());
            Ok(())
        });
        let process =
            expression.start().with_context(|| format!("cannot start {PROGRAM}; install the package swtpm"))?;
        let emulator = Self { process };
        emulator.wait(&ready).with_context(|| fs::read_to_string(&said).unwrap_or_default())?;
        Ok(emulator)
    }

    fn wait(&self, ready: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + limits::TPM_START;
        while fs::metadata(ready).map_or(0, |file| file.len()) == 0 {
            if let Some(output) = self.process.try_wait()? {
                bail!("{PROGRAM} has ended with {}", output.status);
            }
            ensure!(Instant::now() < deadline, "{PROGRAM} does not listen after {} s", limits::TPM_START.as_secs());
            std::thread::sleep(limits::POLL);
        }
        Ok(())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; it dies with its parent anyway. Once it is gone its memory is free.
        let _ = self.process.kill().and_then(|()| self.process.wait().map(drop));
    }
}
