//! How the machine booted, and the running kernel: `/sys/firmware/efi`, the kernel line, `/proc/sys/kernel`.

use wire::inventory::{Boot, Kernel};

use super::collector::Found;
use crate::tree::Tree;

/// The UEFI variable that says whether Secure Boot is enforced.
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Bytes of attributes before a variable's value in `efivarfs`.
const EFI_ATTRIBUTES: usize = 4;

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let boot = boot(tree);
    let kernel = Kernel {
        release: tree.text("/proc/sys/kernel/osrelease"),
        architecture: tree.text("/proc/sys/kernel/arch").or_else(|| Some(std::env::consts::ARCH.to_owned())),
    };
    Ok(Found::new(|stable, _| {
        stable.boot = Some(boot);
        stable.kernel = Some(kernel);
    }))
}

fn boot(tree: &Tree) -> Boot {
    let uefi = tree.path("/sys/firmware/efi").is_dir();
    Boot {
        mode: Some(if uefi { "uefi" } else { "bios" }.to_owned()),
        secure_boot: tree.bytes(SECURE_BOOT).and_then(|bytes| secure_boot(&bytes)),
        interface: tree.text("/proc/cmdline").and_then(|line| boot_interface(&line)),
    }
}

/// Value of the variable `SecureBoot` as `efivarfs` gives it.
fn secure_boot(bytes: &[u8]) -> Option<bool> {
    bytes.get(EFI_ATTRIBUTES).map(|value| *value == 1)
}

/// MAC of `BOOTIF=01-52-54-00-12-34-56`, as PXELINUX and iPXE scripts pass it: hardware type, then the address.
fn boot_interface(line: &str) -> Option<String> {
    let value = line.split_whitespace().filter_map(|word| word.strip_prefix("BOOTIF=")).next_back()?;
    let octets: Vec<&str> = value.split(['-', ':']).collect();
    let mac = match octets.as_slice() {
        [_type, mac @ ..] if mac.len() == 6 => mac,
        mac if mac.len() == 6 => mac,
        _ => return None,
    };
    let hex = |octet: &&str| octet.len() == 2 && octet.bytes().all(|b| b.is_ascii_hexdigit());
    mac.iter().all(hex).then(|| mac.join(":").to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_interface_from_the_kernel_line() {
        let mac = Some("52:54:00:ab:cd:ef".to_owned());
        for line in [
            "quiet BOOTIF=01-52-54-00-AB-CD-EF rw",
            "BOOTIF=52:54:00:ab:cd:ef",
            "BOOTIF=01-00-00-00-00-00-00 BOOTIF=01-52-54-00-ab-cd-ef",
        ] {
            assert_eq!(boot_interface(line), mac, "{line}");
        }
        for line in ["", "BOOTIF=", "BOOTIF=eth0", "BOOTIF=01-52-54-00-ab-cd-zz", "XBOOTIF=52:54:00:ab:cd:ef"] {
            assert_eq!(boot_interface(line), None, "{line}");
        }
    }

    #[test]
    fn secure_boot_is_the_byte_after_the_attributes() {
        assert_eq!(secure_boot(&[6, 0, 0, 0, 1]), Some(true));
        assert_eq!(secure_boot(&[6, 0, 0, 0, 0]), Some(false));
        assert_eq!(secure_boot(&[6, 0, 0]), None);
    }
}
