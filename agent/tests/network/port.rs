//! One port whose driver, lease or kernel line makes trouble.

use std::sync::atomic::Ordering;

use super::dhcp::Server as Dhcp;
use super::{RANGE, address, port};
use crate::sandbox::{Cable, Place, eventually, must, possible};

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
