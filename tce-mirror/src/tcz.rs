//! Writes extensions: a squashfs 4.0 image `NAME.tcz` and beside it `NAME.tcz.md5.txt`, `NAME.tcz.dep` and
//! `NAME.tcz.info`. The same tree makes the same bytes.

use std::io::Cursor;

use anyhow::{Context as _, Result};
use backhand::compression::{CompressionOptions, Compressor, Xz};
use backhand::v4::compressor::XzFilter;
use backhand::{FilesystemCompressor, FilesystemWriter, NodeHeader};

use crate::tree::{Kind, Tree};

/// How an extension is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As Tiny Core has its extensions: gzip in blocks of 4 KiB, which every kernel of it reads.
    Gzip,
    /// zstd at its highest ordinary level in blocks of this many bytes.
    Zstd {
        /// A power of two from 4 KiB to 1 MiB.
        block: u32,
    },
    /// xz in blocks of this many bytes, optionally with the filter for x86 code.
    Xz {
        /// A power of two from 4 KiB to 1 MiB.
        block: u32,
        /// Whether branch targets are made absolute before compressing: smaller for programs and modules.
        x86: bool,
    },
}

/// Block size of Tiny Core's own extensions in bytes.
const GZIP_BLOCK: u32 = 4096;
/// Highest ordinary level of zstd.
const ZSTD_LEVEL: u32 = 19;
/// Squashfs's number for the x86 filter.
const XZ_FILTER_X86: u32 = 1;

/// Writes a tree as squashfs; every time in it is `mtime`, seconds since 1970.
///
/// # Errors
/// The writer refuses an entry, by name.
pub fn write(tree: &Tree, compression: Compression, mtime: u32) -> Result<Vec<u8>> {
    let mut image = FilesystemWriter::default();
    image.set_time(mtime);
    image.set_root_mode(0o755);
    image.set_only_root_id();
    let (block, compressor) = compressor(compression)?;
    image.set_block_size(block);
    image.set_compressor(compressor);
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

fn compressor(compression: Compression) -> Result<(u32, FilesystemCompressor)> {
    let (block, id, options) = match compression {
        // Without explicit options, which old readers cannot read.
        Compression::Gzip => (GZIP_BLOCK, Compressor::Gzip, None),
        Compression::Zstd { block } => {
            let options = CompressionOptions::Zstd(backhand::compression::Zstd { compression_level: ZSTD_LEVEL });
            (block, Compressor::Zstd, Some(options))
        }
        Compression::Xz { block, x86: false } => (block, Compressor::Xz, None),
        Compression::Xz { block, x86: true } => {
            let filters = XzFilter::new(XZ_FILTER_X86);
            let options = CompressionOptions::Xz(Xz { dictionary_size: block, filters, bit_opts: None, fb: None });
            (block, Compressor::Xz, Some(options))
        }
    };
    Ok((block, FilesystemCompressor::new(id, options).context("unsupported compression")?))
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
}

impl Info {
    /// The text of `NAME.tcz.info`, in the order of fields that Tiny Core has.
    #[must_use]
    pub fn text(&self, size: usize) -> String {
        let mut text = format!(
            "Title:          {}.tcz\nDescription:    {}\nVersion:        {}\nAuthor:         see the packages' copyright files\n\
             Original-site:  {}\nCopying-policy: see the packages' copyright files\nSize:           {size}\nExtension_by:   mkiso\n\
             Comments:       Made of these Debian packages:\n",
            self.name, self.description, self.version, self.site
        );
        for line in &self.made_of {
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
    use md5::Digest as _;
    use std::fmt::Write as _;
    let digest = md5::Md5::digest(image);
    let mut text = digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let _ = writeln!(text, "  {name}.tcz");
    text
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use backhand::{FilesystemReader, InnerNode};

    use super::*;

    const ALL: [Compression; 4] = [
        Compression::Gzip,
        Compression::Zstd { block: 1 << 17 },
        Compression::Xz { block: 1 << 17, x86: false },
        Compression::Xz { block: 1 << 20, x86: true },
    ];

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
    fn what_is_written_is_read_back_in_every_compression() {
        for compression in ALL {
            assert_eq!(read_back(write(&tree(), compression, 99).unwrap()), tree(), "{compression:?}");
        }
    }

    #[test]
    fn the_same_tree_makes_the_same_bytes() {
        for compression in ALL {
            assert_eq!(write(&tree(), compression, 99).unwrap(), write(&tree(), compression, 99).unwrap());
        }
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
