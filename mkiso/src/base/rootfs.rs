//! The root file system of the base's own initrd: busybox with its links, the C library, a few files of `rootfs/`, the
//! modules that must be there before anything can be mounted, and the index of all modules. Laid out as Debian's is,
//! with `/bin`, `/sbin`, `/lib` and `/lib64` as links into `/usr`.

use anyhow::{Context as _, Result, ensure};
use tce_mirror::libraries::Libraries;
use tce_mirror::tree::{Kind, Tree};

/// Folders that nothing is put in.
const FOLDERS: [(&str, u16); 11] = [
    ("dev", 0o755),
    ("etc/init.d", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr/lib/firmware", 0o755),
    ("usr/local/bin", 0o755),
    ("var/log", 0o755),
];
/// Links of the merged layout.
const LINKS: [(&str, &str); 7] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("etc/mtab", "/proc/mounts"),
    // Where programs look for their loader.
    ("usr/lib64/ld-linux-x86-64.so.2", "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
    ("var/run", "/run"),
];
/// Files of the folder `rootfs/`.
const FILES: [(&str, u16, &str); 7] = [
    ("init", 0o755, include_str!("rootfs/init")),
    ("etc/init.d/rcS", 0o755, include_str!("rootfs/rcS")),
    ("etc/inittab", 0o644, include_str!("rootfs/inittab")),
    ("etc/passwd", 0o644, include_str!("rootfs/passwd")),
    ("etc/group", 0o644, include_str!("rootfs/group")),
    ("etc/shadow", 0o600, include_str!("rootfs/shadow")),
    ("etc/hostname", 0o644, "box\n"),
];
/// isolinux' configuration.
pub const ISOLINUX: &str = include_str!("rootfs/isolinux.cfg");
/// Applets of busybox that belong to the administrator's programs.
const SBIN: [&str; 30] = [
    "acpid", "adjtimex", "arp", "blkid", "blockdev", "brctl", "depmod", "fatattr", "fdisk", "fsfreeze", "fstrim",
    "getty", "halt", "hwclock", "ifconfig", "init", "insmod", "ip", "losetup", "lsmod", "mdev", "modinfo", "modprobe",
    "poweroff", "reboot", "rmmod", "route", "sysctl", "udhcpc", "vconfig",
];
/// Applets without which the base does not come up.
const REQUIRED: [&str; 8] = ["sh", "init", "mount", "modprobe", "hostname", "ifconfig", "getty", "mkdir"];
/// Applets that would change a disk or install packages. The base does without them.
const UNWANTED: [&str; 9] =
    ["mke2fs", "mkdosfs", "mkswap", "swapon", "swapoff", "rpm", "rpm2cpio", "watchdog", "partprobe"];

/// The tree without modules: busybox and what it needs.
///
/// # Errors
/// busybox is missing or lacks an applet, or one of its libraries is missing.
pub fn build(packages: &Tree, libraries: &Libraries<'_>) -> Result<Tree> {
    let mut tree = Tree::default();
    for (path, mode) in FOLDERS {
        tree.dir(path, mode)?;
    }
    for (path, target) in LINKS {
        tree.link(path, target)?;
    }
    for (path, mode, content) in FILES {
        tree.file(path, mode, content)?;
    }
    let (_, node) = packages.resolve("usr/bin/busybox").context("no package of the root has usr/bin/busybox")?;
    let Kind::File(busybox) = &node.kind else { anyhow::bail!("usr/bin/busybox is no file") };
    let applets = applets(busybox);
    for required in REQUIRED {
        ensure!(applets.iter().any(|a| a == required), "busybox lacks the applet {required}; is it Debian's own?");
    }
    tree.file("usr/bin/busybox", 0o755, busybox.clone())?;
    for applet in applets.iter().filter(|a| !UNWANTED.contains(&a.as_str())) {
        if SBIN.contains(&applet.as_str()) {
            tree.link(&format!("usr/sbin/{applet}"), "../bin/busybox")?;
        } else {
            tree.link(&format!("usr/bin/{applet}"), "busybox")?;
        }
    }
    tree.merge(libraries.closure([("usr/bin/busybox", busybox.as_slice())])?)?;
    Ok(tree)
}

/// Names of the applets in a busybox program: its table of names, each ended by a zero byte, in ascending order.
fn applets(busybox: &[u8]) -> Vec<String> {
    /// How the table starts wherever the shell's test command is built in.
    const START: &[u8] = b"[\0[[\0";
    let mut best = Vec::new();
    for (at, _) in busybox.windows(START.len()).enumerate().filter(|(_, window)| *window == START) {
        let mut names: Vec<String> = Vec::new();
        for name in busybox[at..].split(|b| *b == 0) {
            let Ok(name) = std::str::from_utf8(name) else { break };
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'[' | b'-' | b'_'));
            if name.is_empty() || !plain || names.last().is_some_and(|last| last.as_str() >= name) {
                break;
            }
            names.push(name.to_owned());
        }
        if names.len() > best.len() {
            best = names;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_of_applets_ends_where_the_order_does() {
        let program = b"junk\0[\0[[\0zz\0text\0[\0[[\0ash\0cat\0init\0sh\0yes\0busybox\0more\0";
        assert_eq!(applets(program), ["[", "[[", "ash", "cat", "init", "sh", "yes"]);
        assert!(applets(b"no such table").is_empty());
    }

    #[test]
    fn the_base_swaps_on_nothing_and_mounts_no_disk() {
        for (path, _, text) in FILES {
            for line in text.lines().filter(|l| !l.trim_start().starts_with('#')) {
                assert!(
                    !line.contains("/dev/sd") && !line.contains("swapon") && !line.contains("mount -a"),
                    "{path}: {line}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_program_is_searched(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            applets(&bytes);
        }
    }
}
