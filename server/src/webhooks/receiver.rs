//! One webhook: what it is sent, how that is signed, and when it is tried again.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use ring::hmac;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Hook, Trouble};
use crate::config::webhook::Webhook;
use crate::limits::{MIN_SECRET, WATCH_PAUSE, WEBHOOK_BATCH, WEBHOOK_LONGEST_PAUSE, WEBHOOK_PAUSE, WEBHOOK_TIMEOUT};
use crate::store::feed::{self, Cursor, Part, Wanted};
use crate::store::view::timestamp;
use crate::store::webhooks::{self, Acknowledge};
use crate::store::{Store, now_ms};

/// Header with `sha256=` and the HMAC-SHA256 of the body, in hexadecimal digits.
const SIGNATURE: &str = "x-razor-signature";

/// Where and how entries are sent.
#[derive(Debug)]
pub(super) struct Receiver {
    client: Client,
    key: hmac::Key,
}

impl Receiver {
    /// Reads its secret and its CA.
    pub(super) fn open(config: &Webhook) -> anyhow::Result<Self> {
        let read = |file: &std::path::Path| {
            std::fs::read(file).with_context(|| format!("cannot read {} of the webhook {}", file.display(), config.url))
        };
        let secret = read(&config.secret_file)?;
        let secret = secret.trim_ascii();
        ensure!(
            secret.len() >= MIN_SECRET,
            "the secret in {} has {} bytes; it needs at least {MIN_SECRET}, such as `openssl rand -hex 32` makes",
            config.secret_file.display(),
            secret.len()
        );
        // A second call finds a provider installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(WEBHOOK_TIMEOUT).redirect(Policy::none()).no_proxy();
        let client = match &config.ca_file {
            Some(file) => {
                let ca = Certificate::from_pem_bundle(&read(file)?);
                let ca = ca.with_context(|| format!("{} has no certificates that are understood", file.display()))?;
                client.tls_certs_only(ca)
            }
            // The system's CAs are read only where they are needed.
            None if config.url.starts_with("https:") => client,
            None => client.tls_certs_only([]),
        };
        let client = client.build().with_context(|| format!("cannot set up HTTP for the webhook {}", config.url))?;
        Ok(Self { client, key: hmac::Key::new(hmac::HMAC_SHA256, secret) })
    }

    /// Sends a body; it is acknowledged by any answer of success.
    async fn send(&self, url: &str, body: String) -> anyhow::Result<()> {
        let tag: String = hmac::sign(&self.key, body.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let request = self.client.post(url).header("content-type", "application/json");
        let answer = request.header(SIGNATURE, format!("sha256={tag}")).body(body).send().await;
        let status = answer.map_err(|error| anyhow::anyhow!("{}", crate::cli::client::innermost(&error)))?.status();
        if status.is_redirection() {
            bail!("it answered {status}; redirections are not followed, so name the URL that takes the entries");
        }
        ensure!(status.is_success(), "it answered {status}");
        Ok(())
    }
}

/// What became of one look.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There may be more at once.
    More,
    /// There is nothing more to tell.
    Idle,
}

impl Hook {
    /// Tells the receiver what happens, for as long as the database is written.
    pub(super) async fn run(&self, store: &Store) {
        let mut commits = store.writer.commits();
        let mut place = None;
        loop {
            commits.borrow_and_update();
            match self.step(store, &mut place).await {
                Ok(Step::More) => self.set_trouble(None),
                Ok(Step::Idle) => {
                    self.set_trouble(None);
                    if commits.changed().await.is_err() {
                        return;
                    }
                    sleep(WATCH_PAUSE).await;
                }
                Err(error) => sleep(self.fail(&error)).await,
            }
        }
    }

    /// Notes a failure; gives the time until the next attempt.
    fn fail(&self, error: &anyhow::Error) -> Duration {
        let (now, former) = (now_ms(), self.trouble());
        let failures = former.as_ref().map_or(1, |t| t.failures.saturating_add(1));
        let pause = pause(failures);
        if former.is_none() {
            tracing::warn!(webhook = self.config.url, "is not told what happens, and is tried again: {error:#}");
        }
        self.set_trouble(Some(Trouble {
            since: former.map_or(now, |t| t.since),
            failures,
            error: format!("{error:#}"),
            next: now.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)),
        }));
        pause
    }

    /// Sends the next entries that concern it, if there are any.
    async fn step(&self, store: &Store, place: &mut Option<Cursor>) -> anyhow::Result<Step> {
        let url = &self.config.url;
        let from = match place {
            Some(from) => *from,
            None => webhooks::get(&store.readers, url).await?.context("it is not in the database")?.cursor,
        };
        let wanted = Wanted { node: None, since: None, part: Part::After(from), limit: WEBHOOK_BATCH };
        let mut feed = feed::read(&store.readers, &wanted).await?;
        if feed.is_lost {
            tracing::warn!(webhook = url, "is told everything again: the log was begun anew");
            let wanted = Wanted { part: Part::After(Cursor::default()), ..wanted };
            feed = feed::read(&store.readers, &wanted).await?;
        }
        let items: Vec<&Value> = feed.entries.iter().filter(|entry| self.concerns(entry)).collect();
        if !items.is_empty() {
            let (cursor, at) = (feed.last, now_ms());
            let body = json!({"cursor": cursor.to_string(), "sent": timestamp(at), "items": items});
            self.receiver.send(url, body.to_string()).await?;
            store.writer.write(Acknowledge { url: url.clone(), cursor, at }).await?;
        }
        *place = Some(feed.last);
        Ok(if feed.more { Step::More } else { Step::Idle })
    }

    fn concerns(&self, entry: &Value) -> bool {
        let kinds = &self.config.kinds;
        kinds.is_empty() || entry["entry"]["event"].as_str().is_some_and(|kind| kinds.contains(kind))
    }
}

/// Time after so many failures in a row.
fn pause(failures: u32) -> Duration {
    let doubled = WEBHOOK_PAUSE.saturating_mul(1u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
    doubled.min(WEBHOOK_LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_at_the_longest() {
        let seconds = |failures| pause(failures).as_secs();
        assert_eq!([1, 2, 3, 4, 9, 10, 33, 1000].map(seconds), [1, 2, 4, 8, 256, 300, 300, 300]);
    }
}
