//! Fields of a supervised unit, as a unit file has them and as a configuration carries them. Pure: fields in, the first
//! wrong one out.

mod keys;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::{CPU_WEIGHT, MAX_UNIT_NAME, MEMORY_MAX, PIDS_MAX, START_TIMEOUTS, STOP_TIMEOUTS};

pub use keys::for_people as size_for_people;

/// Folder of the unit files that the image has, and those that a site has put into it.
pub const UNITS_PATH: &str = "/etc/razor-mk/units.d";

/// The agent's own units, whose names no other may have.
pub const BUILT_IN: [&str; 8] = ["devices", "net", "ext", "checkin", "mirror", "gems", "control", "console"];

/// An outside program that the agent supervises.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitFile {
    /// Name. In a configuration it is the key, and left out here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Commands that must succeed, one after the other, before each start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre: Vec<Vec<String>>,
    /// Terminal that becomes its standard streams and controlling terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<String>,
    /// When it is started again.
    #[serde(default)]
    pub restart: Restart,
    /// Units that must be ready, or have ended, before its first start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// It is ready once it has made or changed this file, which is below `/run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Seconds for that, and for each command in `pre`; see [`Self::bounds`], as for what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<Value>,
    /// Seconds from TERM to KILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<Value>,
    /// What goes with its process.
    #[serde(default, skip_serializing_if = "KillMode::is_default")]
    pub kill_mode: KillMode,
    /// Memory, such as `"32M"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<Value>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_max: Option<Value>,
    /// Share of the processors where they are all in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<Value>,
}

/// What a unit's file says in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Seconds until it is ready, and for each preparatory command.
    pub start_timeout: Option<u64>,
    /// Seconds from TERM to KILL.
    pub stop_timeout: Option<u64>,
    /// What the kernel lets it use.
    pub limits: Limits,
}

/// What a unit may use, by the kernel's control groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory, with the files that it has written into memory; beyond, the unit is killed.
    pub memory_max: Option<u64>,
    /// Processes and threads; beyond, it gets no more.
    pub pids_max: Option<u32>,
    /// Share of the processors where they are all in use; a unit without has 100.
    pub cpu_weight: Option<u32>,
}

/// What goes with a unit's process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillMode {
    /// All that it has started, even what has left its process group; without control groups as below.
    #[default]
    ControlGroup,
    /// Its process group only.
    ProcessGroup,
}

impl KillMode {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When a unit that ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// However it ended.
    #[default]
    Always,
    /// Unless its exit status was 0.
    OnFailure,
    /// Never.
    Never,
}

impl UnitFile {
    /// Reads a unit file, and checks all that can be told without the machine and the other units.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let unit: Self = toml::from_str(text).map_err(|error| not_understood(text, &error))?;
        if !is_unit_name(&unit.name) {
            return Err(format!("name = {:.80?}: it has 1 to {MAX_UNIT_NAME} of a-z, 0-9 and `-`", unit.name));
        }
        unit.validate()?;
        Ok(unit)
    }

    /// Checks all that can be told without the machine.
    ///
    /// # Errors
    /// The field that is wrong, and what it must be.
    pub fn validate(&self) -> Result<(), String> {
        for command in self.pre.iter().chain([&self.command]) {
            let Some(program) = command.first() else { return Err("a command is empty".to_owned()) };
            if !program.starts_with('/') {
                return Err(format!("{program:.80} is no absolute path"));
            }
            if command.iter().any(|word| word.contains('\0')) {
                return Err(format!("an argument of {program:.80} has a NUL"));
            }
        }
        if let Some(tty) = self.tty.as_ref().filter(|tty| !tty.starts_with("/dev/")) {
            return Err(format!("tty {tty:.80} is not in /dev"));
        }
        self.ready.as_ref().map_or(Ok(()), |path| keys::run_path("ready", path))?;
        self.bounds().map(drop)
    }

    /// Its numbers.
    ///
    /// # Errors
    /// The key that is wrong, its value, and what it takes.
    pub fn bounds(&self) -> Result<Bounds, String> {
        Ok(Bounds {
            start_timeout: keys::number("start_timeout", self.start_timeout.as_ref(), &START_TIMEOUTS, "seconds")?,
            stop_timeout: keys::number("stop_timeout", self.stop_timeout.as_ref(), &STOP_TIMEOUTS, "seconds")?,
            limits: Limits {
                memory_max: keys::size("memory_max", self.memory_max.as_ref(), &MEMORY_MAX)?,
                pids_max: keys::number("pids_max", self.pids_max.as_ref(), &PIDS_MAX, "processes")?,
                cpu_weight: keys::number("cpu_weight", self.cpu_weight.as_ref(), &CPU_WEIGHT, "shares")?,
            },
        })
    }
}

/// The parser's own text has several lines; a log line is one.
fn not_understood(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    format!("line {line} is not understood: {}", error.message().replace('\n', ", "))
}

/// Whether a unit may have this name.
#[must_use]
pub fn is_unit_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.len() <= MAX_UNIT_NAME && name.chars().all(allowed)
}
