//! Every medium but the CD, which the other tests boot from: USB stick, and the network by real iPXE.

use std::fs;

use mk_tests::limits;
use mk_tests::vm::{Firmware, Guest, Machine, Medium};
use serde_json::json;

use super::lab::{Lab, options, stable, wait, written};

#[test]
fn usb_stick_on_bios() {
    checks_in_from_a_stick(&Machine::example(0x55, 1024, 2), Firmware::Bios);
}

#[test]
fn usb_stick_on_uefi() {
    checks_in_from_a_stick(&Machine::example(0x56, 1024, 2), Firmware::Uefi);
}

/// A machine that boots from a medium has no id at first: it takes the one in the first answer and uses it from then on.
fn checks_in_from_a_stick(machine: &Machine, firmware: Firmware) {
    let lab = Lab::new();
    let server = lab.serve(0);
    let stick = Medium::Usb(lab.image("production", server.port));
    let guest = Guest::start(&options(machine, stick, firmware)).unwrap();
    let traffic = lab.path("traffic.pcap");
    let dump = json!({"qom-type": "filter-dump", "id": "dump", "netdev": "net0", "file": traffic});
    guest.qmp("object-add", dump).unwrap();
    server.await_node(&guest);
    server.await_next(&guest);
    let node = wait("the stick is in the inventory", limits::INVENTORY, &guest, || {
        let node = server.node()?;
        stable(&node).disks.iter().any(|d| d.transport.as_deref() == Some("usb") && d.removable).then_some(node)
    });
    assert_eq!(node["name"], "node1");
    assert_eq!(written(&guest), 0, "something was written to stick or disks");
    guest.quit().unwrap();

    let sent = String::from_utf8_lossy(&fs::read(traffic).unwrap()).into_owned();
    let posts: Vec<&str> = sent.match_indices("POST ").filter_map(|(at, _)| sent[at..].split("\r\n").next()).collect();
    assert_eq!(posts[0], "POST /svc/checkin HTTP/1.1", "{posts:?}");
    assert!(posts[1..].iter().all(|post| *post == "POST /svc/checkin/1 HTTP/1.1"), "{posts:?}");
    assert!(posts.len() > 1, "{posts:?}");
}
