//! Who may use `/api`: callers on this machine. Everybody else is told how to become one.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::problem::Failure;

/// Refuses callers from outside loopback.
pub async fn local_only(ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Response {
    if peer.ip().to_canonical().is_loopback() {
        return next.run(request).await;
    }
    let error = format!("/api answers only callers on the server's own machine, and this one is {}", peer.ip());
    let remedy = "Run mk-server there, or forward the port: `ssh -N -L 8150:127.0.0.1:8150 SERVER`, then use \
                  http://127.0.0.1:8150. Machines need only /svc, which is open.";
    Failure::new(StatusCode::FORBIDDEN, "not_local", error, remedy).into_response()
}
