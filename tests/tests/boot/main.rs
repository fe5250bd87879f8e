//! Built images boot in QEMU and check in to a real server. `cargo xtask test` builds what they need and says where it
//! is: `MK_DIST` (images of all variants), `MK_SERVER_BIN`, `MKISO_BIN`, `MK_XTASK`, `MK_AGENT`. Guests run under TCG, one
//! per test thread.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod cable;
mod card;
mod closed;
mod command;
mod faults;
mod hardware;
mod identity;
mod lab;
mod lure;
mod media;
mod pauses;
mod power;
mod rubbish;
mod ruby;
mod shell;
mod ssh;
mod switch;
mod tinycore;
mod trunk;
mod units;
