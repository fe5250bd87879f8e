//! Pages as text: everything is shown, and nothing that a machine says becomes markup.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::*;
use crate::describe::Node;
use crate::store::feed::{Cursor, Feed};
use crate::store::list::{Counts, Query, Sort, Which};
use crate::store::view::Page;

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

/// A node of which every text is `text`.
fn document(text: &str) -> Value {
    json!({
        "name": "node1", "first_seen": "2027-01-15T07:59:00Z", "last_checkin": "2027-01-15T07:59:30Z",
        "identity": {"state": "held", "aliases": ["node2"], "reason": {"code": "c", "error": text, "remedy": text},
            "claims": [{"kind": "serial", "value": text, "state": "current", "matching": true, "since": text}]},
        "agent": {"version": text, "variant": text, "image": text,
            "units": [{"name": text, "state": text, "restarts": 2, "last_exit": text}],
            "extensions": [{"name": text, "sha256": text, "error": text}]},
        "hw_info": {"mac": [text]},
        "inventory": {
            "stable": {
                "system": {"manufacturer": text, "product": text, "serial": text},
                "memory": {"installed_bytes": 1 << 30, "slots": 4, "dimms": [{"slot": text, "size_bytes": 1 << 30, "serial": text}]},
                "disks": [{"key": text, "size_bytes": 1_073_741_824u64, "model": text, "serial": text}],
                "nics": [{"key": text, "mac": text, "lldp": {"neighbours": [{"chassis": text, "port": text, "system_name": text}]}}],
                "findings": [{"code": "no_firmware", "component": text, "text": text, "file": text}],
                "site": {"rack": text}
            },
            "volatile": {"failures": {"x": text}, "addresses": {"x": [text]}}
        }
    })
}

fn node_page(text: &str) -> String {
    let entry = json!({"timestamp": "2027-01-15T07:59:00Z", "node": "node1", "severity": text, "text": text});
    let log = Feed {
        entries: vec![entry],
        marks: Vec::new(),
        first: Cursor::default(),
        last: Cursor::default(),
        is_lost: false,
        more: true,
    };
    let report =
        json!({"id": 3, "timestamp": "2027-01-15T07:59:00Z", "kind": "inventory", "digest": text, "bytes": 4700});
    let bundle = json!({"command": 5, "timestamp": "2027-01-15T07:59:00Z", "bytes": 4700, "sha256": text});
    node(&Node::read(document(text)).unwrap(), &log, &(30, vec![report]), &[bundle], now()).into_string()
}

fn list_page(query: Query, counts: Counts, documents: Vec<Value>) -> String {
    let nodes: Vec<Node> = documents.into_iter().map(|d| Node::read(d).unwrap()).collect();
    let page = Page { start: 50, limit: 50 };
    super::nodes(&List { query, page, total: counts.all, counts, nodes, now: now(), usual_s: 60 }).into_string()
}

const MANY: Counts = Counts { all: 12_345, disputed: 2, silent: 7 };

#[test]
fn a_node_is_shown_whole() {
    let text = node_page("VALUE");
    for words in [
        "node1",
        "held",
        "node2",
        "VALUE",
        "1 GiB",
        "1.1 GB",
        "3 slots",
        "empty",
        "30 s ago",
        "2027-01-15 07:59:30 UTC",
        "4.7 kB",
        "All of its log",
        "All 30 reports",
        "rack = VALUE",
    ] {
        assert!(text.contains(words), "{words} is missing:\n{text}");
    }
}

#[test]
fn nothing_that_a_machine_says_becomes_markup() {
    let evil = "<script>alert(1)</script>\"'><img onerror=x>\u{1b}[2J\u{202e}";
    for text in [node_page(evil), list_page(Query::default(), MANY, vec![document(evil)])] {
        // The page's own script is the only one.
        assert_eq!(text.matches("<script").count(), 1, "{text}");
        assert!(!text.contains("<img") && !text.contains("\"'>") && !text.contains(['\u{1b}', '\u{202e}']), "{text}");
    }
}

#[test]
fn what_is_too_long_is_cut() {
    let text = node_page(&"x".repeat(1 << 20));
    assert!(text.len() < 100_000 && text.contains("(1048576 characters)"), "{} bytes", text.len());
}

#[test]
fn links_keep_the_search_and_turn_the_order_round() {
    let query = Query { search: "a&b c".into(), which: Which::Silent, sort: Sort::Memory, descending: true };
    let text = list_page(query, MANY, vec![document("x")]);
    for link in [
        "/nodes?q=a%26b+c&amp;show=silent&amp;sort=memory\"",
        "/nodes?q=a%26b+c&amp;show=silent&amp;sort=serial\"",
        "/nodes?q=a%26b+c&amp;show=silent&amp;sort=-checkin\"",
        "/nodes?q=a%26b+c&amp;sort=-memory\"",
        "/nodes?q=a%26b+c&amp;show=silent&amp;sort=-memory&amp;start=100\"",
        "/nodes?q=a%26b+c&amp;show=silent&amp;sort=-memory\"",
    ] {
        assert!(text.contains(link), "{link} is missing:\n{text}");
    }
    assert!(text.contains("aria-sort=\"descending\"") && text.contains("51 to 100 of 12\u{202f}345"), "{text}");
}

#[test]
fn an_empty_list_says_what_to_do() {
    let first = list_page(Query::default(), Counts::default(), Vec::new());
    assert!(first.contains("No machine has been seen yet") && first.contains("mkiso customize"), "{first}");
    let none = list_page(Query { search: "xyz".into(), ..Query::default() }, MANY, Vec::new());
    assert!(none.contains("No node fits") && none.contains("xyz") && !none.contains("mkiso customize"), "{none}");
}

#[test]
fn style_and_script_load_nothing_from_elsewhere() {
    for text in [STYLE, SCRIPT, ICON] {
        let foreign = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!foreign.contains("//fonts") && !foreign.contains("http") && !foreign.contains("@import"), "{foreign}");
    }
    let page = node_page("x");
    assert!(
        !page.contains(" style=") && !page.contains(" onclick=") && !page.contains("<script>"),
        "the policy forbids it"
    );
}

#[test]
fn a_dispute_shows_evidence_side_by_side_and_nothing_becomes_markup() {
    use crate::identity::evidence::Group;
    use crate::registry::disputes::{Against, Dispute, Values};
    use crate::registry::operate::Sameness;
    use crate::registry::remedy::Remedy;
    let evil = "<script>\u{1b}";
    let key = format!("serial={evil}\"&");
    let nodes = |value: &str| ["node1", "node2"].map(|n| (n.to_owned(), [value.to_owned()].into())).into();
    let dispute = Dispute {
        name: "node2".into(),
        held: false,
        reason: Some(wire::error::Problem::new("c", evil, evil)),
        row: 7,
        more: 391,
        evidence: vec![Against {
            name: "node1".into(),
            keys: vec![],
            agree: vec![Group::Disk],
            differ: vec![Group::Uuid],
        }],
        values: vec![
            Values { group: Group::Uuid, nodes: ["node1", "node2"].map(|n| (n.into(), [n.into()].into())).into() },
            Values { group: Group::Serial, nodes: nodes(evil) },
            Values { group: Group::Disk, nodes: nodes("d1") },
        ],
        remedies: vec![
            Remedy::Moved { from: "node1".into(), to: "node2".into(), key: key.clone() },
            Remedy::Resolve { node: "node2".into(), verdict: Sameness::Same, with: "node1".into() },
        ],
    };
    let html = conflicts(Page { start: 0, limit: 20 }, &(1, vec![dispute]), now()).into_string();
    for words in
        ["System UUID", "Disks", "badge good\">same", "badge note\">other", "value=\"resolve node2 same node1\""]
    {
        assert!(html.contains(words), "{words}: {html}");
    }
    let moved = Remedy::Moved { from: "node1".into(), to: "node2".into(), key };
    let trial = trial(&moved, evil, now()).into_string();
    assert!(trial.contains("method=\"post\"") && trial.contains("Do it"), "{trial}");
    for page in [html, trial] {
        assert!(!page.contains("<script>\u{1b}") && !page.contains("<script>\u{fffd}"), "{page}");
    }
}
