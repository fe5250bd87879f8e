//! Log lines. A unit writes to standard error, one line per event, with the kernel's priority in front (`<4>text`);
//! PID 1 reads that and passes it to the kernel's log as `mk-agent: UNIT: text`. On a terminal the priority is a word.
//! Information has the kernel's priority 5, so that `loglevel=6` shows it on a serial console without the kernel's chatter.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::IsTerminal as _;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use wire::argument::LOG_LEVELS;

/// The kernel's log, for reading and for writing.
const KMSG: &str = "/dev/kmsg";

/// Changes the level of [`to_stderr`].
static SET_LEVEL: OnceLock<Box<dyn Fn(Level) + Send + Sync>> = OnceLock::new();

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Something does not work.
    Error,
    /// Something is wrong and was worked around.
    Warn,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What a developer wants to know.
    Debug,
}

impl Level {
    /// All levels, in the order of [`LOG_LEVELS`].
    pub(crate) const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// The word for it on the kernel line.
    pub(crate) fn word(self) -> &'static str {
        LOG_LEVELS[self as usize]
    }

    /// The kernel's priority for lines of this level.
    pub(crate) fn priority(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warn => 4,
            Self::Info => 5,
            Self::Debug => 6,
        }
    }

    fn filter(self) -> tracing::level_filters::LevelFilter {
        match self {
            Self::Error => tracing::Level::ERROR.into(),
            Self::Warn => tracing::Level::WARN.into(),
            Self::Info => tracing::Level::INFO.into(),
            Self::Debug => tracing::Level::DEBUG.into(),
        }
    }
}

impl From<tracing::Level> for Level {
    fn from(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            _ => Self::Debug,
        }
    }
}

/// Sends this process's log lines to standard error. A second call changes nothing.
pub(crate) fn to_stderr(level: Level) {
    let format = if std::io::stderr().is_terminal() { Format::Terminal } else { Format::Kernel { prefix: "" } };
    let (filter, handle) = reload::Layer::new(level.filter());
    let lines = tracing_subscriber::fmt::layer().event_format(format).with_writer(std::io::stderr);
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let set = move |level: Level| drop(handle.reload(level.filter()));
        let _: Result<(), _> = SET_LEVEL.set(Box::new(set));
    }
    panics_too();
}

/// Changes how much this process logs from now on, where it logs to standard error.
pub(crate) fn set_level(level: Level) {
    if let Some(set) = SET_LEVEL.get() {
        set(level);
    }
}

/// Sends this process's log lines to the kernel's log, or to standard error where there is none.
pub(crate) fn to_kernel(level: Level) {
    let Some(kmsg) = open_kmsg() else { return to_stderr(level) };
    let format = Format::Kernel { prefix: "mk-agent: " };
    let subscriber =
        tracing_subscriber::fmt().with_max_level(level.filter()).event_format(format).with_writer(Arc::new(kmsg));
    let _: Result<(), _> = subscriber.try_init();
    panics_too();
}

fn panics_too() {
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
}

/// The kernel's log for writing: one write is one record. `None` where it may not be written.
pub(crate) fn open_kmsg() -> Option<File> {
    OpenOptions::new().write(true).open(KMSG).ok()
}

/// Splits the priority from a unit's line. Lines of outside programs have none and count as information.
pub(crate) fn split_priority(line: &str) -> (u8, &str) {
    let parsed = || {
        let (digits, text) = line.strip_prefix('<')?.split_once('>')?;
        let priority = digits.parse::<u8>().ok().filter(|p| *p <= 7)?;
        Some((priority, text))
    };
    parsed().unwrap_or((Level::Info.priority(), line))
}

/// Form of a line.
enum Format {
    /// Level as a word.
    Terminal,
    /// Level as the kernel's priority, then a fixed text.
    Kernel { prefix: &'static str },
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = Level::from(*event.metadata().level());
        match self {
            Self::Terminal => write!(out, "{:5} ", level.word())?,
            Self::Kernel { prefix } => write!(out, "<{}>{prefix}", level.priority())?,
        }
        context.field_format().format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_split_off() {
        for (line, expected) in [
            ("<3>no carrier", (3, "no carrier")),
            ("plain text", (5, "plain text")),
            ("<9>odd", (5, "<9>odd")),
            ("<b>html</b>", (5, "<b>html</b>")),
            ("<", (5, "<")),
            ("", (5, "")),
            ("<6>", (6, "")),
        ] {
            assert_eq!(split_priority(line), expected, "{line:?}");
        }
    }

    #[test]
    fn each_level_has_its_word() {
        let words = [(Level::Error, "error"), (Level::Warn, "warn"), (Level::Info, "info"), (Level::Debug, "debug")];
        assert_eq!(Level::ALL.map(|level| (level, level.word())), words);
    }
}
