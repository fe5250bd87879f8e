//! `mk-server simulate`: what is asked for, and what came of it.

use std::time::Duration;

use super::args::{Remote, Simulate};
use super::client::Client;
use super::{print, print_json};
use crate::simulate::{self, Options, guard};

/// Runs a fleet against the server.
///
/// # Errors
/// When it cannot begin, or the server lost or mixed up something.
pub async fn run(server: &Remote, given: &Simulate) -> anyhow::Result<()> {
    if !given.among_real_nodes {
        guard::is_free(&Client::new(server)?).await?;
    }
    let options = Options {
        server: server.url.clone(),
        nodes: given.nodes,
        first: given.first,
        interval: Duration::from_secs_f64(given.interval),
        duration: Duration::from_secs_f64(given.duration),
        changed: given.changed,
        report_bytes: given.report_bytes,
        connections: given.connections,
        healthz: given.healthz,
    };
    let report = simulate::run(&options).await?;
    let shown = if given.json { print_json(&report.json()) } else { print(&report.text()) };
    shown?;
    report.verdict()
}
