//! Tells who started the server that it is there, as systemd wants to hear it of a unit with `Type=notify`.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where that is to be told.
const PLACE: &str = "NOTIFY_SOCKET";

/// Tells it, if anybody wants to know; what cannot be told is in the log.
pub fn tell() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let address = match place.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&place),
    };
    let told = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1\n", &address));
    if let Err(error) = told {
        tracing::warn!("cannot tell {} that the server is there: {error}", place.display());
    }
}
