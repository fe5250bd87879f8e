//! The pages that operators see: pure functions from what is known to HTML. They work without JavaScript; with it, they
//! keep themselves up to date.
//!
//! Everything that a machine said goes through [`crate::human::plain`] and is escaped by the template macro. Nothing comes
//! from another server, and no script or style stands in the page itself, so that the policy in [`POLICY`] can forbid both.

mod conflicts;
mod diff;
mod history;
mod images;
mod layout;
pub mod login;
pub(crate) mod node;
mod nodes;
mod outliers;
mod parts;
mod rack;
mod refusal;
mod setup;

pub use conflicts::{conflicts, trial};
pub use diff::{diff, reports};
pub use history::log;
pub use images::{Stock, images, trial as image_trial};
pub use node::node;
pub use nodes::{List, nodes};
pub use outliers::outliers;
pub use rack::rack;
pub use refusal::{refusal, refused_command};

/// Style sheet.
pub const STYLE: &str = include_str!("style.css");
/// Script that keeps a page up to date.
pub const SCRIPT: &str = include_str!("update.js");
/// Icon of the tab.
pub const ICON: &str = include_str!("icon.svg");

/// Where [`STYLE`] is served.
pub const STYLE_PATH: &str = "/assets/style.css";
/// Where [`SCRIPT`] is served.
pub const SCRIPT_PATH: &str = "/assets/update.js";
/// Where [`ICON`] is served.
pub const ICON_PATH: &str = "/assets/icon.svg";

/// Where a browser logs in.
pub const LOGIN_PATH: &str = "/login";
/// Where it logs out.
pub const LOGOUT_PATH: &str = "/logout";

/// What a browser may do with a page: load our own style, script and icon, ask us again, and send forms to us.
pub const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                          form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests;
