//! Events in the server's log, with their fields: decisions about identity, who was let in, operators' commands. They are read from
//! the database once they are there for good, so that the log has neither trials nor what was rolled back.

use serde_json::Value;
use tokio::sync::watch::Receiver;

use crate::human;
use crate::limits::{NARRATE_PAUSE, NARRATED_AT_ONCE};
use crate::store::sql::{self, Pool};
use crate::store::{Store, history, nodes};
use crate::wording;

/// Where the log has got to.
#[derive(Debug)]
pub struct Narrator {
    store: Store,
    /// Id of the newest event that was said, or that was there before this server.
    last: i64,
}

impl Narrator {
    /// Begins after what is there now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(store: Store) -> anyhow::Result<Self> {
        let last = history::newest_event(&mut store.readers.acquire().await?).await?;
        Ok(Self { store, last })
    }

    /// Says each event that comes, until the sender is dropped and the last one is said.
    pub async fn run(mut self, mut ended: Receiver<()>) {
        loop {
            let is_end = tokio::select! {
                changed = ended.changed() => changed.is_err(),
                () = tokio::time::sleep(NARRATE_PAUSE) => false,
            };
            if let Err(error) = say(&self.store.readers, &mut self.last).await {
                tracing::error!("events cannot be read for this log: {error:#}");
            }
            if is_end {
                return;
            }
        }
    }
}

/// Says all events after `last`.
async fn say(db: &Pool, last: &mut i64) -> anyhow::Result<()> {
    loop {
        let select = "SELECT id, kind, node, detail FROM events WHERE id > $1 ORDER BY id LIMIT $2";
        let select = sql::query_as(select).bind(*last).bind(NARRATED_AT_ONCE);
        let rows: Vec<(i64, String, Option<i64>, String)> = select.fetch_all(db).await?;
        let more = i64::try_from(rows.len())? == NARRATED_AT_ONCE;
        for (id, kind, node, detail) in rows {
            *last = id;
            line(id, &kind, node, &serde_json::from_str(&detail)?);
        }
        if !more {
            return Ok(());
        }
    }
}

/// One event. What an operator's command was about may be a secret of the site: the log names the command, and the event has it.
fn line(id: i64, kind: &str, node: Option<i64>, detail: &Value) {
    let node = node.map(nodes::name);
    if kind == "operator" {
        let word = |value: &Value| human::part(value.as_str().unwrap_or_default()).into_owned();
        let (command, by) = (word(&detail["operation"]["command"]), word(&detail["by"]));
        tracing::info!(event = kind, id, node, command, by, "command {command} by {by}");
        return;
    }
    let mut entry = detail.clone();
    entry["event"] = kind.into();
    let text = human::plain(&wording::sentence(&entry)).into_owned();
    match kind {
        "identity-conflict" => tracing::warn!(event = kind, id, node, "{text}"),
        _ => tracing::info!(event = kind, id, node, "{text}"),
    }
}
