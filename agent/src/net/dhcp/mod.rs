//! DHCPv4 client: messages, packets and the state machine of one port. All pure; the sockets are in `net::socket`.
//!
//! Our own, since the crate at hand (mozim 0.3) ignores a refusal (NAK) in all states but one, repeats its first
//! request only after 3 to 5 seconds, and brings its own packet and netlink libraries.

mod client;
pub(crate) mod frame;
pub(crate) mod lease;
mod message;

pub(crate) use client::{Action, Client, Dropped, Event};
pub(crate) use frame::{CLIENT_PORT, SERVER_PORT, unwrap, wrap};
pub(crate) use lease::{Lease, Route};
pub(crate) use message::{Ask, Mac, Reply};
