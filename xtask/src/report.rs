//! What a person sees of a run: each step with its time, and a summary at the end. Everything goes to standard error;
//! standard output is for the result.

use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Steps so far.
pub(crate) struct Report {
    started: Instant,
    steps: Vec<(String, Duration)>,
}

impl Report {
    /// Nothing done yet.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), steps: Vec::new() }
    }

    /// Does a step and notes its time.
    ///
    /// # Errors
    /// The step's own, under its name.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        eprintln!("==> {name}");
        let started = Instant::now();
        let result = work();
        let took = started.elapsed();
        eprintln!("    {name} {} after {}", if result.is_ok() { "done" } else { "FAILED" }, seconds(took));
        self.steps.push((name.to_owned(), took));
        result.with_context(|| format!("step \"{name}\" failed after {}", seconds(took)))
    }

    /// Prints all steps.
    pub(crate) fn close(&self) {
        let width = self.steps.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        eprintln!();
        for (name, took) in &self.steps {
            eprintln!("{name:width$}  {:>8}", seconds(*took));
        }
        eprintln!("{:width$}  {:>8}", "total", seconds(self.started.elapsed()));
    }
}

/// A time for people.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
