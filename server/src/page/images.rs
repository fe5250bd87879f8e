//! The images that machines boot, and which of them is in use.

use maud::{Markup, html};
use time::OffsetDateTime;

use crate::human;
use crate::image::Image;
use crate::page::layout;
use crate::page::parts::{moment, said};

/// The images that the server has.
#[derive(Debug)]
pub struct Stock {
    /// In order of name.
    pub images: Vec<Image>,
    /// Name of the one in use.
    pub current: Option<String>,
}

/// The list.
#[must_use]
pub fn images(stock: &Stock, now: OffsetDateTime) -> Markup {
    let main = html! {
        h1 #title { "Images" }
        p.hint {
            "What machines get that boot from the network. Another one comes with "
            code { "mk-server image add FILE.iso" } "; machines that run get it with their next boot."
        }
        @if stock.images.is_empty() {
            p.start { "There is no image yet, so that machines which boot from the network get none." }
        } @else {
            table.cards role="table" aria-labelledby="title" {
                thead role="rowgroup" { tr role="row" {
                    @for head in ["Image", "Variant", "Kernel and initrds", "Added", "In use"] {
                        th role="columnheader" scope="col" { (head) }
                    }
                } }
                tbody role="rowgroup" { @for image in &stock.images { (row(image, stock.current.as_ref() == Some(&image.name))) } }
            }
        }
    };
    layout::page("Images", now, &main)
}

fn row(image: &Image, is_current: bool) -> Markup {
    let bytes = image.kernel_bytes + image.initrd_bytes;
    html! {
        tr role="row" {
            th role="rowheader" scope="row" data-label="Image" { span.code { (said(&image.name)) } }
            td role="cell" data-label="Variant" { (said(&image.variant)) }
            td role="cell" data-label="Kernel and initrds" { (human::disk(bytes)) }
            td role="cell" data-label="Added" { (moment(&image.added)) }
            td role="cell" data-label="In use" {
                @if is_current {
                    span.badge.good { "in use" }
                } @else {
                    form.remedies action="/images/use" method="get" {
                        button.other name="name" value=(image.name) aria-label=(format!("Use {}", image.name)) { "Use it" }
                    }
                }
            }
        }
    }
}

/// What would come of another choice, and the button that makes it.
#[must_use]
pub fn trial(name: &str, current: Option<&str>, now: OffsetDateTime) -> Markup {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("name", name).finish();
    let main = html! {
        nav.crumbs aria-label="Where you are" {
            a href="/images" { "Images" } " / " span aria-current="page" { "Use another" }
        }
        h1 { "Machines are to boot " (said(name)) "?" }
        div.callout.warn {
            p { strong { "From now on, machines that boot from the network get it" @if let Some(current) = current { ", and no longer " (said(current)) } "." } }
            p { "Nothing has been changed yet." }
        }
        form.remedies action=(format!("/images/use?{query}")) method="post" {
            button { "Do it" }
            a href="/images" { "Leave it as it is" }
        }
        p.hint { "The same on the command line: " code { "mk-server image use " (said(name)) } }
    };
    layout::page("Use another image", now, &main)
}
