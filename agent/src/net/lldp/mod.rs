//! LLDP (IEEE 802.1AB): which switch, and which port of it, each of our ports is plugged into. We only listen.
//!
//! [`Ears`] hear the frames of one port, [`decode`] reads them, [`Hearing`] knows who is there. Only the first has effects.

mod ears;
mod frame;
pub(crate) mod hearing;
mod unit;

use wire::inventory::Lldp;

use crate::limits::LLDP_MACHINE;

pub(super) use ears::Ears;
pub(super) use hearing::Hearing;
pub(super) use unit::{Heard, Role};

#[cfg(test)]
mod samples;

/// Keeps no more neighbours over all ports than an inventory has room for, whatever is sent to us.
pub(super) fn bound<'a>(ports: impl Iterator<Item = &'a mut Lldp>) {
    let mut left = LLDP_MACHINE;
    for port in ports {
        port.neighbours.truncate(left);
        left -= port.neighbours.len();
    }
}
