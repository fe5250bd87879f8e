//! Accepting connections, with the limits that keep slow or many clients from starving the others: time for the headers,
//! size of the request line and headers, number of connections, in all and from one source. Stops in order when told to.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use nix::errno::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use wire::limits::{MAX_HEADERS, MAX_URI};
use wire::routes::HTTP_PORT;

use crate::http::base::Scheme;
use crate::http::peer::Doors;
use crate::limits::{ACCEPT_PAUSE, BACKLOG, DRAIN_TIMEOUT, HEADER_TIMEOUT, MAX_CONNECTIONS, MAX_PEER_CONNECTIONS};

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
pub async fn run(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let doors = Doors::new(MAX_PEER_CONNECTIONS);
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener) => accepted,
        };
        // Without room the connection is closed at once, so that clients try again later instead of waiting here.
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!(%peer, "closed a connection: {MAX_CONNECTIONS} are open");
            continue;
        };
        let Some(entered) = doors.enter(peer.ip()) else {
            tracing::debug!(%peer, "closed a connection: {MAX_PEER_CONNECTIONS} are open from there");
            continue;
        };
        let (watcher, tls, router) = (graceful.watcher(), tls.clone(), router.clone());
        tokio::spawn(async move {
            if let Err(why) = converse(stream, peer, tls, router, watcher).await {
                tracing::debug!(%peer, "connection: {why:#}");
            }
            drop((permit, entered));
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
