//! Accepting connections, with the limits that keep slow or many clients from starving the others: time for the headers,
//! size of the request line and headers, time without taking what is sent, number of connections, in all and from one source
//! ([`Room`]). Stops in order when told to.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use wire::limits::{MAX_HEADERS, MAX_URI};
use wire::routes::HTTP_PORT;

use crate::http::base::Scheme;
use crate::http::peer::{Doors, Entered};
use crate::limits::{
    ACCEPT_PAUSE, BACKLOG, CONNECTION_FILES, CROWD_PAUSE, DRAIN_TIMEOUT, HEADER_TIMEOUT, MAX_CONNECTIONS, OTHER_FILES,
    STALL_TIMEOUT,
};

/// Room for connections, on all ports together.
#[derive(Debug, Clone)]
pub struct Room {
    doors: Doors,
    /// When the log last said that there was none for somebody, and how many it kept quiet about since.
    quiet: Arc<Mutex<(Option<Instant>, u64)>>,
}

impl Room {
    /// As much as this process may have open files for. Systems start programs with few, and let them ask for more.
    #[must_use]
    pub fn of_process() -> Self {
        let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, hard)| {
            match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
                Ok(()) => hard,
                Err(_) => soft,
            }
        });
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        let all = (files.saturating_sub(OTHER_FILES) / CONNECTION_FILES).clamp(1, MAX_CONNECTIONS);
        if all < MAX_CONNECTIONS {
            tracing::warn!(
                "takes {all} connections at a time and not {MAX_CONNECTIONS}: this process may open {files} files; raise its \
                 limit (LimitNOFILE of systemd, ulimit -n) if there are more machines than that"
            );
        }
        Self { doors: Doors::new(all), quiet: Arc::default() }
    }

    /// Connections that there is room for.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.doors.room()
    }

    /// Lets a connection in. Without room it is closed at once, so that clients try again later instead of waiting here.
    fn enter(&self, peer: SocketAddr) -> Option<Entered> {
        let entered = self.doors.enter(peer.ip());
        if entered.is_none() {
            self.note(peer);
        }
        entered
    }

    /// Says so in the log, but not for each: there may be thousands in a second.
    fn note(&self, peer: SocketAddr) {
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        quiet.1 += 1;
        if quiet.0.is_some_and(|last| last.elapsed() < CROWD_PAUSE) {
            return;
        }
        tracing::warn!(%peer, "closed {} connections, since their sources have as many open as there is room for; the last one", quiet.1);
        *quiet = (Some(Instant::now()), 0);
    }
}

/// Listens on `address`; without one, on the usual port of all addresses. `[::]` takes IPv4 too.
///
/// # Errors
/// When the address cannot be used; names it and says why.
pub async fn bind(address: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    if let Some(address) = address {
        return open(address).with_context(|| in_use(address));
    }
    let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, HTTP_PORT));
    match open(all) {
        // A kernel without IPv6.
        Err(error)
            if error.kind() == ErrorKind::AddrNotAvailable
                || error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) =>
        {
            let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, HTTP_PORT));
            open(all).with_context(|| in_use(all))
        }
        opened => opened.with_context(|| in_use(all)),
    }
}

/// Listens on another port of the same address, which `option` of the command line chooses.
///
/// # Errors
/// When it cannot be used; names it and says why.
pub fn bind_beside(address: SocketAddr, port: u16, option: &str) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(address.ip(), port);
    open(address).with_context(|| {
        format!("cannot listen on {address}; another program may have the port, choose one with {option} PORT")
    })
}

fn in_use(address: SocketAddr) -> String {
    format!("cannot listen on {address}; another program may have the port, choose one with --listen ADDR:PORT")
}

fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        // Whatever net.ipv6.bindv6only says.
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Ipv6V6Only, &false)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop` is done, then lets running requests end. With `tls`, nothing else is spoken.
pub async fn run(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    room: Room,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener) => accepted,
        };
        let Some(entered) = room.enter(peer) else { continue };
        let (watcher, tls, router) = (graceful.watcher(), tls.clone(), router.clone());
        tokio::spawn(async move {
            if let Err(why) = converse(stream, peer, tls, router, watcher).await {
                tracing::debug!(%peer, "connection: {why:#}");
            }
            drop(entered);
        });
    }
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still running after {} s", DRAIN_TIMEOUT.as_secs());
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, from its hello to its end.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    watcher: Watcher,
) -> anyhow::Result<()> {
    // A small answer shall not wait for an acknowledgement; where that cannot be set it is only slower.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, "TCP_NODELAY: {error}");
    }
    // Who takes nothing of what it is sent would keep its connection for ever.
    let mut stream = Box::pin(TimeoutStream::new(stream));
    stream.as_mut().set_write_timeout_pinned(Some(STALL_TIMEOUT));
    let ended = match tls {
        None => watcher.watch(serve(stream, peer, Scheme::Http, router)).await,
        Some(tls) => {
            let secured =
                tokio::time::timeout(HEADER_TIMEOUT, tls.accept(stream)).await.context("TLS took too long")?;
            watcher.watch(serve(secured.context("TLS")?, peer, Scheme::Https, router)).await
        }
    };
    ended.context("HTTP")
}

fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: SocketAddr,
    scheme: Scheme,
    router: Router,
) -> http1::Connection<
    TokioIo<S>,
    impl hyper::service::Service<
        Request<Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Send,
> {
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(scheme);
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_URI + MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
}
