//! Who watches what happens. One task reads the database for all of them: after a commit, never at any other time, and not at
//! all while nobody watches.
//!
//! A watcher joins, reads from its own place until there is no more, and goes on with the batches that come; of these it leaves
//! out what it has read already. Who lies too far behind is left behind.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;

use crate::limits::{MAX_STREAMS, WATCH_PAUSE, WATCHED_BATCH, WATCHED_BEHIND};
use crate::store::feed::{self, Cursor, Feed, Mark, Part, Wanted};
use crate::store::sql::Pool;

/// An entry, written out once for all watchers.
#[derive(Debug)]
pub struct Item {
    /// Where it stands.
    pub mark: Mark,
    /// Name of the node that it concerns.
    pub node: Option<String>,
    /// Its JSON.
    pub json: String,
}

/// Entries that came together.
#[derive(Debug)]
pub struct Batch {
    /// In order.
    pub items: Vec<Item>,
    /// The place after them.
    pub last: Cursor,
}

/// All who watch.
#[derive(Debug, Clone)]
pub struct Watchers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    readers: Pool,
    /// Up to where watchers have been told; nothing while there are none.
    place: tokio::sync::Mutex<Option<Cursor>>,
    /// Gone once the server ends.
    batches: Mutex<Option<Sender<Arc<Batch>>>>,
    room: Arc<Semaphore>,
}

/// The entries of a part of the feed.
#[must_use]
pub fn items(feed: Feed) -> Vec<Item> {
    let item = |(mark, entry): (Mark, Value)| {
        let node = entry["node"].as_str().map(str::to_owned);
        Item { mark, node, json: entry.to_string() }
    };
    feed.marks.into_iter().zip(feed.entries).map(item).collect()
}

impl Watchers {
    /// Nobody yet.
    #[must_use]
    pub fn new(readers: Pool) -> Self {
        let (batches, _) = broadcast::channel(WATCHED_BEHIND);
        let (batches, room) = (Mutex::new(Some(batches)), Arc::new(Semaphore::new(MAX_STREAMS)));
        Self(Arc::new(Inner { readers, place: tokio::sync::Mutex::default(), batches, room }))
    }

    /// A place among the watchers, for as long as it is held; nothing when there are as many as may be.
    #[must_use]
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.room).try_acquire_owned().ok()
    }

    /// All batches from now on; nothing once the server ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn join(&self) -> anyhow::Result<Option<Receiver<Arc<Batch>>>> {
        let mut place = self.0.place.lock().await;
        let Some(receiver) = self.batches().map(|batches| batches.subscribe()) else { return Ok(None) };
        if place.is_none() {
            *place = Some(feed::newest(&self.0.readers).await?);
        }
        Ok(Some(receiver))
    }

    fn batches(&self) -> Option<Sender<Arc<Batch>>> {
        self.0.batches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells everybody that watches that the server ends.
    pub fn end(&self) {
        self.0.batches.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Tells watchers what was committed, until the sender of `ended` is dropped.
    pub async fn run(&self, mut commits: watch::Receiver<u64>, mut ended: watch::Receiver<()>) {
        let telling = async {
            while commits.changed().await.is_ok() {
                if let Err(error) = self.tell().await {
                    tracing::error!("cannot read what happened for those who watch it: {error:#}");
                }
                sleep(WATCH_PAUSE).await;
            }
        };
        tokio::select! {
            () = telling => {}
            () = async { while ended.changed().await.is_ok() {} } => {}
        }
    }

    /// Reads what came since the last time, if anybody watches.
    async fn tell(&self) -> anyhow::Result<()> {
        let mut told = self.0.place.lock().await;
        let Some(batches) = self.batches().filter(|batches| batches.receiver_count() > 0) else {
            *told = None;
            return Ok(());
        };
        while let Some(place) = *told {
            let wanted = Wanted { node: None, since: None, part: Part::After(place), limit: WATCHED_BATCH };
            let feed = feed::read(&self.0.readers, &wanted).await?;
            let more = feed.more;
            *told = Some(feed.last);
            if !feed.entries.is_empty() {
                // The last watcher may just have gone.
                let _: Result<usize, _> = batches.send(Arc::new(Batch { last: feed.last, items: items(feed) }));
            }
            if !more {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sqlx::sqlite::SqlitePoolOptions;

    use super::*;
    use crate::store::history;

    async fn happens(watchers: &Watchers, msg: &str) {
        let mut db = watchers.0.readers.acquire().await.unwrap();
        history::event(&mut db, 0, "x", None, &json!({"msg": msg})).await.unwrap();
    }

    #[tokio::test]
    async fn watchers_share_one_read_and_without_any_nothing_is_read() {
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let db = pool.connect("sqlite::memory:").await.unwrap();
        sqlx::migrate!("./migrations").run(&db).await.unwrap();
        let watchers = Watchers::new(Pool::Sqlite(db));
        happens(&watchers, "before anybody watched").await;
        watchers.tell().await.unwrap();
        assert_eq!(*watchers.0.place.lock().await, None);

        let (mut one, mut two) = (watchers.join().await.unwrap().unwrap(), watchers.join().await.unwrap().unwrap());
        happens(&watchers, "news").await;
        watchers.tell().await.unwrap();
        let (first, second) = (one.recv().await.unwrap(), two.recv().await.unwrap());
        assert!(
            Arc::ptr_eq(&first, &second) && first.items.len() == 1 && first.items[0].json.contains("news"),
            "{first:?}"
        );
        watchers.tell().await.unwrap();
        assert!(one.is_empty(), "nothing is told twice");

        drop((one, two));
        watchers.tell().await.unwrap();
        assert_eq!(*watchers.0.place.lock().await, None);
        watchers.end();
        assert!(watchers.join().await.unwrap().is_none());
    }
}
