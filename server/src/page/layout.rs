//! What all pages have in common.

use maud::{DOCTYPE, Markup, html};
use time::OffsetDateTime;

use crate::human;
use crate::page::{ICON_PATH, LOGIN_PATH, SCRIPT_PATH, STYLE_PATH};

/// A whole page. `now` is the time that it shows the state of.
pub(super) fn page(title: &str, now: OffsetDateTime, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Razor" }
                link rel="icon" href=(ICON_PATH) type="image/svg+xml";
                link rel="stylesheet" href=(STYLE_PATH);
                script src=(SCRIPT_PATH) defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href="/nodes" { "Razor Microkernel" }
                    nav aria-label="Pages" { a href="/nodes" { "Nodes" } " " a href="/conflicts" { "Conflicts" } " " a href="/outliers" { "Outliers" } " " a href="/rack" { "Rack" } " " a href="/images" { "Images" } " " a href="/log" { "Log" } }
                }
                p #away .callout.bad role="alert" hidden {}
                main #main { (main) }
                footer {
                    p #asof { "As of " (human::moment(now)) }
                    p { "mk-server " (env!("CARGO_PKG_VERSION")) " · " a href=(LOGIN_PATH) { "Log-in" } }
                }
            }
        }
    }
}
