//! Fields of a supervised unit, as a unit file has them and as a configuration carries them. Pure: fields in, the first
//! wrong one out.

use serde::{Deserialize, Serialize};

use crate::limits::MAX_UNIT_NAME;

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
        match &self.tty {
            Some(tty) if !tty.starts_with("/dev/") => Err(format!("tty {tty:.80} is not in /dev")),
            _ => Ok(()),
        }
    }
}

/// Whether a unit may have this name.
#[must_use]
pub fn is_unit_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.len() <= MAX_UNIT_NAME && name.chars().all(allowed)
}
