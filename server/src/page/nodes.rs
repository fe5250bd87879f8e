//! The list of nodes.

use maud::{Markup, html};
use time::OffsetDateTime;
use wire::inventory::{Inventory, Volatile};

use crate::describe::Node;
use crate::human;
use crate::page::parts::{ago, badge, pager, said};
use crate::page::{layout, setup};
use crate::store::list::{Counts, Query, Sort, Which};
use crate::store::nodes::alive_ms;
use crate::store::view::Page;

/// What the list shows.
#[derive(Debug)]
pub struct List {
    /// What was asked.
    pub query: Query,
    /// Which part of it.
    pub page: Page,
    /// Nodes that the query fits.
    pub total: i64,
    /// Numbers over all nodes.
    pub counts: Counts,
    /// The nodes on this page.
    pub nodes: Vec<Node>,
    /// The time at which this was so.
    pub now: OffsetDateTime,
    /// Seconds between check-ins of a node that was told no longer interval.
    pub usual_s: u32,
}

/// The page with the list of nodes.
#[must_use]
pub fn nodes(list: &List) -> Markup {
    let main = html! {
        h1 { "Nodes" }
        @if list.counts.all == 0 {
            (setup::first_steps())
        } @else {
            (search(list))
            (filters(list))
            @if list.nodes.is_empty() { (nothing(&list.query)) } @else { (table(list)) }
            (pager("nodes", list.page, list.total, |start| url(&list.query, start)))
        }
    };
    layout::page("Nodes", list.now, &main)
}

/// URL of a page of the list; what is as usual is left out.
fn url(query: &Query, start: i64) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    if !query.search.is_empty() {
        pairs.append_pair("q", &query.search);
    }
    if query.which != Which::default() {
        pairs.append_pair("show", query.which.word());
    }
    if (query.sort, query.descending) != (Sort::Node, true) {
        pairs.append_pair("sort", &format!("{}{}", if query.descending { "-" } else { "" }, query.sort.word()));
    }
    if start > 0 {
        pairs.append_pair("start", &start.to_string());
    }
    let pairs = pairs.finish();
    if pairs.is_empty() { "/nodes".to_owned() } else { format!("/nodes?{pairs}") }
}

fn search(list: &List) -> Markup {
    html! {
        form.search role="search" action="/nodes" method="get" {
            label for="q" { "Search" }
            input #q type="search" name="q" value=(list.query.search) autocomplete="off" spellcheck="false"
                placeholder="name, serial, MAC, address, model";
            @if list.query.which != Which::default() { input type="hidden" name="show" value=(list.query.which.word()); }
            button type="submit" { "Search" }
        }
    }
}

fn filters(list: &List) -> Markup {
    html! {
        nav.filters aria-label="Which nodes" {
            @for which in Which::ALL {
                @let label = match which {
                    Which::All => "All",
                    Which::Disputed => "Held or pending",
                    Which::Silent => "Silent",
                };
                @let current = (which == list.query.which).then_some("page");
                a href=(url(&Query { which, ..list.query.clone() }, 0)) aria-current=[current] {
                    (label) " " span.count { (human::number(list.counts.of(which))) }
                }
            }
        }
        @if list.query.which == Which::Silent {
            p.hint {
                "Not heard for " (human::duration(alive_ms(None, list.usual_s) / 1000))
                ", or longer where a node was told a longer interval; or never."
            }
        }
    }
}

fn nothing(query: &Query) -> Markup {
    html! {
        div.start {
            p {
                "No node fits"
                @if !query.search.is_empty() { " “" (said(&query.search)) "”" }
                ". " a href="/nodes" { "Show all nodes" }
            }
        }
    }
}

/// Columns: head, and what they can be sorted by.
const COLUMNS: [(&str, Option<Sort>); 10] = [
    ("Node", Some(Sort::Node)),
    ("State", Some(Sort::State)),
    ("Machine", Some(Sort::Product)),
    ("Serial", Some(Sort::Serial)),
    ("CPUs", Some(Sort::Cpus)),
    ("Memory", Some(Sort::Memory)),
    ("Disks", None),
    ("Network", None),
    ("Booted", None),
    ("Check-in", Some(Sort::Checkin)),
];

fn table(list: &List) -> Markup {
    html! {
        table.cards.nodes role="table" aria-label="Nodes" {
            thead role="rowgroup" { tr role="row" { @for (label, sort) in COLUMNS { (head(list, label, sort)) } } }
            tbody role="rowgroup" { @for node in &list.nodes { (row(node, list.now, list.usual_s)) } }
        }
    }
}

/// A column's head, which turns the order round where it is in force.
fn head(list: &List, label: &str, sort: Option<Sort>) -> Markup {
    let Some(sort) = sort else { return html! { th role="columnheader" scope="col" { (label) } } };
    let query = &list.query;
    let now = (query.sort == sort).then_some(if query.descending { "descending" } else { "ascending" });
    let descending = if query.sort == sort { !query.descending } else { sort == Sort::Checkin };
    let link = url(&Query { sort, descending, ..query.clone() }, 0);
    let arrow = match now {
        Some("descending") => "↓",
        Some(_) => "↑",
        None => "",
    };
    html! {
        th role="columnheader" scope="col" aria-sort=[now] {
            a href=(link) title=(format!("Sort by {}", label.to_lowercase())) {
                (label) span.arrow aria-hidden="true" { (arrow) }
            }
        }
    }
}

fn row(node: &Node, now: OffsetDateTime, usual_s: u32) -> Markup {
    let brief = node.brief();
    let name = node.name();
    let cell = |label: &str, class: &'static str, text: &str| {
        let class = if text.is_empty() { "none" } else { class };
        html! { td role="cell" data-label=(label) class=[Some(class).filter(|c| !c.is_empty())] { (said(text)) } }
    };
    html! {
        tr role="row" id=(name) {
            th.name role="rowheader" scope="row" {
                a href=(format!("/nodes/{name}")) { (name) }
                @if let Some(expected) = node.expected() { p.why { (said(expected)) } }
            }
            td role="cell" data-label="State" {
                (badge(node.state()))
                @if let Some((error, _)) = node.reason() { p.why { (said(error)) } }
            }
            (cell("Machine", "", if node.nothing_yet().is_some() { "only its boot was seen" } else { &brief.machine }))
            (cell("Serial", "code", &brief.serial))
            (cell("CPUs", "", &brief.cpus))
            (cell("Memory", "", &brief.memory))
            td role="cell" data-label="Disks" class=[brief.disks.is_empty().then_some("none")] {
                @for (index, group) in brief.disks.iter().enumerate() {
                    @if index > 0 { ", " } span.whole { (group) }
                }
            }
            td role="cell" data-label="Network" .code { (network(node, &brief.macs)) }
            (cell("Booted", "", &brief.booted))
            td role="cell" data-label="Check-in" { (checkin(node, now, usual_s)) }
        }
    }
}

/// First MAC, how many more, and the addresses in use.
fn network(node: &Node, macs: &[String]) -> Markup {
    let volatile = node.inventory.as_ref().and_then(|Inventory { volatile, .. }| volatile.as_ref());
    let addresses = volatile.map(|Volatile { addresses, .. }| addresses.values().flatten());
    let global = addresses.into_iter().flatten().filter(|a| !a.starts_with("fe80:"));
    html! {
        @if let Some(first) = macs.first() {
            span.whole {
                (said(first))
                @if macs.len() > 1 { span.more title=(format!("and {} more", macs.len() - 1)) { " +" (macs.len() - 1) } }
            }
        }
        @for address in global.take(2) { br; span.more { (said(address)) } }
    }
}

fn checkin(node: &Node, now: OffsetDateTime, usual_s: u32) -> Markup {
    let Some(last) = node.time("last_checkin") else { return html! { span.quiet { "none yet" } } };
    let silent_s = alive_ms(node.document["interval_s"].as_i64(), usual_s) / 1000;
    let silent = human::seconds_since(last, now).is_some_and(|s| s > silent_s);
    html! { span class=[silent.then_some("quiet")] { (ago(last, now)) } @if silent { " " span.badge.note { "silent" } } }
}
