//! What crosses programs: the messages between agent and server, the site configuration in an image, and the
//! description of an image's own slots (`embed.json`).
//!
//! Input and output are serde types and byte slices; nothing here reads a file, a socket or a clock. Sizes are bytes,
//! times are seconds unless a name says otherwise. Every message has a golden JSON file under `golden/`, which is only
//! ever added to: a field may be added as optional, none may change its meaning.

mod absent;
pub mod argument;
pub mod card;
pub mod checkin;
pub mod command;
pub mod config;
pub mod digest;
pub mod embed;
pub mod enrolment;
pub mod error;
pub mod extensions;
pub mod fact_file;
pub mod facts;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gems;
pub mod inventory;
pub mod limits;
pub mod routes;
pub mod sign;
pub mod site;
pub mod unit;
