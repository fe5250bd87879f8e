//! The ISO's tree of files, laid out in a folder for xorriso, and what of it goes out beside the ISO.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use time::OffsetDateTime;
use time::macros::format_description;

use super::bootcfg::{self, Boot};
use super::core::Core;
use super::loaders::{Loaders, MBR};
use super::manifest::Part;
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
    /// `mk/embed.json`.
    pub embed: &'a [u8],
    /// Kernel and initrds with their digests.
    pub members: &'a [Part],
}

impl Tree<'_> {
    /// Lays the tree out in `folder`.
    ///
    /// # Errors
    /// A file cannot be written; the message says what to do where the disk is full.
    pub fn lay_out(&self, folder: &Path) -> Result<()> {
        let slash = |path: &str| format!("/{path}");
        let (kernel, initrds) = (slash(self.core.kernel_path), [self.core.initrd_path, SEGMENT, SLOT].map(slash));
        let boot = Boot { kernel: &kernel, initrds: &initrds.each_ref().map(String::as_str) };
        let put = |path: &str, bytes: &[u8]| put(folder, path, bytes);
        put(self.core.kernel_path, &self.core.kernel)?;
        put(self.core.initrd_path, &self.core.initrd)?;
        put(SEGMENT, self.segment)?;
        put(SLOT, self.slot)?;
        for (name, bytes) in self.loaders.bios.iter().filter(|(name, _)| *name != MBR) {
            put(&format!("{}/{name}", author::ISOLINUX), bytes)?;
        }
        put(&format!("{}/isolinux.cfg", author::ISOLINUX), bootcfg::isolinux(self.variant, &boot).as_bytes())?;
        put("boot/grub/grub.cfg", bootcfg::grub(self.variant, &boot).as_bytes())?;
        let finder = bootcfg::grub_finder(self.variant, &slash(SEGMENT));
        let mut esp_files: Vec<(&str, &[u8])> =
            self.loaders.uefi.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        esp_files.push(("grub.cfg", finder.as_bytes()));
        put(author::ESP, &esp::image(&esp_files, self.epoch)?)?;
        put(wire::embed::EMBED_PATH, self.embed)?;
        put(METADATA, self.metadata()?.as_bytes())?;
        put(DISK_INFO, format!("Razor Microkernel {} {}\n", self.version, self.variant.name()).as_bytes())
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

fn put(folder: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let place = folder.join(path);
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(|error| full_or(error, &place))?;
    }
    fs::write(&place, bytes).map_err(|error| full_or(error, &place))
}
