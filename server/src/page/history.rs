//! What happened to a node, and what it reported: newest first, in pages.

use maud::{Markup, html};
use serde_json::Value;
use time::OffsetDateTime;

use crate::human;
use crate::page::layout;
use crate::page::parts::{moment, pager, said};
use crate::store::feed::{Feed, Part};
use crate::store::view::Page;

/// The log of one node, or of all.
#[must_use]
pub fn log(name: Option<&str>, part: Part, feed: &Feed, now: OffsetDateTime) -> Markup {
    let title = name.map_or_else(|| "Log".to_owned(), |name| format!("Log of {name}"));
    let path = name.map_or_else(|| "/log".to_owned(), |name| format!("/nodes/{name}/log"));
    let main = html! {
        @if let Some(name) = name { (crumbs(name, "Log")) }
        h1 #title { (title) }
        (log_table(&feed.entries, name.is_none(), "title"))
        @if part != Part::Newest || feed.more {
            nav.pager aria-label="More entries" {
                @if part != Part::Newest { a href=(path) { "← Newest" } }
                @if feed.more { a rel="next" href=(format!("{path}?before={}", feed.first)) { "Older →" } }
            }
        }
    };
    layout::page(&title, now, &main)
}

/// All of a node's reports. `reports` are the page and the number of all.
#[must_use]
pub fn reports(name: &str, page: Page, (total, reports): &(i64, Vec<Value>), now: OffsetDateTime) -> Markup {
    let main = html! {
        (crumbs(name, "Reports"))
        h1 #title { "Reports of " (name) }
        (report_table(name, reports, "title"))
        (pager("reports", page, *total, |start| format!("/nodes/{name}/reports?start={start}")))
    };
    layout::page(&format!("Reports of {name}"), now, &main)
}

fn crumbs(name: &str, here: &str) -> Markup {
    html! {
        nav.crumbs aria-label="Where you are" {
            a href="/nodes" { "Nodes" } " / " a href=(format!("/nodes/{name}")) { (name) } " / "
            span aria-current="page" { (here) }
        }
    }
}

/// Entries of the feed, newest first, with the heading that names the table; `nodes` tells which nodes they are about.
pub(super) fn log_table(entries: &[Value], nodes: bool, title: &str) -> Markup {
    if entries.is_empty() {
        return html! { p.hint { "Nothing yet." } };
    }
    html! {
        table.cards.log role="table" aria-labelledby=(title) {
            thead role="rowgroup" { tr role="row" {
                th role="columnheader" scope="col" { "When" }
                @if nodes { th role="columnheader" scope="col" { "Node" } }
                th role="columnheader" scope="col" { "Severity" }
                th role="columnheader" scope="col" { "What happened" }
            } }
            tbody role="rowgroup" {
                @for (entry, back) in entries.iter().rev().zip(backs(entries)) { (log_row(entry, back, nodes)) }
            }
        }
    }
}

/// For each entry, newest first, the remedy that takes it back, unless a later entry says that it has been.
fn backs(entries: &[Value]) -> impl Iterator<Item = Option<&str>> {
    let mut undone = Vec::new();
    entries.iter().rev().map(move |entry| {
        let entry = &entry["entry"];
        undone.extend(entry["undoes"].as_str());
        let back = entry["back"].as_str()?;
        match undone.iter().position(|words| *words == back) {
            Some(at) => {
                undone.swap_remove(at);
                None
            }
            None => Some(back),
        }
    })
}

fn log_row(entry: &Value, back: Option<&str>, nodes: bool) -> Markup {
    let word = |name: &str| entry[name].as_str().unwrap_or_default();
    let kind = match word("severity") {
        "error" => "badge bad",
        "warn" => "badge warn",
        _ => "badge",
    };
    html! {
        tr role="row" {
            td role="cell" data-label="When" { (moment(word("timestamp"))) }
            @if nodes {
                @let name = word("node");
                td role="cell" data-label="Node" class=[name.is_empty().then_some("none")] {
                    @if !name.is_empty() { a.whole href=(format!("/nodes/{name}")) { (name) } }
                }
            }
            td role="cell" data-label="Severity" { span class=(kind) { (said(word("severity"))) } }
            td role="cell" data-label="What happened" {
                (said(word("text")))
                @if let Some(back) = back {
                    form.remedies action="/conflicts/remedy" method="get" {
                        button.other name="remedy" value=(back) { "Undo" }
                    }
                }
            }
        }
    }
}

/// Reports, with links to their content.
pub(super) fn report_table(name: &str, reports: &[Value], title: &str) -> Markup {
    if reports.is_empty() {
        return html! { p.hint { "None yet." } };
    }
    html! {
        table.cards role="table" aria-labelledby=(title) {
            thead role="rowgroup" { tr role="row" {
                @for head in ["When", "Kind", "Size", "Digest"] { th role="columnheader" scope="col" { (head) } }
            } }
            tbody role="rowgroup" { @for report in reports { tr role="row" {
                td role="cell" data-label="When" { (moment(report["timestamp"].as_str().unwrap_or_default())) }
                td role="cell" data-label="Kind" { (report["kind"].as_str().unwrap_or_default()) }
                td role="cell" data-label="Size" { (human::disk(report["bytes"].as_u64().unwrap_or(0))) }
                td.code role="cell" data-label="Digest" {
                    a href=(format!("/api/collections/nodes/{name}/reports/{}", report["id"])) {
                        (said(report["digest"].as_str().unwrap_or_default()))
                    }
                }
            } } }
        }
    }
}

/// Bundles of logs and state, with links to the archives.
pub(super) fn bundle_table(name: &str, bundles: &[Value], title: &str) -> Markup {
    html! {
        table.cards role="table" aria-labelledby=(title) {
            thead role="rowgroup" { tr role="row" {
                @for head in ["When", "Size", "Archive"] { th role="columnheader" scope="col" { (head) } }
            } }
            tbody role="rowgroup" { @for bundle in bundles { tr role="row" {
                @let command = bundle["command"].to_string();
                td role="cell" data-label="When" { (moment(bundle["timestamp"].as_str().unwrap_or_default())) }
                td role="cell" data-label="Size" { (human::disk(bundle["bytes"].as_u64().unwrap_or(0))) }
                td.code role="cell" data-label="Archive" {
                    a href=(format!("/api/collections/nodes/{name}/bundles/{command}")) { (name) "-" (command) ".tar.gz" }
                }
            } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_taken_back_cannot_be_taken_back_again_until_it_is_done_anew() {
        let entry = |back: Option<&str>, undoes: Option<&str>| json!({"entry": {"back": back, "undoes": undoes}});
        let merged = entry(Some("split node2"), None);
        let split = entry(None, Some("split node2"));
        let forgot = entry(Some("undo 7"), None);
        let entries = [merged.clone(), split, forgot.clone(), json!({"entry": {"msg": "x"}}), merged];
        let shown: Vec<_> = backs(&entries).collect();
        assert_eq!(shown, [Some("split node2"), None, Some("undo 7"), None, None], "newest first");
        let entries = [forgot, entry(None, Some("undo 7"))];
        assert_eq!(backs(&entries).collect::<Vec<_>>(), [None, None]);
    }
}
