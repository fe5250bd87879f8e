//! One port whose driver, lease or kernel line makes trouble.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::dhcp::{ADDRESS, Mood, Server as Dhcp};
use super::{RANGE, address, port};
use crate::sandbox::{Cable, Place, Unit, eventually, must, possible};

#[test]
fn an_mtu_that_the_driver_refuses_is_named_and_does_not_cost_the_address() {
    if !possible(&["dnsmasq", "ip", "unshare"]) {
        return;
    }
    let mut cable = Cable::new("m");
    // A tunnel's port refuses an MTU that is larger than what carries it.
    let tunnel = |netns: &str, port: &str, own: u8, other: u8| {
        format!(
            "ip -n {netns} link set {port} down name under; ip -n {netns} addr flush dev under; \
             ip -n {netns} addr add 10.250.0.{own}/24 dev under; ip -n {netns} link set under up; \
             ip -n {netns} link add {port} type vxlan id 7 dstport 4789 dev under remote 10.250.0.{other}; "
        )
    };
    must(&tunnel(&cable.server, "srv0", 1, 2));
    must(&format!("ip -n {0} addr add 10.9.0.1/24 dev srv0; ip -n {0} link set srv0 up", cable.server));
    let script =
        tunnel(&cable.node, "eth0", 2, 1) + &format!("ip -n {} link set eth0 address {}", cable.node, Cable::MAC);
    cable.replace_port(&script);
    let place = Place::with_ports("", &[&cable]);
    let options = [RANGE, "--dhcp-option=26,9000"];
    let _dnsmasq = cable.dnsmasq(&place.path("leases"), &options);
    let _unit = place.start("net");
    let error = eventually("error", || port(&place)["error"].as_str().map(str::to_owned));
    assert!(error.contains("cannot set the MTU of eth0 to 9000"), "{error}");
    assert!(address(&place).is_some_and(|a| a.starts_with("10.9.0.")), "{}", port(&place));
    assert_eq!((&port(&place)["gateway"], &port(&place)["source"]), (&"10.9.0.1".into(), &"dhcp from 10.9.0.1".into()));
    assert!(cable.ip("route show default").contains("via 10.9.0.1 dev eth0"), "{}", cable.ip("route"));
}

#[test]
fn no_socket_is_left_open_after_a_lease_was_extended() {
    if !possible(&["ip", "unshare"]) {
        return;
    }
    let cable = Cable::new("r");
    let place = Place::with_ports("", &[&cable]);
    let dhcp = Dhcp::at(&cable);
    let _unit = place.start("net");
    eventually("extension of the lease", || (dhcp.extensions.load(Ordering::Relaxed) >= 2).then_some(()));
    let sockets = must(&format!("ip netns exec {} cat /proc/net/udp", cable.node));
    assert_eq!(sockets.lines().count(), 1, "nothing on the machine may listen: {sockets}");
}

#[test]
fn a_static_address_that_could_not_be_set_is_set_later() {
    if !possible(&["ip", "unshare"]) {
        return;
    }
    let mut cable = Cable::new("s");
    // Below 68 bytes the kernel takes IPv4 off a port, as a driver does whose firmware is not there yet.
    let (node, mac) = (cable.node.clone(), Cable::MAC);
    cable.replace_port(&format!(
        "ip -n {node} link del eth0; ip -n {node} link add eth0 address {mac} type ifb; ip -n {node} link set eth0 mtu 60"
    ));
    let place = Place::with_ports("razor.ip=10.9.0.33/24", &[&cable]);
    let _unit = place.start("net");
    let error = eventually("error", || port(&place)["error"].as_str().map(str::to_owned));
    assert!(error.contains("eth0") && address(&place).is_none(), "{error}");
    must(&format!("ip -n {node} link set eth0 mtu 1500"));
    assert_eq!(eventually("address", || address(&place)), "10.9.0.33/24");
    assert!(port(&place)["error"].is_null());
}

/// A unit that is refused something is watched for so long.
const WATCHED: Duration = Duration::from_secs(12);
/// Processor time that it may take meanwhile: a loop would take all of it.
const BUSY: Duration = Duration::from_secs(3);

/// The kernel refuses the gateway of this port, which has an address by then.
fn goes_on_without_a_gateway(cable: &Cable, place: &Place, unit: &Unit, remedy: &str) {
    let error = eventually("error", || port(place)["error"].as_str().map(str::to_owned));
    assert!(error.contains("by 10.9.0.255 over eth0: ") && error.ends_with(remedy), "{error}");
    let given = || cable.ip("-o addr show dev eth0 scope global");
    assert!(given().contains("10.9.0."), "{}", given());
    let (told, busy) = (place.log("net").matches("10.9.0.255").count(), unit.processor_time());
    thread::sleep(WATCHED);
    let busy = unit.processor_time() - busy;
    println!("{busy:?} of processor time in {WATCHED:?}");
    assert_eq!((told, place.log("net").matches("10.9.0.255").count()), (1, 1), "{}", place.log("net"));
    assert!(busy < BUSY, "{busy:?}: {}", place.log("net"));
    assert!(address(place).is_some() && given().contains("10.9.0."), "{}", cable.ip("addr"));
    assert_eq!(port(place)["error"], error.as_str());
}

#[test]
fn a_gateway_that_the_kernel_refuses_is_named_once_and_costs_neither_address_nor_time() {
    if !possible(&["ip", "unshare"]) {
        return;
    }
    let fixed = || {
        let cable = Cable::new("g");
        let place = Place::with_ports("razor.ip=10.9.0.33/24 razor.gw=10.9.0.255", &[&cable]);
        let unit = place.start("net");
        goes_on_without_a_gateway(&cable, &place, &unit, "; see whether razor.gw is right");
        assert_eq!(place.log("net").matches("10.9.0.33/24 as the kernel line says").count(), 1);
    };
    let leased = || {
        let cable = Cable::new("h");
        let place = Place::with_ports("", &[&cable]);
        let dhcp = Dhcp::at(&cable);
        dhcp.turns(Mood::Grants, ADDRESS, &[(3, &[10, 9, 0, 255])]);
        let unit = place.start("net");
        goes_on_without_a_gateway(&cable, &place, &unit, "; see whether what DHCP server 10.9.0.1 gives is right");
    };
    thread::scope(|scope| {
        scope.spawn(fixed);
        scope.spawn(leased);
    });
}
