//! A switch between a guest's ports and QEMU's network behind the first of them, whose ports are trunks of one VLAN: what
//! comes with that tag goes to the network without it, what comes without a tag is dropped and counted.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use mk_tests::vm::Guest;

use super::cable::{Cable, each_frame, send};

/// Bytes of both MACs of a frame; a tag follows them.
const MACS: usize = 12;
/// First half of a tag.
const TAG: [u8; 2] = [0x81, 0x00];

/// The switch.
pub(crate) struct Switch {
    shared: Arc<Shared>,
}

struct Shared {
    vlan: u16,
    /// Towards each of the guest's ports.
    ports: Vec<Mutex<UnixStream>>,
    /// Towards the network.
    network: Mutex<UnixStream>,
    /// The port from which the guest spoke last: there it hears answers.
    learned: AtomicUsize,
    /// Frames by the port that they came from: under the tag, and without.
    tagged: Vec<AtomicUsize>,
    untagged: AtomicUsize,
}

impl Switch {
    /// Puts the switch before so many ports of a guest.
    pub(crate) fn before(guest: &Guest, ports: usize, vlan: u16) -> Self {
        let cables: Vec<Cable> = (0..ports).map(|port| Cable::cut(guest, port)).collect();
        let (mut from_guest, mut to_guest, mut from_network, mut to_network) = (vec![], vec![], vec![], vec![]);
        for cable in cables {
            from_guest.push(cable.from_guest);
            to_network.push(cable.to_network);
            from_network.push(cable.from_network);
            to_guest.push(Mutex::new(cable.to_guest));
        }
        let shared = Arc::new(Shared {
            vlan,
            ports: to_guest,
            network: Mutex::new(to_network.remove(0)),
            learned: AtomicUsize::new(0),
            tagged: (0..ports).map(|_| AtomicUsize::new(0)).collect(),
            untagged: AtomicUsize::new(0),
        });
        for (port, stream) in from_guest.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || each_frame(stream, |frame| shared.guest_says(port, frame)));
        }
        let here = Arc::clone(&shared);
        thread::spawn(move || each_frame(from_network.remove(0), |frame| here.network_says(&frame)));
        Self { shared }
    }

    /// Says something on one of its ports, as it is.
    pub(crate) fn says(&self, port: usize, frame: &[u8]) {
        send(&self.shared.ports[port], frame);
    }

    /// Tagged frames that came from each port so far.
    pub(crate) fn tagged(&self) -> Vec<usize> {
        self.shared.tagged.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Frames without a tag so far.
    pub(crate) fn untagged(&self) -> usize {
        self.shared.untagged.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn guest_says(&self, port: usize, mut frame: Vec<u8>) {
        let tag = [TAG, self.vlan.to_be_bytes()].concat();
        if frame.get(MACS..MACS + tag.len()) != Some(&tag[..]) {
            self.untagged.fetch_add(1, Ordering::Relaxed);
            return;
        }
        frame.drain(MACS..MACS + tag.len());
        self.tagged[port].fetch_add(1, Ordering::Relaxed);
        self.learned.store(port, Ordering::Relaxed);
        send(&self.network, &frame);
    }

    fn network_says(&self, frame: &[u8]) {
        let tag = [TAG, self.vlan.to_be_bytes()].concat();
        let (macs, rest) = frame.split_at(MACS.min(frame.len()));
        send(&self.ports[self.learned.load(Ordering::Relaxed)], &[macs, &tag, rest].concat());
    }
}
