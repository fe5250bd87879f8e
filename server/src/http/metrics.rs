//! `GET /metrics`: what is counted, and what there is now, in Prometheus' text format. docs/OPERATORS.md has all names.

use axum::extract::State as Handle;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::http::State;
use crate::http::problem::Failure;
use crate::metrics::text::{MEDIA_TYPE, Text};
use crate::store::sql::{self, Pool};
use crate::store::{self, history, list, now_ms};
use crate::tls::{Files, expiry};

/// States of nodes that are always shown.
const STATES: [&str; 3] = ["normal", "held", "pending"];
/// Microseconds of a second.
const SECOND: f64 = 1e6;

/// Writes all metrics.
///
/// # Errors
/// When the database fails.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain"))
)]
pub async fn metrics(Handle(state): Handle<State>) -> Result<Response, Failure> {
    let mut text = Text::default();
    text.head("mk_build_info", "gauge", "Always 1; the version is a label.");
    text.value("mk_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    nodes(&mut text, &state).await?;
    counted(&mut text, &state);
    let newest = history::newest_event(&mut state.store.readers.acquire().await.map_err(anyhow::Error::new)?).await?;
    text.single("mk_events_total", "counter", "Events that were written since the database was made.", newest);
    let bytes = database_bytes(&state).await?;
    text.single("mk_database_bytes", "gauge", "Size of the database's files, its journal too.", bytes);
    let waiting = state.waits.count();
    text.single("mk_waiting_nodes", "gauge", "Nodes whose question waits for a command.", waiting);
    if let Some(end) = state.https_port.and_then(|_| expiry::end(&Files::of(&state.data).certificate()).ok()) {
        let help = "When the server's certificate ends, in seconds since 1970; absent without one.";
        text.single("mk_certificate_not_after_seconds", "gauge", help, end.unix_timestamp());
    }
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text.end()).into_response())
}

/// Nodes by state, and how many are silent.
async fn nodes(text: &mut Text, state: &State) -> anyhow::Result<()> {
    let db = &state.store.readers;
    let by_state = "SELECT state, count(*) FROM nodes GROUP BY state";
    let by_state: Vec<(String, i64)> = sql::query_as(by_state).fetch_all(db).await?;
    text.head("mk_nodes", "gauge", "Nodes by state.");
    let others = by_state.iter().map(|(word, _)| word.as_str()).filter(|word| !STATES.contains(word));
    for word in STATES.into_iter().chain(others) {
        let count = by_state.iter().find(|(state, _)| state == word).map_or(0, |(_, count)| *count);
        text.value("mk_nodes", &[("state", word)], count);
    }
    let silence = list::Silence { now: now_ms(), usual_s: state.config.checkin_interval };
    let silent = list::counts(db, silence).await?.silent;
    text.single(
        "mk_silent_nodes",
        "gauge",
        "Nodes that were not heard for three of their intervals, or never.",
        silent,
    );
    Ok(())
}

/// What was counted since the server started.
fn counted(text: &mut Text, state: &State) {
    let (metrics, writer) = (&state.metrics, &state.store.writer);
    text.head("mk_checkins_total", "counter", "Check-ins at /svc/checkin by result.");
    for (result, count) in metrics.checkins() {
        text.value("mk_checkins_total", &[("result", result)], count);
    }
    text.head("mk_refusals_total", "counter", "Requests that were refused, by route and the code of the answer.");
    for ((route, code), count) in metrics.refusals() {
        text.value("mk_refusals_total", &[("route", route.word()), ("code", &code)], count);
    }
    let name = "mk_request_duration_seconds";
    text.head(name, "histogram", "Time from a request's headers to its answer, by route.");
    for (route, times) in metrics.times() {
        text.histogram(name, &[("route", route.word())], times, SECOND);
    }
    text.single("mk_writer_queue", "gauge", "Changes that wait for the database's writer.", writer.queued());
    text.head("mk_commit_group_size", "histogram", "Changes in one commit.");
    text.histogram("mk_commit_group_size", &[], writer.groups(), 1.0);
}

async fn database_bytes(state: &State) -> anyhow::Result<i64> {
    if let db @ Pool::Postgres(_) = &state.store.readers {
        return Ok(sql::query_scalar("SELECT pg_database_size(current_database())").fetch_one(db).await?);
    }
    let size = |suffix: &str| {
        let file = state.data.join(format!("{}{suffix}", store::FILE));
        std::fs::metadata(file).map_or(0, |metadata| metadata.len())
    };
    Ok(i64::try_from(size("") + size("-wal"))?)
}
