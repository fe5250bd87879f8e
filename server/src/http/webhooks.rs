//! `GET /api/collections/webhooks`: who is told what happens, and how that goes.

use axum::Json;
use axum::extract::State as Handle;
use serde_json::{Value, json};

use crate::http::State;
use crate::http::openapi::forms;
use crate::http::problem::Failure;

/// All that are configured.
///
/// # Errors
/// When the database fails.
#[utoipa::path(
    get,
    path = "/api/collections/webhooks",
    responses((status = 200, description = "As asked", body = forms::Page))
)]
pub async fn list(Handle(state): Handle<State>) -> Result<Json<Value>, Failure> {
    let items = state.webhooks.show(&state.store).await?;
    Ok(Json(json!({"total": items.len(), "items": items})))
}
