//! What is on the screen while a guest runs: its console, line by line, and on a terminal one line below it that says
//! what is being waited for and for how long.

use std::collections::VecDeque;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::limits;

/// Console lines above a line of waiting.
pub(crate) struct Screen {
    waiting: ProgressBar,
    last: VecDeque<String>,
}

impl Screen {
    /// Begins to wait for something.
    pub(crate) fn new(what: &str) -> Self {
        let waiting = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
            waiting.set_style(style);
        }
        waiting.set_message(what.to_owned());
        waiting.enable_steady_tick(limits::TICK);
        Self { waiting, last: VecDeque::new() }
    }

    /// A line of the guest's console.
    pub(crate) fn console(&mut self, line: String) {
        self.say(&format!("    | {line}"));
        if self.last.len() == limits::LINES_IN_FAILURE {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// A line of our own.
    pub(crate) fn say(&self, line: &str) {
        self.waiting.suspend(|| eprintln!("{line}"));
    }

    /// Something else is waited for now.
    pub(crate) fn wait_for(&self, what: &str) {
        self.waiting.set_message(what.to_owned());
    }

    /// The waiting is over.
    pub(crate) fn done(&self) {
        self.waiting.finish_and_clear();
    }

    /// The guest's last lines.
    pub(crate) fn last_lines(&self) -> String {
        self.last.iter().map(|line| format!("    | {line}\n")).collect()
    }
}
