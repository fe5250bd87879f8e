//! Files of a folder over HTTP, with length, `ETag` and ranges. Paths that lead out of the folder are not found; folders are
//! not listed.

use std::path::{Path, PathBuf};

use axum::extract::{Path as Wanted, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use tce_mirror::serve;

use super::Folders;

/// A file of the mirror's tree; the built-in extension of that name where the tree has no such file.
pub(super) async fn extension(
    State(folders): State<Folders>,
    Wanted(path): Wanted<String>,
    request: Request,
) -> Response {
    give(serve::find(&folders.mirror, &path).or_else(|| builtin(&folders.builtin, &path)), request).await
}

/// A file of the gem mirror's tree.
pub(super) async fn gem(State(folders): State<Folders>, Wanted(path): Wanted<String>, request: Request) -> Response {
    give(serve::find(&folders.gems, &path), request).await
}

/// A built-in extension, whatever version and architecture are asked for: an image has one of each.
fn builtin(folder: &Path, path: &str) -> Option<PathBuf> {
    let [_version, _architecture, "tcz", name] = path.split('/').collect::<Vec<_>>()[..] else { return None };
    serve::find(&folder.join("optional"), name)
}

async fn give(file: Option<PathBuf>, request: Request) -> Response {
    match file {
        Some(file) => serve::file(&file, None, request).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
