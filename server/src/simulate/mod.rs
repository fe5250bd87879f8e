//! `mk-server simulate`: a fleet of made-up machines that boot from a real server and check in to it as agents do, numbered and
//! signed, and that hold it to its word: every machine keeps its id, and what was acknowledged is there when it is asked for.
//!
//! Input: where the server is, and how many machines do what. Output: figures of each phase, and what the server got wrong. It
//! fills that server's database, which [`guard`] prevents where other nodes are. [`machine`] says what machines report, [`node`] what
//! they do, [`worker`] does it over connections of [`line`], [`tally`] counts.

pub mod guard;
mod line;
mod machine;
mod node;
mod report;
mod tally;
mod worker;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::limits::{NEW_NODES_AT_ONCE, SIMULATED_MOST};
use line::Line;
use machine::Model;
use node::Node;
pub use report::Report;
use report::Spent;
use tally::Tally;
use worker::{Phase, Worker};

/// Exit status of a program that Ctrl-C has ended, as shells give it.
const INTERRUPTED: i32 = 130;

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server.
    pub server: String,
    /// Machines.
    pub nodes: u32,
    /// Number of the first one; the same numbers are the same machines.
    pub first: u32,
    /// Time between two check-ins of a machine; zero: as soon as it was answered.
    pub interval: Duration,
    /// How long they do so once all are in.
    pub duration: Duration,
    /// Of a hundred check-ins, those with a changed report.
    pub changed: u8,
    /// Least bytes of a check-in with a whole report.
    pub report_bytes: usize,
    /// Connections at a time.
    pub connections: u32,
    /// Ask for `/healthz` first, as fast as answers come and for as long.
    pub healthz: bool,
}

/// Runs a fleet.
///
/// # Errors
/// When it cannot begin. What the server gets wrong stands in the report.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let last = u64::from(options.first) + u64::from(options.nodes);
    ensure!(options.nodes > 0, "--nodes is 0; name at least one");
    ensure!(
        last <= u64::from(SIMULATED_MOST),
        "there are {SIMULATED_MOST} different machines, from 0 on; --first and --nodes go beyond"
    );
    let server = resolve(&options.server).await?;
    let models: Arc<[Model]> = machine::models(options.report_bytes)?.into();
    let mut workers = workers(options, server, &models, &stopped()?)?;
    let mut report = Report {
        nodes: options.nodes,
        report_bytes: models.iter().map(Model::bytes).min().unwrap_or(0),
        ..Report::default()
    };
    let phases = [
        Some(Phase::Healthz(options.duration)).filter(|_| options.healthz),
        Some(Phase::Arrive),
        Some(Phase::Steady { interval: options.interval, duration: options.duration, changed: options.changed }),
        Some(Phase::Audit),
    ];
    for phase in phases.into_iter().flatten() {
        let (start, spent) = (Instant::now(), Spent::now()?);
        let mut tasks = tokio::task::JoinSet::new();
        for worker in workers.drain(..) {
            tasks.spawn(worker.run(phase));
        }
        let mut all = Tally::default();
        for (worker, tally) in tasks.join_all().await {
            workers.push(worker);
            all.add(&tally);
        }
        eprintln!("{} took {:.1} s", phase.name(), start.elapsed().as_secs_f64());
        report.phases.push(report::Done {
            name: phase.name(),
            took: start.elapsed(),
            tally: all,
            spent: Spent::now()?.since(&spent),
        });
    }
    let mut ids: Vec<u64> = workers.iter().flat_map(Worker::ids).collect();
    report.take_ids(&mut ids);
    Ok(report)
}

/// Machines are dealt to connections in turn. A connection from this machine to itself comes from an address of its own, so that each
/// stands for a hall with no more machines than one source may show at once.
fn workers(
    options: &Options,
    server: (SocketAddr, String),
    models: &Arc<[Model]>,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<Vec<Worker>> {
    let (address, host) = server;
    let count = options.connections.max(options.nodes.div_ceil(NEW_NODES_AT_ONCE)).min(options.nodes);
    let nonce = random()?;
    let mut workers = Vec::new();
    for number in 0..count {
        let source = source(address.ip(), number);
        let line = Line::new(address, host.clone(), source);
        let numbers = (options.first..options.first + options.nodes).skip(number as usize).step_by(count as usize);
        let nodes: anyhow::Result<Vec<Node>> = numbers.map(|n| Node::new(n, nonce)).collect();
        workers.push(Worker::new(line, nodes?, Arc::clone(models), nonce ^ u64::from(number), stop.clone()));
    }
    Ok(workers)
}

/// Becomes true with the first Ctrl-C; the second one ends the program.
fn stopped() -> anyhow::Result<watch::Receiver<bool>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        interrupt.recv().await;
        stop.send_replace(true);
        interrupt.recv().await;
        std::process::exit(INTERRUPTED);
    });
    Ok(stopped)
}

/// An address of this machine alone for each connection, where the server is at 127.0.0.1; elsewhere the usual one.
fn source(server: IpAddr, number: u32) -> Option<IpAddr> {
    let own = Ipv4Addr::LOCALHOST.to_bits() + (1 << 16) + number;
    (server == IpAddr::V4(Ipv4Addr::LOCALHOST)).then(|| Ipv4Addr::from_bits(own).into())
}

/// Address and name of the server.
async fn resolve(url: &str) -> anyhow::Result<(SocketAddr, String)> {
    let form = || format!("the server's URL is {url:?}; it must be like http://127.0.0.1:8150 (--server or MK_SERVER)");
    let host = url.strip_prefix("http://").with_context(form)?.trim_end_matches('/');
    let with_port = if host.rsplit(']').next().is_some_and(|end| end.contains(':')) {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let mut found = tokio::net::lookup_host(&with_port).await.with_context(form)?;
    Ok((found.next().with_context(form)?, host.to_owned()))
}

/// A number that no other run has: boots of two runs are different boots.
fn random() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(u64::from_le_bytes(bytes))
}
