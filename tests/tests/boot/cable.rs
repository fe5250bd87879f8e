//! A cable between a guest's port and QEMU's network, cut in two: what either of them says goes to the test, and what the other
//! one hears comes from it. Frames go through QEMU's own redirecting filters, each with its length before it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Mutex;

use mk_tests::vm::Guest;
use serde_json::json;

/// The four ends of a cut cable.
pub(crate) struct Cable {
    pub(crate) from_guest: UnixStream,
    pub(crate) to_network: UnixStream,
    pub(crate) from_network: UnixStream,
    pub(crate) to_guest: UnixStream,
}

impl Cable {
    /// Cuts the cable of one of a guest's ports.
    pub(crate) fn cut(guest: &Guest, port: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipe = |name: &str| {
            let path = folder.path().join(name);
            let listener = UnixListener::bind(&path).unwrap();
            let address = json!({"type": "unix", "data": {"path": path}});
            let backend = json!({"type": "socket", "data": {"addr": address, "server": false}});
            guest.qmp("chardev-add", json!({"id": name, "backend": backend})).unwrap();
            listener.accept().unwrap().0
        };
        let names = ["from-guest", "to-network", "from-network", "to-guest"].map(|name| format!("{name}{port}"));
        let [from_guest, to_network, from_network, to_guest] = names.each_ref().map(|name| pipe(name));
        for (queue, outdev, indev) in [("rx", &names[0], &names[1]), ("tx", &names[2], &names[3])] {
            let filter = json!({"qom-type": "filter-redirector", "id": format!("{queue}{port}"),
                "netdev": format!("net{port}"), "queue": queue, "outdev": outdev, "indev": indev});
            guest.qmp("object-add", filter).unwrap();
        }
        Self { from_guest, to_network, from_network, to_guest }
    }
}

/// Hands each frame of a stream over until QEMU is gone.
pub(crate) fn each_frame(mut stream: UnixStream, mut take: impl FnMut(Vec<u8>)) {
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        if stream.read_exact(&mut frame).is_err() {
            return;
        }
        take(frame);
    }
}

/// A guest that is gone hears nothing.
pub(crate) fn send(stream: &Mutex<UnixStream>, frame: &[u8]) {
    let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
    let _: std::io::Result<()> = stream.lock().unwrap().write_all(&[&length, frame].concat());
}
