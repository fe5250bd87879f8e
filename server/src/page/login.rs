//! Log-in and log-out.

use maud::{Markup, html};
use time::OffsetDateTime;
use wire::error::Problem;

use crate::page::parts::{said, with_commands};
use crate::page::{LOGIN_PATH, LOGOUT_PATH, layout};
use crate::registry::caller::Caller;

/// Asks for a token; `wrong` says why the last one was not taken. `update.js` leaves it alone.
#[must_use]
pub fn form(wrong: Option<&Problem>, next: &str, now: OffsetDateTime) -> Markup {
    let main = html! {
        h1 data-still { "Log in" }
        @if let Some(problem) = wrong {
            div.callout.warn role="alert" { p { strong { (said(&problem.error)) } } }
        }
        form.search method="post" action=(LOGIN_PATH) {
            label for="token" { "Token" }
            " "
            input type="password" id="token" name="token" required autofocus autocomplete="current-password";
            input type="hidden" name="next" value=(next);
            " "
            button type="submit" { "Log in" }
        }
        p { (with_commands("An operator makes one on the server's own machine: `mk-server token create`.")) }
        p { "Logged in already, and came here by a link of another site? " a href=(next) { "Go on" } }
    };
    layout::page("Log in", now, &main)
}

/// Says who is logged in, and how that ends.
#[must_use]
pub fn known(caller: &Caller, next: &str, now: OffsetDateTime) -> Markup {
    let main = html! {
        h1 data-still { "Log-in" }
        @match caller {
            Caller::Local => p { "Callers on the server's own machine need no log-in." },
            Caller::Token { read_only, .. } => {
                p { "Logged in by " strong { (said(&caller.to_string())) } @if *read_only { ", which only sees" } "." }
                form.remedies method="post" action=(LOGOUT_PATH) { button type="submit" { "Log out" } }
            }
        }
        p { a href=(next) { "Go on" } }
    };
    layout::page("Log-in", now, &main)
}
