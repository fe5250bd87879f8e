//! HTTP on this machine's loopback, for the units `control` and `mirror`. The address is fixed here, so that no port of
//! the agent is ever open to the network.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::limits::{ACCEPT_PAUSE, LOOPBACK_CONNECTION, LOOPBACK_CONNECTIONS, LOOPBACK_HEADERS};

/// Both ends of a connection, as an extension of each request: `Extension<Option<Ends>>`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// Who asks.
    pub(crate) peer: SocketAddr,
    /// Whom.
    pub(crate) own: SocketAddr,
}

/// Listens on a port of loopback; port 0 is one that is free.
///
/// # Errors
/// Names the port.
pub(crate) async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    bound.with_context(|| format!("cannot listen on 127.0.0.1:{port}: is another mk-agent running, or is lo down?"))
}

/// Answers requests for ever. Each connection has bounded time, and there is a bounded number of them.
pub(crate) async fn serve(listener: TcpListener, router: Router) {
    let slots = Arc::new(Semaphore::new(LOOPBACK_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                // Who asks is told to those that want to know.
                let ends = stream.peer_addr().and_then(|peer| Ok(Ends { peer, own: stream.local_addr()? }));
                let router = router.clone().layer(Extension(ends.ok()));
                tokio::spawn(async move {
                    connection(stream, router).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection on loopback: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LOOPBACK_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(LOOPBACK_CONNECTION, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("connection on loopback: {error}"),
        Err(_) => tracing::debug!("connection on loopback closed after {} s", LOOPBACK_CONNECTION.as_secs()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
