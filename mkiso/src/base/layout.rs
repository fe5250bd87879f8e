//! Lays the parts of a base out as Tiny Core's ISO is: kernel and initrd in `boot`, extensions in `cde/optional`; beside
//! them what this project adds: signed boot loaders in `boot/efi`, `mk-base.json`, and the packages' licences.

use anyhow::{Context as _, Result, anyhow};
use tce_mirror::recipe::Packages;
use tce_mirror::tcz::{self, Info};
use tce_mirror::tree::Tree;

use super::{initrd, lock, manifest};

/// Folder of the extensions in the ISO.
const OPTIONAL: &str = "cde/optional";
/// Boot loaders: their place in the ISO and in their packages.
const BOOT: [(&str, &str); 5] = [
    ("boot/isolinux/isolinux.bin", "usr/lib/ISOLINUX/isolinux.bin"),
    ("boot/isolinux/isohdpfx.bin", "usr/lib/ISOLINUX/isohdpfx.bin"),
    ("boot/isolinux/ldlinux.c32", "usr/lib/syslinux/modules/bios/ldlinux.c32"),
    ("boot/efi/BOOTX64.EFI", "usr/lib/shim/shimx64.efi.signed"),
    ("boot/efi/grubx64.efi", "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed"),
];

/// What the ISO is laid out from.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The packages, for boot loaders and licences.
    pub packages: &'a Packages<'a>,
    /// What was taken.
    pub lock: &'a lock::Debian,
    /// The kernel's release.
    pub release: &'a str,
    /// The initrd.
    pub core: Vec<u8>,
    /// The extensions' images in the order in which they are loaded.
    pub extensions: Vec<(&'a Info, Vec<u8>)>,
    /// isolinux' configuration.
    pub isolinux: &'a str,
    /// The text of [`manifest::PATH`].
    pub manifest: Vec<u8>,
}

/// The files of the ISO.
///
/// # Errors
/// A package lacks the kernel or a boot loader.
pub fn iso(parts: Parts<'_>) -> Result<Tree> {
    let mut iso = Tree::default();
    let vmlinuz = format!("boot/vmlinuz-{}", parts.release);
    let kernel = parts.packages.tree(&parts.lock.kernel).and_then(|tree| tree.content(&vmlinuz));
    iso.file("boot/vmlinuz64", 0o644, kernel.with_context(|| format!("the kernel's package has no {vmlinuz}"))?)?;
    iso.file("boot/corepure64.gz", 0o644, parts.core)?;
    iso.file("boot/isolinux/isolinux.cfg", 0o644, parts.isolinux)?;
    for (path, from) in BOOT {
        let node = parts.packages.all().iter().find_map(|tree| tree.resolve(from).map(|(_, node)| node.clone()));
        iso.insert(path, node.ok_or_else(|| anyhow!("no package of the base has {from}"))?)?;
    }
    let mut onboot = String::new();
    for (info, image) in parts.extensions {
        onboot.push_str(&format!("{}.tcz\n", info.name));
        add_extension(&mut iso, info, image)?;
    }
    iso.file("cde/onboot.lst", 0o644, onboot)?;
    for (package, tree) in &parts.packages.0 {
        // Where a package has a link instead, the package that it leads to is there too.
        if let Some(text) = tree.content(&format!("usr/share/doc/{}/copyright", package.name)) {
            iso.file(&format!("licenses/{}.txt.gz", package.name), 0o644, initrd::gzip(text)?)?;
        }
    }
    iso.file(manifest::PATH, 0o644, parts.manifest)?;
    Ok(iso)
}

fn add_extension(iso: &mut Tree, info: &Info, image: Vec<u8>) -> Result<()> {
    let at = format!("{OPTIONAL}/{}.tcz", info.name);
    iso.file(&format!("{at}.md5.txt"), 0o644, tcz::md5_txt(&info.name, &image))?;
    iso.file(&format!("{at}.info"), 0o644, info.text(image.len()))?;
    if !info.depends.is_empty() {
        iso.file(&format!("{at}.dep"), 0o644, info.dep())?;
    }
    iso.file(&at, 0o644, image)
}
