//! The three variants of an image, and what each of them is: the whole difference is in this file and in the
//! `variants` of `rootfs-overlay/MANIFEST.toml`.

use serde::{Deserialize, Serialize};

/// Path of the agent in the image, as the kernel line has it.
pub const AGENT: &str = "/sbin/mk-agent";

/// On the kernel line of every entry: ramfs, since a tmpfs root is half of RAM and drops what does not fit without a
/// word; no RAID is assembled from a machine's disks; a panic ends in a reboot; the kernel's ciphers do not test themselves
/// (a third of an emulated machine's start, and only FIPS mode needs it); messages go to screen and serial port.
const COMMON: &str = "rootfstype=ramfs panic=60 raid=noautodetect cryptomgr.notests console=tty0 console=ttyS0,115200n8 \
                      printk.devkmsg=on";

/// On the second entry: what keeps a Tiny Core init from swap (for compressed one it would wait for ever where the kernel
/// has it as a module), from disks, from running what it finds there, and from asking for addresses beside the agent.
const CORE_INIT: &str = "base norestore noswap nozswap nofstab nodhcp";

/// A variant of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// For machines in service: no log-in, no shell, nothing listens, one locked boot entry.
    Production,
    /// With sshd for the operator's key, and the base's own init as second boot entry.
    Development,
    /// As development, with root shells on tty2 and ttyS0 and a debug log.
    Debug,
}

/// One entry of the boot menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name within the boot loader's configuration.
    pub id: &'static str,
    /// What the menu shows.
    pub title: &'static str,
    /// The kernel line.
    pub line: String,
}

impl Variant {
    /// The word for it in file names and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Variant::Production => "production",
            Variant::Development => "development",
            Variant::Debug => "debug",
        }
    }

    /// Whether sshd is in the image.
    #[must_use]
    pub fn has_ssh(self) -> bool {
        self != Variant::Production
    }

    /// Whether the boot loader's menu is locked: nobody at the console can change the kernel line.
    #[must_use]
    pub fn is_locked(self) -> bool {
        self == Variant::Production
    }

    /// The boot entries, the default one first.
    #[must_use]
    pub fn entries(self) -> Vec<Entry> {
        let loglevel = if self == Variant::Debug { 7 } else { 6 };
        let agent = Entry {
            id: "agent",
            title: "Razor Microkernel",
            // Where the kernel cannot start the one, it starts nothing else in its place, neither the base's init nor a shell.
            line: format!("rdinit={AGENT} init={AGENT} {COMMON} loglevel={loglevel}"),
        };
        let core = Entry {
            id: "core",
            title: "Razor Microkernel under the base's own init",
            line: format!("{COMMON} loglevel={loglevel} {CORE_INIT}"),
        };
        if self.is_locked() { vec![agent] } else { vec![agent, core] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_production_image_has_one_entry_and_the_others_two() {
        assert_eq!(Variant::Production.entries().len(), 1);
        assert_eq!(Variant::Development.entries().len(), 2);
        assert_eq!(Variant::Debug.entries().len(), 2);
    }

    #[test]
    fn only_the_first_entry_starts_the_agent_and_all_use_ramfs() {
        for variant in [Variant::Production, Variant::Development, Variant::Debug] {
            for (index, entry) in variant.entries().iter().enumerate() {
                assert_eq!(entry.line.starts_with("rdinit=/sbin/mk-agent init=/sbin/mk-agent "), index == 0);
                assert_eq!(entry.line.contains("nofstab"), index == 1);
                for word in ["rootfstype=ramfs", "panic=60", "raid=noautodetect", "cryptomgr.notests"] {
                    assert!(entry.line.split(' ').any(|have| have == word), "{word}");
                }
            }
        }
        assert!(Variant::Debug.entries()[0].line.ends_with("loglevel=7"));
        assert!(Variant::Production.entries()[0].line.ends_with("loglevel=6"));
    }
}
