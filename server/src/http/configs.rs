//! `GET /api/collections/config`: what nodes are sent, and what they say of it.

use axum::Json;
use axum::extract::{Query, State as Handle};
use serde_json::{Value, json};

use crate::http::problem::Failure;
use crate::http::query::Pairs;
use crate::http::{State, api};
use crate::registry::configs::Wanted;
use crate::store::configs::{self, Stored};
use crate::store::nodes::{self, Node};
use crate::store::view::timestamp;

/// With `node`: what it should have, from where, and what it says. Without: the keys of all nodes, and which nodes have keys
/// of their own; `limit` and `start` as for nodes.
///
/// # Errors
/// When there is no such node, or for a bad parameter.
#[utoipa::path(
    get,
    path = "/api/collections/config",
    params(
        ("limit" = Option<u32>, Query, description = "Items at most"),
        ("start" = Option<u32>, Query, description = "Items to skip"),
        ("node" = Option<String>, Query)
    ),
    responses((status = 200, description = "As asked", body = Object), (status = 404, description = "no_such_node"))
)]
pub async fn config(Handle(state): Handle<State>, Query(pairs): Query<Pairs>) -> Result<Json<Value>, Failure> {
    let mut db = state.store.readers.acquire().await.map_err(anyhow::Error::from)?;
    if let Some(name) = api::value(&pairs, "node") {
        let id = api::find(&state, name).await?;
        let node = Node::get(&mut db, id).await?.ok_or_else(|| api::unknown(name))?;
        let wanted = Wanted::of(&mut db, id).await?;
        let said =
            node.config.as_deref().map(serde_json::from_str::<Value>).transpose().map_err(anyhow::Error::from)?;
        return Ok(Json(json!({
            "name": nodes::name(id), "version": wanted.version(), "config": wanted.keys(),
            "all": stored(&wanted.all), "own": stored(&wanted.own), "reported": said,
        })));
    }
    let all = configs::get(&mut db, None).await?;
    let (total, ids) = configs::nodes(&mut db, api::page(&pairs)?).await?;
    let names: Vec<String> = ids.into_iter().map(nodes::name).collect();
    Ok(Json(json!({"all": stored(&all), "nodes": {"total": total, "items": names}})))
}

fn stored(stored: &Stored) -> Value {
    let at = (stored.version > 0).then(|| timestamp(stored.at));
    json!({"version": stored.version, "changed": at, "config": stored.keys})
}
