//! Secure Boot refuses a production image whose kernel was changed by one byte. That it starts the unchanged one under the same
//! firmware is what the test `hardware` shows.

use std::fs;
use std::path::Path;

use duct::cmd;
use mk_tests::vm::{Firmware, Machine};
use mk_tests::{built, limits};

use super::super::lab::{Lab, tool};
use super::keys::{asks_who_it_is, boot_on};

/// What Debian's signed GRUB says of a kernel whose signature is not right.
const REFUSED: &str = "bad shim signature";
/// Files of an ISO begin at a multiple of this.
const SECTOR: usize = 2048;

#[test]
fn secure_boot_refuses_a_production_image_whose_kernel_was_changed_by_one_byte() {
    let lab = Lab::new();
    let image = lab.path("changed.iso");
    change_the_kernel(&built::image("production").unwrap(), &image);
    let verified =
        cmd!(tool("MKISO_BIN"), "verify", &image).stderr_to_stdout().stdout_capture().unchecked().run().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(!verified.status.success() && said.contains("boot/vmlinuz64"), "{said}");

    let guest = lab.boot(&Machine::example(0x93, 512, 1), &image, Firmware::SecureBoot);
    let refused = guest.console().wait_for(REFUSED, 0, limits::CHECK_IN).unwrap();
    println!("{}", guest.console().text(0).lines().find(|line| line.contains(REFUSED)).unwrap());
    // Neither is there another way: the menu that it falls back to is locked, and ends in the same refusal.
    asks_who_it_is(&guest, refused);
    boot_on(&guest, REFUSED, refused);
    assert_eq!(guest.console().find("Linux version", 0), None, "the kernel was started");
    guest.quit().unwrap();
}

/// Copies an image and changes one bit in the middle of its kernel, which is what the signature is about.
fn change_the_kernel(image: &Path, copy: &Path) {
    let mut bytes = fs::read(image).unwrap();
    let kernel = fs::read(image.with_extension("vmlinuz")).unwrap();
    let begins = |sector: &[u8]| sector == &kernel[..SECTOR];
    let at = bytes.chunks(SECTOR).position(begins).expect("the kernel is in the image") * SECTOR;
    assert!(bytes[at..].starts_with(&kernel), "in one piece");
    bytes[at + kernel.len() / 2] ^= 1;
    fs::write(copy, bytes).unwrap();
}
