//! A node's reports with what changed by each, and the comparison of two.

use maud::{Markup, html};
use serde_json::Value;
use time::OffsetDateTime;

use crate::human;
use crate::limits::{CHANGES_OF_REPORT, CHANGES_ON_PAGE};
use crate::page::layout;
use crate::page::parts::{moment, pager, said};
use crate::store::view::Page;

/// All of a node's reports. `reports` are the page, each with its changes, and the number of all.
#[must_use]
pub fn reports(name: &str, page: Page, (total, reports): &(i64, Vec<Value>), now: OffsetDateTime) -> Markup {
    let main = html! {
        (crumbs(name, "Reports"))
        h1 #title { "Reports of " (name) }
        @if reports.is_empty() { p.hint { "None yet." } } @else {
            form action=(format!("/nodes/{name}/diff")) method="get" {
                (table(name, reports))
                p.remedies { button type="submit" { "Compare the two that are marked" } }
            }
        }
        (pager("reports", page, *total, |start| format!("/nodes/{name}/reports?start={start}")))
    };
    layout::page(&format!("Reports of {name}"), now, &main)
}

fn table(name: &str, reports: &[Value]) -> Markup {
    html! {
        table.cards.reports role="table" aria-labelledby="title" {
            thead role="rowgroup" { tr role="row" {
                @for head in ["Report", "When", "Boot", "Size", "What changed", "From", "To"] {
                    th role="columnheader" scope="col" { (head) }
                }
            } }
            tbody role="rowgroup" { @for report in reports { (row(name, report)) } }
        }
    }
}

fn row(name: &str, report: &Value) -> Markup {
    let word = |field: &str| report[field].as_str().unwrap_or_default();
    let id = report["id"].to_string();
    let boot: String = word("boot_id").chars().take(BOOT_SHOWN).collect();
    html! {
        tr role="row" id=(format!("report-{id}")) {
            td role="cell" data-label="Report" {
                a href=(format!("/api/collections/nodes/{name}/reports/{id}")) title=(said(word("digest")).into_string()) { (id) }
                @if word("kind") == "facts" { " (facts)" }
            }
            td role="cell" data-label="When" { (moment(word("timestamp"))) }
            td.code role="cell" data-label="Boot" class=[boot.is_empty().then_some("none")] { (said(&boot)) }
            td role="cell" data-label="Size" { (human::disk(report["bytes"].as_u64().unwrap_or(0))) }
            td role="cell" data-label="What changed" { (changes_of(name, &id, &report["changes"])) }
            @for (side, words) in [("from", "From"), ("to", "To")] {
                td role="cell" data-label=(words) {
                    input type="radio" name=(side) value=(id) aria-label=(format!("{words} report {id}"));
                }
            }
        }
    }
}

/// Characters of a boot's name that are shown: enough to see that it is another one.
const BOOT_SHOWN: usize = 8;

fn changes_of(name: &str, id: &str, changes: &Value) -> Markup {
    let Some(changes) = changes.as_array() else { return html! { span.quiet { "The first report that there is." } } };
    html! {
        @if changes.is_empty() { span.quiet { "Nothing that is compared." } }
        (list(changes, CHANGES_OF_REPORT))
        @if changes.len() > CHANGES_OF_REPORT {
            a href=(format!("/nodes/{name}/diff?to={id}")) { "and " (changes.len() - CHANGES_OF_REPORT) " more" }
        }
    }
}

fn list(changes: &[Value], most: usize) -> Markup {
    html! {
        @if !changes.is_empty() {
            ul.changes {
                @for change in changes.iter().take(most) { li { (said(change["text"].as_str().unwrap_or_default())) } }
            }
        }
    }
}

/// What differs between two reports. `with` is the other node as it was asked for.
#[must_use]
pub fn diff(name: &str, with: &str, document: &Value, now: OffsetDateTime) -> Markup {
    let none = Vec::new();
    let changes = document["changes"].as_array().unwrap_or(&none);
    let (from, to) = (&document["from"], &document["to"]);
    let title =
        if from["node"] == to["node"] { format!("Changes of {name}") } else { format!("{name} and another node") };
    let main = html! {
        (crumbs(name, "Comparison"))
        h1 #title { (title) }
        dl.summary { (side("From", from)) (side("To", to)) }
        (form(name, with, from, to))
        h2 { (human::count(changes.len(), "difference", "differences")) }
        @if from["node"] != to["node"] {
            p.hint { "What no two machines have in common is left out: serial numbers, MACs, addresses, switch ports." }
        }
        @if from["kind"] != to["kind"] {
            p.hint { "One of them is the report of an original client: the facts are compared that both have." }
        }
        (list(changes, CHANGES_ON_PAGE))
        @if changes.len() > CHANGES_ON_PAGE { p { "and " (changes.len() - CHANGES_ON_PAGE) " more; the JSON has all." } }
    };
    layout::page(&title, now, &main)
}

fn side(label: &str, report: &Value) -> Markup {
    let node = report["node"].as_str().unwrap_or_default();
    html! {
        div {
            dt { (label) }
            dd {
                a href=(format!("/nodes/{node}/reports")) { (node) } ", report " (report["report"].to_string()) ", "
                (moment(report["timestamp"].as_str().unwrap_or_default()))
            }
        }
    }
}

/// Other two to compare; works without scripts.
fn form(name: &str, with: &str, from: &Value, to: &Value) -> Markup {
    let number = |report: &Value| report["report"].to_string();
    let to = if with.is_empty() { number(to) } else { String::new() };
    html! {
        form.search action=(format!("/nodes/{name}/diff")) method="get" {
            label for="from" { "Report" }
            input #from type="number" name="from" min="1" value=(number(from));
            label for="to" { "with report" }
            input #to type="number" name="to" min="1" value=(to);
            label for="with" { "or another node" }
            input #with type="text" name="with" value=(with) placeholder="node2 or node2@17" autocomplete="off";
            button type="submit" { "Compare" }
        }
    }
}

pub(super) fn crumbs(name: &str, here: &str) -> Markup {
    html! {
        nav.crumbs aria-label="Where you are" {
            a href="/nodes" { "Nodes" } " / " a href=(format!("/nodes/{name}")) { (name) } " / "
            span aria-current="page" { (here) }
        }
    }
}
