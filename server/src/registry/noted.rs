//! Commands that change something outside of the database, such as the images: written down like all others once they are done.

use serde_json::{Value, json};

use crate::registry::caller::Caller;
use crate::store::history;
use crate::store::sql::Connection;
use crate::store::writer::Work;

/// A command that was carried out.
#[derive(Debug)]
pub struct Noted {
    /// Milliseconds since 1970.
    pub now: i64,
    /// Who wanted it.
    pub by: Caller,
    /// The command with its arguments.
    pub operation: Value,
    /// What was done.
    pub result: String,
}

impl Work for Noted {
    type Output = ();

    async fn run(&self, db: &mut Connection) -> anyhow::Result<()> {
        let detail = json!({"operation": self.operation, "by": self.by.to_string(), "result": self.result});
        history::event(db, self.now, "operator", None, &detail).await?;
        Ok(())
    }
}
