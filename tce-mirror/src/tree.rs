//! A file tree in memory: what a package holds, and what an extension or a root file system is made of. Paths are
//! relative to the root, without a leading slash; owners are always root.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// Permissions of folders that nobody listed.
const DIR_MODE: u16 = 0o755;

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Folder.
    Dir,
    /// Regular file with its content.
    File(Vec<u8>),
    /// Symbolic link with its target.
    Link(String),
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u16,
}

/// Entries by path, sorted, so that folders come before what they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Adds or replaces an entry; folders on the way are made where they are missing.
    ///
    /// # Errors
    /// The path leaves the tree, or leads through something that is no folder.
    pub fn insert(&mut self, path: &str, node: Node) -> Result<()> {
        let path = clean(path)?;
        if path.is_empty() {
            return Ok(());
        }
        for (slash, _) in path.match_indices('/') {
            let parent = &path[..slash];
            match self.nodes.get(parent).map(|n| &n.kind) {
                Some(Kind::Dir) => {}
                Some(_) => bail!("{path} lies in {parent}, which is no folder"),
                None => {
                    self.nodes.insert(parent.to_owned(), Node { kind: Kind::Dir, mode: DIR_MODE });
                }
            }
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Adds a folder.
    ///
    /// # Errors
    /// As for [`Tree::insert`].
    pub fn dir(&mut self, path: &str, mode: u16) -> Result<()> {
        self.insert(path, Node { kind: Kind::Dir, mode })
    }

    /// Adds a regular file.
    ///
    /// # Errors
    /// As for [`Tree::insert`].
    pub fn file(&mut self, path: &str, mode: u16, content: impl Into<Vec<u8>>) -> Result<()> {
        self.insert(path, Node { kind: Kind::File(content.into()), mode })
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// As for [`Tree::insert`].
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.insert(path, Node { kind: Kind::Link(target.to_owned()), mode: 0o777 })
    }

    /// The entry at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// The content of the regular file at a path.
    #[must_use]
    pub fn content(&self, path: &str) -> Option<&[u8]> {
        match &self.get(path)?.kind {
            Kind::File(content) => Some(content),
            Kind::Dir | Kind::Link(_) => None,
        }
    }

    /// The regular file that a path leads to through symbolic links at its last component, and that file's path. Links
    /// into `/lib` and the like also find what lies in `/usr/lib`.
    #[must_use]
    pub fn resolve(&self, path: &str) -> Option<(String, &Node)> {
        /// As in the kernel.
        const MAX_LINKS: usize = 40;
        let mut at = clean(path).ok()?;
        for _ in 0..MAX_LINKS {
            if !self.nodes.contains_key(&at) {
                at = usr_merged(&at);
            }
            let node = self.get(&at)?;
            match &node.kind {
                Kind::File(_) => return Some((at, node)),
                Kind::Dir => return None,
                Kind::Link(target) => {
                    let folder = at.rsplit_once('/').map_or("", |(folder, _)| folder);
                    at = join(folder, target)?;
                }
            }
        }
        None
    }

    /// All entries, folders before what they hold.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Moves an entry out of the tree.
    pub fn take(&mut self, path: &str) -> Option<Node> {
        self.nodes.remove(path)
    }

    /// Adds all entries of another tree, which win.
    ///
    /// # Errors
    /// As for [`Tree::insert`].
    pub fn merge(&mut self, other: Self) -> Result<()> {
        other.nodes.into_iter().try_for_each(|(path, node)| self.insert(&path, node))
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

/// A path without leading `/` or `./` and without doubled slashes.
///
/// # Errors
/// The path has a component `..`: no package may write outside of its root.
pub fn clean(path: &str) -> Result<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => bail!("{path:?} leads out of its root"),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Whether a link at `path` with this target stays within the root. An absolute target does: it is the running system's.
#[must_use]
pub fn stays_within(path: &str, target: &str) -> bool {
    join(path.rsplit_once('/').map_or("", |(folder, _)| folder), target).is_some()
}

/// The path on a system whose `/bin`, `/sbin`, `/lib` and `/lib64` are links into `/usr`.
#[must_use]
pub fn usr_merged(path: &str) -> String {
    let first = path.split('/').next().unwrap_or(path);
    if matches!(first, "bin" | "sbin" | "lib" | "lib64") { format!("usr/{path}") } else { path.to_owned() }
}

/// Where a link in `folder` with this target leads; `None` outside of the root.
fn join(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> =
        if target.starts_with('/') { Vec::new() } else { folder.split('/').filter(|p| !p.is_empty()).collect() };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn folders_come_before_their_files() {
        let mut tree = Tree::default();
        tree.file("./usr/bin/x", 0o755, "x").unwrap();
        let paths: Vec<_> = tree.iter().map(|(p, _)| p).collect();
        assert_eq!(paths, ["usr", "usr/bin", "usr/bin/x"]);
    }

    #[test]
    fn a_file_is_no_folder() {
        let mut tree = Tree::default();
        tree.file("a", 0o644, "").unwrap();
        assert!(tree.file("a/b", 0o644, "").unwrap_err().to_string().contains("no folder"));
    }

    #[test]
    fn links_are_followed_and_loops_end() {
        let mut tree = Tree::default();
        tree.file("usr/lib/libx.so.1.2", 0o644, "elf").unwrap();
        tree.link("usr/lib/libx.so.1", "libx.so.1.2").unwrap();
        tree.link("usr/lib/up.so", "../lib/libx.so.1").unwrap();
        tree.link("usr/lib/loop", "loop").unwrap();
        assert_eq!(tree.resolve("usr/lib/up.so").unwrap().0, "usr/lib/libx.so.1.2");
        assert!(tree.resolve("usr/lib/loop").is_none());
    }

    #[test]
    fn merged_usr() {
        assert_eq!(usr_merged("lib/x86_64-linux-gnu/libc.so.6"), "usr/lib/x86_64-linux-gnu/libc.so.6");
        assert_eq!(usr_merged("libexec/x"), "libexec/x");
        assert_eq!(usr_merged("usr/bin/x"), "usr/bin/x");
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_tree(path in "[a./]{0,12}") {
            if let Ok(clean) = clean(&path) {
                prop_assert!(!clean.starts_with('/') && clean.split('/').all(|p| p != ".." && p != "."));
            }
        }

        #[test]
        fn following_links_never_leaves_the_tree(folder in "[ab/]{0,6}", target in "[ab./]{0,10}") {
            if let Some(path) = join(&folder, &target) {
                prop_assert!(path.split('/').all(|p| p != ".."));
            }
        }
    }
}
