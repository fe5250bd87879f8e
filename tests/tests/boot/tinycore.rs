//! The microkernel on Tiny Core's own root file system. Only where `MK_TINYCORE_ROOTFS` names one (`docs/TESTING.md` says
//! how to come by it), since nothing of it is in this project.

use std::path::{Path, PathBuf};

use duct::cmd;
use mk_tests::vm::{Firmware, Machine};

use super::lab::{Lab, stable, tool, written};

/// Names the root file system.
const ROOTFS: &str = "MK_TINYCORE_ROOTFS";

#[test]
fn an_image_on_tiny_core_checks_in() {
    let Some(rootfs) = std::env::var_os(ROOTFS) else {
        return mk_tests::skip_even_there(&format!("{ROOTFS} names no root file system of Tiny Core"));
    };
    let lab = Lab::new();
    let server = lab.serve(0);
    let image = image(&lab, Path::new(&rootfs), server.port);

    let machine = Machine::example(0x5a, 1024, 2);
    let guest = lab.boot(&machine, &image, Firmware::Bios);
    let node = server.await_node(&guest);
    assert_eq!(node["name"], "node1");
    server.await_next(&guest);
    let node = server.node().unwrap();
    assert_eq!(stable(&node).disks.len(), machine.disks.len(), "each disk has found its driver: {node:#}");
    guest.console().wait_for("ext is done", 0, mk_tests::limits::REACTION).unwrap();
    assert!(guest.console().find("linked, but what follows failed", 0).is_none(), "{}", guest.console().text(0));
    assert_eq!(written(&guest), 0, "something was written to the disks");
    guest.quit().unwrap();
}

/// A production image on a base of the root file system, for a server on a port of this machine.
fn image(lab: &Lab, rootfs: &Path, port: u16) -> PathBuf {
    let (base, out, mkiso) = (lab.path("base.iso"), lab.path("dist"), tool("MKISO_BIN"));
    let (config, server) =
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("../image.toml"), format!("http://10.0.2.2:{port}"));
    let lock = config.with_file_name("image.lock");
    let made = cmd!(&mkiso, "base", "--rootfs", rootfs, "--config", &config, "--lock", &lock, "--out", &base);
    made.stdout_null().run().expect("a base is made of the root file system");
    let agent = tool("MK_AGENT");
    let built = cmd!(
        &mkiso, "build", "--base", &base, "--config", &config, "--agent", &agent, "--server", server, "--out", &out
    );
    PathBuf::from(built.read().expect("an image is built on it"))
}
