//! The boot loaders: those of the base where it has them, else those that are installed on this machine. Parts of one
//! loader are never mixed, since they only work with their own build.

use std::fs;

use anyhow::{Context as _, Result};

use super::core::Core;

/// A part of a loader: its name here, its path in the base, and its path on a Debian machine.
type Part = (&'static str, &'static str, &'static str);

/// isolinux: first stage, library, hybrid boot sector.
const BIOS: [Part; 3] = [
    ("isolinux.bin", "boot/isolinux/isolinux.bin", "/usr/lib/ISOLINUX/isolinux.bin"),
    ("ldlinux.c32", "boot/isolinux/ldlinux.c32", "/usr/lib/syslinux/modules/bios/ldlinux.c32"),
    (MBR, "boot/isolinux/isohdpfx.bin", "/usr/lib/ISOLINUX/isohdpfx.bin"),
];
/// Debian's shim and GRUB, both signed for Secure Boot.
const UEFI: [Part; 2] = [
    ("BOOTX64.EFI", "boot/efi/BOOTX64.EFI", "/usr/lib/shim/shimx64.efi.signed"),
    ("grubx64.efi", "boot/efi/grubx64.efi", "/usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed"),
];
/// isolinux' hybrid boot sector: goes into the first sector, not into the tree.
pub const MBR: &str = "isohdpfx.bin";
/// Debian packages that have what a base may lack.
const PACKAGES: &str = "isolinux syslinux-common shim-signed grub-efi-amd64-signed";

/// The parts of both loaders by name.
#[derive(Debug)]
pub struct Loaders {
    /// For BIOS.
    pub bios: Vec<(&'static str, Vec<u8>)>,
    /// For UEFI.
    pub uefi: Vec<(&'static str, Vec<u8>)>,
}

impl Loaders {
    /// Finds both loaders.
    ///
    /// # Errors
    /// Neither the base nor this machine has one of them whole.
    pub fn find(core: &mut Core) -> Result<Self> {
        Ok(Self { bios: find(core, &BIOS)?, uefi: find(core, &UEFI)? })
    }

    /// The hybrid boot sector.
    #[must_use]
    pub fn mbr(&self) -> &[u8] {
        self.bios.iter().find(|(name, _)| *name == MBR).map(|(_, bytes)| bytes.as_slice()).unwrap_or_default()
    }
}

fn find(core: &mut Core, parts: &[Part]) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let mut own = Vec::new();
    for (name, path, _) in parts {
        own.extend(core.file(path)?.map(|bytes| (*name, bytes)));
    }
    if own.len() == parts.len() {
        return Ok(own);
    }
    let installed = parts.iter().map(|(name, _, path)| {
        let bytes = fs::read(path).with_context(|| {
            format!(
                "the base {} has no complete boot loader and {path} is not installed (on Debian: apt-get install \
                 {PACKAGES})",
                core.name
            )
        });
        bytes.map(|bytes| (*name, bytes))
    });
    installed.collect()
}
