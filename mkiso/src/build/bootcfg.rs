//! The boot loaders' configuration files, as text: isolinux for BIOS, GRUB for UEFI.

use std::fmt::Write as _;

use super::variant::{Entry, Variant};

/// Tenths of a second for which an open isolinux menu waits.
const ISOLINUX_TIMEOUT_DS: u32 = 30;
/// Seconds for which an open GRUB menu waits.
const GRUB_TIMEOUT_S: u32 = 3;

/// What an entry boots: paths in the ISO, initrds in order of loading.
#[derive(Debug, Clone)]
pub struct Boot<'a> {
    /// The kernel, such as `/boot/vmlinuz64`.
    pub kernel: &'a str,
    /// The initrds.
    pub initrds: &'a [&'a str],
}

/// `boot/isolinux/isolinux.cfg`.
#[must_use]
pub fn isolinux(variant: Variant, boot: &Boot<'_>) -> String {
    let entries = variant.entries();
    let mut text = format!("default {}\n", entries.first().map_or("", |entry| entry.id));
    if variant.is_locked() {
        // Without a prompt isolinux boots at once; noescape keeps Shift and Alt from asking for one.
        text.push_str("prompt 0\nnoescape 1\nallowoptions 0\n");
    } else {
        let _ = writeln!(text, "serial 0 115200\nprompt 1\ntimeout {ISOLINUX_TIMEOUT_DS}");
        for Entry { id, title, .. } in &entries {
            let _ = writeln!(text, "say {id}: {title}");
        }
    }
    for Entry { id, title, line } in &entries {
        let _ = write!(
            text,
            "\nlabel {id}\n  menu label {title}\n  kernel {}\n  initrd {}\n  append {line}\n",
            boot.kernel,
            boot.initrds.join(",")
        );
    }
    text
}

/// `boot/grub/grub.cfg`.
#[must_use]
pub fn grub(variant: Variant, boot: &Boot<'_>) -> String {
    let mut text = String::new();
    if variant.is_locked() {
        // A superuser without a password: nobody can be it, so nobody edits an entry or gets a command line.
        text.push_str("set superusers=\"none\"\nexport superusers\nset timeout_style=hidden\nset timeout=0\n");
    } else {
        let _ = writeln!(text, "set timeout={GRUB_TIMEOUT_S}");
    }
    text.push_str("set default=0\n");
    for Entry { id, title, line } in &variant.entries() {
        let _ = write!(
            text,
            "\nmenuentry \"{title}\" --id {id} --unrestricted {{\n  linux {} {line}\n  initrd {}\n}}\n",
            boot.kernel,
            boot.initrds.join(" ")
        );
    }
    text
}

/// `grub.cfg` in the EFI system partition: finds the medium by a file that only our images have.
#[must_use]
pub fn grub_finder(variant: Variant, marker: &str) -> String {
    let lock = if variant.is_locked() { "set superusers=\"none\"\nexport superusers\n" } else { "" };
    format!(
        "{lock}search --no-floppy --set=root --file {marker}\n\
         set prefix=($root)/boot/grub\n\
         if [ -e $prefix/grub.cfg ]; then\n  source $prefix/grub.cfg\nelse\n  \
         echo \"The Razor Microkernel's boot medium is not readable: {marker} was not found. Attach it again.\"\n  \
         sleep 60\n  reboot\nfi\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot() -> Boot<'static> {
        Boot { kernel: "/boot/vmlinuz64", initrds: &["/boot/corepure64.gz", "/boot/mk.gz", "/boot/site.img"] }
    }

    #[test]
    fn isolinux_loads_the_three_initrds_in_order() {
        let text = isolinux(Variant::Development, &boot());
        assert_eq!(text.matches("initrd /boot/corepure64.gz,/boot/mk.gz,/boot/site.img\n").count(), 2);
        assert_eq!(text.matches("label agent\n").count(), 1);
        assert!(text.starts_with("default agent\n"));
    }

    #[test]
    fn grub_loads_the_three_initrds_in_order() {
        let text = grub(Variant::Debug, &boot());
        assert_eq!(text.matches("initrd /boot/corepure64.gz /boot/mk.gz /boot/site.img\n").count(), 2);
    }

    #[test]
    fn a_locked_menu_can_neither_be_opened_nor_edited() {
        let text = isolinux(Variant::Production, &boot());
        for line in ["prompt 0", "noescape 1", "allowoptions 0"] {
            assert!(text.lines().any(|have| have == line), "{line}");
        }
        let text = grub(Variant::Production, &boot());
        assert!(
            text.contains("set superusers=\"none\"") && text.contains("set timeout=0") && !text.contains("password")
        );
        assert_eq!(text.matches("menuentry").count(), 1);
        assert!(grub_finder(Variant::Production, "/boot/mk.gz").starts_with("set superusers="));
    }

    #[test]
    fn an_open_menu_is_not_locked() {
        assert!(!isolinux(Variant::Development, &boot()).contains("noescape"));
        assert!(!grub(Variant::Development, &boot()).contains("superusers"));
    }
}
