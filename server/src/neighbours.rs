//! Servers that share a database wake each other's waiting nodes: what is told at one of them may be for a node that waits at
//! another. What is lost on the way costs the node no more than the time until its next check-in.

use sqlx::postgres::PgListener;
use tokio::sync::watch::Receiver;
use tokio::time::sleep;

use crate::limits::LISTEN_PAUSE;
use crate::store::sql::{self, Pool};
use crate::waits::Waits;

/// PostgreSQL's channel.
const CHANNEL: &str = "mk_wake";
/// What is sent for all nodes; for one it is its number.
const ALL: &str = "all";

/// There is something to tell this node, or all.
pub async fn tell(db: &Pool, node: Option<i64>) {
    if let Pool::Postgres(_) = db {
        let whom = node.map_or_else(|| ALL.to_owned(), |node| node.to_string());
        let told = sql::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(whom).execute(db).await;
        if let Err(error) = told {
            tracing::warn!("nodes that wait at other servers hear of it with their next check-in: {error}");
        }
    }
}

/// Wakes the nodes that wait here as other servers say, until the sender is dropped.
pub async fn hear(db: Pool, waits: Waits, mut ended: Receiver<()>) {
    let Pool::Postgres(pool) = db else { return };
    let hearing = async {
        loop {
            let lost = match PgListener::connect_with(&pool).await {
                Ok(listener) => wake(listener, &waits).await,
                Err(error) => error,
            };
            tracing::warn!("other servers cannot wake the nodes that wait here: {lost}");
            sleep(LISTEN_PAUSE).await;
        }
    };
    tokio::select! {
        () = hearing => {}
        () = async { while ended.changed().await.is_ok() {} } => {}
    }
}

/// Does so until the connection is lost.
async fn wake(mut listener: PgListener, waits: &Waits) -> sqlx::Error {
    if let Err(error) = listener.listen(CHANNEL).await {
        return error;
    }
    // What was told while nobody listened.
    waits.wake_all();
    loop {
        match listener.try_recv().await {
            Ok(Some(told)) => match told.payload().parse() {
                Ok(node) => waits.wake(node),
                Err(_) => waits.wake_all(),
            },
            Ok(None) => return sqlx::Error::WorkerCrashed,
            Err(error) => return error,
        }
    }
}
