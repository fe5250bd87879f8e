//! The machines that are expected in the racks, checked off.

use maud::{Markup, html};
use time::OffsetDateTime;

use crate::human;
use crate::page::layout;
use crate::page::parts::{ago, moment, pager, said};
use crate::registry::racks::{Entry, Listed, Show};
use crate::store::view::Page;

/// The page.
#[must_use]
pub fn rack(show: Show, page: Page, listed: &Listed, now: OffsetDateTime) -> Markup {
    let main = html! {
        h1 { "Rack" }
        @match &listed.set {
            None => (nothing()),
            Some(set) => {
                p.hint { "What is expected was set at " (moment(set)) "." }
                (filters(show, listed))
                @if listed.items.is_empty() {
                    p.start { "There are none." }
                } @else {
                    (table(&listed.items, now))
                }
                (pager("machines", page, i64::try_from(listed.total).unwrap_or(i64::MAX), |start| url(show, start)))
            }
        }
    };
    layout::page("Rack", now, &main)
}

fn url(show: Show, start: i64) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    if show != Show::default() {
        pairs.append_pair("show", show.word());
    }
    if start > 0 {
        pairs.append_pair("start", &start.to_string());
    }
    let pairs = pairs.finish();
    if pairs.is_empty() { "/rack".to_owned() } else { format!("/rack?{pairs}") }
}

fn nothing() -> Markup {
    html! {
        div.start {
            p { "No machines are expected. A file says which ones, by what the server can see of them:" }
            pre { "name,slot,serial,switch,port\nweb1,R12 U1,SRV00001,leaf-12a,Ethernet1/1" }
            p { code { "mk-server rack set FILE.csv" } }
        }
    }
}

fn filters(show: Show, listed: &Listed) -> Markup {
    let count = |show: Show| {
        let of = |word: &str| listed.counts.get(word).copied().unwrap_or(0);
        match show {
            Show::All => of("expected"),
            Show::Wrong => of("expected") - of("present") + of("unexpected"),
            other => of(other.word()),
        }
    };
    html! {
        nav.filters aria-label="Which machines" {
            @for one in Show::ALL {
                @let label = match one {
                    Show::All => "All expected".to_owned(),
                    Show::Wrong => "All to look at".to_owned(),
                    other => { let word = other.word(); word[..1].to_uppercase() + &word[1..] }
                };
                a href=(url(one, 0)) aria-current=[(one == show).then_some("page")] {
                    (label) " " span.count { (human::number(i64::try_from(count(one)).unwrap_or(i64::MAX))) }
                }
            }
        }
    }
}

fn table(items: &[Entry], now: OffsetDateTime) -> Markup {
    html! {
        table.cards role="table" aria-label="Machines" {
            thead role="rowgroup" { tr role="row" {
                @for head in ["Name", "Slot", "Standing", "Node", "Seen", "Known by", "What is not as expected"] {
                    th role="columnheader" scope="col" { (head) }
                }
            } }
            tbody role="rowgroup" { @for entry in items { (line(entry, now)) } }
        }
    }
}

fn line(entry: &Entry, now: OffsetDateTime) -> Markup {
    let row = entry.row.as_ref();
    let kind = match entry.standing {
        "present" => "good",
        "missing" => "bad",
        _ => "warn",
    };
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let place = row.and_then(|r| Some(format!("{} {}", r.switch.as_ref()?, r.port.as_ref()?)));
    let known = row.into_iter().flat_map(|r| [&r.serial, &r.asset, &r.uuid, &r.mac]).flatten().chain(&place);
    let known = known.cloned().collect::<Vec<_>>().join(", ");
    let slot = text(row.and_then(|r| r.slot.as_ref()));
    let none = |text: &str| text.is_empty().then_some("none");
    html! {
        tr role="row" {
            th.name role="rowheader" scope="row" { @match row { Some(row) => (said(&row.name)), None => "not expected" } }
            td role="cell" data-label="Slot" class=[none(&slot)] { (said(&slot)) }
            td role="cell" data-label="Standing" { span class=(format!("badge {kind}")) { (entry.standing) } }
            td role="cell" data-label="Node" class=[entry.node.is_none().then_some("none")] {
                @if let Some(node) = &entry.node { a href=(format!("/nodes/{node}")) { (node) } }
            }
            td role="cell" data-label="Seen" class=[entry.seen.is_none().then_some("none")] {
                @if let Some(seen) = &entry.seen { (ago(seen, now)) }
            }
            td role="cell" data-label="Known by" class=[none(&known)] { span.code { (said(&known)) } }
            td role="cell" data-label="Not as expected" class=[none(&entry.text)] { (said(&entry.text)) }
        }
    }
}
