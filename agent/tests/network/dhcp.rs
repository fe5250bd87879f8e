//! A DHCP server for what dnsmasq cannot do: leases of ten seconds that are to be extended after one, and a server that
//! changes its mind.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::socket::{setsockopt, sockopt};

use crate::sandbox::Cable;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// The address that is granted unless a test says otherwise.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 50);
/// Length of a DHCP message without its options, the magic number included.
const FIXED: usize = 240;

/// What the server does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It grants.
    Grants,
    /// It refuses to extend, and grants to who asks anew.
    Refuses,
    /// It is away.
    Silent,
}

/// What is granted.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) mood: Mood,
    pub(crate) address: Ipv4Addr,
    /// Further options.
    pub(crate) options: Vec<(u8, Vec<u8>)>,
}

/// The server, as long as the test runs.
pub(crate) struct Server {
    /// From now on.
    pub(crate) grant: Arc<Mutex<Grant>>,
    /// Requests that came.
    pub(crate) requests: Arc<AtomicUsize>,
    /// Those that ask for an extension.
    pub(crate) extensions: Arc<AtomicUsize>,
}

impl Server {
    /// At the other end of the cable.
    pub(crate) fn at(cable: &Cable) -> Self {
        let grant = Grant { mood: Mood::Grants, address: ADDRESS, options: Vec::new() };
        let server = Self { grant: Arc::new(Mutex::new(grant)), requests: Arc::default(), extensions: Arc::default() };
        let socket = cable.at_server(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).unwrap());
        setsockopt(&socket, sockopt::BindToDevice, &"srv0".into()).unwrap();
        socket.set_broadcast(true).unwrap();
        let (grant, requests, extensions) =
            (Arc::clone(&server.grant), Arc::clone(&server.requests), Arc::clone(&server.extensions));
        thread::spawn(move || {
            let mut request = [0; 2048];
            while let Ok((length, _)) = socket.recv_from(&mut request) {
                // An extension is asked for from the address itself.
                let own: [u8; 4] = request[12..16].try_into().unwrap();
                let extends = own != [0; 4];
                requests.fetch_add(1, Ordering::Relaxed);
                extensions.fetch_add(extends.into(), Ordering::Relaxed);
                let grant = grant.lock().unwrap().clone();
                let refused = extends && grant.mood == Mood::Refuses;
                if length < FIXED + 3 || grant.mood == Mood::Silent {
                    continue;
                }
                let to = if extends && !refused { own.into() } else { Ipv4Addr::BROADCAST };
                // The message type is the client's first option.
                let kind = if refused {
                    6
                } else if request[FIXED + 2] == 1 {
                    2
                } else {
                    5
                };
                let _ = socket.send_to(&answer(&request, kind, &grant), (to, 68));
            }
        });
        server
    }

    /// Grants this from now on.
    pub(crate) fn turns(&self, mood: Mood, address: Ipv4Addr, options: &[(u8, &[u8])]) {
        let options = options.iter().map(|(code, value)| (*code, value.to_vec())).collect();
        *self.grant.lock().unwrap() = Grant { mood, address, options };
    }
}

fn answer(request: &[u8], kind: u8, grant: &Grant) -> Vec<u8> {
    let mut out = request[..FIXED].to_vec();
    out[0] = 2;
    out[16..20].copy_from_slice(&grant.address.octets());
    let fixed = [(53, &[kind][..]), (54, &SERVER.octets()), (51, &[0, 0, 0, 10]), (1, &[255, 255, 255, 0])];
    let own = grant.options.iter().map(|(code, value)| (*code, value.as_slice()));
    for (code, value) in fixed.into_iter().chain(own) {
        out.push(code);
        out.push(u8::try_from(value.len()).unwrap());
        out.extend(value);
    }
    // Extend after one second, ask others after eight.
    out.extend([58, 4, 0, 0, 0, 1, 59, 4, 0, 0, 0, 8, 255]);
    out
}
