//! Ctrl-C and `kill`: what was begun and is not finished is removed, then the program ends.
//!
//! Only the program catches signals; whoever uses the library keeps its own ways.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::limits::REMOVALS;

/// Temporary files and folders of this run, finished ones among them: those are no longer there under these names.
static BEGUN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What a shell adds to a signal's number for the exit code.
const EXIT_BY_SIGNAL: i32 = 128;

/// From now on a signal that asks the program to end removes what was made by [`begin`]. To be called before any thread
/// starts, so that none dies of the signal.
///
/// # Errors
/// Signals cannot be blocked.
pub fn catch() -> Result<()> {
    let set = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    set.thread_block().context("cannot block signals")?;
    let wait = move || {
        if let Ok(signal) = set.wait() {
            // Held until the end: nothing new is begun, and nothing is half in place.
            let begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
            begun.iter().for_each(|path| remove(path));
            eprintln!("mkiso: {signal}: unfinished files were removed");
            std::process::exit(EXIT_BY_SIGNAL + signal as i32);
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).context("cannot start the signal thread")?;
    Ok(())
}

/// Makes a temporary file or folder and remembers it.
///
/// # Errors
/// It cannot be made.
pub fn begin<T: AsRef<Path>>(make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mut begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
    let made = make()?;
    begun.push(made.as_ref().to_owned());
    Ok(made)
}

/// Does short work that must be done whole: a signal waits for its end.
pub fn whole<T>(work: impl FnOnce() -> T) -> T {
    let _held = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// Other threads may still be writing into a folder while it is removed.
fn remove(path: &Path) {
    for _ in 0..REMOVALS {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        if removed.is_ok() || !path.exists() {
            return;
        }
    }
}
