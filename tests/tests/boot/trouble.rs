//! A machine that cannot reach its server says so on its console, with the next step, and neither gives up nor reboots:
//! no cable, then no server, then something else on the server's port, and at last the server.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use mk_tests::limits;
use mk_tests::vm::{Firmware, Guest, Machine};
use serde_json::json;

use super::lab::Lab;

#[test]
fn a_cut_off_machine_says_what_is_wrong_and_checks_in_when_it_can() {
    let lab = Lab::new();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut machine = Machine::example(0x44, 512, 1);
    machine.nics.truncate(1);
    machine.nics[0].plugged = false;
    let guest = lab.boot(&machine, &lab.image("production", port), Firmware::Bios);

    let from = says(&guest, "No network port has a link.", 0);
    guest.qmp("set_link", json!({"name": "nic0", "up": true})).unwrap();
    let url = format!("10.0.2.2:{port}");
    let from = says(&guest, &url, from);
    let rubbish = Rubbish::serve(port);
    let from = says(&guest, &url, from);
    rubbish.stop();

    let server = lab.serve(port);
    server.await_node(&guest);
    guest.console().wait_for("node1", from, limits::REACTION).unwrap();
    guest.quit().unwrap();
}

/// Waits for a problem that names something and comes with a next step; gives the position behind it.
pub(crate) fn says(guest: &Guest, what: &str, mut from: u64) -> u64 {
    loop {
        let begin = guest.console().wait_for("razor: problem: ", from, limits::CHECK_IN).unwrap();
        let end = guest.console().wait_for("\n", begin, limits::SHELL).unwrap();
        let text = guest.console().text(begin);
        let line = text.lines().next().unwrap();
        println!("the console says: {line}");
        if line.contains(what) {
            assert!(line.contains("Next step: "), "{line}");
            return end;
        }
        from = end;
    }
}

/// Something that answers HTTP, but is no server of ours.
struct Rubbish {
    end: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Rubbish {
    fn serve(port: u16) -> Self {
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

    fn stop(self) {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}
