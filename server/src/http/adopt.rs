//! `POST /api/commands/adopt-nodes`: takes over the nodes of a razor-server.

use axum::Json;
use axum::body::Body;
use axum::extract::State as Handle;
use axum::http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::State;
use crate::http::openapi::forms;
use crate::http::problem::Failure;
use crate::limits::{MAX_ADOPTED, UPLOAD_TIMEOUT};
use crate::registry::adopt::{Adopt, Adopted, Offered, Ready};
use crate::registry::caller::Caller;
use crate::store::now_ms;

/// The body.
#[derive(Debug, Deserialize)]
struct Asked {
    /// Nodes as a razor-server shows them with `depth=1`.
    nodes: Vec<Offered>,
    /// Only say what would come of it.
    #[serde(default)]
    dry_run: bool,
}

/// Takes over all of them, or none.
///
/// # Errors
/// When the body is too large or not of that form, or for all nodes that are in the way.
#[utoipa::path(
    post,
    path = "/api/commands/adopt-nodes",
    request_body = forms::Adopt,
    responses(
        (status = 202, description = "Taken over, or tried", body = forms::Adopted),
        (status = 400, description = "bad_json"),
        (status = 409, description = "nodes_conflict"),
        (status = 422, description = "bad_node")
    )
)]
pub async fn adopt(
    Handle(state): Handle<State>,
    caller: Caller,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let received = tokio::time::timeout(UPLOAD_TIMEOUT, Limited::new(body, MAX_ADOPTED).collect()).await;
    let received = received.map_err(|_| {
        let error = format!("the nodes did not arrive within {} s", UPLOAD_TIMEOUT.as_secs());
        Failure::new(StatusCode::REQUEST_TIMEOUT, "too_slow", error, "Send them from the server's own machine.")
    })?;
    let bytes = received.map_err(|why| {
        let error = format!("the nodes cannot be received, of which at most {MAX_ADOPTED} bytes are taken: {why}");
        Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            error,
            "Send them in parts, those with the lowest numbers first.",
        )
    })?;
    let config = state.config.clone();
    let read = tokio::task::spawn_blocking(move || {
        let asked: Asked = serde_json::from_slice(&bytes.to_bytes()).map_err(|why| {
            let remedy = "Send {\"nodes\": [...]} with nodes as a razor-server shows them with depth=1.";
            Failure::new(StatusCode::BAD_REQUEST, "bad_json", format!("the body has no nodes: {why}"), remedy)
        })?;
        let nodes: Result<Vec<Ready>, _> = asked.nodes.into_iter().map(|node| node.ready(&config)).collect();
        Ok::<_, Failure>((nodes?, asked.dry_run))
    });
    let (nodes, dry_run) = read.await.map_err(anyhow::Error::new)??;
    let work = Adopt { by: caller, config: state.config.clone(), now: now_ms(), nodes, dry_run };
    let Adopted { new, known, unreachable, result } = state.store.writer.write(work).await??;
    let answer =
        json!({"result": result, "dry_run": dry_run, "adopted": new, "known": known, "unreachable": unreachable});
    Ok((StatusCode::ACCEPTED, Json(answer)))
}
