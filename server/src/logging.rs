//! The server's own log, on standard error: lines for people, or a JSON object a line for programs. Times are RFC 3339 in UTC.

use std::io::{IsTerminal as _, stderr};

use clap::ValueEnum;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// What failed.
    Error,
    /// What somebody should look at, too.
    Warn,
    /// What happens, too.
    Info,
    /// What each connection does, too.
    Debug,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
        }
    }
}

/// Begins the log. Libraries say no more than warnings in it: what they tell of requests is not theirs to judge.
pub fn begin(format: Format, level: Level) {
    let level = LevelFilter::from(level);
    let wanted = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("mk_server", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr);
    let lines = match format {
        Format::Text => lines.with_ansi(stderr().is_terminal()).boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(wanted)).init();
}
