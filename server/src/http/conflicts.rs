//! `/conflicts`: disputes about identity, with remedies as buttons. A button first shows what would come of it; a second one
//! does it.

use axum::extract::{Query, State as Handle};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::http::page::{Shown, shown};
use crate::http::{State, operate};
use crate::limits::CONFLICTS_ON_PAGE;
use crate::page;
use crate::registry::caller::Caller;
use crate::registry::remedy::Remedy;
use crate::registry::{Refusal, disputes};
use crate::store::nodes;
use crate::store::view::Page;

/// Where the list begins. What is not understood is the beginning.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct From {
    start: String,
}

/// `GET /conflicts`.
///
/// # Errors
/// When the database fails.
pub async fn list(Handle(state): Handle<State>, Query(from): Query<From>) -> Result<Response, Shown> {
    let start = from.start.parse().ok().filter(|n: &i64| *n >= 0).unwrap_or(0);
    let part = Page { start, limit: CONFLICTS_ON_PAGE };
    let found = disputes::page(&state.store.readers, part).await?;
    Ok(shown(page::conflicts(part, &found, OffsetDateTime::now_utc())))
}

/// The remedy that is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    remedy: String,
}

impl Asked {
    fn remedy(&self) -> Result<Remedy, Refusal> {
        let remedy = "Choose one at `/conflicts`.";
        self.remedy.parse().map_err(|error: String| Refusal::new(422, "bad_remedy", error, remedy))
    }
}

/// `GET /conflicts/remedy`: what would come of it. Changes nothing.
///
/// # Errors
/// For what is no remedy, and what the remedy refuses.
pub async fn ask(Handle(state): Handle<State>, caller: Caller, Query(asked): Query<Asked>) -> Result<Response, Shown> {
    let remedy = asked.remedy()?;
    let done = operate::carry_out(&state, &caller, remedy.clone().operation(), true).await?;
    Ok(shown(page::trial(&remedy, &done.result, OffsetDateTime::now_utc())))
}

/// `POST /conflicts/remedy`: does it, and leads to the node that it was about, whose log tells what was done.
///
/// # Errors
/// For what is no remedy, and what the remedy refuses.
pub async fn apply(
    Handle(state): Handle<State>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Response, Shown> {
    let remedy = asked.remedy().map_err(|refusal| Shown::from(refusal).of_command())?;
    let done = operate::carry_out(&state, &caller, remedy.operation(), false).await;
    let done = done.map_err(|failure| Shown::from(failure).of_command())?;
    let place = done.node.map_or_else(|| "/conflicts".to_owned(), |id| format!("/nodes/{}#log", nodes::name(id)));
    Ok(Redirect::to(&place).into_response())
}
