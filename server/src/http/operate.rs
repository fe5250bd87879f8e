//! What operators do to nodes: `/api/collections/conflicts`, and `POST /api/commands/NAME`, where `"dry_run": true` in the
//! body only says what would come of it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State as Handle};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use wire::limits::MAX_COMMAND_BODY;

use crate::http::openapi::forms;
use crate::http::problem::Failure;
use crate::http::query::Pairs;
use crate::http::{State, api, bundle};
use crate::limits::MAX_CONFLICTS;
use crate::mirror;
use crate::neighbours;
use crate::registry::caller::Caller;
use crate::registry::operate::{Done, NAMES, Operate, Operation};
use crate::registry::{Refusal, disputes};
use crate::store::view::Page;
use crate::store::{enrolment, nodes, now_ms, operators};

/// `GET /api/collections/conflicts`; `limit` and `start` as for nodes.
///
/// # Errors
/// For a bad parameter.
#[utoipa::path(
    get,
    path = "/api/collections/conflicts",
    params(
        ("limit" = Option<u32>, Query, description = "Items at most"),
        ("start" = Option<u32>, Query, description = "Items to skip")
    ),
    responses((status = 200, description = "As asked", body = forms::Page))
)]
pub async fn conflicts(Handle(state): Handle<State>, Query(pairs): Query<Pairs>) -> Result<Json<Value>, Failure> {
    let page = api::page(&pairs)?;
    let page = Page { limit: page.limit.min(MAX_CONFLICTS), ..page };
    let (total, items) = disputes::page(&state.store.readers, page).await?;
    Ok(Json(json!({"total": total, "items": items})))
}

/// `GET /api/collections/enrolment-tokens`: what is left of each, not the tokens themselves.
///
/// # Errors
/// When the database fails.
#[utoipa::path(
    get,
    path = "/api/collections/enrolment-tokens",
    responses((status = 200, description = "As asked", body = forms::List))
)]
pub async fn enrolment_tokens(Handle(state): Handle<State>) -> Result<Json<Value>, Failure> {
    Ok(Json(json!({"items": enrolment::tokens(&state.store.readers, now_ms()).await?})))
}

/// Reads a command's body; `form` shows a person what it must look like.
///
/// # Errors
/// When it is too large or not of that form.
pub fn read<T: DeserializeOwned>(body: &[u8], form: &str) -> Result<T, Failure> {
    read_within(MAX_COMMAND_BODY, body, form)
}

/// The same of a command that may have so many bytes.
///
/// # Errors
/// As [`read`].
pub fn read_within<T: DeserializeOwned>(most: usize, body: &[u8], form: &str) -> Result<T, Failure> {
    if body.len() > most {
        let error = format!("the command has {} bytes; at most {most} are taken", body.len());
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error, format!("Send {form}.")));
    }
    serde_json::from_slice(body).map_err(|e| {
        let error = format!("the body is no command: {e}");
        Failure::new(StatusCode::BAD_REQUEST, "bad_json", error, format!("Send {form}."))
    })
}

/// Names of all commands, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    let mut names: Vec<&str> =
        NAMES.into_iter().chain(["adopt-nodes", "set-rack", "unset-rack", "use-image"]).collect();
    names.sort_unstable();
    names.into_iter()
}

/// Carries out the command with this name.
///
/// # Errors
/// For an unknown name, a body that is not the command's, or what the command refuses.
#[utoipa::path(
    post,
    path = "/api/commands/{name}",
    request_body = Object,
    responses(
        (status = 202, description = "Done, or tried", body = forms::Done),
        (status = 400, description = "bad_json"),
        (status = 404, description = "no_such_node, no_such_token, and others by the command"),
        (status = 409, description = "by the command, such as is_alias"),
        (status = 422, description = "bad_command, and others by the command")
    )
)]
pub async fn command(
    Handle(state): Handle<State>,
    caller: Caller,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Failure> {
    if !NAMES.contains(&name.as_str()) {
        let error = format!("there is no command {name:?}");
        return Err(Refusal::new(
            404,
            "no_such_command",
            error,
            format!("There are {}.", names().collect::<Vec<_>>().join(", ")),
        )
        .into());
    }
    let mut fields: Map<String, Value> = read(&body, "a JSON object")?;
    let dry_run = match fields.remove("dry_run").or_else(|| fields.remove("dry-run")) {
        None => false,
        Some(Value::Bool(dry_run)) => dry_run,
        Some(other) => return Err(bad_body(&name, &format!("dry_run is {other}; it must be true or false")).into()),
    };
    fields.insert("command".to_owned(), name.clone().into());
    let operation: Operation = serde_json::from_value(fields.into()).map_err(|e| bad_body(&name, &e.to_string()))?;
    let done = carry_out(&state, &caller, mirror::complete(&state, operation).await?, dry_run).await?;
    let mut answer = json!({"result": done.result, "dry_run": dry_run});
    if let (Some(id), Some(answer)) = (done.node, answer.as_object_mut()) {
        answer.insert("name".into(), nodes::name(id).into());
    }
    if let Some(token) = done.token {
        answer["token"] = token.into();
    }
    if let Some(event) = done.event {
        answer["event"] = event.into();
    }
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// `GET /api/collections/tokens`: operators' tokens, not the secrets themselves.
///
/// # Errors
/// When the database fails.
#[utoipa::path(
    get,
    path = "/api/collections/tokens",
    responses((status = 200, description = "As asked", body = forms::List))
)]
pub async fn tokens(Handle(state): Handle<State>) -> Result<Json<Value>, Failure> {
    Ok(Json(json!({"items": operators::tokens(&state.store.readers, now_ms()).await?})))
}

/// Carries out an operation for somebody, or only tries it.
///
/// # Errors
/// For what the operation refuses.
pub async fn carry_out(state: &State, caller: &Caller, operation: Operation, dry_run: bool) -> Result<Done, Failure> {
    let deletes = matches!(operation, Operation::DeleteNode { .. });
    let is_for_all = matches!(operation, Operation::SetConfig { node: None, .. });
    let work = Operate { config: state.config.clone(), now: now_ms(), by: caller.clone(), operation, dry_run };
    let done = state.store.writer.write(work).await??;
    if dry_run {
        return Ok(done);
    }
    if deletes {
        bundle::tidy(state).await;
    }
    if is_for_all {
        state.waits.wake_all();
        neighbours::tell(&state.store.readers, None).await;
    }
    for node in [done.node, done.other, done.ended].into_iter().flatten() {
        state.waits.wake(node);
        neighbours::tell(&state.store.readers, Some(node)).await;
    }
    Ok(done)
}

fn bad_body(name: &str, why: &str) -> Refusal {
    let error = format!("the body is no {name}: {why}");
    Refusal::new(422, "bad_command", error, "docs/OPERATORS.md and docs/IDENTITY.md have an example of each command.")
}
