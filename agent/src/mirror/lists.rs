//! The two lists that the original microkernel reads from its mirror: extensions to install and kernel modules to load,
//! each a JSON array of names.

use std::path::{Path, PathBuf};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

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

/// Names in a list that is a JSON array or has one name a line with comments after `#`.
fn names(text: &str) -> Vec<String> {
    if let Ok(names) = serde_json::from_str(text) {
        return names;
    }
    let without_comment = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    text.lines().map(without_comment).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_list() {
        let expected = ["a.tcz", "b.tcz"];
        assert_eq!(names(r#"["a.tcz","b.tcz"]"#), expected);
        assert_eq!(names("a.tcz\n\n# no\nb.tcz # why\n"), expected);
        assert_eq!(names(""), [""; 0]);
    }
}
