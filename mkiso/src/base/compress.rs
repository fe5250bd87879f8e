//! Compresses extensions, several at once, each from the cache where its content is unchanged.

use std::path::Path;

use anyhow::{Result, anyhow};
use tce_mirror::tcz::{self, Info, Packing};
use tce_mirror::tree::{Kind, Tree};

use crate::cache::{self, Key};
use crate::output;
use crate::progress::Step;

/// How the drivers' extension is packed. A small module costs its whole block to read, so larger ones are slow.
///
/// Measured on 494 drivers of a 6.1 kernel (76 MB), with the instructions that a guest needs to read the 42 modules of
/// an ordinary machine: gzip 21.0 MB, 0.17 G; zstd 17.9 MB, 0.13 G; zstd in 256 KiB 17.3 MB, 0.18 G; xz with the
/// filter for x86 code 15.9 MB, 0.76 G (and nearly ten times as long in blocks of 1 MiB, for 15.5 MB).
pub const DRIVERS: Packing = Packing::Zstd { block: 128 * 1024 };
/// Block size of the other extensions, whose files are large or read whole: firmware is 8.8 MB so, and 10.3 in 128 KiB.
const BLOCK: u32 = 1024 * 1024;
/// How the other extensions are packed.
pub const ORDINARY: Packing = Packing::Zstd { block: BLOCK };
/// How extensions are packed that are seldom loaded. Open VM Tools has 2.1 MB with zstd, 1.9 with xz, 1.8 with its
/// filter for x86 code.
pub const SELDOM: Packing = Packing::Xz { block: BLOCK };

/// An extension to be written.
#[derive(Debug, Clone)]
pub struct Extension {
    /// Its files.
    pub tree: Tree,
    /// What is said of it.
    pub info: Info,
    /// How it is packed.
    pub packing: Packing,
}

/// The images of all extensions, in their order.
///
/// # Errors
/// An extension that cannot be written.
pub fn all(folder: &Path, extensions: &[Extension], time: u32) -> Result<Vec<Vec<u8>>> {
    let step = Step::open("compressing extensions");
    let images = std::thread::scope(|scope| {
        let threads: Vec<_> = extensions.iter().map(|e| scope.spawn(move || one(folder, e, time))).collect();
        threads
            .into_iter()
            .map(|t| t.join().map_err(|_| anyhow!("compressing an extension failed"))?)
            .collect::<Result<Vec<Vec<u8>>>>()
    })?;
    let said: Vec<String> =
        images.iter().zip(extensions).map(|(image, e)| format!("{} {} bytes", e.info.name, image.len())).collect();
    step.done(&said.join(", "));
    Ok(images)
}

fn one(folder: &Path, extension: &Extension, time: u32) -> Result<Vec<u8>> {
    let mut key =
        Key::default().with(env!("TCZ_SOURCES")).with(time.to_le_bytes()).with(format!("{:?}", extension.packing));
    for (path, node) in extension.tree.iter() {
        key = key.with(path).with(node.mode.to_le_bytes());
        key = match &node.kind {
            Kind::Dir => key.with("dir"),
            Kind::File(bytes) => key.with("file").with(bytes),
            Kind::Link(target) => key.with("link").with(target),
        };
    }
    let path = folder.join("tcz").join(format!("{}.tcz", key.finish()));
    if let Some(image) = cache::sealed(&path) {
        return Ok(image);
    }
    let image = tcz::write(&extension.tree, extension.packing, time)?;
    output::write(&path, &image)?;
    cache::seal(&path, &image)?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_answers_for_the_same_content_only() {
        let cache = tempfile::tempdir().unwrap();
        let extension = |content: &str, mode: u16| {
            let mut tree = Tree::default();
            tree.file("usr/bin/x", mode, content).unwrap();
            Extension { tree, info: Info::default(), packing: ORDINARY }
        };
        let stored = || std::fs::read_dir(cache.path().join("tcz")).unwrap().count();
        let first = one(cache.path(), &extension("a", 0o755), 1).unwrap();
        assert_eq!(one(cache.path(), &extension("a", 0o755), 1).unwrap(), first);
        assert_eq!(stored(), 2, "the image and its seal");
        for (content, mode, time) in [("b", 0o755, 1), ("a", 0o644, 1), ("a", 0o755, 2)] {
            assert_ne!(one(cache.path(), &extension(content, mode), time).unwrap(), first);
        }
        assert_eq!(stored(), 8);
    }
}
