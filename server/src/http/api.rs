//! `/api/collections/nodes` and `events`: what operators and their scripts read.

use axum::Json;
use axum::extract::{Path, Query, State as Handle};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::http::base::Base;
use crate::http::problem::Failure;
use crate::http::query::Pairs;
use crate::http::{State, outliers, rack};
use crate::limits::{DEFAULT_PAGE, MAX_PAGE, MAX_WHOLE};
use crate::store::feed::{self, Part, Wanted};
use crate::store::nodes;
use crate::store::view::{self, Page};

/// Prefix of razor-server's type names.
const SPEC: &str = "http://api.puppetlabs.com/razor/v1/collections";

/// `GET /api/collections/nodes`; `limit`, `start`, and `depth=1` for whole nodes. An answer may hold fewer than `limit`; a
/// caller goes on at `start` plus the items that came until it has `total`.
///
/// # Errors
/// For a bad parameter.
pub async fn nodes(
    Handle(state): Handle<State>,
    Base(base): Base,
    Query(pairs): Query<Pairs>,
) -> Result<Json<Value>, Failure> {
    let whole = number(&pairs, "depth")?.unwrap_or(0) > 0;
    let mut page = page(&pairs)?;
    if whole {
        page.limit = page.limit.min(MAX_WHOLE);
    }
    let (total, ids) = view::ids(&state.store.readers, page).await?;
    let mut items = Vec::with_capacity(ids.len());
    let mut expected = rack::expected(&state, if whole { &ids } else { &[] }).await?;
    for id in ids {
        if !whole {
            let name = nodes::name(id);
            items.push(json!({"id": url(&base, &name), "name": name, "spec": format!("{SPEC}/nodes/member")}));
        } else if let Some(mut node) = view::node(&state.store.readers, id).await? {
            node.extend(expected.remove(&id).map(|expected| ("expected".to_owned(), expected)));
            items.push(member(&base, node));
        }
    }
    Ok(Json(json!({"spec": format!("{SPEC}/nodes"), "total": total, "items": items})))
}

/// `GET /api/collections/nodes/{name}`.
///
/// # Errors
/// When there is no such node.
pub async fn node(
    Handle(state): Handle<State>,
    Base(base): Base,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    let id = find(&state, &name).await?;
    let node = whole(&state, id).await?.ok_or_else(|| unknown(&name))?;
    Ok(Json(member(&base, node)))
}

/// A node with what the others say of it: the row of the rack that it is, and what is odd at it.
pub(super) async fn whole(state: &State, id: i64) -> anyhow::Result<Option<Map<String, Value>>> {
    let Some(mut node) = view::node(&state.store.readers, id).await? else { return Ok(None) };
    let expected = rack::expected(state, &[id]).await?.remove(&id);
    let outlier = outliers::of_node(state, id).await?;
    for (name, value) in [("expected", expected), ("outlier", outlier)] {
        node.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(Some(node))
}

/// `GET /api/collections/nodes/{name}/log`, newest first.
///
/// # Errors
/// When there is no such node, or for a bad parameter.
pub async fn log(
    Handle(state): Handle<State>,
    Path(name): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<Value>, Failure> {
    let id = find(&state, &name).await?;
    let (total, items) = view::log(&state.store.readers, id, page(&pairs)?).await?;
    Ok(Json(json!({"spec": format!("{SPEC}/nodes/log"), "total": total, "items": items})))
}

/// `GET /api/collections/nodes/{name}/reports`, newest first.
///
/// # Errors
/// When there is no such node, or for a bad parameter.
pub async fn reports(
    Handle(state): Handle<State>,
    Path(name): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<Value>, Failure> {
    let id = find(&state, &name).await?;
    let (total, items) = view::reports(&state.store.readers, id, page(&pairs)?).await?;
    Ok(Json(json!({"spec": format!("{SPEC}/nodes/reports"), "total": total, "items": items})))
}

/// `GET /api/collections/nodes/{name}/reports/{id}`: what was reported.
///
/// # Errors
/// When there is no such node or report.
pub async fn report(
    Handle(state): Handle<State>,
    Path((name, report)): Path<(String, String)>,
) -> Result<Json<Value>, Failure> {
    let id = find(&state, &name).await?;
    let found = match report.parse() {
        Ok(number) => view::report(&state.store.readers, id, number).await?,
        Err(_) => None,
    };
    let content = found.ok_or_else(|| {
        let error = format!("{name} has no report {report:?}");
        Failure::new(
            StatusCode::NOT_FOUND,
            "no_such_report",
            error,
            format!("List them at /api/collections/nodes/{name}/reports."),
        )
    })?;
    Ok(Json(content))
}

/// `GET /api/collections/events`: what happened, oldest first: the newest `limit` entries, or those `after` the
/// `cursor` of an earlier answer; `node` and `since` (RFC 3339) restrict it. `more` tells that there are further ones.
///
/// # Errors
/// When there is no such node, or for a bad parameter.
pub async fn events(Handle(state): Handle<State>, Query(pairs): Query<Pairs>) -> Result<Json<Value>, Failure> {
    let node = match value(&pairs, "node") {
        Some(name) => Some(find(&state, name).await?),
        None => None,
    };
    let since = value(&pairs, "since").map(|text| {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok();
        let ms = time.and_then(|t| i64::try_from(t.unix_timestamp_nanos() / 1_000_000).ok());
        ms.ok_or_else(|| bad_parameter(format!("since is {text:?}; it must be a time such as 2026-11-22T01:02:03Z")))
    });
    let after = value(&pairs, "after")
        .map(|text| text.parse().map_err(|why| bad_parameter(format!("after is {text:?}; {why}"))));
    let part = after.transpose()?.map_or(Part::Newest, Part::After);
    let wanted = Wanted { node, since: since.transpose()?, part, limit: page(&pairs)?.limit };
    let feed = feed::read(&state.store.readers, &wanted).await?;
    if let Part::After(place) = part
        && feed.is_lost
    {
        let error = format!("the log does not go on from {place}: it was restored from an older copy, or begun anew");
        let remedy = "Begin with its newest entries: leave out `after`.";
        return Err(Failure::new(StatusCode::GONE, "log_began_anew", error, remedy));
    }
    let spec = format!("{SPEC}/events");
    Ok(Json(json!({"spec": spec, "items": feed.entries, "cursor": feed.last.to_string(), "more": feed.more})))
}

/// The node of that name, or the one that it was merged into.
pub(super) async fn find(state: &State, name: &str) -> Result<i64, Failure> {
    let id = match nodes::parse_name(name) {
        Some(id) => view::resolve(&state.store.readers, id).await?,
        None => None,
    };
    id.ok_or_else(|| unknown(name))
}

pub(super) fn unknown(name: &str) -> Failure {
    let error = format!("there is no node {name:?}");
    Failure::new(StatusCode::NOT_FOUND, "no_such_node", error, "List the nodes with `mk-server nodes list`.")
}

fn url(base: &str, name: &str) -> String {
    format!("{base}/api/collections/nodes/{name}")
}

/// A node with the URLs that razor-server gives it.
fn member(base: &str, mut node: Map<String, Value>) -> Value {
    let name = node.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let url = url(base, &name);
    node.insert("spec".into(), format!("{SPEC}/nodes/member").into());
    node.insert("log".into(), json!({"id": format!("{url}/log"), "name": "log"}));
    node.insert("reports".into(), json!({"id": format!("{url}/reports"), "name": "reports"}));
    node.insert("id".into(), url.into());
    node.into()
}

pub(crate) fn page(pairs: &Pairs) -> Result<Page, Failure> {
    let limit = number(pairs, "limit")?.unwrap_or(DEFAULT_PAGE).min(MAX_PAGE);
    Ok(Page { start: number(pairs, "start")?.unwrap_or(0), limit })
}

pub(super) fn value<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A parameter that is a number from 0.
pub(super) fn number(pairs: &Pairs, name: &str) -> Result<Option<i64>, Failure> {
    let Some(text) = value(pairs, name) else { return Ok(None) };
    let number = text.parse().ok().filter(|n: &i64| *n >= 0);
    number.map(Some).ok_or_else(|| bad_parameter(format!("{name} is {text:?}; it must be a number from 0")))
}

fn bad_parameter(error: String) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "bad_parameter", error, "Leave it out for its default.")
}
