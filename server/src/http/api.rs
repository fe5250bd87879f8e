//! `/api/collections/nodes` and `events`: what operators and their scripts read.

use axum::Json;
use axum::extract::{Path, Query, State as Handle};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::http::base::Base;
use crate::http::openapi::forms;
use crate::http::problem::Failure;
use crate::http::query::Pairs;
use crate::http::{State, differ, operate, outliers, rack, stream};
use crate::identity::canonical::KEYS;
use crate::limits::{DEFAULT_PAGE, MAX_PAGE, MAX_WHOLE};
use crate::registry::caller::Caller;
use crate::store::feed::{self, Cursor, Part, Wanted};
use crate::store::list::{Listed, Silence};
use crate::store::search::{self, Filter};
use crate::store::view::{self, Page};
use crate::store::{nodes, now_ms};

/// Prefix of razor-server's names of relations.
const RAZOR: &str = "http://api.puppetlabs.com/razor/v1";
/// Prefix of its type names.
const SPEC: &str = "http://api.puppetlabs.com/razor/v1/collections";
/// All collections.
pub const COLLECTIONS: [&str; 10] =
    ["config", "conflicts", "enrolment-tokens", "events", "images", "nodes", "outliers", "rack", "tokens", "webhooks"];

/// `GET /api`: which collections and commands there are, in razor-server's form.
#[utoipa::path(get, path = "/api", responses((status = 200, description = "As asked", body = forms::Root)))]
pub async fn root(Base(base): Base) -> Json<Value> {
    let link = |kind: &str, name: &str| {
        let (rel, id) = (format!("{RAZOR}/{kind}/{name}"), format!("{base}/api/{kind}/{name}"));
        json!({"name": name, "rel": rel, "id": id})
    };
    let collections: Vec<Value> = COLLECTIONS.iter().map(|name| link("collections", name)).collect();
    let commands: Vec<Value> = operate::names().map(|name| link("commands", name)).collect();
    let version = json!({"server": env!("CARGO_PKG_VERSION")});
    Json(json!({"commands": commands, "collections": collections, "version": version}))
}

/// `GET /api/collections/nodes`; `limit`, `start`, and `depth=1` for whole nodes. An answer may hold fewer than `limit`; a
/// caller goes on at `start` plus the items that came until it has `total`. Those with one of the values `mac`, `serial`, `asset`
/// and `uuid`, whose host name fits the regular expression `hostname`, with that `state` and `product`, and with all words of
/// `search` somewhere; `total` is the number of these.
///
/// # Errors
/// For a bad parameter.
#[utoipa::path(
    get,
    path = "/api/collections/nodes",
    params(
        ("limit" = Option<u32>, Query, description = "Items at most"),
        ("start" = Option<u32>, Query, description = "Items to skip"),
        ("depth" = Option<u8>, Query, description = "1: whole nodes"),
        ("mac" = Option<String>, Query),
        ("serial" = Option<String>, Query),
        ("asset" = Option<String>, Query),
        ("uuid" = Option<String>, Query),
        ("hostname" = Option<String>, Query, description = "Regular expression"),
        ("state" = Option<String>, Query, description = "normal, held, pending or silent"),
        ("product" = Option<String>, Query),
        ("search" = Option<String>, Query)
    ),
    responses((status = 200, description = "As asked", body = forms::Page))
)]
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
    let filter = filter(&pairs)?;
    let (total, ids) = if filter.is_empty() {
        view::ids(&state.store.readers, page).await?
    } else {
        let silence = Silence { now: now_ms(), usual_s: state.config.checkin_interval };
        let Listed { total, ids } = search::find(&state.store.readers, &filter, silence, page).await?;
        (total, ids)
    };
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

/// Which nodes the query asks for. A value that says nothing is left out, as razor-server does.
fn filter(pairs: &Pairs) -> Result<Filter, Failure> {
    let given = |name: &str| value(pairs, name).map(str::to_owned).filter(|text| !text.trim().is_empty());
    let hardware = pairs.iter().filter(|(kind, _)| KEYS.contains(&kind.as_str()));
    let state = given("state").map(|word| {
        let known = search::State::ALL.into_iter().find(|state| state.word() == word);
        known.ok_or_else(|| {
            let words = search::State::ALL.map(search::State::word).join(", ");
            bad_parameter(format!("state is {word:?}; it must be one of {words}"))
        })
    });
    Ok(Filter {
        keys: hardware.filter_map(|(kind, value)| search::key(kind, value)).collect(),
        hostname: given("hostname"),
        state: state.transpose()?,
        product: given("product"),
        search: given("search").unwrap_or_default(),
    })
}

/// `GET /api/collections/nodes/{name}`.
///
/// # Errors
/// When there is no such node.
#[utoipa::path(
    get,
    path = "/api/collections/nodes/{name}",
    params(("name" = String, Path, description = "Name of a node, such as node1")),
    responses(
        (status = 200, description = "As asked", body = forms::Node),
        (status = 404, description = "no_such_node")
    )
)]
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
#[utoipa::path(
    get,
    path = "/api/collections/nodes/{name}/log",
    params(
        ("name" = String, Path, description = "Name of a node, such as node1"),
        ("limit" = Option<u32>, Query, description = "Items at most"),
        ("start" = Option<u32>, Query, description = "Items to skip")
    ),
    responses(
        (status = 200, description = "As asked", body = forms::Page),
        (status = 404, description = "no_such_node")
    )
)]
pub async fn log(
    Handle(state): Handle<State>,
    Path(name): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<Value>, Failure> {
    let id = find(&state, &name).await?;
    let (total, items) = view::log(&state.store.readers, id, page(&pairs)?).await?;
    Ok(Json(json!({"spec": format!("{SPEC}/nodes/log"), "total": total, "items": items})))
}

/// `GET /api/collections/nodes/{name}/reports`, newest first; with `changes=1` each with what changed by it against the one before,
/// of which an answer holds fewer.
///
/// # Errors
/// When there is no such node, or for a bad parameter.
#[utoipa::path(
    get,
    path = "/api/collections/nodes/{name}/reports",
    params(
        ("name" = String, Path, description = "Name of a node, such as node1"),
        ("limit" = Option<u32>, Query, description = "Items at most"),
        ("start" = Option<u32>, Query, description = "Items to skip"),
        ("changes" = Option<u32>, Query, description = "1: what changed by each")
    ),
    responses(
        (status = 200, description = "As asked", body = forms::Page),
        (status = 404, description = "no_such_node")
    )
)]
pub async fn reports(
    Handle(state): Handle<State>,
    Path(name): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<Value>, Failure> {
    let id = find(&state, &name).await?;
    let (total, items) = if number(&pairs, "changes")?.unwrap_or(0) > 0 {
        differ::with_changes(&state, id, page(&pairs)?).await?
    } else {
        view::reports(&state.store.readers, id, page(&pairs)?).await?
    };
    Ok(Json(json!({"spec": format!("{SPEC}/nodes/reports"), "total": total, "items": items})))
}

/// `GET /api/collections/nodes/{name}/reports/{id}`: what was reported.
///
/// # Errors
/// When there is no such node or report.
#[utoipa::path(
    get,
    path = "/api/collections/nodes/{name}/reports/{id}",
    params(("name" = String, Path, description = "Name of a node, such as node1"), ("id" = i64, Path)),
    responses(
        (status = 200, description = "As asked", body = Object),
        (status = 404, description = "no_such_node, no_such_report")
    )
)]
pub async fn report(
    Handle(state): Handle<State>,
    Path((name, report)): Path<(String, String)>,
) -> Result<Json<Value>, Failure> {
    let id = find(&state, &name).await?;
    let found = match report.parse() {
        Ok(number) => view::report(&state.store.readers, id, number).await?,
        Err(_) => None,
    };
    Ok(Json(found.ok_or_else(|| no_report(&name, &report))?))
}

pub(super) fn no_report(name: &str, report: &str) -> Failure {
    let error = format!("{name} has no report {report:?}");
    let remedy = format!("List them at /api/collections/nodes/{name}/reports.");
    Failure::new(StatusCode::NOT_FOUND, "no_such_report", error, remedy)
}

/// `GET /api/collections/events`: what happened, oldest first: the newest `limit` entries, or those `after` the
/// `cursor` of an earlier answer; `node` and `since` (RFC 3339) restrict it. `more` tells that there are further ones. Who
/// accepts `text/event-stream` gets a stream that goes on ([`stream`]).
///
/// # Errors
/// When there is no such node, or for a bad parameter.
#[utoipa::path(
    get,
    path = "/api/collections/events",
    params(
        ("limit" = Option<u32>, Query),
        ("after" = Option<String>, Query, description = "`cursor` of an earlier answer"),
        ("since" = Option<String>, Query, description = "RFC 3339"),
        ("node" = Option<String>, Query),
        ("last-event-id" = Option<String>, Header, description = "Of a stream: the `id` of the last event")
    ),
    responses(
        (
            status = 200,
            description = "A part of the log; for who accepts `text/event-stream`, a stream that goes on",
            content((forms::Feed = "application/json"), (String = "text/event-stream"))
        ),
        (status = 404, description = "no_such_node"),
        (status = 410, description = "log_began_anew"),
        (status = 503, description = "busy")
    )
)]
pub async fn events(
    Handle(state): Handle<State>,
    caller: Caller,
    headers: HeaderMap,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Failure> {
    let wanted = wanted(&state, &pairs).await?;
    if stream::is_asked_for(&headers) {
        return stream::open(&state, caller, &headers, wanted).await;
    }
    let feed = feed::read(&state.store.readers, &wanted).await?;
    if let Part::After(place) = wanted.part
        && feed.is_lost
    {
        return Err(lost(place));
    }
    let spec = format!("{SPEC}/events");
    let (cursor, more) = (feed.last.to_string(), feed.more);
    Ok(Json(json!({"spec": spec, "items": feed.entries, "cursor": cursor, "more": more})).into_response())
}

/// Refuses to go on from a place of another log.
pub(super) fn lost(place: Cursor) -> Failure {
    let error = format!("the log does not go on from {place}: it was restored from an older copy, or begun anew");
    let remedy = "Begin with its newest entries: leave out `after`.";
    Failure::new(StatusCode::GONE, "log_began_anew", error, remedy)
}

/// What the query asks of the feed.
async fn wanted(state: &State, pairs: &Pairs) -> Result<Wanted, Failure> {
    let node = match value(pairs, "node") {
        Some(name) => Some(find(state, name).await?),
        None => None,
    };
    let since = value(pairs, "since").map(|text| {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok();
        let ms = time.and_then(|t| i64::try_from(t.unix_timestamp_nanos() / 1_000_000).ok());
        ms.ok_or_else(|| bad_parameter(format!("since is {text:?}; it must be a time such as 2026-11-22T01:02:03Z")))
    });
    let part = value(pairs, "after").map(cursor).transpose()?.map_or(Part::Newest, Part::After);
    Ok(Wanted { node, since: since.transpose()?, part, limit: page(pairs)?.limit })
}

/// A place in the feed as an answer gave it.
pub(super) fn cursor(text: &str) -> Result<Cursor, Failure> {
    text.parse().map_err(|why| bad_parameter(format!("after is {text:?}; {why}")))
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

/// A type's name as razor-server gives it.
pub(super) fn spec(of: &str) -> String {
    format!("{SPEC}/{of}")
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

pub(super) fn bad_parameter(error: String) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "bad_parameter", error, "Leave it out for its default.")
}
