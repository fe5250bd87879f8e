//! The unit `control`: what the node says of itself on 127.0.0.1:2156, and the original's `POST /setMkConfig`.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | what `mk-agent status` prints |
//! | `GET /status` | all state files as one JSON object |
//! | `GET /facts` | flat facts; with `?inventory` the typed inventory. The site's programs are not run for it |
//! | `GET /logs` | last lines of every unit as plain text; with `?unit=NAME` of one |
//! | `POST /setMkConfig` | takes this configuration, from root alone; see [`push`] |
//!
//! Anybody on the machine may read here, and nobody but root changes anything.

pub(crate) mod peer;
pub(crate) mod push;

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use wire::error::Problem;
use wire::routes::CONTROL_PORT;

use crate::checkin::Pushed;
use crate::init::client::{self, Reply, Request};
use crate::limits::CONFIG_BODY;
use crate::settings::Settings;
use crate::state::{Checkin, Devices, Extensions, Net, Published as _, Units, uptime};
use crate::tree::Tree;
use crate::{cli, facts, loopback};

/// Runs the unit until it is told to stop.
///
/// # Errors
/// A port that is taken already is named.
pub(crate) fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = loopback::listen(CONTROL_PORT).await?;
        tracing::info!("status on http://127.0.0.1:{CONTROL_PORT}/");
        client::ready();
        loopback::serve(listener, routes()).await;
        Ok(())
    })
}

fn routes() -> Router {
    Router::new()
        .route("/", get(async || blocking(summary).await))
        .route("/status", get(async || blocking(|| Json(status()).into_response()).await))
        .route("/facts", get(async |query| blocking(move || facts_of(&query)).await))
        .route("/logs", get(async |query| blocking(move || logs(&query)).await))
        .route("/setMkConfig", post(push::set_config).layer(DefaultBodyLimit::max(CONFIG_BODY)))
        .fallback(async || {
            let error = format!("127.0.0.1:{CONTROL_PORT} has no such path");
            let remedy = "GET /, /status, /facts, /facts?inventory or /logs; POST /setMkConfig.";
            refusal(StatusCode::NOT_FOUND, &Problem::new("not_found", error, remedy))
        })
}

/// Runs what reads files or sockets beside the connections.
async fn blocking(work: impl FnOnce() -> Response + Send + 'static) -> Response {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let problem = Problem::new("failed", format!("the answer could not be made: {error}"), "See GET /logs.");
        refusal(StatusCode::INTERNAL_SERVER_ERROR, &problem)
    })
}

fn text(text: String) -> Response {
    ([("content-type", "text/plain; charset=utf-8")], text).into_response()
}

fn refusal(status: StatusCode, problem: &Problem) -> Response {
    (status, Json(problem)).into_response()
}

/// The node's state for people.
fn summary() -> Response {
    match cli::status_text() {
        Ok(status) => text(status),
        Err(error) => {
            let remedy = "See GET /status for what the units have published by themselves.";
            refusal(StatusCode::SERVICE_UNAVAILABLE, &Problem::new("no_supervisor", format!("{error:#}"), remedy))
        }
    }
}

/// All state files; `null` for a unit that has published nothing yet.
fn status() -> serde_json::Value {
    let settings = Settings::load();
    json!({
        "agent": env!("CARGO_PKG_VERSION"),
        "uptime_s": uptime(),
        "image": settings.image,
        "problems": settings.problems,
        "units": Units::read(),
        "devices": Devices::read(),
        "ext": Extensions::read(),
        "net": Net::read(),
        "checkin": Checkin::read(),
        "config": Pushed::read(),
        "facts": facts::Told::read(),
    })
}

/// Query of `/facts`.
#[derive(Deserialize)]
struct FactsQuery {
    /// Present, with any value: the typed inventory is wanted.
    inventory: Option<String>,
}

fn facts_of(Query(query): &Query<FactsQuery>) -> Response {
    let inventory = facts::collect(&Tree::live(), facts::Asker::Control);
    match query.inventory {
        Some(_) => Json(inventory).into_response(),
        None => Json(wire::facts::flatten(&inventory)).into_response(),
    }
}

/// Query of `/logs`.
#[derive(Deserialize)]
struct LogsQuery {
    /// Only this unit's lines.
    unit: Option<String>,
}

fn logs(Query(query): &Query<LogsQuery>) -> Response {
    let units = match &query.unit {
        Some(unit) => vec![unit.clone()],
        None => Units::read().unwrap_or_default().units.into_iter().map(|unit| unit.name).collect(),
    };
    let mut all = String::new();
    for unit in units {
        match client::request(&Request::Logs(unit.clone())) {
            Ok(Reply::Lines(lines)) => lines.iter().for_each(|line| all.push_str(&format!("{unit}: {line}\n"))),
            Ok(Reply::Accepted | Reply::Skipped(_) | Reply::Refused(_)) => {}
            Err(error) => {
                let problem = Problem::new("no_logs", format!("{error:#}"), "See GET /status for the units there are.");
                return refusal(StatusCode::BAD_GATEWAY, &problem);
            }
        }
    }
    text(all)
}

#[cfg(test)]
mod tests;
