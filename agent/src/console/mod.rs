//! Unit `console`: shows the machine's state to whoever stands in front of it. A status page on the first virtual
//! terminal, painted anew when a unit publishes something; one plain line per change on serial consoles. No log-in, no
//! input.

mod font;
mod page;
#[cfg(test)]
mod samples;
mod screen;
mod serial;
mod snapshot;
mod trouble;
mod watch;

use std::path::Path;
use std::thread;
use std::time::Instant;

use self::screen::Screen;
use self::serial::Serial;
use self::snapshot::{Machine, Snapshot};
use self::watch::Watch;
use crate::init::client;
use crate::limits::{CONSOLE_PAUSE, CONSOLE_REPAINT, CONSOLE_TICK};
use crate::state::RUN_DIR;
use crate::tree::Tree;

/// Runs the unit until it is told to stop.
///
/// # Errors
/// When the folder of the state files cannot be watched.
pub(crate) fn run() -> anyhow::Result<()> {
    let tree = Tree::live();
    let machine = Machine::read(&tree);
    let watch = Watch::open(Path::new(RUN_DIR))?;
    let mut serial = Serial::open(&machine.variant);
    let mut screen = Screen::open().map_err(|e| tracing::info!("no status page: {e:#}")).ok();
    let mut before = Snapshot::default();
    let mut painted = Instant::now();
    serial.say(&format!("Razor Microkernel {} {}", machine.version, machine.variant));
    client::ready();
    loop {
        let now = Snapshot::take(&machine, &tree);
        for line in serial::changes(&before, &now) {
            serial.say(&line);
        }
        if let Some(screen) = &mut screen {
            if painted.elapsed() >= CONSOLE_REPAINT {
                painted = Instant::now();
                screen.forget();
            }
            let size = screen.size();
            screen.paint(page::render(&now, size.0, size.1), size);
        }
        before = now;
        thread::sleep(CONSOLE_PAUSE);
        // Whoever comes to the page sees all of it, whatever was written over it while it was not in front.
        if watch.wait(CONSOLE_TICK)
            && let Some(screen) = &mut screen
        {
            screen.forget();
        }
    }
}
