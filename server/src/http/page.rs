//! `/nodes` and below: the pages for operators, and what they load. `/` leads there.

use axum::extract::{Path, Query as Pairs, RawQuery, State as Handle};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::describe::Node;
use crate::http::problem::Failure;
use crate::http::{State, api, bundle, rack};
use crate::limits::{LOG_ON_NODE_PAGE, NODES_ON_PAGE, REPORTS_ON_NODE_PAGE, ROWS_ON_PAGE};
use crate::page::{self, List};
use crate::registry::offers;
use crate::store::feed::{self, Feed, Part, Wanted};
use crate::store::list::{self, Query, Sort, Which};
use crate::store::view::{self, Page};
use crate::store::{nodes as names, now_ms};

/// A failure that is shown as a page.
#[derive(Debug)]
pub struct Shown {
    failure: Failure,
    /// It answers a click that was to change something.
    of_command: bool,
}

impl<E: Into<Failure>> From<E> for Shown {
    fn from(error: E) -> Self {
        Self { failure: error.into(), of_command: false }
    }
}

impl Shown {
    /// Nothing was changed, and the page stays until it is left: asked for anew, it would be the question before the click.
    #[must_use]
    pub fn of_command(self) -> Self {
        Self { of_command: true, ..self }
    }
}

impl IntoResponse for Shown {
    fn into_response(self) -> Response {
        let (failure, now) = (&self.failure, OffsetDateTime::now_utc());
        if !self.of_command {
            return refusal(failure);
        }
        told(failure, page::refused_command(failure.problem(), now).into_string())
    }
}

/// A refusal as a page.
#[must_use]
pub fn refusal(failure: &Failure) -> Response {
    told(failure, page::refusal(failure.problem(), OffsetDateTime::now_utc()).into_string())
}

/// A page about a failure, which also says to who counts refusals what it was.
fn told(failure: &Failure, text: String) -> Response {
    let mut response = html(failure.status(), text);
    response.extensions_mut().insert(failure.problem().clone());
    response
}

fn html(status: StatusCode, text: String) -> Response {
    let mut response = (status, Html(text)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

pub(super) fn shown(markup: maud::Markup) -> Response {
    html(StatusCode::OK, markup.into_string())
}

/// `GET /`.
pub async fn home() -> Redirect {
    Redirect::temporary("/nodes")
}

/// Parameters of lists. Those that are not understood are as if they were not there: a mistyped URL still shows nodes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    q: String,
    show: String,
    sort: String,
    start: String,
    before: String,
}

impl Asked {
    fn query(&self) -> Query {
        let (word, descending) = match self.sort.strip_prefix('-') {
            Some(word) => (word, true),
            None => (self.sort.as_str(), false),
        };
        let sort = Sort::ALL.into_iter().find(|s| s.word() == word);
        Query {
            search: self.q.trim().to_owned(),
            which: Which::ALL.into_iter().find(|w| w.word() == self.show).unwrap_or_default(),
            sort: sort.unwrap_or_default(),
            // Without an order the newest node comes first: it is the one that was just booted.
            descending: descending || sort.is_none(),
        }
    }

    fn part(&self) -> Part {
        self.before.parse().map_or(Part::Newest, Part::Before)
    }

    fn start(&self) -> i64 {
        self.start.parse().ok().filter(|n: &i64| *n >= 0).unwrap_or(0)
    }
}

/// `GET /nodes`: the list; `q` searches, `show` picks, `sort` orders (with `-` before it: descending), `start` skips.
///
/// # Errors
/// When the database fails.
pub async fn nodes(Handle(state): Handle<State>, Pairs(asked): Pairs<Asked>) -> Result<Response, Shown> {
    let query = asked.query();
    let page = Page { start: asked.start(), limit: NODES_ON_PAGE };
    let db = &state.store.readers;
    let usual_s = state.config.checkin_interval;
    let silence = list::Silence { now: now_ms(), usual_s };
    let counts = list::counts(db, silence).await?;
    let list::Listed { total, ids } = list::find(db, &query, silence, counts, page).await?;
    let mut nodes = Vec::with_capacity(ids.len());
    let mut expected = rack::expected(&state, &ids).await?;
    for id in ids {
        // One that was merged away in between is left out.
        if let Some(mut document) = view::node(db, id).await? {
            document.extend(expected.remove(&id).map(|expected| ("expected".to_owned(), expected)));
            nodes.push(Node::read(document.into())?);
        }
    }
    let now = OffsetDateTime::now_utc();
    Ok(shown(page::nodes(&List { query, page, total, counts, nodes, now, usual_s })))
}

/// `GET /nodes/{name}`.
///
/// # Errors
/// When there is no such node.
pub async fn node(Handle(state): Handle<State>, Path(name): Path<String>, query: RawQuery) -> Result<Response, Shown> {
    let id = match current(&state, &name, "", query).await? {
        Ok(id) => id,
        Err(elsewhere) => return Ok(elsewhere.into_response()),
    };
    let db = &state.store.readers;
    let document = api::whole(&state, id).await?.ok_or_else(|| api::unknown(&name))?;
    let log = log_of(&state, Some(id), Part::Newest, LOG_ON_NODE_PAGE).await?;
    let reports = view::reports(db, id, Page { start: 0, limit: REPORTS_ON_NODE_PAGE }).await?;
    let bundles = bundle::of_node(&state, id).await?;
    Ok(shown(page::node(&Node::read(document.into())?, &log, &reports, &bundles, OffsetDateTime::now_utc())))
}

/// `GET /nodes/{name}/log`: newest first; `before` goes back.
///
/// # Errors
/// When there is no such node.
pub async fn log(
    Handle(state): Handle<State>,
    Path(name): Path<String>,
    query: RawQuery,
    Pairs(asked): Pairs<Asked>,
) -> Result<Response, Shown> {
    let id = match current(&state, &name, "/log", query).await? {
        Ok(id) => id,
        Err(elsewhere) => return Ok(elsewhere.into_response()),
    };
    let feed = log_of(&state, Some(id), asked.part(), ROWS_ON_PAGE).await?;
    Ok(shown(page::log(Some(&name), asked.part(), &feed, OffsetDateTime::now_utc())))
}

/// `GET /log`: the same over all nodes.
///
/// # Errors
/// When the database fails.
pub async fn all_logs(Handle(state): Handle<State>, Pairs(asked): Pairs<Asked>) -> Result<Response, Shown> {
    let feed = log_of(&state, None, asked.part(), ROWS_ON_PAGE).await?;
    Ok(shown(page::log(None, asked.part(), &feed, OffsetDateTime::now_utc())))
}

/// A part of the log, with those offers to take something back that still stand.
async fn log_of(state: &State, node: Option<i64>, part: Part, limit: i64) -> anyhow::Result<Feed> {
    let db = &state.store.readers;
    let mut feed = feed::read(db, &Wanted { node, since: None, part, limit }).await?;
    offers::retract(db, &mut feed.entries).await?;
    Ok(feed)
}

/// The node of that name; for an alias, the way to the same page of the node that it was merged into.
pub(super) async fn current(
    state: &State,
    name: &str,
    below: &str,
    asked: RawQuery,
) -> Result<Result<i64, Redirect>, Failure> {
    let id = api::find(state, name).await?;
    let proper = names::name(id);
    if proper == name {
        return Ok(Ok(id));
    }
    let RawQuery(query) = asked;
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok(Err(Redirect::temporary(&format!("/nodes/{proper}{below}{query}"))))
}

/// `GET /assets/style.css`.
pub async fn style() -> Response {
    asset("text/css; charset=utf-8", page::STYLE)
}

/// `GET /assets/update.js`.
pub async fn script() -> Response {
    asset("text/javascript; charset=utf-8", page::SCRIPT)
}

/// `GET /assets/icon.svg`.
pub async fn icon() -> Response {
    asset("image/svg+xml", page::ICON)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(sort: &str, show: &str, start: &str) -> Asked {
        Asked { sort: sort.into(), show: show.into(), start: start.into(), ..Asked::default() }
    }

    #[test]
    fn what_is_not_understood_shows_nodes_all_the_same() {
        let query = asked("nonsense", "nonsense", "").query();
        assert_eq!((query.sort, query.descending, query.which), (Sort::Node, true, Which::All));
        let query = asked("-memory", "silent", "").query();
        assert_eq!((query.sort, query.descending, query.which), (Sort::Memory, true, Which::Silent));
        assert!(!asked("serial", "", "").query().descending);
        for (text, start) in [("", 0), ("-5", 0), ("x", 0), ("9999999999999999999999", 0), ("150", 150)] {
            assert_eq!(asked("", "", text).start(), start, "{text}");
        }
    }
}
