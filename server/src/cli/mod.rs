//! The command line: `serve`, and a client of the API for everything else. Output goes to standard output, everything
//! else to standard error.

pub mod adopt;
pub mod args;
pub mod backup;
pub mod bundles;
pub mod client;
pub mod config;
pub mod enrolment;
pub mod explain;
mod history;
pub mod identity;
pub mod images;
pub mod json;
pub mod log;
pub mod manual;
pub mod nodes;
pub mod outliers;
pub mod rack;
mod setting;
pub mod show;
pub mod simulate;
pub mod table;
pub mod tls;
pub mod token;
pub mod webhooks;

use std::io::Write as _;

use anyhow::Context as _;
use serde_json::Value;

use crate::limits::SHUTDOWN_TIMEOUT;
use crate::{human, logging, serve};
use args::{Args, Command, How, Serve};
use client::Client;

/// Carries out a command.
///
/// # Errors
/// When it fails; the message says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start threads; check the limits of this user (ulimit -u)")?;
    let result = runtime.block_on(async {
        match args.command {
            Command::Serve(serve) => {
                let Serve {
                    data,
                    database,
                    config,
                    listen,
                    legacy_port,
                    https_port,
                    tce_mirror,
                    log_format,
                    log_level,
                } = serve;
                logging::begin(log_format, log_level);
                serve::run(&serve::Options { data, database, config, listen, legacy_port, https_port, tce_mirror })
                    .await
            }
            Command::Nodes { command } => nodes::run(&Client::new(&args.server)?, command).await,
            Command::Log(options) => log::run(&Client::new(&args.server)?, None, &options).await,
            Command::Conflicts(conflicts) => identity::run(&Client::new(&args.server)?, conflicts).await,
            Command::Outliers(options) => outliers::run(&Client::new(&args.server)?, options).await,
            Command::Rack { command } => rack::run(&Client::new(&args.server)?, command).await,
            Command::Config { command } => config::run(&Client::new(&args.server)?, command).await,
            Command::Explain(question) => explain::run(&Client::new(&args.server)?, question).await,
            Command::Webhooks { json } => webhooks::run(&Client::new(&args.server)?, json).await,
            Command::Adopt(options) => adopt::run(&Client::new(&args.server)?, &options).await,
            Command::Backup(options) => backup::write(&options).await,
            Command::Restore(options) => backup::restore(&options).await,
            Command::Enrolment { command } => enrolment::run(&Client::new(&args.server)?, command).await,
            Command::Token { command } => token::run(&Client::new(&args.server)?, command).await,
            Command::Tls { command } => tls::run(command),
            Command::Completions { shell } => manual::completions(shell),
            Command::Man { folder } => manual::pages(&folder),
            Command::Image { command } => images::run(&Client::new(&args.server)?, command).await,
            Command::Simulate(options) => simulate::run(&args.server, &options).await,
        }
    });
    // A mirror that is being hashed may answer slowly or never.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    result
}

/// True when the reader of the output went away, as `head` does.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |e: &std::io::Error| e.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(broken))
}

/// Gives the API a command and says what came of it, or would come of it.
async fn give(client: &Client, name: &str, mut body: Value, how: How) -> anyhow::Result<()> {
    body["dry_run"] = how.dry_run.into();
    let answer = client.command(&format!("/api/commands/{name}"), &body).await?;
    if how.json {
        return print_json(&answer);
    }
    let trial = if how.dry_run { "Trial only, nothing was changed: " } else { "" };
    print(&format!("{trial}{}\n", human::plain(answer["result"].as_str().unwrap_or_default())))
}

/// The items of a list in an answer.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text in an answer, such that it does no harm on a terminal.
fn plain(value: &Value) -> String {
    human::plain(value.as_str().unwrap_or_default()).into_owned()
}

/// Prints to standard output.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to standard output")
}

/// Prints a JSON document, readable.
fn print_json(document: &Value) -> anyhow::Result<()> {
    print(&format!("{}\n", json::pretty(document)?))
}
