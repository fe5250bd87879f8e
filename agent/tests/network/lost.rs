//! A network that changes under a running node: another lease, options that are others now, addresses and routes that
//! somebody takes away. The node has what is in force and nothing of before, goes on checking in, and says what happened.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::dhcp::{ADDRESS, Mood, Server as Dhcp};
use super::{RANGE, address, port};
use crate::sandbox::{Cable, Place, eventually, must, possible};
use crate::server::{Server, none};

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 77);
/// Somebody takes a route away for so long, again and again.
const THEFT: Duration = Duration::from_secs(12);
/// Processor time that a unit may take meanwhile: a loop would take all of it.
const BUSY: Duration = Duration::from_secs(3);
/// A link is away for longer than until the unit would look again at what it has put back.
const UNLINKED: Duration = Duration::from_secs(10);

/// How a server comes to grant another address.
const CHANGES: [(&str, Mood, &str); 3] = [
    ("extends with another one", Mood::Grants, "eth0: 10.9.0.77/24 by DHCP from 10.9.0.1"),
    ("refuses to extend", Mood::Refuses, "DHCP server 10.9.0.1 took the address back"),
    ("falls silent", Mood::Silent, "its lease expired and no DHCP server extended it"),
];

#[test]
fn a_lease_with_another_address_replaces_all_of_the_former_one() {
    if !possible(&["ip", "unshare"]) {
        return;
    }
    thread::scope(|scope| {
        for change in &CHANGES {
            scope.spawn(|| changes(change));
        }
    });
}

fn changes((name, mood, words): &(&str, Mood, &str)) {
    let cable = Cable::new("x");
    must(&format!("ip -n {} addr add 10.9.0.2/24 dev srv0", cable.server));
    let dhcp = Dhcp::at(&cable);
    let given = |host: u8| {
        let gateway = vec![10, 9, 0, host];
        [(3_u8, gateway.clone()), (6, gateway.clone()), (224, gateway)]
    };
    let turns = |mood: &Mood, address, host, mtu: Option<[u8; 2]>| {
        let options: Vec<(u8, Vec<u8>)> = given(host).into_iter().chain(mtu.map(|m| (26, m.to_vec()))).collect();
        let options: Vec<(u8, &[u8])> = options.iter().map(|(code, value)| (*code, value.as_slice())).collect();
        dhcp.turns(mood.clone(), address, &options);
    };
    turns(&Mood::Grants, ADDRESS, 1, Some([5, 120]));
    let server = Server::on(cable.at_server(|| TcpListener::bind("0.0.0.0:8150").unwrap()), vec![none(&json!({}))]);
    let place = Place::with_ports("razor.server=http://10.9.0.1:8150", &[&cable]);
    let (_net, _checkin) = (place.start("net"), place.start("checkin"));
    eventually("check-in", || (place.state("checkin")["stage"] == "checked in").then_some(()));
    assert_eq!(address(&place).as_deref(), Some("10.9.0.50/24"), "{name}");
    assert!(cable.ip("link show eth0").contains("mtu 1400"), "{name}");

    turns(mood, OTHER, 2, None);
    if *mood == Mood::Silent {
        eventually("end of the lease", || place.log("net").contains(words).then_some(()));
        eventually("no address", || address(&place).is_none().then_some(()));
        eventually("stage", || (place.state("checkin")["stage"] == "waiting for an address").then_some(()));
        assert!(!cable.ip("route").contains("10.9.0."), "{}", cable.ip("route"));
        turns(&Mood::Grants, OTHER, 2, None);
    }
    eventually("another address", || address(&place).filter(|a| a == "10.9.0.77/24"));
    assert!(place.log("net").contains(words), "{name}: {}", place.log("net"));
    let now = || {
        let (routes, link) = (cable.ip("route"), cable.ip("addr show eth0"));
        let resolv = fs::read_to_string(place.path("etc/resolv.conf")).unwrap();
        let state = place.state("net");
        let right = routes.contains("default via 10.9.0.2 dev eth0")
            && !routes.contains("10.9.0.1 ")
            && !routes.contains("10.9.0.50")
            && !link.contains("10.9.0.50/")
            && link.contains("mtu 1500")
            && resolv.contains("nameserver 10.9.0.2\n")
            && !resolv.contains("nameserver 10.9.0.1\n")
            && state["servers"][1]["url"] == "http://10.9.0.2:8150"
            && state["ports"][0]["gateway"] == "10.9.0.2";
        right.then_some(()).ok_or_else(|| format!("{name}: {routes}{link}{resolv}{state}"))
    };
    let end = Instant::now() + Duration::from_secs(20);
    while let Err(why) = now() {
        assert!(Instant::now() < end, "{why}");
        thread::sleep(Duration::from_millis(100));
    }
    let seen = || server.seen.lock().unwrap().len();
    let before = seen();
    eventually("further check-ins", || (seen() > before + 2).then_some(()));
    assert!(place.state("checkin")["error"].is_null());
}

#[test]
fn what_somebody_takes_away_is_put_back_without_a_fight() {
    if !possible(&["dnsmasq", "ip", "unshare"]) {
        return;
    }
    let cable = Cable::new("t");
    let place = Place::with_ports("", &[&cable]);
    let _dnsmasq = cable.dnsmasq(&place.path("leases"), &[RANGE]);
    let net = place.start("net");
    let first = eventually("address", || address(&place));
    let (node, default) = (&cable.node, "default via 10.9.0.1 dev eth0");
    let is_whole = || {
        let whole = cable.ip("route").contains(default) && cable.ip("addr show eth0").contains(&first);
        whole.then_some(())
    };
    eventually("route", is_whole);
    for (harm, lost) in [
        ("route del default", "default route by 10.9.0.1"),
        ("addr flush dev eth0", "address 10.9.0."),
        ("link set eth0 down; ip -n NODE link set eth0 up", "default route by 10.9.0.1"),
    ] {
        let lost = format!("somebody has taken its {lost}");
        let before = place.log("net").matches(&lost).count();
        must(&format!("ip -n {node} {}", harm.replace("NODE", node)));
        eventually(harm, || (place.log("net").matches(&lost).count() > before).then_some(()));
        eventually(harm, is_whole);
        assert!(port(&place)["error"].is_null() && port(&place)["gateway"] == "10.9.0.1", "{}", port(&place));
    }

    let (told, busy, end) = (place.log("net").lines().count(), net.processor_time(), Instant::now() + THEFT);
    let mut thefts = 0;
    while Instant::now() < end {
        let taken = std::process::Command::new("ip").args(["-n", node, "route", "del", "default"]).output().unwrap();
        thefts += u32::from(taken.status.success());
        thread::sleep(Duration::from_millis(50));
    }
    let told = place.log("net").lines().count() - told;
    let busy = net.processor_time() - busy;
    println!("{thefts} thefts in {THEFT:?}: {told} lines of log, {busy:?} of processor time");
    assert!((1..=4).contains(&thefts) && told <= 4, "{}", place.log("net"));
    assert!(busy < BUSY, "{busy:?}");
    eventually("route", is_whole);

    // The link goes as soon as something was put back.
    let taken = "somebody has taken its default route";
    let before = place.log("net").matches(taken).count();
    must(&format!("ip -n {node} route del default"));
    eventually("put back", || (place.log("net").matches(taken).count() > before).then_some(()));
    fs::write(place.path("sys/class/net/eth0/carrier"), "0").unwrap();
    must(&format!("ip -n {node} link set eth0 promisc on"));
    eventually("missing link", || (port(&place)["up"] == false).then_some(()));
    let busy = net.processor_time();
    thread::sleep(UNLINKED);
    let busy = net.processor_time() - busy;
    println!("{busy:?} of processor time in {UNLINKED:?} without a link");
    assert!(busy < BUSY, "{busy:?}");
}
