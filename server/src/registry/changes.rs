//! A node's new report is held against what the node is known to have, and what changed goes to its log, in the transaction of the
//! check-in. What the log says, and when, is decided in [`told`]. It is the machine's word, so that it takes no room of what the
//! server decided.

use crate::difference::part;
use crate::difference::told::{self, Phase};
use crate::limits::PARTS_AWAITED_S;
use crate::store::history;
use crate::store::settled::{self, Settled};
use crate::store::sql::Connection;

/// Tells what changed by the newest report of a node whose kernel has run for so long.
///
/// # Errors
/// When the database fails or holds something damaged.
pub(super) async fn tell(db: &mut Connection, now: i64, node: i64, uptime_s: Option<i64>) -> anyhow::Result<()> {
    let Some(content) = settled::newest(&mut *db, node).await? else { return Ok(()) };
    let starts = uptime_s.unwrap_or(0) < PARTS_AWAITED_S;
    let Some(before) = settled::of_node(&mut *db, node).await? else {
        let first = Settled { content, missing: Vec::new(), young: starts, awaited: starts };
        return settled::put(db, node, &first).await;
    };
    let is_same = before.content == content;
    if is_same && starts {
        return Ok(());
    }
    let phase = match (starts, before.young) {
        (true, true) => Phase::Young,
        (true, false) => Phase::Starting,
        (false, _) => Phase::Settled,
    };
    let mut after = Settled { content, young: before.young && starts, awaited: false, missing: Vec::new() };
    // Most machines have all that they have from the first report on.
    if !is_same || !before.missing.is_empty() {
        let report = settled::content(&mut *db, &after.content).await?;
        let former = settled::content(&mut *db, &before.content).await?;
        let (Some(former), Some(report)) = (former, report) else { return settled::put(db, node, &after).await };
        let known = told::known(part::parts(&former), before.missing);
        let outcome = told::compare(known, part::parts(&report), phase);
        for (severity, entry) in &outcome.entries {
            history::log_said(&mut *db, now, node, severity, entry).await?;
        }
        (after.missing, after.awaited) = (outcome.missing, outcome.is_awaited);
    }
    settled::put(db, node, &after).await
}
