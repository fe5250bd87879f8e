//! The way to the server: DHCP that comes late, a machine in two networks, names that lead nowhere.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{RANGE, address, port};
use crate::sandbox::{Cable, Place, eventually, must, possible};
use crate::server::{Seen, Server, none};

/// A DHCP server is so late: as a switch port is that forwards only after its spanning tree has settled.
const LATE: Duration = Duration::from_secs(25);

/// Packets that came out of the node's end of a cable.
fn packets(cable: &Cable) -> u64 {
    let count = must(&format!("ip netns exec {} cat /sys/class/net/srv0/statistics/rx_packets", cable.server));
    count.trim().parse().unwrap()
}

#[test]
fn a_dhcp_server_that_comes_late_is_waited_for_without_a_flood() {
    if !possible(&["dnsmasq", "ip", "unshare"]) {
        return;
    }
    let cable = Cable::new("l");
    let place = Place::with_ports("", &[&cable]);
    // So that only DHCP is counted.
    must(&format!("ip netns exec {} sysctl -qw net.ipv6.conf.all.disable_ipv6=1", cable.node));
    let (_console, _net, _checkin) = (place.start("console"), place.start("net"), place.start("checkin"));
    thread::sleep(LATE);
    let sent = packets(&cable);
    println!("{sent} DHCP requests in {} s", LATE.as_secs());
    // After 0, 0.3, 0.9, 2.1, 4.5, 9.3 and 18.9 s, give or take an eighth.
    assert!((5..=9).contains(&sent), "{sent} requests");
    assert_eq!(port(&place)["error"], "no DHCP server has answered on eth0");
    assert_eq!(place.state("checkin")["stage"], "waiting for an address");
    let serial = place.serial();
    let problem = serial.lines().find(|l| l.contains("no DHCP server has answered on eth0")).unwrap();
    assert!(problem.contains("Next step: "), "{problem}");
    assert!(place.log("checkin").contains("no DHCP server has answered on eth0"), "{}", place.log("checkin"));
    let status = place.prints("status");
    assert!(status.contains("waiting for a DHCP server"), "{status}");
    let doctor = place.prints("doctor");
    assert!(doctor.starts_with("link        ok      up on eth0\naddress     FAILED  "), "{doctor}");
    assert!(doctor.contains("Next step: ") && doctor.lines().count() == 4, "{doctor}");
    assert!(doctor.ends_with("verdict     FAILED  address\n"), "{doctor}");

    let _dnsmasq = cable.dnsmasq(&place.path("leases"), &[RANGE]);
    eventually("address", || address(&place));
    assert!(port(&place)["error"].is_null());
    eventually("line on the console", || {
        place.serial().contains("eth0 52:54:00:12:34:56 link up, 10.9.0.").then_some(())
    });
}

#[test]
fn of_two_networks_the_one_that_reaches_the_server_is_found() {
    if !possible(&["dnsmasq", "ip", "unshare"]) {
        return;
    }
    let dead = Cable::new("w");
    let good = dead.second();
    // The server is behind the second network's gateway. Both networks offer a default route, and the kernel takes the
    // first one's, which leads nowhere.
    must(&format!("ip -n {0} link set lo up; ip -n {0} addr add 10.7.0.1/32 dev lo", good.server));
    let listener = good.at_server(|| TcpListener::bind("10.7.0.1:8150").unwrap());
    let server = Server::on(listener, vec![none(&json!({}))]);
    let place = Place::with_ports("razor.server=http://10.7.0.1:8150", &[&dead, &good]);
    let _dhcp = (
        dead.dnsmasq(&place.path("leases1"), &[RANGE]),
        good.dnsmasq(&place.path("leases2"), &["--dhcp-range=10.8.0.50,10.8.0.99,2m"]),
    );
    let (_console, _net, _checkin) = (place.start("console"), place.start("net"), place.start("checkin"));
    eventually("both leases", || {
        let ports = place.state("net")["ports"].clone();
        (0..2).all(|n| ports[n]["addresses"][0].is_string()).then_some(())
    });
    eventually("check-in", || (place.state("checkin")["stage"] == "checked in").then_some(()));
    assert!(dead.ip("route get 10.7.0.1").contains("dev eth0"), "{}", dead.ip("route"));
    assert!(place.log("checkin").contains("is reached over eth1"), "{}", place.log("checkin"));
    let first = server.seen.lock().unwrap().len();
    server.request(first + 3);
    let times = server.times();
    assert!(times[first + 3] - times[first] < 10_000, "the way that works is kept: {times:?}");
    assert_eq!(place.log("checkin").matches("is reached over").count(), 1);
    let doctor = place.prints("doctor");
    assert!(doctor.contains("\ngreeting    ok ") && !doctor.contains("FAILED"), "{doctor}");
}

#[test]
fn a_name_server_that_is_silent_fails_or_lies_is_named() {
    if !possible(&["dnsmasq", "ip", "unshare"]) {
        return;
    }
    let cable = Cable::new("n");
    let place = Place::with_ports("razor.server=http://mk.lab.example:8150", &[&cable]);
    let options = [RANGE, "--port=0", "--dhcp-option=6,10.9.0.1"];
    let _dhcp = cable.dnsmasq(&place.path("leases"), &options);
    // Nobody answers, and nobody says so.
    let silent = cable.at_server(|| UdpSocket::bind("10.9.0.1:53").unwrap());
    let (_console, _net, _checkin) = (place.start("console"), place.start("net"), place.start("checkin"));
    let says = |words: &[&str]| {
        eventually(words[0], || {
            let error = place.state("checkin")["error"]["error"].as_str()?.to_owned();
            words.iter().all(|w| error.contains(w)).then_some(())
        });
        eventually("line on the console", || {
            let serial = place.serial();
            let line = serial.lines().find(|l| words.iter().all(|w| l.contains(w)))?;
            line.contains("Next step: ").then_some(())
        });
    };
    says(&["mk.lab.example", "its name cannot be resolved", "no name server gives an answer", "asked 10.9.0.1"]);
    let doctor = place.prints("doctor");
    assert!(
        doctor.contains("\nserver      ok      http://mk.lab.example:8150 (kernel line)\nname        FAILED  "),
        "{doctor}"
    );
    drop(silent);
    let dns = |answer: fn(&mut Vec<u8>)| {
        let socket = cable.at_server(|| UdpSocket::bind("10.9.0.1:53").unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        NameServer::start(socket, answer)
    };
    let unknowing = dns(|reply| reply[3] = 0x83);
    says(&["its name cannot be resolved", "the name is not known", "asked 10.9.0.1"]);
    drop(unknowing);
    let failing = dns(|reply| reply[3] = 0x82);
    says(&["its name cannot be resolved", "no name server gives an answer", "asked 10.9.0.1"]);
    drop(failing);
    let wrong = dns(|reply| record(reply, Ipv4Addr::new(10, 9, 0, 77)));
    says(&["mk.lab.example", "(by DNS 10.9.0.77): no "]);
    let doctor = place.prints("doctor");
    assert!(doctor.contains("\nname        ok      10.9.0.77\nconnection  FAILED  "), "{doctor}");
    drop(wrong);
    let listener = cable.at_server(|| TcpListener::bind("10.9.0.1:8150").unwrap());
    let server = Server::on(listener, vec![none(&json!({"interval": 1}))]);
    let _right = dns(|reply| record(reply, Ipv4Addr::new(10, 9, 0, 1)));
    // A guess may stand in for the named one while an attempt at the wrong address still goes on.
    let named = "http://mk.lab.example:8150";
    eventually("check-in with the named server", || (place.state("checkin")["server"] == named).then_some(()));
    let doctor = place.prints("doctor");
    for step in
        ["name        ok      10.9.0.1", "connection  ok      to 10.9.0.1:8150", "http        ok      HTTP 200, "]
    {
        assert!(doctor.contains(&format!("\n{step}")), "{step} is not in {doctor}");
    }
    assert!(doctor.contains("\ngreeting    ok ") && doctor.contains("\ncheck-in    ok      as node7 "), "{doctor}");
    assert!(!doctor.contains("FAILED"), "{doctor}");
    let asked = |seen: &Seen| seen.line.starts_with("POST ") && seen.header("host") == "mk.lab.example:8150";
    assert!(server.seen.lock().unwrap().iter().any(asked));
    assert!(fs::read_to_string(place.path("etc/resolv.conf")).unwrap().contains("10.9.0.1"));
}

/// Answers each question in one way until it is dropped.
struct NameServer {
    end: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl NameServer {
    fn start(socket: UdpSocket, answer: fn(&mut Vec<u8>)) -> Self {
        let (end, ended) = std::sync::mpsc::channel();
        let serve = move || {
            let mut bytes = [0; 512];
            while ended.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                let Ok((length, from)): Result<(usize, SocketAddr), _> = socket.recv_from(&mut bytes) else { continue };
                let mut reply = bytes[..length].to_vec();
                (reply[2], reply[3]) = (0x81, 0x80);
                // Extra records of the question, such as EDNS, are not repeated.
                answer(&mut reply);
                let _ = socket.send_to(&reply, from);
            }
        };
        Self { end: Some(end), thread: Some(thread::spawn(serve)) }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.end.take();
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// Adds an address to an answer, if one was asked for.
fn record(reply: &mut Vec<u8>, address: Ipv4Addr) {
    let asked = reply.len() - 4;
    if reply[asked..asked + 2] != [0, 1] {
        return;
    }
    reply[7] = 1;
    reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
    reply.extend(address.octets());
}
