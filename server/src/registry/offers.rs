//! Which of the log's entries still offer to take a merge back: an alias may have been split and merged again since,
//! and an older page of the log does not show that.

use serde_json::Value;

use crate::registry::remedy::Remedy;
use crate::store::sql::Pool;
use crate::store::view::timestamp;
use crate::store::{merge, nodes};

/// Takes the offer out of entries about merges that are not in force any more.
///
/// # Errors
/// When the database fails.
pub async fn retract(db: &Pool, entries: &mut [Value]) -> anyhow::Result<()> {
    for entry in entries {
        let remedy = entry["entry"]["back"].as_str().and_then(|words| words.parse().ok());
        let Some(Remedy::Split { node }) = remedy else { continue };
        let merged = match nodes::parse_name(&node) {
            Some(alias) => merge::merged_at(db, alias).await?,
            None => None,
        };
        if merged.is_none_or(|at| entry["timestamp"] != timestamp(at).as_str())
            && let Some(entry) = entry["entry"].as_object_mut()
        {
            entry.remove("back");
        }
    }
    Ok(())
}
