//! Writes extensions: a squashfs 4.0 image `NAME.tcz` and beside it `NAME.tcz.md5.txt`, `NAME.tcz.dep` and
//! `NAME.tcz.info`. The same tree makes the same bytes.

use std::io::Cursor;

use anyhow::{Context as _, Result, ensure};
use backhand::compression::{CompressionOptions, Compressor, Gzip, Xz, Zstd};
use backhand::v4::compressor::XzFilter;
use backhand::{FilesystemCompressor, FilesystemWriter, NodeHeader};

use crate::checksum;
use crate::tree::{Kind, Tree};

/// Block sizes that squashfs has, in bytes.
const BLOCKS: std::ops::RangeInclusive<u32> = 4096..=1024 * 1024;
/// Highest ordinary level of zstd: slow to write, as fast as any to read.
const ZSTD_LEVEL: u32 = 19;

/// Block size of Tiny Core's own extensions, in bytes.
const TINY_CORE_BLOCK: u32 = 4096;
/// Level and window of gzip as `mksquashfs` has them.
const GZIP: Gzip = Gzip { compression_level: 9, window_size: 15, strategies: 0 };

/// Number of the filter for x86 code.
const XZ_X86: u32 = 1;

/// How an extension is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As Tiny Core's own: gzip in blocks of 4 KiB. Every kernel that has squashfs reads it.
    TinyCore,
    /// Smaller and faster to read, for a kernel that has zstd.
    Zstd {
        /// Block size in bytes, a power of two from 4 KiB to 1 MiB.
        block: u32,
    },
    /// Smallest, and slow to read, for a kernel that has xz with its filter for x86 code.
    Xz {
        /// As for zstd.
        block: u32,
    },
}

/// Writes a tree as squashfs; every time in it is `mtime`, seconds since 1970.
///
/// # Errors
/// The block size is none that squashfs has, or the writer refuses an entry; it is named.
pub fn write(tree: &Tree, packing: Packing, mtime: u32) -> Result<Vec<u8>> {
    let zstd = Zstd { compression_level: ZSTD_LEVEL };
    let (block, compressor, options) = match packing {
        Packing::TinyCore => (TINY_CORE_BLOCK, Compressor::Gzip, CompressionOptions::Gzip(GZIP)),
        Packing::Zstd { block } => (block, Compressor::Zstd, CompressionOptions::Zstd(zstd)),
        Packing::Xz { block } => (block, Compressor::Xz, CompressionOptions::Xz(xz(block))),
    };
    ensure!(BLOCKS.contains(&block) && block.is_power_of_two(), "squashfs has no blocks of {block} bytes");
    let mut image = FilesystemWriter::default();
    image.set_time(mtime);
    image.set_root_mode(0o755);
    image.set_only_root_id();
    image.set_block_size(block);
    image.set_compressor(FilesystemCompressor::new(compressor, Some(options)).context("squashfs compression")?);
    for (path, node) in tree.iter() {
        let header = NodeHeader::new(node.mode, 0, 0, mtime);
        match &node.kind {
            Kind::Dir => image.push_dir(path, header),
            Kind::File(content) => image.push_file(Cursor::new(content.as_slice()), path, header),
            Kind::Link(target) => image.push_symlink(target.as_str(), path, header),
        }
        .with_context(|| format!("cannot add {path} to the extension"))?;
    }
    let mut out = Cursor::new(Vec::new());
    image.write(&mut out).context("cannot write the squashfs image")?;
    Ok(out.into_inner())
}

/// The kernel takes no dictionary that is smaller than a block, and has no use for a larger one.
fn xz(block: u32) -> Xz {
    Xz { dictionary_size: block, filters: XzFilter::new(XZ_X86), bit_opts: None, fb: None }
}

/// What stands beside an extension.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// Name without `.tcz`.
    pub name: String,
    /// One line.
    pub description: String,
    /// Version of the main package.
    pub version: String,
    /// Home page or package name.
    pub site: String,
    /// What it was made of: package and version, one a line.
    pub made_of: Vec<String>,
    /// Extensions that must be loaded before, without `.tcz`.
    pub depends: Vec<String>,
    /// What a person should know, a sentence each: what was left out, what the packages' own scripts would have done.
    pub notes: Vec<String>,
}

impl Info {
    /// The text of `NAME.tcz.info`, in the order of fields that Tiny Core has.
    #[must_use]
    pub fn text(&self, size: usize) -> String {
        let mut text = format!(
            "Title:          {}.tcz\nDescription:    {}\nVersion:        {}\nAuthor:         see the packages' copyright files\n\
             Original-site:  {}\nCopying-policy: see the packages' copyright files\nSize:           {size}\nExtension_by:   Razor Microkernel\n\
             Comments:       Made of these Debian packages:\n",
            self.name, self.description, self.version, self.site
        );
        for line in self.made_of.iter().chain(&self.notes) {
            text.push_str("                ");
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// The text of `NAME.tcz.dep`.
    #[must_use]
    pub fn dep(&self) -> String {
        self.depends.iter().map(|name| format!("{name}.tcz\n")).collect()
    }
}

/// The text of `NAME.tcz.md5.txt`, as `md5sum` prints it.
#[must_use]
pub fn md5_txt(name: &str, image: &[u8]) -> String {
    format!("{}  {name}.tcz\n", checksum::hex(&checksum::md5(image)))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use backhand::{FilesystemReader, InnerNode};

    use super::*;

    const PACKINGS: [Packing; 3] =
        [Packing::TinyCore, Packing::Zstd { block: 1 << 17 }, Packing::Xz { block: 1 << 17 }];

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.file("usr/bin/tool", 0o4755, vec![7; 300_000]).unwrap();
        tree.file("usr/bin/same", 0o755, vec![7; 300_000]).unwrap();
        tree.file("usr/share/empty", 0o600, "").unwrap();
        tree.link("usr/bin/link", "tool").unwrap();
        tree
    }

    fn read_back(image: Vec<u8>) -> Tree {
        let reader = FilesystemReader::from_reader(Cursor::new(image)).unwrap();
        let mut tree = Tree::default();
        for node in reader.files().filter(|n| n.fullpath.as_os_str() != "/") {
            let path = node.fullpath.to_str().unwrap();
            let mode = node.header.permissions;
            assert_eq!((node.header.uid, node.header.gid, node.header.mtime), (0, 0, 99));
            match &node.inner {
                InnerNode::Dir(_) => tree.dir(path, mode).unwrap(),
                InnerNode::File(file) => {
                    let mut bytes = Vec::new();
                    reader.file(file).reader().read_to_end(&mut bytes).unwrap();
                    tree.file(path, mode, bytes).unwrap();
                }
                InnerNode::Symlink(link) => tree.link(path, link.link.to_str().unwrap()).unwrap(),
                other => panic!("{other:?}"),
            }
        }
        tree
    }

    #[test]
    fn what_is_written_is_read_back() {
        for packing in PACKINGS {
            assert_eq!(read_back(write(&tree(), packing, 99).unwrap()), tree(), "{packing:?}");
        }
    }

    #[test]
    fn the_same_tree_makes_the_same_bytes() {
        for packing in PACKINGS {
            assert_eq!(write(&tree(), packing, 99).unwrap(), write(&tree(), packing, 99).unwrap(), "{packing:?}");
        }
        assert!(write(&tree(), Packing::Zstd { block: 5000 }, 99).is_err());
    }

    #[test]
    fn sidecars_have_tiny_cores_forms() {
        let info = Info { name: "tool".to_owned(), depends: vec!["a".to_owned(), "b".to_owned()], ..Info::default() };
        assert_eq!(info.dep(), "a.tcz\nb.tcz\n");
        assert_eq!(md5_txt("tool", b"abc"), "900150983cd24fb0d6963f7d28e17f72  tool.tcz\n");
        assert!(
            info.text(12).starts_with("Title:          tool.tcz\n") && info.text(12).contains("Size:           12\n")
        );
    }
}
