//! Progress on stderr: bars on a terminal, otherwise one plain line per step, so that logs stay readable.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One step of a build. Says so when it begins and how long it took when it ends.
#[derive(Debug)]
pub struct Step {
    bar: ProgressBar,
    what: String,
    start: Instant,
}

impl Step {
    /// A step whose length is known: bytes or items, as `unit` says.
    #[must_use]
    pub fn counted(what: &str, total: u64, unit: Unit) -> Self {
        let template = match unit {
            Unit::Bytes => "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}",
            Unit::Items => "{msg} [{bar:30}] {pos}/{len}",
        };
        Self::new(what, ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()), template)
    }

    /// A step whose length is unknown.
    #[must_use]
    pub fn open(what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.enable_steady_tick(crate::limits::PROGRESS_TICK);
        Self::new(what, bar, "{spinner} {msg}")
    }

    fn new(what: &str, bar: ProgressBar, template: &str) -> Self {
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        if bar.is_hidden() {
            eprintln!("{what} …");
        }
        Self { bar, what: what.to_owned(), start: Instant::now() }
    }

    /// How far the step is.
    pub fn at(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Ends the step with a word on its result.
    pub fn done(self, result: &str) {
        self.bar.finish_and_clear();
        eprintln!("{}: {result} ({:.1} s)", self.what, self.start.elapsed().as_secs_f32());
    }
}

/// What a step counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things.
    Items,
}
