//! The ISO's tree of files: what is in each, and laid out in a folder for xorriso.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use time::OffsetDateTime;
use time::macros::format_description;

use super::bootcfg::{self, Config};
use super::core::Core;
use super::loaders::{Loaders, MBR};
use super::manifest::{self, Part};
use super::variant::Variant;
use super::{author, esp};
use crate::output::full_or;

/// Our first initrd in the ISO.
pub const SEGMENT: &str = "boot/mk.gz";
/// The site slot in the ISO.
pub const SLOT: &str = "boot/site.img";
/// What the server that takes an image reads first.
const METADATA: &str = "iso-metadata.yaml";
/// By this file Debian's signed GRUB knows its medium.
const DISK_INFO: &str = ".disk/info";

/// isolinux' first stage, into which the program that writes the ISO puts where things lie in it.
pub const BOOT_INFO: &str = "boot/isolinux/isolinux.bin";
/// The bytes of it that are so written.
const INFO_TABLE: std::ops::Range<usize> = 8..64;

/// All that goes into an ISO.
pub struct Tree<'a> {
    /// The base, for its kernel and initrd.
    pub core: &'a Core,
    /// Boot loaders.
    pub loaders: &'a Loaders,
    /// The variant.
    pub variant: Variant,
    /// Version of the image.
    pub version: &'a str,
    /// Date in seconds since 1970.
    pub epoch: u32,
    /// `mk.gz`.
    pub segment: &'a [u8],
    /// `site.img`.
    pub slot: &'a [u8],
    /// Configuration of isolinux and of GRUB.
    pub configs: [&'a Config; 2],
    /// `mk/embed.json`.
    pub embed: &'a [u8],
    /// Kernel and initrds with their digests.
    pub members: &'a [Part],
}

/// A file of the tree: its path and what is in it.
pub type File<'a> = (String, Cow<'a, [u8]>);

impl<'a> Tree<'a> {
    /// Kernel and initrds.
    #[must_use]
    pub fn members(&self) -> Vec<File<'a>> {
        let Core { kernel, kernel_path, initrd, initrd_path, .. } = self.core;
        let of = |path: &str, bytes: &'a [u8]| (path.to_owned(), Cow::Borrowed(bytes));
        vec![of(kernel_path, kernel), of(initrd_path, initrd), of(SEGMENT, self.segment), of(SLOT, self.slot)]
    }

    /// All further files.
    ///
    /// # Errors
    /// The EFI system partition cannot be made.
    pub fn further(&self) -> Result<Vec<File<'a>>> {
        let loaders = self.loaders.bios.iter().filter(|(name, _)| *name != MBR);
        let mut files: Vec<File<'a>> = loaders
            .map(|(name, bytes)| (format!("{}/{name}", author::ISOLINUX), Cow::Borrowed(bytes.as_slice())))
            .collect();
        let texts = self.configs.map(|config| (config.path.to_owned(), Cow::Borrowed(config.text.as_bytes())));
        files.extend(texts);
        let finder = bootcfg::grub_finder(self.variant, &format!("/{SEGMENT}"));
        let mut esp: Vec<(&str, &[u8])> =
            self.loaders.uefi.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        esp.push(("grub.cfg", finder.as_bytes()));
        let info = format!("Razor Microkernel {} {}\n", self.version, self.variant.name());
        files.extend([
            (author::ESP.to_owned(), Cow::Owned(esp::image(&esp, self.epoch)?)),
            (wire::embed::EMBED_PATH.to_owned(), Cow::Borrowed(self.embed)),
            (METADATA.to_owned(), Cow::Owned(self.metadata()?.into_bytes())),
            (DISK_INFO.to_owned(), Cow::Owned(info.into_bytes())),
        ]);
        Ok(files)
    }

    /// `iso-metadata.yaml` in the ancestor's form. `initrd` is the base's own, unchanged, as there; ours are the keys
    /// that begin with `mk_`. The slot has no digest, since a site may fill it.
    fn metadata(&self) -> Result<String> {
        let time = OffsetDateTime::from_unix_timestamp(i64::from(self.epoch))?;
        let time = time.format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC"))?;
        Ok(format!(
            "---\niso_version: \"{}\"\nkernel: {}\ninitrd: {}\nhash_description:\n  type: Digest::SHA2\n  bitlen: 256\n\
             kernel_hash: {}\ninitrd_hash: {}\niso_build_time: \"{time}\"\nmk_variant: {}\nmk_initrd: {SEGMENT}\n\
             mk_initrd_hash: {}\nmk_site: {SLOT}\n",
            self.version,
            self.core.kernel_path,
            self.core.initrd_path,
            self.digest(self.core.kernel_path)?,
            self.digest(self.core.initrd_path)?,
            self.variant.name(),
            self.digest(SEGMENT)?,
        ))
    }
}

impl Tree<'_> {
    fn digest(&self, path: &str) -> Result<&str> {
        let member = self.members.iter().find(|member| member.name == path);
        member.map(|member| member.sha256.as_str()).with_context(|| format!("{path} has no digest"))
    }
}

/// A file as the manifest has it.
#[must_use]
pub fn part(path: &str, bytes: &[u8]) -> Part {
    let origin = if path.starts_with(author::ISOLINUX) && !path.ends_with(".cfg") { "boot loader" } else { "built" };
    Part::new(path, origin, &lasting(path, bytes))
}

/// What of a file is the same before and after the ISO is written.
#[must_use]
pub fn lasting<'a>(path: &str, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    if path != BOOT_INFO || bytes.len() < INFO_TABLE.end {
        return Cow::Borrowed(bytes);
    }
    let mut bytes = bytes.to_vec();
    bytes[INFO_TABLE].fill(0);
    Cow::Owned(bytes)
}

/// Lays these files out in `folder`, and the manifest beside them.
///
/// # Errors
/// A file cannot be written; the message says what to do where the disk is full.
pub fn lay_out(folder: &Path, files: &[File<'_>], manifest: &[u8]) -> Result<()> {
    for (path, bytes) in files {
        put(folder, path, bytes)?;
    }
    put(folder, manifest::PATH, manifest)
}

fn put(folder: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let place = folder.join(path);
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(|error| full_or(error, &place))?;
    }
    fs::write(&place, bytes).map_err(|error| full_or(error, &place))
}
