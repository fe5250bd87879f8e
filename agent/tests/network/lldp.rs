//! LLDP on a port, as real frames on the cable: switches that speak with and without VLAN tags, leave, move and shout.

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::thread;

use nix::libc;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, sendto, socket};
use serde_json::Value;

use super::port;
use crate::sandbox::{Cable, Place, eventually, must, possible};

/// A switch at the other end of a cable.
struct Switch {
    socket: OwnedFd,
    address: LinkAddr,
}

impl Switch {
    fn at(cable: &Cable) -> Self {
        let open = || socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let socket = cable.at_server(open);
        let address = libc::sockaddr_ll {
            sll_family: u16::try_from(libc::AF_PACKET).unwrap(),
            sll_protocol: 0x88cc_u16.to_be(),
            sll_ifindex: cable.server_index().parse().unwrap(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [0; 8],
        };
        // SAFETY: `address` is a whole `sockaddr_ll` of the family that `LinkAddr` asks for.
        let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), None) }.unwrap();
        Self { socket, address }
    }

    fn sends(&self, frame: &[u8]) {
        sendto(self.socket.as_raw_fd(), frame, &self.address, MsgFlags::empty()).unwrap();
    }

    /// Says this again and again until it is true.
    fn says_until<T>(&self, frame: &[u8], what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        eventually(what, || {
            self.sends(frame);
            thread::sleep(std::time::Duration::from_millis(80));
            look()
        })
    }
}

/// A frame of the switch `chassis` from its port `port`, under these VLAN tags, that holds for so many seconds.
fn frame(chassis: &str, port: &str, tags: &[u16], ttl: u16) -> Vec<u8> {
    let mut frame = b"\x01\x80\xc2\0\0\x0e\x02\0\0\0\0\x01".to_vec();
    for tag in tags {
        frame.extend([0x81, 0x00]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend([0x88, 0xcc]);
    for (kind, subtype, text) in [(1, 7, chassis), (2, 5, port)] {
        frame.extend([kind << 1, u8::try_from(text.len() + 1).unwrap(), subtype]);
        frame.extend(text.as_bytes());
    }
    frame.extend([6, 2]);
    frame.extend(ttl.to_be_bytes());
    // Ethernet's smallest frame is longer than that.
    frame.resize(60, 0);
    frame
}

/// Chassis, port and VLAN tag of all that the node's first port hears.
fn heard(place: &Place) -> Vec<(String, String, Option<u64>)> {
    let port = port(place);
    let all = port["lldp"]["neighbours"].as_array().cloned().unwrap_or_default();
    let text = |n: &Value, field: &str| n[field].as_str().unwrap_or_default().to_owned();
    all.iter().map(|n| (text(n, "chassis"), text(n, "port"), n["tagged"].as_u64())).collect()
}

fn one(chassis: &str, port: &str, tagged: Option<u64>) -> (String, String, Option<u64>) {
    (chassis.to_owned(), port.to_owned(), tagged)
}

/// Tells the node that its link came or went.
fn carrier(place: &Place, cable: &Cable, up: bool) {
    fs::write(place.path("sys/class/net/eth0/carrier"), if up { "1" } else { "0" }).unwrap();
    must(&format!("ip -n {} link set eth0 promisc {}", cable.node, if up { "off" } else { "on" }));
}

#[test]
fn a_port_knows_its_switch_with_and_without_tags() {
    if !possible(&["ip", "unshare"]) {
        return;
    }
    let cable = Cable::new("l");
    let place = Place::with_ports("", &[&cable]);
    let unit = place.start("net");
    let switch = Switch::at(&cable);
    switch.says_until(&frame("leaf-a", "e1", &[], 120), "switch", || (heard(&place).len() == 1).then_some(()));
    let link = cable.ip("-d link show eth0");
    assert!(link.contains("promiscuity 1") && link.contains("allmulti 1"), "{link}");
    // Under the tags of trunks, of a mere priority, and under two.
    for (n, tags) in [&[1][..], &[0xe000], &[9, 12]].into_iter().enumerate() {
        let port = format!("e{}", n + 2);
        switch.says_until(&frame("leaf-a", &port, tags, 120), "tag", || (heard(&place).len() == n + 2).then_some(()));
    }
    let all = [
        one("leaf-a", "e1", None),
        one("leaf-a", "e2", Some(1)),
        one("leaf-a", "e3", Some(0)),
        one("leaf-a", "e4", Some(9)),
    ];
    assert_eq!(heard(&place), all);
    let status = place.prints("status");
    assert!(status.contains("port:       eth0 ") && status.contains(", at e1 on leaf-a, and 3 more\n"), "{status}");
    let facts: Value = serde_json::from_str(&place.prints("facts")).unwrap();
    let lldp = &facts["stable"]["nics"][0]["lldp"];
    assert_eq!((&lldp["neighbours"][1]["tagged"], &lldp["silent_s"]), (&1.into(), &Value::Null), "{facts}");
    assert_eq!(lldp["neighbours"][1]["raw"], "0207076c6561662d610403056532060200 78".replace(' ', ""));
    assert!(place.prints("facts --flat").contains("lldp_neighbor_portid_eth0"));

    // A crash is no news of the cables.
    drop(unit);
    let _unit = place.start("net");
    switch.says_until(&frame("leaf-a", "e5", &[], 120), "switch after a crash", || {
        (heard(&place).len() == 5).then_some(())
    });
    assert_eq!(heard(&place)[..4], all);
}

#[test]
fn a_switch_that_leaves_falls_silent_or_is_unplugged_is_forgotten() {
    if !possible(&["ip", "unshare"]) {
        return;
    }
    let cable = Cable::new("n");
    let place = Place::with_ports("", &[&cable]);
    // The link comes late.
    fs::write(place.path("sys/class/net/eth0/carrier"), "0").unwrap();
    let _unit = place.start("net");
    eventually("port", || port(&place)["name"].as_str().map(drop));
    carrier(&place, &cable, true);
    let switch = Switch::at(&cable);
    let is = |chassis: &str| heard(&place).iter().any(|n| n.0 == chassis).then_some(());
    let gone = || heard(&place).is_empty().then_some(());

    switch.says_until(&frame("leaves", "e1", &[], 600), "switch", || is("leaves"));
    switch.says_until(&frame("leaves", "e1", &[], 0), "leave", gone);
    switch.says_until(&frame("falls-silent", "e1", &[], 1), "switch", || is("falls-silent"));
    eventually("end of its time", gone);
    switch.says_until(&frame("unplugged", "e1", &[], 600), "switch", || is("unplugged"));
    carrier(&place, &cable, false);
    eventually("unplugged port", gone);
    carrier(&place, &cable, true);
    switch.says_until(&frame("other", "e2", &[], 600), "other switch", || is("other"));
    assert_eq!(heard(&place).len(), 1);
    // The driver resets the port.
    must(&format!("ip -n {0} link set eth0 down; ip -n {0} link set eth0 up", cable.node));
    switch.says_until(&frame("after-reset", "e3", &[], 600), "switch after a reset", || is("after-reset"));
}

#[test]
fn a_flood_of_strangers_neither_fills_the_inventory_nor_stops_the_unit() {
    if !possible(&["ip", "unshare"]) {
        return;
    }
    let cable = Cable::new("o");
    let place = Place::with_ports("", &[&cable]);
    let _unit = place.start("net");
    let switch = Switch::at(&cable);
    switch.says_until(&frame("real", "e1", &[], 600), "switch", || (heard(&place).len() == 1).then_some(()));
    for n in 0..20_000 {
        switch.sends(&frame(&format!("flood-{n}"), "e1", &[], 600));
    }
    eventually("room that is full", || (heard(&place).len() >= 8).then_some(()));
    assert_eq!(heard(&place).len(), 8);
    assert!(heard(&place).contains(&one("real", "e1", None)));
    carrier(&place, &cable, false);
    eventually("the unit's mind", || (port(&place)["up"] == false).then_some(()));
}
