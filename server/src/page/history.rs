//! What happened to a node, and what it reported: newest first, in pages.

use maud::{Markup, html};
use serde_json::Value;
use time::OffsetDateTime;

use crate::human;
use crate::page::layout;
use crate::page::parts::{moment, pager, said};
use crate::store::view::Page;
use crate::wording;

/// A node's whole log. `entries` are the page and the number of all.
#[must_use]
pub fn log(name: &str, page: Page, (total, entries): &(i64, Vec<Value>), now: OffsetDateTime) -> Markup {
    let main = html! {
        (crumbs(name, "Log"))
        h1 #title { "Log of " (name) }
        (log_table(entries, "title"))
        (pager("entries", page, *total, |start| format!("/nodes/{name}/log?start={start}")))
    };
    layout::page(&format!("Log of {name}"), now, &main)
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

/// Log entries, with the heading that names the table.
pub(super) fn log_table(entries: &[Value], title: &str) -> Markup {
    if entries.is_empty() {
        return html! { p.hint { "Nothing yet." } };
    }
    html! {
        table.cards.log role="table" aria-labelledby=(title) {
            thead role="rowgroup" { tr role="row" {
                @for head in ["When", "Severity", "What happened"] {
                    th role="columnheader" scope="col" { (head) }
                }
            } }
            tbody role="rowgroup" { @for entry in entries { (log_row(entry)) } }
        }
    }
}

fn log_row(entry: &Value) -> Markup {
    let severity = entry["severity"].as_str().unwrap_or_default();
    let kind = match severity {
        "error" => "badge bad",
        "warn" => "badge warn",
        _ => "badge",
    };
    html! {
        tr role="row" {
            td role="cell" data-label="When" { (moment(entry["timestamp"].as_str().unwrap_or_default())) }
            td role="cell" data-label="Severity" { span class=(kind) { (said(severity)) } }
            td role="cell" data-label="What happened" {
                (said(&wording::sentence(entry)))
                @if let Some(origin) = entry["written_as"].as_str() { span.more { " (as " (origin) ")" } }
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
