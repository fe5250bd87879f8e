//! `/images`: which images there are, and which one machines boot. A button first shows what would come of it; a second one does it.

use axum::extract::{Query, State as Handle};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::http::page::{Shown, shown};
use crate::http::problem::Failure;
use crate::http::{State, images};
use crate::page::{self, Stock};
use crate::registry::caller::Caller;

/// `GET /images`.
///
/// # Errors
/// When the images cannot be read.
pub async fn list(Handle(state): Handle<State>) -> Result<Response, Shown> {
    Ok(shown(page::images(&stock(&state).await?, OffsetDateTime::now_utc())))
}

/// The image that is to be used.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    name: String,
}

/// `GET /images/use`: what would come of it. Changes nothing.
///
/// # Errors
/// When there is no such image.
pub async fn ask(Handle(state): Handle<State>, Query(asked): Query<Asked>) -> Result<Response, Shown> {
    let stock = stock(&state).await?;
    if !stock.images.iter().any(|image| image.name == asked.name) {
        return Err(missing(&asked.name).into());
    }
    Ok(shown(page::image_trial(&asked.name, stock.current.as_deref(), OffsetDateTime::now_utc())))
}

/// `POST /images/use`: does it, and leads to the list.
///
/// # Errors
/// When there is no such image, or the choice cannot be written.
pub async fn apply(
    Handle(state): Handle<State>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Response, Shown> {
    let of_command = |failure: Failure| Shown::from(failure).of_command();
    let known = stock(&state).await.map_err(of_command)?.images.iter().any(|image| image.name == asked.name);
    if !known {
        return Err(of_command(missing(&asked.name)));
    }
    let images = state.images.clone();
    let chosen = tokio::task::spawn_blocking(move || images.choose(&asked.name)).await;
    let image = chosen.map_err(anyhow::Error::new).and_then(|chosen| chosen).map_err(|e| of_command(e.into()))?;
    images::note_use(&state, caller, &image).await.map_err(|e| of_command(e.into()))?;
    Ok(Redirect::to("/images").into_response())
}

async fn stock(state: &State) -> Result<Stock, Failure> {
    let current = state.images.current().await?.map(|image| image.name);
    let images = state.images.clone();
    let images = tokio::task::spawn_blocking(move || images.list()).await.map_err(anyhow::Error::new)??;
    Ok(Stock { images, current })
}

fn missing(name: &str) -> Failure {
    let error = format!("there is no image {name:?}");
    Failure::new(StatusCode::NOT_FOUND, "no_such_image", error, "Choose one at `/images`.")
}
