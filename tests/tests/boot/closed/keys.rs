//! Keys that somebody at a machine presses, and what the boot loaders make of them.

use std::thread;

use duct::cmd;
use mk_tests::limits;
use mk_tests::vm::Guest;
use serde_json::json;
use std::path::Path;

use crate::lab::wait;

/// What the kernel says of its line.
const SAID: &str = "Kernel command line: ";
/// Characters that an emulated serial port may lose of it when its reader is slow.
const LOST: usize = 2;
/// Words that the boot loaders put on it.
const LOADERS: [&str; 2] = ["BOOT_IMAGE=", "initrd="];

/// Presses keys together, by QEMU's names.
pub(crate) fn press(guest: &Guest, keys: &[&str]) {
    let keys: Vec<_> = keys.iter().map(|key| json!({"type": "qcode", "data": key})).collect();
    guest.qmp("send-key", json!({"keys": keys, "hold-time": 20})).unwrap();
    // A keyboard remembers a few keys only.
    thread::sleep(limits::POLL);
}

/// Types a line of small letters, blanks and hyphens.
pub(super) fn type_line(guest: &Guest, line: &str) {
    for letter in line.chars() {
        match letter {
            ' ' => press(guest, &["spc"]),
            '-' => press(guest, &["minus"]),
            letter => press(guest, &[&letter.to_string()]),
        }
    }
    press(guest, &["ret"]);
}

/// Presses again and again what opens menus and prompts of boot loaders, until the kernel speaks.
pub(super) fn disturb_the_loader(guest: &Guest) {
    wait("the kernel starts", limits::CHECK_IN, guest, || {
        for key in ["tab", "esc", "shift", "alt"] {
            press(guest, &[key]);
        }
        type_line(guest, "agent typed");
        guest.console().find(SAID, 0)
    });
}

/// Opens GRUB's menu and sees that it asks for a name before it gives an editor or a command line; then lets it boot.
pub(crate) fn grub_is_locked(guest: &Guest) {
    guest.console().wait_for("BdsDxe: starting", 0, limits::CHECK_IN).unwrap();
    let menu = wait("the menu of GRUB opens", limits::REACTION, guest, || {
        press(guest, &["esc"]);
        assert_eq!(guest.console().find(SAID, 0), None, "it has booted before the menu was opened");
        guest.console().find("GNU GRUB", 0)
    });
    asks_who_it_is(guest, menu);
    boot_on(guest, SAID, menu);
}

/// Presses Enter at GRUB's menu, and where it still waits for a key before, until the console says something.
pub(super) fn boot_on(guest: &Guest, what: &str, from: u64) {
    wait(what, limits::REACTION, guest, || {
        press(guest, &["ret"]);
        guest.console().find(what, from)
    });
}

/// Presses the keys for GRUB's editor and command line at its menu.
pub(super) fn asks_who_it_is(guest: &Guest, mut from: u64) {
    for key in ["e", "c"] {
        from = wait("GRUB asks for a name", limits::REACTION, guest, || {
            press(guest, &[key]);
            guest.console().find("Enter username:", from)
        });
        // Away from the question, and back in the menu.
        press(guest, &["esc"]);
    }
    assert_eq!(guest.console().find("grub>", 0), None, "a command line is open");
}

/// Sees that the kernel was given the line that the image has for it, and no other word.
pub(crate) fn the_line_is_the_images(guest: &Guest, image: &Path) {
    let begin = guest.console().wait_for(SAID, 0, limits::CHECK_IN).unwrap();
    guest.console().wait_for("\n", begin, limits::SHELL).unwrap();
    let text = guest.console().text(begin);
    let by_loader = |word: &&str| LOADERS.iter().any(|begin| word.starts_with(begin));
    let given: Vec<&str> = text.lines().next().unwrap().split_whitespace().filter(|word| !by_loader(word)).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("isolinux.cfg");
    let extract = cmd!("xorriso", "-osirrox", "on", "-indev", image, "-extract", "/boot/isolinux/isolinux.cfg", &file);
    extract.stdout_null().stderr_null().run().unwrap();
    let config = std::fs::read_to_string(&file).unwrap();
    let own = config.lines().find_map(|line| line.trim().strip_prefix("append ")).unwrap();
    let (given, own) = (given.join(" "), own.split_whitespace().collect::<Vec<_>>().join(" "));
    assert!(is_all_but(&given, &own, LOST), "{given}\nin place of\n{own}");
}

/// Whether a text is another one without so many of its characters at most: nothing is added, and nothing exchanged.
fn is_all_but(text: &str, whole: &str, lost: usize) -> bool {
    let mut left = whole.chars();
    text.chars().all(|letter| left.any(|own| own == letter)) && whole.chars().count() - text.chars().count() <= lost
}

#[test]
fn a_line_that_lost_a_letter_is_told_from_another_line() {
    let own = "rdinit=/sbin/mk-agent quiet";
    for (line, same) in [
        (own, true),
        ("rdiit=/sbin/mk-agent quiet", true),
        ("rdinit=/sbin/mk-agent", false),
        ("rdinit=/bin/sh quiet", false),
    ] {
        assert_eq!(is_all_but(line, own, LOST), same, "{line}");
    }
    assert!(!is_all_but("rdinit=/sbin/mk-agent quiet single", own, LOST));
}
