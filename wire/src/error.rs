//! How every endpoint of ours says that something was refused.

use serde::{Deserialize, Serialize};

/// Code of the refusal, with status 409, of a request whose number is not higher than the last one of its boot.
pub const REPLAY: &str = "replay";

/// Body of every answer of 400 and above, and the reason that a held node is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable identifier for programs, such as `no_match_value`.
    pub code: String,
    /// One sentence for a person: what failed, on what, and why. The original calls it `error`.
    pub error: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    /// A problem from its three parts.
    pub fn new(code: &str, error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: code.to_owned(), error: error.into(), remedy: remedy.into() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}). {}", self.error, self.code, self.remedy)
    }
}

impl std::error::Error for Problem {}
