//! USB stick and network, looked at more closely than `command` does: what goes over the wire, and what becomes of a machine
//! that boots from the network again and again.

use std::fs;
use std::path::{Path, PathBuf};

use duct::cmd;
use mk_tests::vm::spec::Bus;
use mk_tests::vm::{Firmware, Guest, Machine, Medium, Options, sector};
use mk_tests::{built, limits};
use serde_json::json;

use super::lab::{Lab, Server, options, record, stable, wait, written};

/// What the machine's own disk says when it is booted.
const OWN_DISK: &str = "this is the machine's own disk";

/// A machine that boots from a medium has no id at first: it takes the one in the first answer and uses it from then on.
#[test]
fn usb_stick() {
    let lab = Lab::new();
    let server = lab.serve(0);
    let stick = Medium::Usb(lab.image("production", server.port));
    let guest = Guest::start(&options(&Machine::example(0x55, 1024, 2), stick, Firmware::Bios)).unwrap();
    let traffic = record(&guest, &lab);
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

/// Released, the machine boots the microkernel again, and is the same node.
#[test]
fn network_on_bios() {
    let lab = Lab::new();
    let disk = lab.path("own.img");
    fs::write(&disk, sector::saying(OWN_DISK)).unwrap();
    let (server, guest, from) = boots_from_the_network_and_then_its_disk(&lab, 0x57, disk, Firmware::Bios);

    server.command("reinstall-node", &json!({"name": "node1"}));
    guest.qmp("system_reset", json!({})).unwrap();
    guest.console().wait_for(&checkin_url(&server), from, limits::CHECK_IN).unwrap();
    server.await_next(&guest);
    server.await_next(&guest);
    assert!(guest.console().find(OWN_DISK, from).is_none(), "a released node stays in the microkernel");
    assert_eq!(written(&guest), 0, "something was written to the disk");
    guest.quit().unwrap();
}

#[test]
fn network_on_uefi() {
    let lab = Lab::new();
    let disk = lab.path("own.img");
    own_uefi_disk(&lab, &disk);
    let (_server, guest, _) = boots_from_the_network_and_then_its_disk(&lab, 0x58, disk, Firmware::Uefi);
    guest.quit().unwrap();
}

/// A disk from which UEFI starts GRUB, which says [`OWN_DISK`]: the loader of our own image with another script.
fn own_uefi_disk(lab: &Lab, disk: &Path) {
    let (iso, script) = (built::image("production").unwrap(), lab.path("grub.cfg"));
    fs::write(&script, format!("echo \"{OWN_DISK}\"\nsleep 100000\n")).unwrap();
    let extract = cmd!("xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/boot/efi.img", disk);
    extract.stderr_capture().run().unwrap();
    cmd!("mcopy", "-o", "-i", disk, script, "::/EFI/BOOT/grub.cfg").run().unwrap();
}

/// Where the only node's microkernel is told to check in.
fn checkin_url(server: &Server) -> String {
    format!("razor.checkin=http://10.0.2.2:{}/svc/checkin/1", server.port)
}

/// A server without an image says so on the machine's screen, and is asked again. A new machine gets the microkernel with
/// its id on the kernel line. New nodes count as installed here, so its check-in makes it reboot; the server knows it
/// again and sends it to its own disk. Gives the console's position behind that.
fn boots_from_the_network_and_then_its_disk(
    lab: &Lab,
    seed: u32,
    disk: PathBuf,
    firmware: Firmware,
) -> (Server, Guest, u64) {
    let server = lab.serve_with(0, "protect_new_nodes = true\n");
    let mut machine = Machine::example(seed, 1024, 2);
    machine.nics.truncate(1);
    machine.disks.retain(|disk| disk.bus == Bus::Virtio);
    machine.disks[0].content = Some(disk);
    let network = server.network();
    let guest = Guest::start(&Options { may_reboot: true, ..options(&machine, network, firmware) }).unwrap();

    let from = guest.console().wait_for("no_image: this server has no microkernel image", 0, limits::CHECK_IN).unwrap();
    server.offer("production");
    let from = guest.console().wait_for(&checkin_url(&server), from, limits::CHECK_IN).unwrap();
    assert!(guest.console().find("Could not boot", 0).is_none(), "a server that has no image yet is waited for");
    let node = server.await_node(&guest);
    assert_eq!(node["name"], "node1");
    let mode = if firmware == Firmware::Uefi { "efi" } else { "pcbios" };
    assert_eq!(node["hw_info"]["fact_boot_type"], mode, "what iPXE said is kept: {}", node["hw_info"]);
    let boot = stable(&node).boot.unwrap();
    assert_eq!(boot.interface.as_deref(), Some(&*machine.nics[0].mac), "the port that it was booted from is known");
    assert_eq!(boot.secure_boot, firmware.is_uefi().then_some(false));
    let from = guest.console().wait_for("node1: booting from its own disk", from, limits::CHECK_IN).unwrap();
    let from = guest.console().wait_for(OWN_DISK, from, limits::CHECK_IN).unwrap();
    assert!(server.node().is_some(), "it is still one node");
    assert_eq!(written(&guest), 0, "something was written to the disk");
    (server, guest, from)
}
