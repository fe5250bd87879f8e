//! What a node meets beside lies: packets that are lost, memory that is full, local programs that hold its own ports. It goes on
//! checking in.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::libc;
use serde_json::json;
use wire::routes::{CONTROL_PORT, GEM_PORT, MIRROR_PORT};

use crate::posted::{addressed, wired};
use crate::sandbox::{Cable, Place, eventually, possible};
use crate::server::{Server, machine, none};

/// Of ten packets that come to the server, so many are lost.
const LOST_OF_TEN: u32 = 3;
/// Check-ins that must come through.
const CHECKINS: usize = 8;
/// Slow clients on each port of the node's loopback: more than it serves at a time.
const SLOW: usize = 40;

/// Has this socket, and those that it accepts, lose packets at random before TCP sees them.
fn lose_packets(listener: &TcpListener) {
    let random = libc::SKF_AD_OFF + libc::SKF_AD_RANDOM;
    let step = |code: u32, k: u32, jf: u8| libc::sock_filter { code: u16::try_from(code).unwrap(), jt: 0, jf, k };
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, random.cast_unsigned(), 0),
        step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, u32::MAX / 10 * LOST_OF_TEN, 1),
        step(libc::BPF_RET | libc::BPF_K, u32::MAX, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, 0),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: `program` points to its whole filter, and the kernel copies both before this returns.
    let set = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            libc::socklen_t::try_from(size_of_val(&program)).unwrap(),
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// Numbers of the check-ins that came, each once.
fn numbers(server: &Server) -> Vec<u64> {
    let seen = server.seen.lock().unwrap();
    let posts = seen.iter().filter(|s| s.line.starts_with("POST "));
    let mut numbers: Vec<u64> = posts.map(|s| s.json()["seq"].as_u64().unwrap()).collect();
    numbers.dedup();
    numbers
}

#[test]
fn a_node_checks_in_where_a_third_of_all_packets_is_lost() {
    if !possible(&["unshare"]) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    lose_packets(&listener);
    let server = Server::on(listener, vec![none(&json!({}))]);
    let place = machine(&[(&server.url(), false)]);
    let begun = Instant::now();
    let _unit = place.start("checkin");
    for done in 1..=CHECKINS {
        eventually("check-in", || (numbers(&server).len() >= done).then_some(()));
    }
    let numbers = numbers(&server);
    println!("{numbers:?} in {:?}", begun.elapsed());
    assert!(numbers.is_sorted() && numbers[0] == 1, "{numbers:?}");
}

/// A shell command among the folders that the units see.
fn there(place: &Place, script: &str) -> String {
    place.prints_of(&format!("sh -c \"{script}\""))
}

#[test]
fn a_node_whose_run_is_full_says_so_and_goes_on_checking_in() {
    if !possible(&["unshare", "nsenter"]) {
        return;
    }
    let server = Server::start(vec![none(&json!({}))]);
    let place = machine(&[(&server.url(), false)]).with_lasting_mounts();
    let small =
        "mount -t tmpfs -o size=512k,mode=755 none /mnt; cp -a /run/razor-mk/. /mnt; mount --move /mnt /run/razor-mk";
    there(&place, small);
    let unit = place.start("checkin");
    let told = |code: &str| {
        let seen = server.seen.lock().unwrap();
        seen.iter().filter(|s| s.line.starts_with("POST ")).any(|s| s.codes().contains(&code.to_owned()))
    };
    let _first = server.request(1);
    there(&place, "cat /dev/zero > /run/razor-mk/ballast");
    let full = numbers(&server).len();
    eventually("word of it to the server", || told("state_not_kept").then_some(()));
    eventually("further check-ins", || (numbers(&server).len() >= full + 3).then_some(()));
    assert!(place.log("checkin").contains("No space left on device"), "{}", place.log("checkin"));
    let numbers = numbers(&server);
    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "no number is used twice: {numbers:?}");

    there(&place, "rm /run/razor-mk/ballast");
    let stale = there(&place, "cat /run/razor-mk/checkin.json");
    let state = eventually("state", || {
        let state = there(&place, "cat /run/razor-mk/checkin.json");
        (state != stale && state.contains("checked in")).then_some(state)
    });
    println!("{state}");
    let last = *self::numbers(&server).last().unwrap();
    drop(unit);
    let _unit = place.start("checkin");
    eventually("check-in of the next run", || self::numbers(&server).last().is_some_and(|n| *n > last).then_some(()));
}

#[test]
fn local_programs_that_hold_the_nodes_own_ports_keep_it_from_nothing() {
    if !possible(&["ip", "unshare"]) {
        return;
    }
    let cable = Cable::new("h");
    let server = Server::on(addressed(&cable), vec![none(&json!({}))]);
    let place = wired(&cable, &server);
    let (control, _mirror, _checkin) = (place.start("control"), place.start("mirror"), place.start("checkin"));
    let ports = [CONTROL_PORT, MIRROR_PORT, GEM_PORT];
    let begin = |port: u16| {
        cable.at_node(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
            stream.write_all(b"GET /status HTTP/1.1\r\nHost: x\r\nX-Slow: ").ok()?;
            Some(stream)
        })
    };
    for port in ports {
        eventually("listener", || begin(port));
    }
    let slow: Vec<Option<TcpStream>> = ports.iter().flat_map(|port| (0..SLOW).map(|_| begin(*port))).collect();
    assert!(slow.iter().flatten().count() > SLOW);
    let before = numbers(&server).len();
    let begun = Instant::now();
    eventually("check-ins meanwhile", || (numbers(&server).len() >= before + 3).then_some(()));
    println!("three check-ins after {:?}", begun.elapsed());
    // Those that never end their headers are cut off, and the next is served.
    for port in ports {
        let mut stream = cable.at_node(|| TcpStream::connect(("127.0.0.1", port)).unwrap());
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 "), "{port}: {answer}");
    }
    println!("all three ports answer after {:?}, {} KiB", begun.elapsed(), control.memory_kib());
    drop(slow);
}
