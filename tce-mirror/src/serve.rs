//! Files of a mirror's tree over HTTP: by path, with length, modification time, `ETag` and ranges. The agent's internal
//! mirror and the server's `/svc/repo` share it. A path is taken as it is after percent-decoding; none leads out of its tree.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

/// The regular file at `path` (decoded, relative) below `root`; `None` if there is none. Hidden files, such as downloads that
/// are not whole yet, are not found.
#[must_use]
pub fn find(root: &Path, path: &str) -> Option<PathBuf> {
    within(root, path).filter(|file| file.is_file())
}

fn within(root: &Path, path: &str) -> Option<PathBuf> {
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
    path.split('/').all(plain).then(|| root.join(path))
}

/// Answers a GET or HEAD request with this file. Without `tag`, its entity tag is made of its size, time and inode.
pub async fn file(path: &Path, tag: Option<&str>, mut request: Request) -> Response {
    let tag = tag.map(|tag| format!("\"{tag}\"")).or_else(|| Some(tag_of(&path.metadata().ok()?)));
    let tag = tag.and_then(|tag| HeaderValue::try_from(tag).ok());
    if let Some(tag) = &tag
        && is_known(request.headers_mut(), tag)
    {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag.clone())]).into_response();
    }
    let served = ServeFile::new(path).oneshot(request).await;
    let mut response = served.unwrap_or_else(|never| match never {}).map(Body::new);
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn tag_of(meta: &Metadata) -> String {
    format!("\"{:x}-{:x}.{:x}-{:x}\"", meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino())
}

/// True when the client has this file already. Without the part that it has, a range makes no sense and is removed.
fn is_known(headers: &mut HeaderMap, tag: &HeaderValue) -> bool {
    let value = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let is_it = |known: &str| known.trim().trim_start_matches("W/") == tag;
    if let Some(known) = value(header::IF_NONE_MATCH) {
        if known.split(',').any(is_it) {
            return true;
        }
        // The tag decides alone: two files of one second differ.
        headers.remove(header::IF_MODIFIED_SINCE);
    }
    let value = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    if value(header::IF_RANGE).is_some_and(|known| known != tag) {
        headers.remove(header::RANGE);
    }
    false
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

    #[test]
    fn tags_decide_before_times_and_ranges() {
        let tag = HeaderValue::from_static("\"a-1\"");
        let headers = |pairs: &[(HeaderName, &'static str)]| {
            pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect::<HeaderMap>()
        };
        for (known, expected) in [("\"a-1\"", true), ("\"b\", W/\"a-1\"", true), ("\"a-2\"", false), ("a-1", false)] {
            let mut sent = headers(&[(header::IF_NONE_MATCH, known), (header::IF_MODIFIED_SINCE, "x")]);
            assert_eq!(is_known(&mut sent, &tag), expected, "{known}");
            assert_eq!(sent.contains_key(header::IF_MODIFIED_SINCE), expected, "{known}");
        }
        for (known, kept) in [("\"a-1\"", true), ("\"a-2\"", false)] {
            let mut sent = headers(&[(header::IF_RANGE, known), (header::RANGE, "bytes=1-")]);
            assert!(!is_known(&mut sent, &tag));
            assert_eq!(sent.contains_key(header::RANGE), kept, "{known}");
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
