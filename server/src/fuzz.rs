//! What is fuzzed of the server: each parser of bytes from outside by a name, with what must be true of it, and folders or files of the work
//! tree that have examples.
//!
//! `cargo xtask fuzz` runs them guided by coverage; the test below runs what that has found, and changes of it.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use axum::http::{HeaderMap, HeaderName, Uri};
use serde_json::json;
use time::OffsetDateTime;

use crate::config::{Config, patterns::Patterns};
use crate::describe::Node;
use crate::fleet::{makeup::Area, outliers};
use crate::http::{access, base, boot, legacy, message, query};
use crate::identity::{canonical::HwInfo, change::Change, mac, report};
use crate::image::{iso::Iso, metadata};
use crate::rack::file::{self, Format};
use crate::registry::{configs, remedy::Remedy};
use crate::store::feed::{Cursor, Feed};
use crate::store::makeups::Kept;
use crate::{human, page, store, tls};

/// Name, what is checked of any bytes, and where examples are.
pub type Target = (&'static str, fn(&[u8]), &'static [&'static str]);

/// All of them.
pub const TARGETS: &[Target] = &[
    ("boot_query", boot_query, &[]),
    ("certificate", tls::expiry::fuzz, &[]),
    ("checkin_body", checkin_body, &["wire/golden/v1"]),
    ("image_metadata", image_metadata, &[]),
    ("legacy_form", legacy::fuzz, &[]),
    ("node_page", node_page, &["wire/golden/v1"]),
    ("operators_words", operators_words, &[]),
    ("request_head", request_head, &[]),
    ("server_iso", server_iso, &[]),
    ("server_toml", server_toml, &[]),
    ("stored_report", stored_report, &[]),
];

/// Bytes of a sector of an ISO.
const SECTOR: usize = 2048;

/// The query of iPXE. What is known of a machine is written and read as the same.
fn boot_query(bytes: &[u8]) {
    let pairs: query::Pairs = form_urlencoded::parse(bytes).into_owned().collect();
    let info = query::machine(&pairs).info;
    assert!(info.entries().len() <= pairs.len());
    let lines: Vec<String> = info.clone().into();
    assert_eq!(HwInfo::from(lines), info);
    for (_, value) in &pairs {
        let _ = (mac::judge(value), boot::fuzz(value));
    }
}

/// A check-in's body, and who it says that the machine is.
fn checkin_body(bytes: &[u8]) {
    let Ok(request) = message::parse(bytes) else { return };
    let Some(facts) = report::facts_of(&request) else { return };
    let none = Patterns::default();
    let stable = request.inventory.as_ref().map(|inventory| &inventory.stable);
    let report = report::read(&facts, stable, &none);
    assert_eq!(report, report::read(&facts, stable, &none));
    let makeup = stable.and_then(|stable| Kept::of(stable).ok()?.makeup);
    for packed in makeup.iter().flat_map(|makeup| &makeup.areas) {
        let area: Area =
            serde_json::from_str(&packed.json).unwrap_or_else(|why| unreachable!("{why}: {}", packed.json));
        let judged = outliers::judge(&[(&area, 3)]);
        assert!(judged.odd.iter().all(Vec::is_empty) && judged.split.is_empty(), "machines that are alike: {judged:?}");
    }
}

/// What a machine says, shown by the page: none of it becomes markup.
fn node_page(bytes: &[u8]) {
    let Ok(reported) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let document = json!({
        "name": "node1", "id": 1, "state": "normal", "hw_info": reported["facts"], "facts": reported["facts"],
        "inventory": reported["inventory"], "agent": reported["agent"], "boot": {"stages": reported["card"]},
    });
    let Ok(node) = Node::read(document) else { return };
    let _ = (node.summary(), node.brief(), node.nothing_yet());
    let (first, last) = (Cursor::default(), Cursor::default());
    let feed = Feed { entries: Vec::new(), marks: Vec::new(), first, last, is_lost: false, more: false };
    let html = page::node::node(&node, &feed, &(0, Vec::new()), &[], OffsetDateTime::UNIX_EPOCH).into_string();
    assert!(!html.contains("<b onclick"), "{html}");
}

fn image_metadata(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(metadata) = metadata::parse(&text) {
        assert!(!metadata.version.contains(['/', ' ', '$']) && !metadata.variant.contains(['/', ' ', '$']));
    }
    if let Some(line) = metadata::kernel_args(&text) {
        assert!(line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic() && byte != b'$'), "{line:?}");
    }
}

/// What operators write.
fn operators_words(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(remedy) = text.parse::<Remedy>() {
        assert_eq!(remedy.to_string().parse().as_ref(), Ok(&remedy));
        let _ = (remedy.sentence(), remedy.shell());
    }
    let _ = (text.parse::<Change>(), store::nodes::parse_name(&text));
    let _ = (human::time(&text), human::seconds_since(&text, OffsetDateTime::UNIX_EPOCH), human::stamp(&text));
    assert!(!human::plain(&text).chars().any(human::is_harmful));
    let (key, value) = text.split_once('=').unwrap_or((&text, ""));
    for format in [Format::Csv, Format::Toml] {
        let _ = file::parse(&text, format);
    }
    let _ = configs::read(key, &serde_json::from_str(value).unwrap_or_else(|_| value.into()));
}

/// A path with a query, and lines `Header: value`, of anybody.
fn request_head(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let uri = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.parse::<Uri>().ok()).unwrap_or_default();
    let mut headers = HeaderMap::new();
    for line in lines.take(32) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        if let (Ok(name), Ok(value)) = (line[..colon].try_into(), line[colon + 1..].trim_ascii().try_into()) {
            headers.append::<HeaderName>(name, value);
        }
    }
    let _ = (message::content_type(&headers), message::signer(&headers, bytes));
    access::rules::fuzz(&headers);
    base::fuzz(&headers);
    let _ = message::query::<std::collections::BTreeMap<String, String>>(&uri);
}

fn server_toml(bytes: &[u8]) {
    let _ = Config::parse(&String::from_utf8_lossy(bytes));
}

fn stored_report(bytes: &[u8]) {
    let _ = store::history::unpack(bytes);
}

/// An image of sectors, each given by a length and so many bytes, behind the sixteen that no ISO uses.
fn server_iso(mut bytes: &[u8]) {
    let mut sectors = vec![0; 16 * SECTOR];
    while let [length, rest @ ..] = bytes {
        let (start, next) = rest.split_at(rest.len().min(usize::from(*length)));
        sectors.extend(start);
        sectors.resize(sectors.len().next_multiple_of(SECTOR), 0);
        bytes = next;
    }
    let Ok(memory) = nix::sys::memfd::memfd_create("iso", nix::sys::memfd::MFdFlags::empty()) else { return };
    let mut file = std::fs::File::from(memory);
    if file.write_all(&sectors).is_err() {
        return;
    }
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    if let Ok(image) = Iso::open(&path) {
        let _ = (image.metadata(), image.kernel_args());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_parser_keeps_its_promises_on_the_corpus_and_on_changes_of_it() {
        mk_tests::fuzz::check(super::TARGETS);
    }
}
