//! One node.

use maud::{Markup, html};
use serde_json::Value;
use time::OffsetDateTime;

use crate::describe::Node;
use crate::page::history::{bundle_table, log_table, report_table};
use crate::page::layout;
use crate::page::parts::{ago, badge, moment, said, section, with_commands};
use crate::registry::order::ORDERS;
use crate::registry::remedy::Remedy;
use crate::store::feed::Feed;

/// The page of one node: what it is, what it is made of, what it can be told, its bundles, and the newest of its log and reports, the latter
/// with the number of all.
#[must_use]
pub fn node(node: &Node, log: &Feed, reports: &(i64, Vec<Value>), bundles: &[Value], now: OffsetDateTime) -> Markup {
    let name = node.name();
    let sections = node.sections();
    let main = html! {
        nav.crumbs aria-label="Where you are" { a href="/nodes" { "Nodes" } " / " span aria-current="page" { (name) } }
        h1 { (name) @if let Some(expected) = node.expected() { " " span.quiet { (said(expected)) } } " " (badge(node.state())) }
        @if let Some((error, remedy)) = node.reason() {
            div.callout.warn role="note" { p { strong { (said(error)) } } p { (with_commands(remedy)) }
                @if node.state() == "pending" {
                    @if let Some(key) = node.key() { p { "Its machine's key: " code { (key) } } }
                    (admission(node))
                } @else {
                    p { a href=(format!("/conflicts#{name}")) { "Evidence and remedies" } }
                }
            }
        }
        @let odd = node.odd();
        @if !odd.is_empty() {
            div.callout.warn role="note" {
                p { strong { "It differs from other machines of its product" } }
                ul { @for odd in &odd { li { (said(odd)) } } }
                p { a href="/outliers" { "All outliers" } }
            }
        }
        nav.jump aria-label="On this page" {
            @for section in &sections { a href=(format!("#{}", section.id)) { (section.title) } " " }
            a href="#commands" { "Commands" } " " a href="#log" { "Log" } " " a href="#reports" { "Reports" }
            @if !bundles.is_empty() { " " a href="#bundles" { "Logs and state" } }
        }
        (summary(node, now))
        (commands(name))
        @if let Some(nothing) = node.nothing_yet() { p.start { (nothing) } }
        @for part in &sections { (section(part)) }
        section #log aria-labelledby="log-title" {
            h2 #log-title { "Log" }
            (log_table(&log.entries, false, "log-title"))
            @if log.more { p { a href=(format!("/nodes/{name}/log")) { "All of its log" } } }
        }
        section #reports aria-labelledby="reports-title" {
            h2 #reports-title { "Reports" }
            (report_table(name, &reports.1, "reports-title"))
            @if reports.0 > 1 {
                p { a href=(format!("/nodes/{name}/reports")) { "All " (reports.0) " reports, and what changed by each" } }
            }
        }
        @if !bundles.is_empty() {
            section #bundles aria-labelledby="bundles-title" {
                h2 #bundles-title { "Logs and state" }
                (bundle_table(name, bundles, "bundles-title"))
            }
        }
        p.hint { a href=(format!("/api/collections/nodes/{name}")) { "This node as JSON" } ", with exact sizes." }
    };
    layout::page(name, now, &main)
}

/// What the node can be told.
fn commands(name: &str) -> Markup {
    html! {
        section #commands aria-labelledby="commands-title" {
            h2 #commands-title { "Commands" }
            form.remedies action="/conflicts/remedy" method="get" {
                @for order in ORDERS {
                    button.other name="remedy" value=(Remedy::Tell { node: name.to_owned(), order }) { (order.title) }
                }
            }
        }
    }
}

/// Buttons for a machine that waits to be let in: as with disputes, the first click shows what would come of it.
fn admission(node: &Node) -> Markup {
    let (name, key) = (node.name().to_owned(), node.key().map(str::to_owned));
    html! {
        form.remedies action="/conflicts/remedy" method="get" {
            @for (remedy, words) in [
                (Remedy::Approve { node: name.clone(), key }, "Let it in"),
                (Remedy::Refuse { node: name }, "Refuse it"),
            ] {
                button.other name="remedy" value=(remedy) { (words) }
            }
        }
    }
}

fn summary(node: &Node, now: OffsetDateTime) -> Markup {
    let aliases = node.aliases();
    html! {
        dl.summary {
            @for (label, value) in node.summary() { div { dt { (label) } dd { (said(&value)) } } }
            @if !aliases.is_empty() { div { dt { "Also known as" } dd { (aliases.join(", ")) } } }
            @if let Some(first) = node.time("first_seen") { div { dt { "First seen" } dd { (moment(first)) } } }
            div {
                dt { "Last check-in" }
                dd {
                    @match node.time("last_checkin") {
                        Some(last) => { (ago(last, now)) ", " (moment(last)) }
                        None => { "none yet: only its boot was seen" }
                    }
                }
            }
        }
    }
}
