//! What is in the extensions and in the base's initrd that a bill of materials names one by one: firmware files with their
//! digests, and how many kernel modules.

use anyhow::{Context as _, Result};
use backhand::{FilesystemReader, InnerNode};
use sha1::{Digest as _, Sha1};

use crate::build::core::Core;
use crate::build::extensions::{Extensions, FIRMWARE};
use crate::cache::{hex, sha256};
use crate::cpio::{TYPE_FILE, TYPE_MASK, initrd};
use crate::input;
use crate::limits::MAX_INITRD_UNPACKED;

/// A firmware file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// Path in what has it.
    pub path: String,
    /// SHA-1 in hexadecimal digits, which SPDX wants.
    pub sha1: String,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl Firmware {
    fn new(path: &str, bytes: &[u8]) -> Self {
        let path = path.trim_start_matches("./").trim_start_matches('/').to_owned();
        Self { path, sha1: hex(&Sha1::digest(bytes)), sha256: sha256(bytes) }
    }

    /// Its name as drivers know it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.split_once(FIRMWARE).map_or(&self.path, |(_, name)| name)
    }
}

/// The initrd, or one extension.
#[derive(Debug, Clone)]
pub struct Contents {
    /// File name of the extension; the initrd's path.
    pub name: String,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// Whether it is loaded at boot.
    pub loaded: bool,
    /// How many kernel modules it has.
    pub modules: usize,
    /// Its firmware, by path.
    pub firmware: Vec<Firmware>,
}

/// What is in the base's initrd, and after it in each extension in their order.
///
/// # Errors
/// The initrd or an extension is damaged.
pub fn read(core: &Core, extensions: &Extensions) -> Result<Vec<Contents>> {
    let mut all = vec![of_initrd(core)?];
    let loaded = extensions.loaded().len();
    for (at, extension) in extensions.all().iter().enumerate() {
        let contents = Contents::new(&extension.name, &extension.sha256, at < loaded);
        let (name, reader) = (&extension.name, extension.open()?);
        all.push(contents.with(&reader).with_context(|| format!("{name} cannot be read"))?);
    }
    Ok(all)
}

fn of_initrd(core: &Core) -> Result<Contents> {
    let mut contents = Contents::new(core.initrd_path, &sha256(&core.initrd), true);
    contents.modules = core.tree.paths().filter(|path| is_module(path)).count();
    // A second time only where there is something to be read.
    if core.tree.paths().any(|path| path.contains(FIRMWARE)) {
        initrd::for_each(&core.initrd, MAX_INITRD_UNPACKED, |member| {
            let path = String::from_utf8_lossy(member.name);
            if path.contains(FIRMWARE) && member.mode & TYPE_MASK == TYPE_FILE {
                contents.firmware.push(Firmware::new(&path, member.data));
            }
        })
        .with_context(|| format!("{} of {} cannot be read", core.initrd_path, core.name))?;
    }
    Ok(contents)
}

fn is_module(path: &str) -> bool {
    [".ko", ".ko.gz", ".ko.xz", ".ko.zst"].iter().any(|ending| path.ends_with(ending))
}

impl Contents {
    fn new(name: &str, sha256: &str, loaded: bool) -> Self {
        Self { name: name.to_owned(), sha256: sha256.to_owned(), loaded, modules: 0, firmware: Vec::new() }
    }

    /// With the files of an extension.
    fn with(mut self, reader: &FilesystemReader<'_>) -> Result<Self> {
        for node in reader.files() {
            let InnerNode::File(file) = &node.inner else { continue };
            let path = node.fullpath.to_string_lossy();
            if path.contains(FIRMWARE) {
                let bytes = input::all_of(reader.file(file).reader(), MAX_INITRD_UNPACKED)?;
                self.firmware.push(Firmware::new(&path, &bytes));
            } else if is_module(&path) {
                self.modules += 1;
            }
        }
        self.firmware.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(self)
    }
}
