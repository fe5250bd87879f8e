//! Small pieces that several pages are made of.

use maud::{Markup, html};
use time::OffsetDateTime;

use crate::describe::{Column, Section};
use crate::human;
use crate::store::view::Page;

/// Text of a machine or of its history.
pub(super) fn said(text: &str) -> Markup {
    html! { (human::plain(text)) }
}

/// A sentence with commands between backquotes, as a terminal shows it.
pub(super) fn with_commands(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (said(part)) } } @else { (said(part)) }
        }
    }
}

/// An RFC 3339 time as an age, with the time itself beside it for pointers and screen readers.
pub(super) fn ago(rfc3339: &str, now: OffsetDateTime) -> Markup {
    html! { time datetime=(rfc3339) title=(human::stamp(rfc3339)) { (human::age(rfc3339, now)) } }
}

/// An RFC 3339 time in full.
pub(super) fn moment(rfc3339: &str) -> Markup {
    html! { time datetime=(rfc3339) { (human::stamp(rfc3339)) } }
}

/// A node's state as a word in its colour.
pub(super) fn badge(state: &str) -> Markup {
    let kind = match state {
        "normal" => "good",
        "held" => "warn",
        _ => "note",
    };
    html! { span class=(format!("badge {kind}")) { (state) } }
}

/// A table of components; columns that are empty in every row are left out.
pub(super) fn section(section: &Section) -> Markup {
    let used: Vec<usize> = (0..section.columns.len())
        .filter(|i| section.rows.iter().any(|row| row.get(*i).is_some_and(|cell| !cell.is_empty())))
        .collect();
    let mut columns: Vec<Column> = used.iter().map(|i| section.columns[*i]).collect();
    if let Some(first) = columns.first_mut() {
        first.head = section.noun;
    }
    let title = format!("{}-title", section.id);
    html! {
        section id=(section.id) aria-labelledby=(title) {
            h2 id=(title) { (section.title) }
            table.cards role="table" aria-labelledby=(title) {
                thead role="rowgroup" { tr role="row" {
                    @for column in &columns { th role="columnheader" scope="col" { (column.head) } }
                } }
                tbody role="rowgroup" {
                    @for row in &section.rows { tr role="row" {
                        @for (index, column) in used.iter().zip(&columns) {
                            @let cell = row.get(*index).map_or("", String::as_str);
                            td role="cell" data-label=(column.head) class=[class(column, cell)] { (said(cell)) }
                        }
                    } }
                }
            }
        }
    }
}

/// Longest value in bytes that is not broken over lines: a MAC.
const WHOLE: usize = 17;

fn class(column: &Column, cell: &str) -> Option<&'static str> {
    match (cell.len(), column.code) {
        (0, _) => Some("none"),
        (1..=WHOLE, true) => Some("code whole"),
        (_, true) => Some("code"),
        (_, false) => None,
    }
}

/// Links to the pages before and after; nothing when there is only one. `link` gives the URL of a page by its start.
pub(super) fn pager(what: &str, page: Page, total: i64, link: impl Fn(i64) -> String) -> Markup {
    let end = (page.start + page.limit).min(total);
    html! {
        @if page.start > 0 || end < total {
            nav.pager aria-label=(format!("More {what}")) {
                @if page.start > 0 {
                    a rel="prev" href=(link((page.start - page.limit).max(0))) { "← Before" }
                }
                span { (human::number(page.start + 1)) " to " (human::number(end)) " of " (human::number(total)) }
                @if end < total { a rel="next" href=(link(end)) { "Next →" } }
            }
        }
    }
}
