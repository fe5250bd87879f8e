//! Files of a folder over HTTP, with length, modification time and ranges. Paths that lead out of the folder are not
//! found; folders are not listed.

use std::path::Path;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tower::ServiceExt as _;
use tower_http::services::ServeDir;

use super::Folders;

/// Files of one folder.
pub(super) fn files(folder: &Path) -> ServeDir {
    ServeDir::new(folder).append_index_html_on_directories(false)
}

/// Files of the mirror's tree; the built-in extensions where the tree has no such file.
pub(super) fn mirror(folders: &Folders) -> ServeDir<Router> {
    let builtin = files(&folders.builtin.join("optional"));
    files(&folders.mirror)
        .fallback(Router::new().route("/{version}/{arch}/tcz/{name}", get(builtin_file)).with_state(builtin))
}

/// The built-in extension of that name, whatever version and architecture were asked for: an image has one of each.
async fn builtin_file(State(builtin): State<ServeDir>, mut request: Request) -> Response {
    let name = request.uri().path().rsplit('/').next().unwrap_or_default();
    // Still percent-encoded: `ServeDir` decodes it and refuses what is no plain name.
    let Ok(uri) = format!("/{name}").parse::<Uri>() else { return not_found() };
    *request.uri_mut() = uri;
    match builtin.oneshot(request).await {
        Ok(response) => response.into_response(),
        Err(never) => match never {},
    }
}

fn not_found() -> Response {
    axum::http::StatusCode::NOT_FOUND.into_response()
}
