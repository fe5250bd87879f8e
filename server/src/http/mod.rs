//! HTTP: `/svc` for machines, `/api` for operators, `/healthz`. Handlers read a request, hand it to [`crate::registry`] or
//! [`crate::store`], and write the answer; what they decide by themselves is pure and tested beside them.

pub mod access;
pub mod api;
pub mod boot;
pub mod checkin;
pub mod commands;
pub mod images;
pub mod ipxe;
pub mod listen;
pub mod message;
pub mod problem;
pub mod query;
pub mod svc;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use wire::routes;

use crate::config::Config;
use crate::image::Images;
use crate::store::Store;

/// What every handler works with.
#[derive(Debug, Clone)]
pub struct State {
    /// Settings in force.
    pub config: Arc<Config>,
    /// The database.
    pub store: Store,
    /// What machines boot.
    pub images: Images,
}

/// All routes.
pub fn router(state: State) -> Router {
    let svc = Router::new()
        .route(routes::HELLO, get(svc::hello))
        .route(routes::BOOT, get(boot::boot))
        .route("/svc/boot/why", get(boot::why))
        .route(routes::NODE_ID, get(boot::node_id))
        .route(routes::CHECKIN, post(checkin::without_id))
        .route("/svc/checkin/{id}", post(checkin::with_id))
        .route("/svc/log/{id}", get(svc::log))
        .route("/svc/repo/{*path}", get(images::repo))
        .route(routes::BOOTSTRAP, get(boot::bootstrap))
        .route("/healthz", get(svc::health));
    let api = Router::new()
        .route("/api/collections/nodes", get(api::nodes))
        .route("/api/collections/nodes/{name}", get(api::node))
        .route("/api/collections/nodes/{name}/log", get(api::log))
        .route("/api/collections/nodes/{name}/reports", get(api::reports))
        .route("/api/collections/nodes/{name}/reports/{id}", get(api::report))
        .route("/api/collections/images", get(images::list).post(images::add))
        .route("/api/commands/use-image", post(images::choose))
        .route("/api/commands/reinstall-node", post(commands::reinstall_node))
        .layer(axum::middleware::from_fn(access::local_only));
    svc.merge(api).fallback(svc::no_route).method_not_allowed_fallback(svc::wrong_method).with_state(state)
}
