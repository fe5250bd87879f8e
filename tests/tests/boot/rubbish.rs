//! Something that answers HTTP on the server's port, but is no server of ours.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use mk_tests::limits;

/// It, until it is stopped.
pub(crate) struct Rubbish {
    end: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Rubbish {
    /// Answers everything on a port of this machine.
    pub(crate) fn serve(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let answer = move || {
            while !ended.load(Ordering::Relaxed) {
                if let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.set_nonblocking(false).and_then(|()| stream.read(&mut [0; 4096]));
                    let _ =
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n");
                }
                std::thread::sleep(limits::POLL);
            }
        };
        Self { end, thread: std::thread::spawn(answer) }
    }

    /// Frees the port.
    pub(crate) fn stop(self) {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}
