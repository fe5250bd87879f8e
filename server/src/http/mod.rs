//! HTTP: `/svc` for machines, `/api` and the pages for operators, `/healthz`. Handlers read a request, hand it to [`crate::registry`] or
//! [`crate::store`], and write the answer; what they decide by themselves is pure and tested beside them.

pub mod access;
pub mod adopt;
pub mod api;
pub mod base;
pub mod body;
pub mod boot;
pub mod bundle;
pub mod checkin;
pub mod configs;
pub mod conflicts;
pub mod differ;
pub mod explain;
pub mod extension;
pub mod image_page;
pub mod images;
pub mod ipxe;
pub mod legacy;
pub mod listen;
pub mod login;
pub mod measure;
pub mod message;
pub mod metrics;
pub mod openapi;
pub mod operate;
pub mod outliers;
pub mod page;
pub mod peer;
pub mod problem;
pub mod query;
pub mod rack;
pub mod stream;
pub mod svc;
pub mod wait;
pub mod webhooks;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use wire::routes;

use crate::bundles::Bundles;
use crate::config::Config;
use crate::image::Images;
use crate::limits::MAX_RACK_BODY;
use crate::metrics::Metrics;
use crate::mirror::Hashing;
use crate::newcomers::Newcomers;
use crate::page::{ICON_PATH, LOGIN_PATH, LOGOUT_PATH, SCRIPT_PATH, STYLE_PATH};
use crate::registry::racks::Racks;
use crate::registry::unchanged::Unchanged;
use crate::store::Store;
use crate::waits::Waits;
use crate::watchers::Watchers;
use crate::webhooks::Webhooks;

/// What every handler works with.
#[derive(Debug, Clone)]
pub struct State {
    /// Settings in force.
    pub config: Arc<Config>,
    /// The database.
    pub store: Store,
    /// The data folder.
    pub data: Arc<Path>,
    /// What machines boot.
    pub images: Images,
    /// Tree of the mirror of extensions, `RELEASE/ARCH/tcz/NAME.tcz`.
    pub mirror: Arc<Path>,
    /// Where this server reaches itself, such as `http://127.0.0.1:8150`.
    pub own_url: Arc<str>,
    /// Hashes what nodes are to load from mirrors.
    pub hashing: Hashing,
    /// Memory for bodies of check-ins and bundles.
    pub bodies: body::Budget,
    /// Who made nodes lately.
    pub newcomers: Newcomers,
    /// Files of bundles.
    pub bundles: Bundles,
    /// Check-ins that say nothing new.
    pub unchanged: Unchanged,
    /// Nodes that wait to be told something.
    pub waits: Waits,
    /// Who sent wrong tokens lately.
    pub attempts: access::attempts::Attempts,
    /// Port for TLS, where there is a certificate.
    pub https_port: Option<u16>,
    /// What is counted.
    pub metrics: Metrics,
    /// Who watches what happens.
    pub watchers: Watchers,
    /// Who is told what happens.
    pub webhooks: Webhooks,
    /// Which machines are expected.
    pub racks: Racks,
}

/// Only what images of the Tiny Core era call, for the port that is built into them.
pub fn legacy_router(state: State) -> Router {
    let measured = from_fn_with_state(state.clone(), measure::measure);
    let routes = legacy::routes().fallback(svc::no_route).method_not_allowed_fallback(svc::wrong_method);
    routes.layer(measured).with_state(state)
}

/// All routes.
pub fn router(state: State) -> Router {
    let pages = Router::new()
        .route("/", get(page::home))
        .route("/nodes", get(page::nodes))
        .route("/log", get(page::all_logs))
        .route("/images", get(image_page::list))
        .route("/images/use", get(image_page::ask).post(image_page::apply))
        .route("/conflicts", get(conflicts::list))
        .route("/outliers", get(outliers::list))
        .route("/rack", get(rack::list))
        .route("/conflicts/remedy", get(conflicts::ask).post(conflicts::apply))
        .route("/nodes/{name}", get(page::node))
        .route("/nodes/{name}/log", get(page::log))
        .route("/nodes/{name}/reports", get(differ::reports_page))
        .route("/nodes/{name}/diff", get(differ::diff_page))
        .route(LOGIN_PATH, get(login::form).post(login::log_in))
        .route(LOGOUT_PATH, post(login::log_out));
    // They say nothing about machines, and a refusal is to be readable too.
    let assets = Router::new()
        .route(STYLE_PATH, get(page::style))
        .route(SCRIPT_PATH, get(page::script))
        .route(ICON_PATH, get(page::icon));
    svc_routes()
        .merge(api_routes())
        .merge(pages)
        .merge(assets)
        .fallback(svc::no_route)
        .method_not_allowed_fallback(svc::wrong_method)
        // Whatever is added above is guarded and counted by these.
        .layer(from_fn_with_state(state.clone(), access::guard))
        .layer(from_fn_with_state(state.clone(), measure::measure))
        .layer(axum::middleware::map_response(problem::in_json))
        .with_state(state)
}

/// What machines call, and whoever watches the server.
fn svc_routes() -> Router<State> {
    Router::new()
        .route(routes::HELLO, get(svc::hello))
        .route(routes::BOOT, get(boot::boot))
        .route("/svc/boot/why", get(boot::why))
        .route(routes::NODE_ID, get(boot::node_id))
        .route(routes::CHECKIN, post(checkin::without_id))
        .route("/svc/checkin/{id}", post(checkin::with_id))
        .route("/svc/bundle/{id}", post(bundle::add))
        .route("/svc/log/{id}", get(svc::log))
        .route("/svc/wait/{id}", get(wait::wait))
        .route("/svc/mk/extension.zip", get(extension::zip))
        .route("/svc/repo/{*path}", get(images::repo))
        .route(routes::BOOTSTRAP, get(boot::bootstrap))
        .route("/healthz", get(svc::health))
        .route(openapi::PATH, get(openapi::serve))
}

/// What operators call.
fn api_routes() -> Router<State> {
    Router::new()
        .route("/api", get(api::root))
        .route("/api/collections/nodes", get(api::nodes))
        .route("/api/collections/nodes/{name}", get(api::node))
        .route("/api/collections/nodes/{name}/log", get(api::log))
        .route("/api/collections/nodes/{name}/reports", get(api::reports))
        .route("/api/collections/nodes/{name}/reports/{id}", get(api::report))
        .route("/api/collections/nodes/{name}/diff", get(differ::diff))
        .route("/api/collections/nodes/{name}/bundles", get(bundle::list))
        .route("/api/collections/nodes/{name}/bundles/{command}", get(bundle::get))
        .route("/api/collections/events", get(api::events))
        .route("/api/collections/webhooks", get(webhooks::list))
        .route("/api/collections/images", get(images::list).post(images::add))
        .route("/api/commands/use-image", post(images::choose))
        .route("/api/commands/adopt-nodes", post(adopt::adopt))
        .route("/api/commands/set-rack", post(rack::set).layer(DefaultBodyLimit::max(MAX_RACK_BODY)))
        .route("/api/commands/unset-rack", post(rack::unset))
        .route("/api/collections/rack", get(rack::collection))
        .route("/api/commands/{name}", post(operate::command))
        .route("/api/collections/conflicts", get(operate::conflicts))
        .route("/api/collections/outliers", get(outliers::collection))
        .route("/api/collections/enrolment-tokens", get(operate::enrolment_tokens))
        .route("/api/collections/tokens", get(operate::tokens))
        .route("/api/collections/config", get(configs::config))
        .route("/api/explain", get(explain::explain))
        .route("/metrics", get(metrics::metrics))
}
