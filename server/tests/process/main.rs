//! The server as a process: started on a folder of its own, spoken to over HTTP, killed without warning.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod access;
mod agents;
mod browser;
mod card;
mod checkin;
mod cli;
mod collect;
mod commands;
mod config;
mod conflicts;
mod conflicts_page;
mod durability;
mod el_mk;
mod enrolment;
mod explain;
mod fleet;
mod hashing;
mod identity;
mod images;
mod installed;
mod legacy;
mod limits;
mod log;
mod many;
mod matrix;
mod matrix_commands;
mod matrix_gaps;
mod matrix_items;
mod mirror;
mod page;
mod recorded;
mod support;
mod tls;
mod undo;
mod wait;
