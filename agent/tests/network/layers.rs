//! Bonds and VLANs that cannot be had. Those that can are booted, since a kernel may have neither module
//! (`tests/tests/boot/trunk.rs`).

use super::{RANGE, address, port};
use crate::sandbox::{Cable, Place, eventually, must, possible};

/// Whether the kernel can make an interface of this kind; it is taken away again.
fn is_made(cable: &Cable, kind: &str) -> bool {
    let made = format!("ip -n {0} link add tried link eth0 type {kind} && ip -n {0} link del tried", cable.node);
    std::process::Command::new("sh").args(["-c", &made]).output().unwrap().status.success()
}

#[test]
fn what_the_kernel_cannot_make_is_named_and_done_without() {
    if !possible(&["dnsmasq", "ip", "unshare"]) {
        return;
    }
    let cable = Cable::new("u");
    if is_made(&cable, "vlan id 5") || is_made(&cable, "bond") {
        return mk_tests::skip("this kernel has bonds and VLANs");
    }
    let place = Place::with_ports("razor.vlan=5 razor.bond=active-backup,eth0,eth7", &[&cable]);
    let _dnsmasq = cable.dnsmasq(&place.path("leases"), &[RANGE]);
    let (_console, _net) = (place.start("console"), place.start("net"));
    eventually("address on the port itself", || address(&place));
    assert!(port(&place)["error"].is_null() && port(&place)["over"] == serde_json::json!([]), "{}", port(&place));
    let (serial, status, log) = (|| place.serial(), place.prints("status"), place.log("net"));
    for words in ["eth0 is no part of bond0: ", "eth0 carries no VLAN 5: ", "razor.bond names eth7"] {
        eventually(words, || {
            let serial = serial();
            let line = serial.lines().find(|line| line.contains(words))?;
            line.contains("Next step: ").then_some(())
        });
        assert!(status.contains(words) && log.contains(words), "{words}: {status}\n{log}");
    }
    for module in ["module bonding", "module 8021q"] {
        assert!(status.contains(module), "{status}");
    }
    assert_eq!(log.matches("is no part of").count(), 1, "tried once: {log}");
    assert!(cable.ip("-o link").lines().count() == 2, "nothing is left half made: {}", cable.ip("-o link"));
    must(&format!("ip -n {} link show up dev eth0", cable.node));
}
