//! Whether a database could not be reached, so that a request may be sent again.

use std::fmt;

/// The database is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away;

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the database cannot be reached")
    }
}

impl std::error::Error for Away {}

/// Codes of PostgreSQL: it is shut down or starts, a connection is broken, there are too many, or another server keeps the
/// turn for too long.
const CODES: [&str; 5] = ["57P", "08", "53300", "55P03", "25P03"];

impl Away {
    /// Whether that stands behind an error.
    #[must_use]
    pub fn caused(error: &anyhow::Error) -> bool {
        let by_database = |error: &sqlx::Error| match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut => true,
            sqlx::Error::Database(told) => {
                told.code().is_some_and(|code| CODES.iter().any(|start| code.starts_with(start)))
            }
            _ => false,
        };
        error.is::<Self>() || error.chain().any(|e| e.is::<Self>() || e.downcast_ref().is_some_and(by_database))
    }
}
