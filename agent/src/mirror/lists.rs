//! The two lists that the original microkernel reads from its mirror: extensions to install and kernel modules to load,
//! each a JSON array of names.

use std::path::{Path, PathBuf};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use wire::extensions::list as names;

use super::Folders;

const INSTALL_LIST: &str = "tce-install-list";
const KMOD_LIST: &str = "kmod-install-list";
/// List of the built-in extensions that are loaded at boot, one a line.
const ONBOOT: &str = "onboot.lst";

/// Routes of both lists.
pub(super) fn routes(folders: &Folders) -> Router {
    let install = (folders.mirror.join(INSTALL_LIST), Some(folders.builtin.join(ONBOOT)));
    let kmod = (folders.mirror.join(KMOD_LIST), None);
    Router::new()
        .route(&format!("/tinycorelinux/{INSTALL_LIST}"), get(list).with_state(install))
        .route(&format!("/tinycorelinux/{KMOD_LIST}"), get(list).with_state(kmod))
}

/// A list's own file, else the image's list of names, else an empty list.
async fn list(State((own, fallback)): State<(PathBuf, Option<PathBuf>)>) -> Response {
    let lines = |path: Option<&Path>| path.and_then(|p| std::fs::read_to_string(p).ok());
    let list = lines(Some(&own)).map(|text| names(&text)).or_else(|| Some(names(&lines(fallback.as_deref())?)));
    Json(list.unwrap_or_default()).into_response()
}
