//! `GET /api/explain`: which node a machine is, or would be, by which evidence, and why not another. Nothing is changed.

use axum::Json;
use axum::extract::{Query, State as Handle};
use serde_json::{Value, json};

use crate::http::openapi::forms;
use crate::http::problem::Failure;
use crate::http::query::{self, Pairs};
use crate::http::{State, api};
use crate::identity::change::Change;
use crate::registry::Refusal;
use crate::registry::explain::{Explain, Subject};
use crate::store::now_ms;

/// With `node=NAME`: the last decision about it; with `what_if=CHANGE` besides, once for each: what would become of its
/// machine. With hardware values as iPXE sends them: what a boot of such a machine would lead to.
///
/// # Errors
/// For a node or a part that is not there, words that are no change, and values that say nothing.
#[utoipa::path(
    get,
    path = "/api/explain",
    params(
        ("node" = Option<String>, Query),
        ("what_if" = Option<Vec<String>>, Query),
        forms::Hardware
    ),
    responses(
        (status = 200, description = "As asked", body = Object),
        (status = 400, description = "no_match_value, bad_request"),
        (status = 404, description = "no_such_node"),
        (status = 409, description = "not_registered, and others"),
        (status = 422, description = "bad_change, no_such_part")
    )
)]
pub async fn explain(Handle(state): Handle<State>, Query(pairs): Query<Pairs>) -> Result<Json<Value>, Failure> {
    let changes = pairs.iter().filter(|(key, _)| key == "what_if").map(|(_, value)| value.parse::<Change>());
    let changes: Vec<Change> = changes.collect::<Result<_, _>>().map_err(bad_change)?;
    let subject = match api::value(&pairs, "node") {
        Some(node) if changes.is_empty() => Subject::Node(node.to_owned()),
        Some(node) => Subject::WhatIf(node.to_owned(), changes),
        None if changes.is_empty() => Subject::Machine(query::machine(&pairs).info),
        None => return Err(bad_change("what_if is about the machine of a node, and none is named".to_owned()).into()),
    };
    let work = Explain { config: state.config.clone(), now: now_ms(), subject };
    let explained = state.store.writer.write(work).await??;
    Ok(Json(json!(explained)))
}

fn bad_change(error: String) -> Refusal {
    let remedy = "Ask for /api/explain?node=node1&what_if=%2Bmac%3D00-11-22-33-44-55 (+mac=00-11-22-33-44-55).";
    Refusal::new(422, "bad_change", error, remedy)
}
