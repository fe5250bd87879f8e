//! A DHCP server for what dnsmasq cannot do: leases of ten seconds that are to be extended after one.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::socket::{setsockopt, sockopt};

use crate::sandbox::Cable;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 50);
/// Length of a DHCP message without its options, the magic number included.
const FIXED: usize = 240;

/// Grants one address at the other end of the cable, as long as the test runs. Gives the number of extensions so far.
pub(crate) fn short_leases(cable: &Cable) -> Arc<AtomicUsize> {
    let extensions = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&extensions);
    let socket = cable.at_server(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).unwrap());
    setsockopt(&socket, sockopt::BindToDevice, &"srv0".into()).unwrap();
    socket.set_broadcast(true).unwrap();
    thread::spawn(move || {
        let mut request = [0; 2048];
        while let Ok((length, _)) = socket.recv_from(&mut request) {
            // The message type is the client's first option; an extension is asked for from the address itself.
            let (discover, extends) = (request[FIXED + 2] == 1, request[12..16] == ADDRESS.octets());
            counter.fetch_add(extends.into(), Ordering::Relaxed);
            let to = if extends { ADDRESS } else { Ipv4Addr::BROADCAST };
            if length >= FIXED + 3 {
                let _ = socket.send_to(&answer(&request, if discover { 2 } else { 5 }), (to, 68));
            }
        }
    });
    extensions
}

fn answer(request: &[u8], kind: u8) -> Vec<u8> {
    let mut out = request[..FIXED].to_vec();
    out[0] = 2;
    out[16..20].copy_from_slice(&ADDRESS.octets());
    for (code, value) in [(53, &[kind][..]), (54, &SERVER.octets()), (51, &[0, 0, 0, 10]), (1, &[255, 255, 255, 0])] {
        out.push(code);
        out.push(u8::try_from(value.len()).unwrap());
        out.extend(value);
    }
    // Extend after one second, ask others after eight.
    out.extend([58, 4, 0, 0, 0, 1, 59, 4, 0, 0, 0, 8, 255]);
    out
}
