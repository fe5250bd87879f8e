//! Accepting connections, with the limits that keep slow or many clients from starving the others: time for the headers,
//! size of the request line and headers, number of connections. Stops in order when told to.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use wire::limits::{MAX_HEADERS, MAX_URI};

use crate::limits::{ACCEPT_PAUSE, DRAIN_TIMEOUT, HEADER_TIMEOUT, MAX_CONNECTIONS};

/// Listens on `address`.
///
/// # Errors
/// When the address cannot be used; names it and says why.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; another program may have the port, choose one with --listen ADDR:PORT")
    })
}

/// Serves until `stop` is done, then lets running requests end.
pub async fn run(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
        let connection = graceful.watch(serve(stream, peer, router.clone()));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, "connection: {error}");
            }
            drop(permit);
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

type Connection<S> = http1::Connection<TokioIo<TcpStream>, S>;

fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
) -> Connection<
    impl hyper::service::Service<
        Request<Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Send,
> {
    // A small answer shall not wait for an acknowledgement; where that cannot be set it is only slower.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, "TCP_NODELAY: {error}");
    }
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_URI + MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
}
