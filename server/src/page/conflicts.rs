//! Disputes about identity: why, the evidence side by side, and what ends them.

use maud::{Markup, html};
use time::OffsetDateTime;

use crate::human;
use crate::page::layout;
use crate::page::parts::{badge, pager, said, with_commands};
use crate::registry::disputes::{Against, Dispute, Values};
use crate::registry::remedy::Remedy;
use crate::store::view::Page;

/// The list. `found` are the number of all disputes and those of this page.
#[must_use]
pub fn conflicts(page: Page, (total, disputes): &(i64, Vec<Dispute>), now: OffsetDateTime) -> Markup {
    let main = html! {
        h1 { "Conflicts" }
        @if *total == 0 {
            p.start { "No node's identity is disputed." }
        } @else {
            p.hint {
                (human::number(*total)) " of the nodes. A button first shows what would come of it. To ask beforehand what a part "
                "that moves would lead to: " code { "mk-server explain NODE --what-if +mac=…" }
            }
        }
        @for one in disputes { (dispute(one)) }
        (pager("conflicts", page, *total, |start| format!("/conflicts?start={start}")))
    };
    layout::page("Conflicts", now, &main)
}

fn dispute(dispute: &Dispute) -> Markup {
    let name = &dispute.name;
    let title = format!("{name}-title");
    html! {
        article.conflict id=(name) aria-labelledby=(title) {
            h2 id=(title) {
                a href=(format!("/nodes/{name}")) { (name) } " " (badge(if dispute.held { "held" } else { "shared" }))
            }
            @if let Some(reason) = &dispute.reason {
                div.callout.warn { p { strong { (said(&reason.error)) } } p { (with_commands(&reason.remedy)) } }
            }
            (side_by_side(dispute, &title))
            @if dispute.more > 0 { p.hint { "And " (human::number(i64::try_from(dispute.more).unwrap_or(i64::MAX))) " nodes more." } }
            form.remedies action="/conflicts/remedy" method="get" {
                @for remedy in &dispute.remedies {
                    button.other name="remedy" value=(remedy) { (said(&remedy.sentence())) }
                }
            }
        }
    }
}

/// What is known of each node, and whether it is the same.
fn side_by_side(dispute: &Dispute, title: &str) -> Markup {
    let others: Vec<&str> = dispute.evidence.iter().map(|against| against.name.as_str()).collect();
    html! {
        table.cards role="table" aria-labelledby=(title) {
            thead role="rowgroup" { tr role="row" {
                th role="columnheader" scope="col" { "Hardware" }
                th role="columnheader" scope="col" { (dispute.name) }
                @for other in &others { th role="columnheader" scope="col" { (other) } }
            } }
            tbody role="rowgroup" { @for row in &dispute.values { tr role="row" {
                th role="rowheader" scope="row" { (row.group.title()) }
                (cell(row, &dispute.name, None))
                @for against in &dispute.evidence { (cell(row, &against.name, judged(row, &dispute.name, against))) }
            } } }
        }
    }
}

/// In a word, how a group of the other node compares.
fn judged(row: &Values, name: &str, against: &Against) -> Option<&'static str> {
    let values = |name: &str| row.nodes.get(name).filter(|values| !values.is_empty());
    match (values(name)?, values(&against.name)?) {
        (one, other) if one == other => Some("same"),
        (one, other) if one.is_disjoint(other) => Some("other"),
        _ => Some("in part"),
    }
}

fn cell(row: &Values, name: &str, judged: Option<&str>) -> Markup {
    let values = row.nodes.get(name).into_iter().flatten();
    let text = values.map(String::as_str).collect::<Vec<_>>().join(", ");
    html! {
        td role="cell" data-label=(name) class=[text.is_empty().then_some("none")] {
            span.code { (said(&text)) }
            @if let Some(word) = judged {
                " " span class=(if word == "other" { "badge note" } else { "badge good" }) { (word) }
            }
        }
    }
}

/// What would come of a remedy, and the button that does it.
#[must_use]
pub fn trial(remedy: &Remedy, result: &str, now: OffsetDateTime) -> Markup {
    let words = remedy.to_string();
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("remedy", &words).finish();
    let (place, title, here) = match remedy.about() {
        Some(node) => (format!("/nodes/{node}"), node, "Command"),
        None => ("/conflicts".to_owned(), "Conflicts", "Remedy"),
    };
    let main = html! {
        nav.crumbs aria-label="Where you are" {
            a href=(place) { (said(title)) } " / " span aria-current="page" { (here) }
        }
        h1 { (said(&remedy.sentence())) "?" }
        div.callout.warn { p { strong { "This would come of it: " (with_commands(result)) "." } } p { "Nothing has been changed yet." } }
        form.remedies action=(format!("/conflicts/remedy?{query}")) method="post" {
            button { "Do it" }
            a href=(place) { "Leave it as it is" }
        }
        p.hint { "The same on the command line: " code { (said(&remedy.shell())) } }
    };
    layout::page(here, now, &main)
}
