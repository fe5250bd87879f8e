//! The odd machines of the fleet: `/api/collections/outliers`, and the page `/outliers`.

use axum::Json;
use axum::extract::{Query, State as Handle};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::http::openapi::forms;
use crate::http::page::{Shown, shown};
use crate::http::problem::Failure;
use crate::http::query::Pairs;
use crate::http::{State, api};
use crate::limits::MACHINES_ON_PAGE;
use crate::page;
use crate::registry::outliers::{self, Asked};
use crate::store::view::Page;

/// `GET /api/collections/outliers`: products, and the nodes at which something is odd; `product` picks products by a part of their
/// name, `makeup` all nodes of one makeup, `limit` and `start` as for nodes.
///
/// # Errors
/// For a bad parameter.
#[utoipa::path(
    get,
    path = "/api/collections/outliers",
    params(
        ("product" = Option<String>, Query, description = "Part of a product's name"),
        ("makeup" = Option<i64>, Query, description = "All nodes of this makeup"),
        ("limit" = Option<u32>, Query, description = "Items at most"),
        ("start" = Option<u32>, Query, description = "Items to skip")
    ),
    responses((status = 200, description = "As asked", body = forms::Page))
)]
pub async fn collection(Handle(state): Handle<State>, Query(pairs): Query<Pairs>) -> Result<Json<Value>, Failure> {
    let product = api::value(&pairs, "product").unwrap_or_default().to_owned();
    let asked = Asked { product, makeup: api::number(&pairs, "makeup")? };
    let found = outliers::find(&state.store.readers, &asked, api::page(&pairs)?).await?;
    Ok(Json(serde_json::to_value(found).map_err(anyhow::Error::from)?))
}

/// What the page is asked. What is not understood is as if it were not there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PageAsked {
    product: String,
    makeup: String,
    start: String,
}

/// `GET /outliers`.
///
/// # Errors
/// When the database fails.
pub async fn list(Handle(state): Handle<State>, Query(from): Query<PageAsked>) -> Result<Response, Shown> {
    let asked = Asked { product: from.product.trim().to_owned(), makeup: from.makeup.parse().ok() };
    let start = from.start.parse().ok().filter(|n: &i64| *n >= 0).unwrap_or(0);
    let part = Page { start, limit: MACHINES_ON_PAGE };
    let found = outliers::find(&state.store.readers, &asked, part).await?;
    Ok(shown(page::outliers(&asked, part, &found, OffsetDateTime::now_utc())))
}

/// What a node's document says of its being odd: nothing where it is like the others.
///
/// # Errors
/// When the database fails or holds something damaged.
pub async fn of_node(state: &State, id: i64) -> anyhow::Result<Option<Value>> {
    let item = outliers::of_node(&state.store.readers, id).await?.filter(|item| !item.odd.is_empty());
    Ok(item.map(|item| json!({"product": item.product, "odd": item.odd, "more": item.more})))
}
