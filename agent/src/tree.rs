//! Reads small text files of `/sys` and `/proc` below a root, so that the same readers run on a live machine and on a
//! recorded one. A missing or unreadable file is `None`: the kernel leaves out what does not apply. Text is trimmed;
//! bytes that are no UTF-8 are replaced, since firmware writes such names.

use std::fs;
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes. Attributes are at most a page; tables of modules a few megabytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// A file system tree with `/sys` and `/proc`.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The running machine.
    pub(crate) fn live() -> Self {
        Self::at("/")
    }

    /// A recorded machine.
    pub(crate) fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Whether this is the running machine, of which the kernel can be asked more than its files tell.
    pub(crate) fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The file's place on this machine; `path` is absolute within the tree.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// All bytes of a file, if it can be read and is not absurdly large.
    pub(crate) fn bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        fs::File::open(self.path(path)).ok()?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Trimmed text of a file; `None` if it is missing or blank.
    pub(crate) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let text = String::from_utf8_lossy(&self.bytes(path)?).trim_matches(['\0', ' ', '\t', '\n', '\r']).to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// A decimal number in a file.
    pub(crate) fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// Names in a folder, sorted; empty if it is missing.
    pub(crate) fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else { return Vec::new() };
        let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Last component of a symbolic link's target, such as a driver's name.
    pub(crate) fn link_name(&self, path: impl AsRef<Path>) -> Option<String> {
        Some(fs::read_link(self.path(path)).ok()?.file_name()?.to_str()?.to_owned())
    }

    /// A link's final target as an absolute path within the tree, such as a device's place in `/sys/devices`.
    pub(crate) fn resolve(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        let root = fs::canonicalize(&self.root).ok()?;
        let full = fs::canonicalize(self.path(path)).ok()?;
        Some(Path::new("/").join(full.strip_prefix(root).ok()?))
    }
}
