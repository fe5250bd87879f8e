//! Units `net` and `checkin` as processes: real DHCP and DNS by dnsmasq over a virtual cable, real HTTP on loopback.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
#![allow(clippy::disallowed_methods, reason = "tests start programs where the agent may not")]

mod away;
mod card;
mod checkin;
mod commands;
mod configure;
mod dhcp;
mod extensions;
mod gems;
mod harsh;
mod layers;
mod lies;
mod lldp;
mod lost;
mod names;
mod original;
mod port;
mod posted;
mod prompt;
mod proxy;
mod sandbox;
mod server;
mod signed;
mod site;
mod supervisor;
mod ways;

use std::fs;

use sandbox::{Cable, Place, eventually, must, possible};
use serde_json::Value;

const RANGE: &str = "--dhcp-range=10.9.0.50,10.9.0.99,2m";

fn port(place: &Place) -> Value {
    place.state("net")["ports"][0].clone()
}

fn address(place: &Place) -> Option<String> {
    let port = port(place);
    let addresses = port["addresses"].as_array()?;
    addresses.iter().find_map(|a| a.as_str().filter(|a| a.starts_with("10.9.0."))).map(str::to_owned)
}

#[test]
fn a_lease_gives_address_routes_names_and_servers() {
    if !possible(&["dnsmasq", "ip", "unshare"]) {
        return;
    }
    let cable = Cable::new("a");
    let place = Place::with_ports("", &[&cable]);
    let options = [
        RANGE,
        "--domain=lab.example",
        "--dhcp-option=26,1400",
        "--dhcp-option=224,10.9.0.7",
        "--dhcp-boot=x,y,10.9.0.1",
        "--srv-host=_razor._tcp.lab.example,mk.lab.example,8150",
        "--host-record=razor.lab.example,10.9.0.1",
    ];
    let _dnsmasq = cable.dnsmasq(&place.path("leases"), &options);
    let unit = place.start("net");
    let first = eventually("address", || address(&place));
    let servers = eventually("four servers", || {
        let servers = place.state("net")["servers"].as_array()?.clone();
        (servers.len() == 4).then_some(servers)
    });
    let urls: Vec<&str> = servers.iter().map(|s| s["url"].as_str().unwrap()).collect();
    assert_eq!(
        urls,
        ["http://10.9.0.7:8150", "http://mk.lab.example:8150", "http://razor.lab.example:8150", "http://10.9.0.1:8150"]
    );
    assert!(servers.iter().all(|s| s["guessed"] == true));
    let port = port(&place);
    assert_eq!((&port["key"], &port["mac"]), (&"0000:00:03.0".into(), &Cable::MAC.into()));
    assert_eq!((&port["gateway"], &port["source"]), (&"10.9.0.1".into(), &"dhcp from 10.9.0.1".into()));
    let resolv = fs::read_to_string(place.path("etc/resolv.conf")).unwrap();
    assert!(resolv.contains("search lab.example\nnameserver 10.9.0.1\n"), "{resolv}");
    assert!(cable.ip("route show default").contains("via 10.9.0.1 dev eth0"), "{}", cable.ip("route"));
    assert!(cable.ip("link show eth0").contains("mtu 1400"));
    let leases = fs::read_to_string(place.path("leases")).unwrap();
    assert!(leases.contains(&format!("01:{}", Cable::MAC)), "client id as iPXE's: {leases}");

    let times = || (self::port(&place)["linking"].clone(), self::port(&place)["leasing"].clone());
    let (linking, leasing) = times();
    assert_eq!(
        leasing["begin_ms"].as_u64(),
        linking["begin_ms"].as_u64().zip(linking["took_ms"].as_u64()).map(|(b, t)| b + t)
    );
    assert!(leasing["took_ms"].as_u64().is_some_and(|took| took < 60_000), "{leasing}");
    drop(unit);
    let unit = place.start("net");
    must(&format!("ip -n {} link set eth0 promisc on", cable.node));
    eventually("address of the next run", || (port["addresses"] == self::port(&place)["addresses"]).then_some(()));
    assert_eq!(times(), (linking, leasing), "the first time counts");

    drop(unit);
    place.publish("net", &Value::Null);
    let _unit = place.start("net");
    assert_eq!(eventually("address after a crash", || address(&place)), first);
    assert_eq!(fs::read_to_string(place.path("leases")).unwrap().lines().count(), 1, "leases do not multiply");
}

#[test]
fn a_server_that_takes_the_address_back_gives_another() {
    if !possible(&["dnsmasq", "ip", "unshare"]) {
        return;
    }
    let cable = Cable::new("b");
    let place = Place::with_ports("", &[&cable]);
    let dnsmasq = cable.dnsmasq(&place.path("leases"), &[RANGE]);
    let _unit = place.start("net");
    let first = eventually("address", || address(&place));
    drop(dnsmasq);
    fs::remove_file(place.path("leases")).unwrap();
    // The cable is pulled and comes back in another network.
    must(&format!("ip -n {0} link set srv0 down; ip -n {0} addr flush dev srv0", cable.server));
    fs::write(place.path("sys/class/net/eth0/carrier"), "0").unwrap();
    must(&format!("ip -n {} link set eth0 promisc on", cable.node));
    eventually("missing link", || (port(&place)["up"] == false).then_some(()));
    must(&format!("ip -n {0} addr add 10.9.0.129/25 dev srv0; ip -n {0} link set srv0 up", cable.server));
    let options = ["--dhcp-range=10.9.0.200,10.9.0.209,255.255.255.128,2m", "--dhcp-authoritative"];
    let _dnsmasq = cable.dnsmasq(&place.path("leases"), &options);
    fs::write(place.path("sys/class/net/eth0/carrier"), "1").unwrap();
    must(&format!("ip -n {} link set eth0 promisc off", cable.node));
    let second = eventually("another address", || address(&place).filter(|a| *a != first));
    assert!(second.starts_with("10.9.0.20") && second.ends_with("/25"), "{second}");
    assert!(!cable.ip("addr show eth0").contains(&first), "{}", cable.ip("addr"));
}

#[test]
fn silence_is_named() {
    if !possible(&["ip", "unshare"]) {
        return;
    }
    let cable = Cable::new("c");
    let place = Place::with_ports("", &[&cable]);
    let _unit = place.start("net");
    let error = eventually("error", || port(&place)["error"].as_str().map(str::to_owned));
    assert_eq!(error, "no DHCP server has answered on eth0");
    assert_eq!(place.state("net")["servers"], Value::Array(Vec::new()));
}

#[test]
fn a_static_address_needs_no_server() {
    if !possible(&["ip", "unshare"]) {
        return;
    }
    let cable = Cable::new("d");
    let line = "razor.ip=52:54:00:12:34:56,10.9.0.33/24 razor.gw=10.9.0.1 razor.dns=10.9.0.1 razor.server=http://10.9.0.1:8150";
    let place = Place::with_ports(line, &[&cable]);
    let _unit = place.start("net");
    assert_eq!(eventually("address", || address(&place)), "10.9.0.33/24");
    let net = place.state("net");
    assert_eq!((&net["ports"][0]["source"], &net["dns"][0]), (&"static".into(), &"10.9.0.1".into()));
    assert_eq!(net["servers"][0]["guessed"], false);
    assert_eq!(net["problems"], Value::Array(Vec::new()));
    assert!(cable.ip("route show default").contains("via 10.9.0.1"));
}
