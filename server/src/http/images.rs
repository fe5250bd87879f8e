//! `/svc/repo` and the images that operators add: kernel and initrd with `ETag`, `Range` and `Content-Length`.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State as Handle};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use crate::http::problem::{self, Failure};
use crate::http::{State, operate};
use crate::image::Image;
use crate::limits::{MAX_IMAGE, UPLOAD_TIMEOUT};

/// `GET /svc/repo/microkernel/NAME/vmlinuz` and `…/initrd`.
///
/// # Errors
/// When there is no such file.
pub async fn repo(
    Handle(state): Handle<State>,
    Path(path): Path<String>,
    mut request: Request,
) -> Result<Response, Failure> {
    let parts: Vec<&str> = path.split('/').collect();
    let found = match parts.as_slice() {
        ["microkernel", name, file] => state.images.file(name, file)?,
        _ => None,
    };
    let Some((file, digest)) = found else {
        let error = format!("there is no file {path:?} in the repository");
        let remedy = "See `mk-server image list` for the images; each has vmlinuz and initrd.";
        return Err(Failure::new(StatusCode::NOT_FOUND, "no_such_file", error, remedy));
    };
    let tag = format!("\"{digest}\"");
    if is_known(&mut request, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let served = ServeFile::new(file).oneshot(request).await;
    let mut response = served.unwrap_or_else(|never| match never {}).map(Body::new);
    let value = HeaderValue::from_str(&tag).map_err(anyhow::Error::new)?;
    response.headers_mut().insert(header::ETAG, value);
    Ok(response)
}

/// True when the client has this file already. Without the part that it has, a range makes no sense and is removed.
fn is_known(request: &mut Request, tag: &str) -> bool {
    let sent = |name| request.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    if sent(header::IF_NONE_MATCH).is_some_and(|known| known.split(',').any(|t| t.trim() == tag)) {
        return true;
    }
    if sent(header::IF_RANGE).is_some_and(|known| known != tag) {
        request.headers_mut().remove(header::RANGE);
    }
    false
}

/// `GET /api/collections/images`.
///
/// # Errors
/// When the images cannot be read.
pub async fn list(Handle(state): Handle<State>) -> Result<Json<Value>, Failure> {
    let current = state.images.current().await?.map(|i| i.name);
    let images = state.images.clone();
    let all = tokio::task::spawn_blocking(move || images.list()).await.map_err(anyhow::Error::new)??;
    Ok(Json(json!({"total": all.len(), "current": current, "items": all})))
}

/// `POST /api/collections/images`: the body is an ISO.
///
/// # Errors
/// When it is none of ours, damaged or too large.
pub async fn add(Handle(state): Handle<State>, body: Body) -> Result<Json<Image>, Failure> {
    let incoming = state.images.incoming()?;
    let file = incoming.path().join("upload.iso");
    tokio::time::timeout(UPLOAD_TIMEOUT, receive(body, &file)).await.map_err(|_| {
        let error = format!("the image did not arrive within {} s", UPLOAD_TIMEOUT.as_secs());
        Failure::new(StatusCode::REQUEST_TIMEOUT, "too_slow", error, "Add it on the server's own machine.")
    })??;
    let images = state.images.clone();
    let added = tokio::task::spawn_blocking(move || images.add(incoming, &file)).await.map_err(anyhow::Error::new)?;
    let image = added.map_err(|e| match problem::is_full(&e) {
        true => Failure::from(e),
        false => refused(&format!("the image cannot be added: {e:#}")),
    })?;
    tracing::info!(name = image.name, "image added");
    Ok(Json(image))
}

async fn receive(mut body: Body, file: &std::path::Path) -> Result<(), Failure> {
    let broken = |e: std::io::Error| anyhow::Error::new(e).context(format!("cannot write {}", file.display()));
    let mut out = tokio::fs::File::create_new(file).await.map_err(broken)?;
    let mut length = 0u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| refused(&format!("the image broke off after {length} bytes: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len() as u64;
        if length > MAX_IMAGE {
            let error = format!("the image is larger than {MAX_IMAGE} bytes");
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error, "Is it the right file?"));
        }
        out.write_all(&data).await.map_err(broken)?;
    }
    out.flush().await.map_err(broken)?;
    Ok(())
}

fn refused(error: &str) -> Failure {
    let remedy = "Nothing was changed. Build an image with `cargo xtask build-iso`, or copy the file again.";
    Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_image", error, remedy)
}

/// Body of `POST /api/commands/use-image`.
#[derive(Debug, Deserialize)]
struct Choice {
    /// Name of an image, or as much of its beginning as tells it apart.
    version: String,
}

/// `POST /api/commands/use-image`.
///
/// # Errors
/// When there is no such image, or more than one.
pub async fn choose(Handle(state): Handle<State>, body: Bytes) -> Result<Json<Image>, Failure> {
    let choice: Choice = operate::read(&body, "{\"version\": \"NAME\"}")?;
    let images = state.images.clone();
    let chosen =
        tokio::task::spawn_blocking(move || images.choose(&choice.version)).await.map_err(anyhow::Error::new)?;
    let image = chosen.map_err(|e| {
        Failure::new(StatusCode::NOT_FOUND, "no_such_image", format!("{e:#}"), "List them with `mk-server image list`.")
    })?;
    tracing::info!(name = image.name, "image in use");
    Ok(Json(image))
}
