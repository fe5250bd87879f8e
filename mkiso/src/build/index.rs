//! The modules' index of an image on Tiny Core's own ISO. Its initrd has one over the modules in it alone, and Tiny Core
//! makes another at boot; the agent needs the one over initrd and extensions before the first extension is mounted.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;
use tce_mirror::tree::Tree;

use super::core::Core;
use super::extensions::Extensions;
use super::place::Item;
use crate::base::depmod::{self, GZ, MADE};
use crate::input;
use crate::limits::MAX_MODULE;

/// Folder of the extensions' modules, and the link by which Tiny Core finds it beside its own.
const LOCAL: (&str, &str) = ("usr/local/lib/modules", "kernel.tclocal/");
/// Folder of the initrd's modules, below that of the index.
const KERNEL: &str = "kernel/";

/// An index.
#[derive(Debug)]
pub struct Index {
    /// Its files.
    pub items: Vec<Item>,
    /// The extensions' modules in it.
    pub files: BTreeSet<String>,
}

/// Makes the index over the modules of the base's initrd and of the early extensions, and tells the base of it.
///
/// # Errors
/// A module is damaged, by name, or depmod fails.
pub fn make(core: &mut Core, extensions: &Extensions) -> Result<Index> {
    let (folder, mut tree, mut packed) = (format!("lib/modules/{}", core.release), Tree::default(), BTreeSet::new());
    let mut put = |path: &str, bytes: &[u8]| -> Result<()> {
        let (bare, bytes) = match path.strip_suffix(GZ) {
            Some(bare) => (bare, plain(bytes).with_context(|| format!("the module {path} cannot be unpacked"))?),
            None => (path, bytes.to_vec()),
        };
        if bare != path {
            packed.insert(bare.to_owned());
        }
        tree.file(&format!("{folder}/{bare}"), 0o644, bytes)
    };
    let mut result = Ok(());
    core.each_module(|path, bytes| {
        if result.is_ok() && !MADE.contains(&path) {
            result = put(path, bytes);
        }
    })?;
    result?;
    let mut files = BTreeSet::new();
    extensions.each_early_file(|path, bytes| {
        let Some(path) = indexed(path, &core.release) else { return Ok(()) };
        put(&path, bytes)?;
        files.insert(path);
        Ok(())
    })?;
    let index = depmod::index(&tree, &[&tree], &folder, &core.release)?;
    let mut items = Vec::new();
    for name in MADE {
        let path = format!("{folder}/{name}");
        let mut bytes = index.content(&path).unwrap_or_default().to_vec();
        if name == "modules.dep" {
            bytes = depmod::name_packed(&bytes, &packed);
            core.index_anew(String::from_utf8_lossy(&bytes).into_owned());
        }
        items.push(Item::file(&path, 0o644, bytes));
    }
    Ok(Index { items, files })
}

/// Where the index names an extension's module; nothing for other files.
fn indexed(path: &str, release: &str) -> Option<String> {
    let path = path.trim_start_matches('/');
    let below = |folder: &str| path.strip_prefix(&format!("{folder}/{release}/{KERNEL}"));
    let own = || ["lib/modules", "usr/lib/modules"].into_iter().find_map(below).map(|rest| format!("{KERNEL}{rest}"));
    below(LOCAL.0).map(|rest| format!("{}{rest}", LOCAL.1)).or_else(own)
}

fn plain(bytes: &[u8]) -> Result<Vec<u8>> {
    input::all_of(GzDecoder::new(bytes), MAX_MODULE)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_module_that_is_too_large_is_not_indexed_cut() {
        let packed = |size| {
            let mut bytes = Vec::new();
            let mut zeros = flate2::read::GzEncoder::new(std::io::repeat(0).take(size), flate2::Compression::fast());
            zeros.read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(plain(&packed(MAX_MODULE)).unwrap().len() as u64, MAX_MODULE);
        assert!(plain(&packed(MAX_MODULE + 1)).unwrap_err().to_string().contains("more than"));
    }

    #[test]
    fn modules_are_named_as_tiny_core_finds_them() {
        let named = |path: &str| indexed(path, "6.18.2-tinycore64");
        let local = "/usr/local/lib/modules/6.18.2-tinycore64/kernel/drivers/scsi/hpsa.ko.gz";
        assert_eq!(named(local).unwrap(), "kernel.tclocal/drivers/scsi/hpsa.ko.gz");
        assert_eq!(named("lib/modules/6.18.2-tinycore64/kernel/a.ko").unwrap(), "kernel/a.ko");
        for other in ["usr/local/lib/modules/6.1/kernel/a.ko", "usr/local/lib/libx.so", ""] {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
