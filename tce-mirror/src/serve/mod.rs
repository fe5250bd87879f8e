//! Files of a mirror's tree over HTTP: by path, with length, modification time, `ETag`, conditions and ranges
//! ([`conditions`]). The agent's internal mirror and the server's `/svc/repo` share it. A path is taken as it is after
//! percent-decoding; none leads out of its tree.

mod conditions;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use crate::limits::EXCHANGES;
use conditions::{Answer, Version};

/// The regular file at `path` (decoded, relative) below `root`; `None` if there is none. Hidden files, such as
/// downloads that are not whole yet, are not found.
#[must_use]
pub fn find(root: &Path, path: &str) -> Option<PathBuf> {
    within(root, path).filter(|file| file.is_file())
}

fn within(root: &Path, path: &str) -> Option<PathBuf> {
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
    path.split('/').all(plain).then(|| root.join(path))
}

/// Answers a GET or HEAD request with this file. Without `tag`, its entity tag is made of its size, time and inode. A
/// file that is exchanged again and again while it is read is answered with 503.
pub async fn file(path: &Path, tag: Option<&str>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    for _ in 0..EXCHANGES {
        let Ok(meta) = path.metadata() else { return StatusCode::NOT_FOUND.into_response() };
        let made = tag_of(&meta);
        let tag = tag.map_or_else(|| made.clone(), |tag| format!("\"{tag}\""));
        let response = version(path, &meta, &tag, &request).await;
        // The file was opened in between: only then it is the one that the tag is of.
        if path.metadata().is_ok_and(|now| tag_of(&now) == made) {
            return response;
        }
    }
    let later = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
    (StatusCode::SERVICE_UNAVAILABLE, later, "the file is being exchanged; ask again\n").into_response()
}

/// The answer of one version of a file.
async fn version(path: &Path, meta: &Metadata, tag: &str, asked: &Parts) -> Response {
    let length = meta.len();
    let found = Version { tag, modified: meta.modified().ok(), length };
    let mut request = Request::new(Body::empty());
    request.method_mut().clone_from(&asked.method);
    let beyond = || [(header::CONTENT_RANGE, format!("bytes */{length}"))];
    let mut response = match found.answer(&asked.method, &asked.headers) {
        Answer::Known => StatusCode::NOT_MODIFIED.into_response(),
        Answer::Another => StatusCode::PRECONDITION_FAILED.into_response(),
        Answer::Beyond => (StatusCode::RANGE_NOT_SATISFIABLE, beyond()).into_response(),
        answer => {
            if let Answer::Part(first, last) = answer
                && let Ok(range) = HeaderValue::try_from(format!("bytes={first}-{last}"))
            {
                request.headers_mut().insert(header::RANGE, range);
            }
            let served = ServeFile::new(path).oneshot(request).await;
            served.unwrap_or_else(|never| match never {}).map(Body::new)
        }
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn tag_of(meta: &Metadata) -> String {
    format!("\"{:x}-{:x}.{:x}-{:x}\"", meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino())
}

/// For the fuzzer: the conditions of a request.
#[cfg(all(any(test, fuzzing), feature = "import", feature = "serve"))]
pub(crate) fn fuzz_conditions(bytes: &[u8]) {
    conditions::fuzz(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_files_of_the_tree_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("tree");
        std::fs::create_dir_all(root.join("17.x/x86_64/tcz")).unwrap();
        for name in ["tree/17.x/x86_64/tcz/bash.tcz", "tree/17.x/x86_64/tcz/.bash.tcz.part", "secret"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        assert!(find(&root, "17.x/x86_64/tcz/bash.tcz").is_some());
        for path in [
            "",
            "17.x",
            "17.x/x86_64/tcz/",
            "17.x/x86_64/tcz/.bash.tcz.part",
            "../secret",
            "17.x/../../secret",
            "17.x//x86_64/tcz/bash.tcz",
            "/etc/passwd",
            "17.x/x86_64/tcz/bash.tcz\0",
        ] {
            assert_eq!(find(&root, path), None, "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leaves_its_tree(path in "[a./\\\\%]{0,12}") {
            if let Some(found) = within(Path::new("/tree"), &path) {
                prop_assert!(found.starts_with("/tree") && found.components().all(|c| c.as_os_str() != ".."));
            }
        }
    }
}
