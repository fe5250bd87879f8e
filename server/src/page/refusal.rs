//! A page in place of the one that was asked for.

use maud::{Markup, html};
use time::OffsetDateTime;
use wire::error::Problem;

use crate::page::layout;
use crate::page::parts::{said, with_commands};

/// Says why there is nothing to see, and what to do.
#[must_use]
pub fn refusal(problem: &Problem, now: OffsetDateTime) -> Markup {
    let main = html! {
        h1 { "This cannot be shown" }
        div.callout.warn {
            p { strong { (said(&problem.error)) } }
            p { (with_commands(&problem.remedy)) }
        }
    };
    layout::page("Not shown", now, &main)
}
