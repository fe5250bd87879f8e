//! `[[webhook]]` of `config.toml`: who is told what happens.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use reqwest::Url;
use serde::Deserialize;

use crate::limits::MAX_WEBHOOKS;

/// A receiver.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where entries are sent.
    pub url: String,
    /// File with the secret that requests are signed with.
    pub secret_file: PathBuf,
    /// Kinds of entries that are sent, by their `event`; all without any.
    #[serde(default)]
    pub kinds: BTreeSet<String>,
    /// Certificates of the only CAs that the receiver's certificate may be of; without it, those of the system.
    pub ca_file: Option<PathBuf>,
}

/// Checks them all.
///
/// # Errors
/// Names the one that cannot be used.
pub fn check(webhooks: &[Webhook]) -> anyhow::Result<()> {
    ensure!(webhooks.len() <= MAX_WEBHOOKS, "there are {} webhooks; at most {MAX_WEBHOOKS} are served", webhooks.len());
    for (index, hook) in webhooks.iter().enumerate() {
        let url = Url::parse(&hook.url).with_context(|| format!("webhook.url is {:?}, which is no URL", hook.url))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => bail!("webhook.url is {:?}; it must begin with http:// or https://, not {other}:", hook.url),
        };
        ensure!(
            tls || hook.ca_file.is_none(),
            "webhook.ca_file is given for {:?}, which has no certificate; it must begin with https://",
            hook.url
        );
        ensure!(
            webhooks[..index].iter().all(|other| other.url != hook.url),
            "two webhooks have the url {:?}; each is known by its URL",
            hook.url
        );
    }
    Ok(())
}
