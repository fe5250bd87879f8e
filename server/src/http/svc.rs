//! Small endpoints: hello, health, a node's own log lines, and what is answered where there is no route.

use axum::Json;
use axum::extract::{Path, Query, State as Handle};
use axum::http::{Method, StatusCode, Uri};
use serde_json::{Value, json};
use wire::checkin::Hello;

use crate::health;
use crate::http::State;
use crate::http::problem::Failure;
use crate::http::query::Pairs;
use crate::limits::{MAX_LOG_MESSAGE, STRAY_LOG_PAUSE};
use crate::registry::Refusal;
use crate::store::sql::{self, Connection};
use crate::store::writer::Work;
use crate::store::{history, nodes, now_ms};

/// `GET /svc/hello`.
#[utoipa::path(get, path = "/svc/hello", responses((status = 200, description = "Who this is", body = Object)))]
pub async fn hello() -> Json<Hello> {
    Json(Hello {
        service: Hello::SERVICE.to_owned(),
        protocol: Hello::PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// `GET /healthz`: answers while the database can be read and written, and its disk has room.
///
/// # Errors
/// When that is not so.
#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "All is well", body = Object)))]
pub async fn health(Handle(state): Handle<State>) -> Result<Json<Value>, Failure> {
    Ok(Json(health::look(&state.store, &state.data).await?))
}

/// `GET /svc/log/{id}`: a line that a node's scripts write into its log.
///
/// # Errors
/// When there is no such node, or the line is too long.
#[utoipa::path(
    get,
    path = "/svc/log/{id}",
    params(
        ("id" = i64, Path, description = "Number of a node"),
        ("msg" = Option<String>, Query),
        ("severity" = Option<String>, Query)
    ),
    responses(
        (status = 204, description = "Written"),
        (status = 404, description = "no_such_node"),
        (status = 413, description = "too_large")
    )
)]
pub async fn log(
    Handle(state): Handle<State>,
    Path(id): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<StatusCode, Failure> {
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let message = value("msg").unwrap_or_default();
    if message.len() > MAX_LOG_MESSAGE {
        let error = format!("msg has {} bytes; at most {MAX_LOG_MESSAGE} are kept", message.len());
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error, "Send less."));
    }
    let severity = value("severity").unwrap_or_else(|| "info".to_owned());
    let line = LogLine { id: node_id(&id)?, now: now_ms(), severity, message };
    state.store.writer.write(line).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// A node's id as it stands in a URL.
///
/// # Errors
/// When it is no number.
pub fn node_id(text: &str) -> Result<i64, Refusal> {
    text.parse().map_err(|_| {
        let error = format!("{text:?} is no node id");
        Refusal::new(400, "bad_node_id", error, "Use the number that /svc/nodeid or a check-in's answer gives.")
    })
}

impl LogLine {
    /// An event says that somebody logs under an id that no node has. Not each time: anybody can ask for any number of ids,
    /// and would push all other events out.
    async fn mention(&self, db: &mut Connection) -> anyhow::Result<()> {
        const KIND: &str = "log-without-node";
        let lately = "SELECT EXISTS (SELECT 1 FROM events WHERE at > $1 AND kind = $2)";
        let pause = i64::try_from(STRAY_LOG_PAUSE.as_millis())?;
        if sql::query_scalar(lately).bind(self.now - pause).bind(KIND).fetch_one(&mut *db).await? {
            return Ok(());
        }
        let detail = json!({"error": "no such node", "id": self.id, "msg": self.message, "severity": self.severity});
        history::event(db, self.now, KIND, None, &detail).await?;
        Ok(())
    }
}

struct LogLine {
    id: i64,
    now: i64,
    severity: String,
    message: String,
}

impl Work for LogLine {
    type Output = Result<(), Refusal>;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<Self::Output> {
        let Some(id) = nodes::resolve(&mut *db, self.id).await? else {
            self.mention(db).await?;
            let error = format!("there is no node {}", self.id);
            return Ok(Err(Refusal::new(404, "no_such_node", error, "Ask /svc/nodeid for the node's id.")));
        };
        history::log_said(db, self.now, id, &self.severity, &json!({"event": "node_log", "msg": self.message})).await?;
        Ok(Ok(()))
    }
}

/// Any other path.
pub async fn no_route(uri: Uri) -> Failure {
    let error = format!("there is nothing at {}", uri.path());
    Failure::new(StatusCode::NOT_FOUND, "no_such_path", error, "Nodes are at /api/collections/nodes.")
}

/// A path with another method.
pub async fn wrong_method(method: Method, uri: Uri) -> Failure {
    let error = format!("{} does not take {method}", uri.path());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", error, "See the Allow header for what it takes.")
}
