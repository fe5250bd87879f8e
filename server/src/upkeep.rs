//! What the server does by itself: it follows the system's clock, ends commands whose time is over, forgets nodes of which there
//! are too many, deletes reports that are not kept any more, and after an upgrade works out what nodes are made of. Each part of it is a
//! transaction of its own, so that check-ins come between.

use tokio::sync::watch::Receiver;
use tokio::time::sleep;

use crate::config::History;
use crate::limits::{CLOCK_LOOK, EXPIRY_PAUSE, SWEEP_PAUSE};
use crate::registry::makeups;
use crate::registry::queue::Expire;
use crate::registry::unheard::Forget;
use crate::store::{Store, clock, now_ms, retention};

/// Does so until the sender is dropped. What fails is said in the log, and tried again.
pub async fn run(store: Store, history: History, mut ended: Receiver<()>) {
    let clock = async {
        loop {
            sleep(CLOCK_LOOK).await;
            if let Err(error) = clock::follow(&store).await {
                tracing::error!("cannot follow the clock: {error:#}");
            }
        }
    };
    let tidying = async {
        loop {
            if let Err(error) = fill_all(&store).await {
                tracing::error!("cannot work out what nodes are made of: {error:#}");
            }
            sleep(EXPIRY_PAUSE).await;
            if let Err(error) = expire_all(&store).await {
                tracing::error!("cannot end commands whose time is over: {error:#}");
            }
            if let Err(error) = forget_all(&store).await {
                tracing::error!("cannot forget nodes that never checked in: {error:#}");
            }
        }
    };
    let sweeping = async {
        // Not while all machines come back at once.
        sleep(EXPIRY_PAUSE).await;
        loop {
            match retention::sweep(&store, history, now_ms()).await {
                Ok((0, 0)) => {}
                Ok((reports, contents)) => {
                    tracing::info!("deleted {reports} reports that are not kept any more, and {contents} contents");
                }
                Err(error) => tracing::error!("cannot delete reports that are not kept any more: {error:#}"),
            }
            sleep(SWEEP_PAUSE).await;
        }
    };
    tokio::select! {
        () = clock => {}
        () = tidying => {}
        () = sweeping => {}
        () = async { while ended.changed().await.is_ok() {} } => {}
    }
}

async fn fill_all(store: &Store) -> anyhow::Result<()> {
    while makeups::fill(store).await? {}
    Ok(())
}

async fn expire_all(store: &Store) -> anyhow::Result<()> {
    while store.writer.write(Expire { now: now_ms() }).await? {}
    Ok(())
}

async fn forget_all(store: &Store) -> anyhow::Result<()> {
    while store.writer.write(Forget::at(now_ms())).await? {}
    Ok(())
}
