//! Expected machines: `/api/collections/rack`, the commands that set them, and the page `/rack`.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State as Handle};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::http::openapi::forms;
use crate::http::page::{Shown, shown};
use crate::http::problem::Failure;
use crate::http::query::Pairs;
use crate::http::{State, api, operate};
use crate::human;
use crate::limits::{MACHINES_ON_PAGE, MAX_RACK_BODY, MAX_RACK_FILE, MAX_RACK_MISTAKES};
use crate::page;
use crate::rack::file::{self, Format};
use crate::registry::caller::Caller;
use crate::registry::racks::{Set, Show};
use crate::store::view::Page;
use crate::store::{now_ms, racks};

/// What `set-rack` is sent.
const FORM: &str = "{\"file\": \"name,serial\\nweb1,SRV1\\n\", \"format\": \"csv\"}, with \"toml\" for the other form";

/// `GET /api/collections/rack`: expected machines and what became of each; `show` is a standing, `unexpected`, or `wrong` for all
/// that is not as expected; `limit` and `start` as for nodes.
///
/// # Errors
/// For a bad parameter.
#[utoipa::path(
    get,
    path = "/api/collections/rack",
    params(
        ("show" = Option<String>, Query, description = "A standing, unexpected, or wrong for all that is not as expected"),
        ("limit" = Option<u32>, Query, description = "Items at most"),
        ("start" = Option<u32>, Query, description = "Items to skip")
    ),
    responses((status = 200, description = "As asked", body = forms::Page))
)]
pub async fn collection(Handle(state): Handle<State>, Query(pairs): Query<Pairs>) -> Result<Json<Value>, Failure> {
    let word = api::value(&pairs, "show").unwrap_or_else(|| Show::default().word());
    let show = Show::ALL.into_iter().find(|show| show.word() == word).ok_or_else(|| {
        let words = Show::ALL.map(Show::word).join(", ");
        let error = format!("show is {word:?}; it must be one of {words}");
        Failure::new(StatusCode::BAD_REQUEST, "bad_parameter", error, "Leave it out for all expected machines.")
    })?;
    let listed = state.racks.list(&state.store.readers, show, api::page(&pairs)?).await?;
    Ok(Json(serde_json::to_value(listed).map_err(anyhow::Error::from)?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetRack {
    file: String,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/commands/set-rack`: the file is taken whole, or refused with all its mistakes.
///
/// # Errors
/// When it is too large, of another form, or has mistakes.
#[utoipa::path(
    post,
    path = "/api/commands/set-rack",
    request_body = forms::SetRack,
    responses(
        (status = 202, description = "Done, or tried", body = forms::Done),
        (status = 400, description = "bad_json"),
        (status = 422, description = "bad_rack")
    )
)]
pub async fn set(
    Handle(state): Handle<State>,
    caller: Caller,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let SetRack { file, format, dry_run } = operate::read_within(MAX_RACK_BODY, &body, FORM)?;
    if file.len() > MAX_RACK_FILE {
        let error = format!("the file has {} bytes; at most {MAX_RACK_FILE} are taken", file.len());
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error, "Leave out what is not needed."));
    }
    let read = move || file::parse(&file, format).map(|rows| (rows.len(), racks::pack(&rows)));
    let (count, packed) = tokio::task::spawn_blocking(read).await.map_err(anyhow::Error::from)?.map_err(mistaken)?;
    let machines = human::count(count, "machine is", "machines are");
    let result = format!("{machines} expected; `mk-server rack check` says which of them were not found");
    finish(&state, caller, Some(packed?), result, dry_run).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnsetRack {
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/commands/unset-rack`: no machines are expected any more.
///
/// # Errors
/// When the body is of another form.
#[utoipa::path(
    post,
    path = "/api/commands/unset-rack",
    request_body = forms::UnsetRack,
    responses(
        (status = 202, description = "Done, or tried", body = forms::Done),
        (status = 400, description = "bad_json")
    )
)]
pub async fn unset(
    Handle(state): Handle<State>,
    caller: Caller,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let UnsetRack { dry_run } = operate::read(&body, "{}")?;
    finish(&state, caller, None, "no machines are expected any more".to_owned(), dry_run).await
}

async fn finish(
    state: &State,
    by: Caller,
    packed: Option<Vec<u8>>,
    result: String,
    dry_run: bool,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let mut answer = json!({"result": result, "dry_run": dry_run});
    if !dry_run {
        answer["event"] = state.store.writer.write(Set { now: now_ms(), by, packed, result }).await?.into();
    }
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

fn mistaken(mistakes: Vec<String>) -> Failure {
    let more = mistakes.len().saturating_sub(MAX_RACK_MISTAKES);
    let mut error = mistakes.into_iter().take(MAX_RACK_MISTAKES).collect::<Vec<_>>().join("\n");
    if more > 0 {
        error += &format!("\nand {more} more mistakes");
    }
    let columns = file::COLUMNS.join(", ");
    let remedy = format!("Nothing was changed. Mend the file and set it again; its columns are {columns}.");
    Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_rack", error, remedy)
}

/// What documents of nodes say of the row that they are, by node.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn expected(state: &State, nodes: &[i64]) -> anyhow::Result<BTreeMap<i64, Value>> {
    let rows = state.racks.names(&state.store.readers, nodes).await?;
    Ok(rows.into_iter().map(|(node, row)| (node, json!({"name": row.name, "slot": row.slot}))).collect())
}

/// What the page is asked. What is not understood is as if it were not there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    show: String,
    start: String,
}

/// `GET /rack`.
///
/// # Errors
/// When the database fails.
pub async fn list(Handle(state): Handle<State>, Query(asked): Query<Asked>) -> Result<Response, Shown> {
    let show = Show::ALL.into_iter().find(|show| show.word() == asked.show).unwrap_or_default();
    let start = asked.start.parse().ok().filter(|n: &i64| *n >= 0).unwrap_or(0);
    let part = Page { start, limit: MACHINES_ON_PAGE };
    let listed = state.racks.list(&state.store.readers, show, part).await?;
    Ok(shown(page::rack(show, part, &listed, OffsetDateTime::now_utc())))
}
