//! A page in place of the one that was asked for.

use maud::{Markup, html};
use time::OffsetDateTime;
use wire::error::Problem;

use crate::page::layout;
use crate::page::parts::{said, with_commands};

/// Says why there is nothing to see, and what to do.
#[must_use]
pub fn refusal(problem: &Problem, now: OffsetDateTime) -> Markup {
    let main = html! { h1 { "This cannot be shown" } (why(problem)) };
    layout::page("Not shown", now, &main)
}

/// Says why a command was refused. `update.js` leaves such a page alone.
#[must_use]
pub fn refused_command(problem: &Problem, now: OffsetDateTime) -> Markup {
    let main = html! {
        h1 data-still { "Nothing was changed" }
        (why(problem))
        p { a href="/conflicts" { "Conflicts" } }
    };
    layout::page("Nothing was changed", now, &main)
}

fn why(problem: &Problem) -> Markup {
    html! {
        div.callout.warn {
            p { strong { (said(&problem.error)) } }
            p { (with_commands(&problem.remedy)) }
        }
    }
}
