//! One Ethernet segment with the ports of two guests, QEMU's network behind the first of them, and the test as a station of its
//! own, which hears everything. It learns who is where as a switch does, so that each frame goes where it belongs.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use mk_tests::vm::Guest;

use super::super::cable::{Cable, each_frame, send};

/// Bytes of a MAC.
const MAC: usize = 6;
/// In the first byte of a MAC that stands for many.
const GROUP: u8 = 1;

/// The segment.
pub(super) struct Segment {
    shared: Arc<Shared>,
    /// What goes over it.
    pub(super) frames: Receiver<Vec<u8>>,
    /// The second guest's own network hears nothing and says nothing.
    _silent: (UnixStream, UnixStream),
}

struct Shared {
    /// Towards each station.
    stations: Vec<Mutex<UnixStream>>,
    /// Where each MAC is; the test comes after the stations.
    learned: Mutex<HashMap<[u8; MAC], usize>>,
}

impl Segment {
    /// Joins the first ports of two guests.
    pub(super) fn join(first: &Guest, second: &Guest) -> Self {
        let (one, other) = (Cable::cut(first, 0), Cable::cut(second, 0));
        let stations = vec![one.to_network, one.to_guest, other.to_guest].into_iter().map(Mutex::new).collect();
        let shared = Arc::new(Shared { stations, learned: Mutex::default() });
        let (tap, frames): (Sender<Vec<u8>>, _) = channel();
        for (station, stream) in [one.from_network, one.from_guest, other.from_guest].into_iter().enumerate() {
            let (shared, tap) = (Arc::clone(&shared), tap.clone());
            thread::spawn(move || {
                each_frame(stream, |frame| {
                    shared.carry(station, &frame);
                    // The test may have ended.
                    let _: Result<(), _> = tap.send(frame);
                });
            });
        }
        Self { shared, frames, _silent: (other.to_network, other.from_network) }
    }

    /// Says something as the test.
    pub(super) fn say(&self, frame: &[u8]) {
        self.shared.carry(self.shared.stations.len(), frame);
    }
}

impl Shared {
    fn carry(&self, from: usize, frame: &[u8]) {
        let (Some(to), Some(source)) = (mac(frame, 0), mac(frame, MAC)) else { return };
        let mut learned = self.learned.lock().unwrap();
        learned.insert(source, from);
        let known = if to[0] & GROUP == 0 { learned.get(&to).copied() } else { None };
        drop(learned);
        let hears = |station: &usize| *station != from && known.is_none_or(|known| known == *station);
        for station in (0..self.stations.len()).filter(hears) {
            send(&self.stations[station], frame);
        }
    }
}

/// The MAC at a place of a frame.
fn mac(frame: &[u8], at: usize) -> Option<[u8; MAC]> {
    frame.get(at..at + MAC)?.try_into().ok()
}
