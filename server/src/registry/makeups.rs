//! After an upgrade: works out what the nodes of before are made of, a few at a time, so that check-ins come between. What costs
//! time is done before it comes to the writer.

use wire::inventory::Stable;

use crate::limits::MAKEUPS_AT_ONCE;
use crate::store::makeups::{self, Inventoried, Kept};
use crate::store::sql::{self, Connection};
use crate::store::writer::Work;
use crate::store::{Store, history};

/// Works out the next few nodes; true while there are more.
///
/// # Errors
/// When the database fails.
pub async fn fill(store: &Store) -> anyhow::Result<bool> {
    let Some(upto) = makeups::left(&store.readers).await? else { return Ok(false) };
    let some = makeups::inventoried(&store.readers, upto, MAKEUPS_AT_ONCE).await?;
    let is_last = i64::try_from(some.len())? < MAKEUPS_AT_ONCE;
    let left = if is_last { 0 } else { some.last().map_or(0, |lowest| lowest.node - 1) };
    let worked_out = tokio::task::spawn_blocking(move || some.iter().filter_map(work_out).collect()).await?;
    store.writer.write(Fill { worked_out, left }).await?;
    Ok(left > 0)
}

/// One that this version cannot read is left out: its machine reports anew.
fn work_out(one: &Inventoried) -> Option<(i64, i64, Kept)> {
    let stable = history::unpack(&one.zstd).and_then(|value| Ok(serde_json::from_value::<Stable>(value)?));
    match stable.and_then(|stable| Kept::of(&stable)) {
        Ok(kept) => Some((one.node, one.report, kept)),
        Err(error) => {
            tracing::warn!("what node{} is made of cannot be worked out: {error:#}", one.node);
            None
        }
    }
}

/// Nodes with the report that was read and what came of it.
struct Fill {
    worked_out: Vec<(i64, i64, Kept)>,
    left: i64,
}

impl Work for Fill {
    type Output = ();

    async fn run(&self, db: &mut Connection) -> anyhow::Result<()> {
        for (node, report, kept) in &self.worked_out {
            let select = sql::query_scalar("SELECT report FROM nodes WHERE id = $1").bind(node);
            let newest: Option<Option<i64>> = select.fetch_optional(&mut *db).await?;
            // A newer report has been worked out already.
            if newest.flatten() == Some(*report) {
                makeups::put(&mut *db, *node, kept).await?;
            }
        }
        makeups::note_left(db, self.left).await
    }
}
