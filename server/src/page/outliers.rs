//! The odd machines of the fleet: products, and each odd node with what the others have.

use maud::{Markup, html};
use time::OffsetDateTime;

use crate::human;
use crate::page::layout;
use crate::page::parts::{pager, said};
use crate::registry::outliers::{Asked, Found, Item, Product};
use crate::store::view::Page;

/// The page.
#[must_use]
pub fn outliers(asked: &Asked, page: Page, found: &Found, now: OffsetDateTime) -> Markup {
    let one = match found.products.as_slice() {
        [one] => Some(one),
        _ => None,
    };
    let main = html! {
        h1 { "Outliers" }
        (search(asked))
        @if found.products.is_empty() {
            div.start { p {
                @if asked.product.is_empty() && asked.makeup.is_none() {
                    "No machine has reported an inventory that says what product it is."
                } @else {
                    "No product fits. " a href="/outliers" { "Show all" }
                }
            } }
        } @else {
            p.hint {
                "Machines of one product are compared: what two thirds of at least three have is common, and who has something else is "
                "odd. Serial numbers and addresses are left out."
            }
            (products(found))
            @if let Some(one) = one { (groups(asked, one)) (split(one)) }
            (nodes(asked, found))
            (pager("machines", page, found.total, |start| url(&asked.product, asked.makeup, start)))
        }
    };
    layout::page("Outliers", now, &main)
}

fn url(product: &str, makeup: Option<i64>, start: i64) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    if !product.is_empty() {
        pairs.append_pair("product", product);
    }
    if let Some(makeup) = makeup {
        pairs.append_pair("makeup", &makeup.to_string());
    }
    if start > 0 {
        pairs.append_pair("start", &start.to_string());
    }
    let pairs = pairs.finish();
    if pairs.is_empty() { "/outliers".to_owned() } else { format!("/outliers?{pairs}") }
}

fn search(asked: &Asked) -> Markup {
    html! {
        form.search role="search" action="/outliers" method="get" {
            label for="q" { "Product" }
            input #q type="search" name="product" value=(asked.product) autocomplete="off" spellcheck="false"
                placeholder="a part of its name";
            button type="submit" { "Show" }
        }
    }
}

fn products(found: &Found) -> Markup {
    html! {
        table.cards role="table" aria-label="Products" {
            thead role="rowgroup" { tr role="row" {
                @for head in ["Product", "Machines", "Different makeups", "Odd machines"] {
                    th role="columnheader" scope="col" { (head) }
                }
            } }
            tbody role="rowgroup" { @for product in &found.products { tr role="row" {
                th role="rowheader" scope="row" { a href=(url(&product.product, None, 0)) { (said(&product.product)) } }
                td role="cell" data-label="Machines" { (human::number(product.nodes)) }
                td role="cell" data-label="Different makeups" { (product.makeups) }
                td role="cell" data-label="Odd machines" { (human::number(product.odd)) }
            } } }
        }
        @if found.more_products > 0 { p.hint { "And " (found.more_products) " products with fewer machines." } }
    }
}

/// Machines of wholly the same makeup.
fn groups(asked: &Asked, product: &Product) -> Markup {
    html! {
        h2 { "Wholly alike" }
        nav.filters aria-label="Machines of one makeup" {
            @for group in &product.groups {
                @let current = (asked.makeup == Some(group.makeup)).then_some("page");
                a href=(url(&product.product, Some(group.makeup), 0)) aria-current=[current] {
                    "Makeup " (group.makeup) " " span.count { (human::number(group.nodes)) @if group.odd > 0 { ", odd" } }
                }
            }
            @if asked.makeup.is_some() { a href=(url(&product.product, None, 0)) { "Odd machines only" } }
        }
    }
}

/// Where no value is common.
fn split(product: &Product) -> Markup {
    html! {
        @if !product.split.is_empty() {
            h2 { "Nothing is common" }
            ul {
                @for split in &product.split { li { (said(&split.text)) } }
                @if product.more_split > 0 { li { "and " (product.more_split) " more" } }
            }
        }
    }
}

fn nodes(asked: &Asked, found: &Found) -> Markup {
    html! {
        h2 #machines { @if asked.makeup.is_some() { "Machines of this makeup" } @else { "Odd machines" } }
        @if found.items.is_empty() {
            p.start { "No machine differs from what is common among its kind." }
        } @else {
            table.cards role="table" aria-labelledby="machines" {
                thead role="rowgroup" { tr role="row" {
                    @for head in ["Node", "Product", "What is odd"] { th role="columnheader" scope="col" { (head) } }
                } }
                tbody role="rowgroup" { @for item in &found.items { (row(item)) } }
            }
        }
    }
}

fn row(item: &Item) -> Markup {
    html! {
        tr role="row" id=(item.name) {
            th.name role="rowheader" scope="row" { a href=(format!("/nodes/{}", item.name)) { (item.name) } }
            td role="cell" data-label="Product" { (said(&item.product)) }
            td role="cell" data-label="What is odd" class=[item.odd.is_empty().then_some("none")] {
                ul.odd {
                    @for odd in &item.odd { li { (said(&odd.text)) } }
                    @if item.more > 0 { li { "and " (item.more) " more" } }
                }
            }
        }
    }
}
