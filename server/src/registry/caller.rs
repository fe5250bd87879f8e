//! Who asks for something: somebody on the server's own machine, or the bearer of a token. It stands in the log beside each
//! command that changed something.

use std::fmt;

/// Who gives a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// On the server's own machine, without a token.
    Local,
    /// By a token, or a browser that logged in with it.
    Token {
        /// Its number.
        id: i64,
        /// What it is for.
        note: String,
        /// It only sees.
        read_only: bool,
    },
}

/// `local`, `token 3` or `token 3 (its note)`.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Token { id, note, .. } if note.is_empty() => write!(f, "token {id}"),
            Self::Token { id, note, .. } => write!(f, "token {id} ({note})"),
        }
    }
}
