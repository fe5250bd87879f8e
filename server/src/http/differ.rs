//! What differs between two reports, and what changed by each report of a node: for the API and for the pages.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, RawQuery, State as Handle};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::difference::{self, Change, View};
use crate::http::page::{Shown, current, shown};
use crate::http::problem::Failure;
use crate::http::query::Pairs;
use crate::http::{State, api};
use crate::limits::{MAX_COMPARED_REPORTS, REPORTS_ON_PAGE};
use crate::page;
use crate::store::nodes;
use crate::store::reports::{self, Stored, Which};
use crate::store::view::Page;

/// Two reports and what differs.
pub(super) struct Comparison {
    from: Arc<Stored>,
    to: Arc<Stored>,
    changes: Vec<Change>,
}

impl Comparison {
    fn document(&self) -> Value {
        json!({"spec": api::spec("nodes/diff"), "from": self.from.label(), "to": self.to.label(), "changes": self.changes})
    }
}

/// `GET /api/collections/nodes/{name}/diff`: what differs between the reports `from` and `to`; without them between the newest and
/// the one before. `with` names another node, or one of its reports as `NODE@REPORT`, to compare with.
///
/// # Errors
/// When there is no such node or report, or for a bad parameter.
#[utoipa::path(
    get,
    path = "/api/collections/nodes/{name}/diff",
    params(
        ("name" = String, Path, description = "Name of a node, such as node1"),
        ("from" = Option<u32>, Query, description = "Number of a report"),
        ("to" = Option<u32>, Query, description = "Number of another one"),
        ("with" = Option<String>, Query, description = "Another node, or NODE@REPORT")
    ),
    responses(
        (status = 200, description = "As asked", body = Object),
        (status = 404, description = "no_such_node, no_such_report, no_former_report, no_report_yet")
    )
)]
pub async fn diff(
    Handle(state): Handle<State>,
    Path(name): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<Value>, Failure> {
    let id = api::find(&state, &name).await?;
    Ok(Json(compared(&state, id, &pairs).await?.document()))
}

/// `GET /nodes/{name}/diff`: the same as a page.
///
/// # Errors
/// As [`diff`].
pub async fn diff_page(
    Handle(state): Handle<State>,
    Path(name): Path<String>,
    query: RawQuery,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Shown> {
    let id = match current(&state, &name, "/diff", query).await? {
        Ok(id) => id,
        Err(elsewhere) => return Ok(elsewhere.into_response()),
    };
    // A field of a form that was left empty asks for nothing.
    let pairs: Pairs = pairs.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect();
    let with = api::value(&pairs, "with").unwrap_or_default();
    let document = compared(&state, id, &pairs).await?.document();
    Ok(shown(page::diff(&name, with, &document, OffsetDateTime::now_utc())))
}

/// `GET /nodes/{name}/reports`: all reports, newest first, and what changed by each.
///
/// # Errors
/// When there is no such node.
pub async fn reports_page(
    Handle(state): Handle<State>,
    Path(name): Path<String>,
    query: RawQuery,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Shown> {
    let id = match current(&state, &name, "/reports", query).await? {
        Ok(id) => id,
        Err(elsewhere) => return Ok(elsewhere.into_response()),
    };
    let start = api::value(&pairs, "start").and_then(|text| text.parse().ok()).filter(|start: &i64| *start >= 0);
    let page = Page { start: start.unwrap_or(0), limit: REPORTS_ON_PAGE };
    let reports = with_changes(&state, id, page).await?;
    Ok(shown(page::reports(&name, page, &reports, OffsetDateTime::now_utc())))
}

/// A page of a node's reports, newest first, each with its `changes` against the one before (null for the first), and the number of
/// all.
pub(super) async fn with_changes(state: &State, node: i64, page: Page) -> Result<(i64, Vec<Value>), Failure> {
    let db = &state.store.readers;
    let page = Page { limit: page.limit.min(MAX_COMPARED_REPORTS), ..page };
    let (total, numbers) = reports::numbers(db, node, page).await?;
    let mut items = Vec::with_capacity(numbers.len());
    let mut next: Option<Arc<Stored>> = None;
    for number in numbers {
        let report = match next.take().filter(|report| report.id == number) {
            Some(report) => report,
            // One that was deleted in between is left out.
            None => match reports::get(db, node, Which::Number(number)).await? {
                Some(report) => Arc::new(report),
                None => continue,
            },
        };
        next = reports::get(db, node, Which::Before(number)).await?.map(Arc::new);
        let mut entry = report.entry();
        entry["changes"] = match &next {
            Some(former) => {
                let changes = differences(Arc::clone(former), report, None).await?.changes;
                serde_json::to_value(changes).map_err(anyhow::Error::from)?
            }
            None => Value::Null,
        };
        items.push(entry);
    }
    Ok((total, items))
}

/// What the parameters ask for.
async fn compared(state: &State, id: i64, pairs: &Pairs) -> Result<Comparison, Failure> {
    let db = &state.store.readers;
    let name = nodes::name(id);
    let (from, to) = (api::number(pairs, "from")?, api::number(pairs, "to")?);
    if let Some(with) = api::value(pairs, "with") {
        if to.is_some() {
            let error = "with and to are both given; of the other node, a report is named as NODE@REPORT".to_owned();
            return Err(api::bad_parameter(error));
        }
        let (other, number) = node_at(with)?;
        let other = api::find(state, other).await?;
        let from = report(state, id, from.map_or(Which::Newest, Which::Number)).await?;
        let to = report(state, other, number.map_or(Which::Newest, Which::Number)).await?;
        let names = (other != id).then(|| (name, nodes::name(other)));
        return differences(Arc::new(from), Arc::new(to), names).await;
    }
    let to = report(state, id, to.map_or(Which::Newest, Which::Number)).await?;
    let from = match from {
        Some(number) => report(state, id, Which::Number(number)).await?,
        None => reports::get(db, id, Which::Before(to.id)).await?.ok_or_else(|| {
            let error = format!("{name} has no report before {}: there is nothing to compare it with", to.id);
            let remedy = "Name another node to compare it with (with=NODE), or wait for its next report.";
            Failure::new(StatusCode::NOT_FOUND, "no_former_report", error, remedy)
        })?,
    };
    differences(Arc::new(from), Arc::new(to), None).await
}

/// `NODE` or `NODE@REPORT`.
fn node_at(text: &str) -> Result<(&str, Option<i64>), Failure> {
    let Some((node, number)) = text.split_once('@') else { return Ok((text, None)) };
    let number = number.parse().ok().filter(|n: &i64| *n >= 0);
    let number = number
        .ok_or_else(|| api::bad_parameter(format!("with is {text:?}; write NODE or NODE@REPORT, such as node2@17")))?;
    Ok((node, Some(number)))
}

async fn report(state: &State, id: i64, which: Which) -> Result<Stored, Failure> {
    let found = reports::get(&state.store.readers, id, which).await?;
    let name = nodes::name(id);
    found.ok_or_else(|| match which {
        Which::Number(number) => api::no_report(&name, &number.to_string()),
        Which::Newest | Which::Before(_) => {
            let error = format!("{name} has not reported yet");
            let remedy = "Wait for its first check-in, or look at its log for what is in the way.";
            Failure::new(StatusCode::NOT_FOUND, "no_report_yet", error, remedy)
        }
    })
}

/// Compares two reports of one node, or of the nodes with these names. A machine may send megabytes: other requests go on meanwhile.
async fn differences(
    from: Arc<Stored>,
    to: Arc<Stored>,
    names: Option<(String, String)>,
) -> Result<Comparison, Failure> {
    let work = move || {
        let view = names.as_ref().map_or(View::Time, |(from, to)| View::Machines(from, to));
        let changes = difference::between(from.report(), to.report(), view);
        Comparison { from, to, changes }
    };
    Ok(tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_another_node_is_named_by_both() {
        assert_eq!(node_at("node2").unwrap(), ("node2", None));
        assert_eq!(node_at("node2@17").unwrap(), ("node2", Some(17)));
        for bad in ["node2@", "node2@x", "node2@-1", "node2@1@2"] {
            assert!(node_at(bad).is_err(), "{bad}");
        }
    }
}
