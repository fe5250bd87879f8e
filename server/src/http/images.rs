//! `/svc/repo`: the images that operators add, kernel and initrd, and the mirror of extensions; with `ETag`, `Range` and
//! `Content-Length`.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State as Handle};
use axum::http::StatusCode;
use axum::response::Response;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tce_mirror::serve;
use tokio::io::AsyncWriteExt as _;

use crate::http::openapi::forms;
use crate::http::problem::{self, Failure};
use crate::http::{State, operate};
use crate::image::Image;
use crate::limits::{MAX_IMAGE, UPLOAD_TIMEOUT};
use crate::registry::caller::Caller;
use crate::registry::noted::Noted;
use crate::store::now_ms;

/// `GET /svc/repo/microkernel/NAME/vmlinuz` and `…/initrd`; `GET /svc/repo/tce/PATH`, a file of the mirror of extensions.
///
/// # Errors
/// When there is no such file.
#[utoipa::path(
    get,
    path = "/svc/repo/{path}",
    params(("path" = String, Path)),
    responses(
        (status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, description = "no_such_file, no_such_path")
    )
)]
pub async fn repo(
    Handle(state): Handle<State>,
    Path(path): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let missing = |remedy: String| {
        let error = format!("there is no file {path:?} in the repository");
        Failure::new(StatusCode::NOT_FOUND, "no_such_file", error, remedy)
    };
    if let Some(path) = path.strip_prefix("tce/") {
        let remedy = || {
            let folder = state.mirror.display();
            format!(
                "Extensions are served from {folder} on the server, as RELEASE/ARCH/tcz/NAME.tcz; see docs/OPERATORS.md."
            )
        };
        let file = serve::find(&state.mirror, path).ok_or_else(|| missing(remedy()))?;
        return Ok(serve::file(&file, None, request).await);
    }
    let parts: Vec<&str> = path.split('/').collect();
    let found = match parts.as_slice() {
        ["microkernel", name, file] => state.images.file(name, file)?,
        _ => None,
    };
    let Some((file, digest)) = found else {
        return Err(missing("See `mk-server image list` for the images; each has vmlinuz and initrd.".to_owned()));
    };
    Ok(serve::file(&file, Some(&digest), request).await)
}

/// `GET /api/collections/images`.
///
/// # Errors
/// When the images cannot be read.
#[utoipa::path(
    get,
    path = "/api/collections/images",
    responses((status = 200, description = "As asked", body = forms::Page))
)]
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
#[utoipa::path(
    post,
    path = "/api/collections/images",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, description = "As asked", body = Object), (status = 422, description = "bad_image"))
)]
pub async fn add(Handle(state): Handle<State>, caller: Caller, body: Body) -> Result<Json<Image>, Failure> {
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
    note(&state, caller, "add-image", format!("image {} was added", image.name)).await?;
    Ok(Json(image))
}

/// Writes down that an image is used from now on, and who said so.
///
/// # Errors
/// When the database fails.
pub(super) async fn note_use(state: &State, by: Caller, image: &Image) -> anyhow::Result<()> {
    note(state, by, "use-image", format!("machines boot image {} from now on", image.name)).await
}

/// Writes down what was done, and by whom.
async fn note(state: &State, by: Caller, command: &str, result: String) -> anyhow::Result<()> {
    let operation = json!({"command": command});
    state.store.writer.write(Noted { now: now_ms(), by, operation, result }).await
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
#[utoipa::path(
    post,
    path = "/api/commands/use-image",
    request_body = forms::UseImage,
    responses(
        (status = 200, description = "As asked", body = Object),
        (status = 400, description = "bad_json"),
        (status = 404, description = "no_such_image")
    )
)]
pub async fn choose(Handle(state): Handle<State>, caller: Caller, body: Bytes) -> Result<Json<Image>, Failure> {
    let choice: Choice = operate::read(&body, "{\"version\": \"NAME\"}")?;
    let images = state.images.clone();
    let chosen =
        tokio::task::spawn_blocking(move || images.choose(&choice.version)).await.map_err(anyhow::Error::new)?;
    let image = chosen.map_err(|e| {
        Failure::new(StatusCode::NOT_FOUND, "no_such_image", format!("{e:#}"), "List them with `mk-server image list`.")
    })?;
    note_use(&state, caller, &image).await?;
    Ok(Json(image))
}
