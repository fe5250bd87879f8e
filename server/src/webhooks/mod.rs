//! Webhooks: entries of the feed, sent to whoever is configured, in order and at least once. Each has a task of its own, so that
//! one that is slow or away delays nothing else. What one has acknowledged is in the database; it goes on from there after an
//! outage, its own or the server's.

mod receiver;

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::webhook::Webhook;
use crate::store::view::timestamp;
use crate::store::{Store, webhooks};
use receiver::Receiver;

/// All webhooks.
#[derive(Debug, Clone)]
pub struct Webhooks(Arc<[Hook]>);

/// One of them, with what came of its last attempt.
#[derive(Debug)]
struct Hook {
    config: Webhook,
    receiver: Receiver,
    trouble: Mutex<Option<Trouble>>,
}

/// A webhook that does not take what it is sent.
#[derive(Debug, Clone)]
struct Trouble {
    /// Since when, in milliseconds since 1970.
    since: i64,
    /// Attempts in a row.
    failures: u32,
    /// What came of the last one.
    error: String,
    /// When the next one is.
    next: i64,
}

impl Hook {
    fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<Trouble>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

impl Webhooks {
    /// Reads secrets and certificates of all that are configured.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn open(configs: &[Webhook]) -> anyhow::Result<Self> {
        let open = |config: &Webhook| {
            anyhow::Ok(Hook { receiver: Receiver::open(config)?, config: config.clone(), trouble: Mutex::default() })
        };
        Ok(Self(configs.iter().map(open).collect::<anyhow::Result<_>>()?))
    }

    /// Has new ones hear of all that happens from now on. Called before anything can.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(&self, store: &Store) -> anyhow::Result<()> {
        let urls = self.0.iter().map(|hook| hook.config.url.clone()).collect();
        store.writer.write(webhooks::Begin { urls }).await
    }

    /// Tells them what happens, until the sender of `ended` is dropped.
    pub async fn run(&self, store: Store, mut ended: watch::Receiver<()>) {
        let mut tasks = JoinSet::new();
        for index in 0..self.0.len() {
            let (hooks, store) = (Arc::clone(&self.0), store.clone());
            tasks.spawn(async move { hooks[index].run(&store).await });
        }
        while ended.changed().await.is_ok() {}
        tasks.shutdown().await;
    }

    /// How each of them is, as the API shows it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn show(&self, store: &Store) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::with_capacity(self.0.len());
        for hook in self.0.iter() {
            let known = webhooks::get(&store.readers, &hook.config.url).await?;
            let mut item = json!({
                "url": hook.config.url, "kinds": hook.config.kinds, "state": "ok",
                "cursor": known.as_ref().map(|k| k.cursor.to_string()),
                "delivered": known.and_then(|k| k.delivered).map(timestamp),
            });
            if let Some(Trouble { since, failures, error, next }) = hook.trouble() {
                item["state"] = "failing".into();
                item["failing"] =
                    json!({"since": timestamp(since), "failures": failures, "error": error, "next": timestamp(next)});
            }
            items.push(item);
        }
        Ok(items)
    }
}
