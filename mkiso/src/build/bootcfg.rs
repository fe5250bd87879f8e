//! The boot loaders' configuration files, as text: isolinux for BIOS, GRUB for UEFI. Each kernel line ends with a span that a
//! site may fill ([`crate::bootline`]).

use std::fmt::Write as _;

use wire::embed::{Area, BootLine};

use super::variant::{Entry, Variant};
use crate::bootline::{END, LENGTH, PAD};

/// `isolinux.cfg` in the ISO.
pub const ISOLINUX: &str = "boot/isolinux/isolinux.cfg";
/// `grub.cfg` in the ISO.
pub const GRUB: &str = "boot/grub/grub.cfg";

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

/// A configuration file, and where its kernel lines may be extended.
#[derive(Debug)]
pub struct Config {
    /// Path in the ISO.
    pub path: &'static str,
    /// The file.
    pub text: String,
    /// Where in it each span begins.
    pub spans: Vec<usize>,
}

impl Config {
    fn new(path: &'static str) -> Self {
        Self { path, text: String::new(), spans: Vec::new() }
    }

    /// Ends a kernel line with an empty span.
    fn end_line(&mut self) {
        self.spans.push(self.text.len());
        self.text.push(END);
        self.text.extend(std::iter::repeat_n(PAD, LENGTH - END.len_utf8()));
    }

    /// What the image's descriptor says of it.
    pub fn boot_lines(&self) -> impl Iterator<Item = BootLine> {
        self.spans.iter().map(|at| BootLine {
            area: Area { path: format!("/{}", self.path), offset: *at as u64, length: LENGTH as u64 },
            pad: PAD.into(),
            end: END.into(),
            default: String::new(),
        })
    }
}

/// `boot/isolinux/isolinux.cfg`.
#[must_use]
pub fn isolinux(variant: Variant, boot: &Boot<'_>) -> Config {
    let mut config = Config::new(ISOLINUX);
    let text = &mut config.text;
    let entries = variant.entries();
    let _ = writeln!(text, "default {}", entries.first().map_or("", |entry| entry.id));
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
        let (kernel, initrds) = (boot.kernel, boot.initrds.join(","));
        let head = format!("\nlabel {id}\n  menu label {title}\n  kernel {kernel}\n  initrd {initrds}\n");
        config.text.push_str(&format!("{head}  append {line}"));
        config.end_line();
        config.text.push('\n');
    }
    config
}

/// `boot/grub/grub.cfg`.
#[must_use]
pub fn grub(variant: Variant, boot: &Boot<'_>) -> Config {
    let mut config = Config::new(GRUB);
    let text = &mut config.text;
    if variant.is_locked() {
        // A superuser without a password: nobody can be it, so nobody edits an entry or gets a command line.
        text.push_str("set superusers=\"none\"\nexport superusers\nset timeout_style=hidden\nset timeout=0\n");
    } else {
        let _ = writeln!(text, "set timeout={GRUB_TIMEOUT_S}");
    }
    text.push_str("set default=0\n");
    for Entry { id, title, line } in &variant.entries() {
        let (kernel, initrds) = (boot.kernel, boot.initrds.join(" "));
        config.text.push_str(&format!("\nmenuentry \"{title}\" --id {id} --unrestricted {{\n  linux {kernel} {line}"));
        config.end_line();
        config.text.push_str(&format!("\n  initrd {initrds}\n}}\n"));
    }
    config
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
        let text = isolinux(Variant::Development, &boot()).text;
        assert_eq!(text.matches("initrd /boot/corepure64.gz,/boot/mk.gz,/boot/site.img\n").count(), 2);
        assert_eq!(text.matches("label agent\n").count(), 1);
        assert!(text.starts_with("default agent\n"));
    }

    #[test]
    fn grub_loads_the_three_initrds_in_order() {
        let text = grub(Variant::Debug, &boot()).text;
        assert_eq!(text.matches("initrd /boot/corepure64.gz /boot/mk.gz /boot/site.img\n").count(), 2);
    }

    #[test]
    fn a_locked_menu_can_neither_be_opened_nor_edited() {
        let text = isolinux(Variant::Production, &boot()).text;
        for line in ["prompt 0", "noescape 1", "allowoptions 0"] {
            assert!(text.lines().any(|have| have == line), "{line}");
        }
        let text = grub(Variant::Production, &boot()).text;
        assert!(
            text.contains("set superusers=\"none\"") && text.contains("set timeout=0") && !text.contains("password")
        );
        assert_eq!(text.matches("menuentry").count(), 1);
        assert!(grub_finder(Variant::Production, "/boot/mk.gz").starts_with("set superusers="));
    }

    #[test]
    fn an_open_menu_is_not_locked() {
        assert!(!isolinux(Variant::Development, &boot()).text.contains("noescape"));
        assert!(!grub(Variant::Development, &boot()).text.contains("superusers"));
    }

    #[test]
    fn each_kernel_line_can_be_extended_and_ends_before_the_blanks() {
        for variant in [Variant::Production, Variant::Debug] {
            for config in [isolinux(variant, &boot()), grub(variant, &boot())] {
                assert_eq!(config.boot_lines().count(), variant.entries().len());
                for (line, entry) in config.boot_lines().zip(variant.entries()) {
                    let at = usize::try_from(line.area.offset).unwrap();
                    assert!(config.text[..at].ends_with(&entry.line), "{at} in {}", config.text);
                    let span = &config.text.as_bytes()[at..at + LENGTH];
                    assert_eq!(span, crate::bootline::fill("", LENGTH).unwrap());
                    assert_eq!(config.text.as_bytes()[at + LENGTH], b'\n');
                }
            }
        }
    }
}
