//! `mk-server serve`: start, run, stop.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use nix::fcntl::{Flock, FlockArg};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::bundles::Bundles;
use crate::config::Config;
use crate::http::access::attempts::Attempts;
use crate::http::body::Budget;
use crate::http::{self, State, listen};
use crate::image::Images;
use crate::limits::DRAIN_TIMEOUT;
use crate::metrics::Metrics;
use crate::mirror::Hashing;
use crate::narrate::Narrator;
use crate::neighbours;
use crate::newcomers::Newcomers;
use crate::ready;
use crate::registry::racks::Racks;
use crate::registry::reindex::Reindex;
use crate::registry::unchanged::Unchanged;
use crate::store::{FILE, Store};
use crate::tls::{self, Files};
use crate::upkeep;
use crate::waits::Waits;
use crate::watchers::Watchers;
use crate::webhooks::Webhooks;

/// Configuration within the data folder, used unless another file is named.
const CONFIG_FILE: &str = "config.toml";
/// Held by the server that works in the data folder; holds its process id.
pub(crate) const LOCK_FILE: &str = "lock";
/// Folder of the mirror of extensions within the data folder.
const MIRROR_FOLDER: &str = "tce";

/// What to serve, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder.
    pub data: PathBuf,
    /// URL of a PostgreSQL database; without one, a file in the data folder.
    pub database: Option<String>,
    /// The configuration; without one, `config.toml` in the data folder if it is there.
    pub config: Option<PathBuf>,
    /// Address and port; port 0 takes a free one. Without it the usual port on all addresses.
    pub listen: Option<SocketAddr>,
    /// Port for images of the Tiny Core era, at the same address; 0 takes a free one.
    pub legacy_port: Option<u16>,
    /// Port for TLS, at the same address, where there is a certificate; 0 takes a free one.
    pub https_port: u16,
    /// Tree of the mirror of extensions; without it, `tce` in the data folder.
    pub tce_mirror: Option<PathBuf>,
}

/// Serves until SIGTERM or SIGINT. The first line on standard output is `listening on http://ADDR:PORT`; where there is a certificate,
/// the second is the same with `https`.
///
/// # Errors
/// When the server cannot start; says why and what to do.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let data = &options.data;
    // Inventories are nobody's business but the operator's.
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.with_context(|| format!("cannot make the data folder {}", data.display()))?;
    let lock = lock(data)?;
    let beside = Some(data.join(CONFIG_FILE)).filter(|f| f.exists());
    let config = Arc::new(Config::load(options.config.as_deref().or(beside.as_deref()))?);
    let webhooks = Webhooks::open(&config.webhooks)?;
    let images = Images::open(data)?;
    let tls = tls::acceptor::acceptor(&Files::of(data))?;
    let Listeners { main, here, legacy, https } = listeners(options, tls.is_some()).await?;
    let address = main.local_addr().context("the listener has no address")?;
    // Only once it can listen: the database counts the starts. Who comes meanwhile waits to be accepted.
    let bundles = Bundles::open(data)?;
    let (store, mut writing) = open(options, &config).await?;
    let narrator = Narrator::begin(store.clone()).await?;
    webhooks.begin(&store).await?;
    let mut signals = Signals::new()?;
    announce(address, legacy.as_ref(), https.as_ref())?;
    let room = listen::Room::of_process();
    let waits = Waits::beside(room.connections());
    let watchers = Watchers::new(store.readers.clone());
    let stop = async {
        tokio::select! {
            () = signals.wait() => tracing::info!("stopping"),
            // Without it nothing could be stored: whoever watches over this process shall start it anew.
            _ = &mut writing => tracing::error!("stopping, since the database writer has ended"),
        }
        // Nobody shall wait for them.
        waits.end();
        watchers.end();
    };
    let parts = Parts { images, bundles, waits: waits.clone(), watchers: watchers.clone(), webhooks: webhooks.clone() };
    let state = state(options, (address, https.as_ref()), config, &store, parts)?;
    http::bundle::tidy(&state).await;
    // The other listeners end with the first: its end drops the sender.
    let (running, ended) = tokio::sync::watch::channel(());
    let beside = |listener: Option<TcpListener>, tls, router| {
        let (mut ended, room) = (ended.clone(), room.clone());
        async move {
            if let Some(listener) = listener {
                listen::run(listener, tls, router, room, async { while ended.changed().await.is_ok() {} }).await;
            }
        }
    };
    let here = beside(here, None, http::router(state.clone()));
    let legacy = beside(legacy, None, http::legacy_router(state.clone()));
    let ending = tls::expiry::watch(https.as_ref().map(|_| Files::of(data)), ended.clone());
    let https = beside(https, tls, http::router(state.clone()));
    let upkeep = upkeep::run(store.clone(), state.config.history, ended.clone());
    let neighbours = neighbours::hear(store.readers.clone(), waits.clone(), ended.clone());
    let narrating = narrator.run(ended.clone());
    let watching = watchers.run(store.writer.commits(), ended.clone());
    let telling = webhooks.run(store.clone(), ended.clone());
    let main = async {
        listen::run(main, None, http::router(state.clone()), room.clone(), stop).await;
        drop(running);
    };
    tokio::join!(main, here, legacy, https, upkeep, neighbours, watching, telling, ending, narrating);
    drop(state);
    let closed = close(store, writing).await;
    drop(lock);
    closed
}

/// What tells the server to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        Ok(Self { terminate, interrupt })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What is opened once and handed to all handlers.
struct Parts {
    images: Images,
    bundles: Bundles,
    waits: Waits,
    watchers: Watchers,
    webhooks: Webhooks,
}

/// What handlers work with.
fn state(
    options: &Options,
    (address, https): (SocketAddr, Option<&TcpListener>),
    config: Arc<Config>,
    store: &Store,
    parts: Parts,
) -> anyhow::Result<State> {
    let data = &options.data;
    let https_port = https.map(|https| anyhow::Ok(https.local_addr()?.port())).transpose()?;
    let Parts { images, bundles, waits, watchers, webhooks } = parts;
    Ok(State {
        config,
        store: store.clone(),
        data: data.as_path().into(),
        images,
        mirror: options.tce_mirror.clone().unwrap_or_else(|| data.join(MIRROR_FOLDER)).into(),
        own_url: own_url(address).into(),
        hashing: Hashing::default(),
        bodies: Budget::default(),
        newcomers: Newcomers::default(),
        bundles,
        unchanged: Unchanged::default(),
        waits,
        watchers,
        webhooks,
        attempts: Attempts::default(),
        https_port,
        metrics: Metrics::default(),
        racks: Racks::default(),
    })
}

/// Closes the database once nobody uses it any more.
async fn close(store: Store, writing: JoinHandle<()>) -> anyhow::Result<()> {
    store.readers.close().await;
    if writing.is_finished() {
        bail!("the database writer ended by itself; see the log, and start the server again");
    }
    drop(store);
    // A request that outlasted the drain may still hold on to it; what it waits for is not acknowledged.
    if let Ok(ended) = tokio::time::timeout(DRAIN_TIMEOUT, writing).await {
        ended.context("the database writer failed while it closed the database")?;
    }
    Ok(())
}

/// All that the server listens on.
struct Listeners {
    main: TcpListener,
    /// The same port for operators on this machine, where the first is for one address that others reach.
    here: Option<TcpListener>,
    legacy: Option<TcpListener>,
    https: Option<TcpListener>,
}

/// Listens, also on the port for images of the Tiny Core era if there is one, and by TLS.
async fn listeners(options: &Options, has_tls: bool) -> anyhow::Result<Listeners> {
    let main = listen::bind(options.listen).await?;
    let address = main.local_addr().context("the listener has no address")?;
    let here = match address.ip() {
        ip if ip.is_unspecified() || ip.is_loopback() => None,
        _ => listen::bind(Some((Ipv4Addr::LOCALHOST, address.port()).into()))
            .await
            .inspect_err(|error| {
                tracing::warn!("operators on this machine cannot use the page and the command line: {error:#}");
            })
            .ok(),
    };
    let legacy = options.legacy_port.map(|port| listen::bind_beside(address, port, "--legacy-port")).transpose()?;
    let https = Some(options.https_port).filter(|_| has_tls);
    let https = https.map(|port| listen::bind_beside(address, port, "--https-port")).transpose()?;
    Ok(Listeners { main, here, legacy, https })
}

/// Opens the database, in step with the configuration; the task writes it.
async fn open(options: &Options, config: &Arc<Config>) -> anyhow::Result<(Store, JoinHandle<()>)> {
    let Options { data, database, .. } = options;
    let (store, writing) = match database {
        Some(_) if data.join(FILE).exists() => bail!(
            "the data folder {} has a database of its own ({FILE}), and --database names another: name another data \
             folder, or move that file away if nothing in it is wanted any more",
            data.display()
        ),
        Some(url) => Store::connect(url).await?,
        None => Store::open(data).await?,
    };
    for collision in store.writer.write(Reindex { config: Arc::clone(config), now: crate::store::now_ms() }).await? {
        tracing::warn!("match_nodes_on was changed: {collision}");
    }
    Ok((store, writing))
}

/// Where a server that listens on this address reaches itself.
fn own_url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{address}")
}

fn announce(address: SocketAddr, legacy: Option<&TcpListener>, https: Option<&TcpListener>) -> anyhow::Result<()> {
    let mut lines = format!("listening on http://{address}\n");
    if let Some(https) = https {
        lines.push_str(&format!("listening on https://{}\n", https.local_addr()?));
    }
    lines.lines().for_each(|line| tracing::info!("{line}"));
    // At once: who wants the first one only may not read on.
    let mut out = std::io::stdout().lock();
    out.write_all(lines.as_bytes()).and_then(|()| out.flush()).context("cannot write to standard output")?;
    ready::tell();
    if let Some(legacy) = legacy {
        tracing::info!("listening for images of the Tiny Core era on http://{}", legacy.local_addr()?);
    }
    Ok(())
}

/// Takes the data folder for this process alone.
fn lock(data: &Path) -> anyhow::Result<Flock<File>> {
    let path = data.join(LOCK_FILE);
    let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let file = file.with_context(|| format!("cannot write {}; check the folder's owner", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| write!(lock, "{}", std::process::id()))?;
            Ok(lock)
        }
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            bail!(
                "the data folder {} is in use by another mk-server (process {pid}); stop that one first, or name another \
                 folder with --data",
                data.display()
            )
        }
        Err((_, error)) => bail!("cannot lock {}: {error}", path.display()),
    }
}
