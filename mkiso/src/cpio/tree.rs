//! What the root file system looks like after the kernel has unpacked an initrd: enough of it to say where a path of a
//! later archive would land.
//!
//! The kernel unpacks silently. It follows symbolic links in a path's folders, drops a file whose folder is missing,
//! lets an entry replace one of another type (a directory over a link hides what the link led to), and truncates a
//! file in place (with hard links, every name of it). Callers ask [`Tree::place`] and [`Tree::get`] beforehand.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::newc::Member;
use super::{TYPE_DIR, TYPE_FILE, TYPE_LINK, TYPE_MASK};

/// Most symbolic links that are followed in one path, as in the kernel.
const MAX_LINKS: u32 = 40;

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Directory with its permissions.
    Dir(u32),
    /// Regular file.
    File {
        /// Number of names of it.
        links: u32,
        /// Permissions.
        permissions: u32,
    },
    /// Symbolic link with its target.
    Link(String),
    /// Device, FIFO or socket.
    Special,
}

impl Node {
    /// The node's type in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Dir(_) => "directory",
            Node::File { .. } => "file",
            Node::Link(_) => "symbolic link",
            Node::Special => "special file",
        }
    }
}

/// Paths without leading `/`, none of whose folders is a symbolic link. Names that are no UTF-8 are held lossily:
/// nothing of ours has such a name.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Takes a member as the kernel would; one whose folder is missing is dropped, as the kernel does.
    pub fn apply(&mut self, member: &Member<'_>) {
        let name = String::from_utf8_lossy(member.name);
        let Ok(Some(path)) = self.place(&name) else { return };
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if path.is_empty() || !self.is_dir(parent) {
            return;
        }
        let permissions = member.mode & !TYPE_MASK;
        let node = match member.mode & TYPE_MASK {
            TYPE_DIR => Node::Dir(permissions),
            TYPE_FILE => Node::File { links: member.nlink, permissions },
            TYPE_LINK => Node::Link(String::from_utf8_lossy(member.data).into_owned()),
            _ => Node::Special,
        };
        self.nodes.insert(path, node);
    }

    /// Adds a node at a path that [`Tree::place`] gave.
    pub fn insert(&mut self, placed: &str, node: Node) {
        self.nodes.insert(placed.to_owned(), node);
    }

    /// What lies at a path that [`Tree::place`] gave; a link is not followed.
    #[must_use]
    pub fn get(&self, placed: &str) -> Option<&Node> {
        self.nodes.get(placed)
    }

    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// Where `path` lies once the links among its folders are followed; a link at its end is not. Empty for the root.
    /// `None` where a folder is a file or a link that leads nowhere; missing folders are taken as plain ones.
    ///
    /// # Errors
    /// Links that lead round in a circle.
    pub fn place(&self, path: &str) -> Result<Option<String>> {
        self.walk(path, false)
    }

    /// As [`Tree::place`], following a link at the end too.
    ///
    /// # Errors
    /// Links that lead round in a circle.
    pub fn follow(&self, path: &str) -> Result<Option<String>> {
        self.walk(path, true)
    }

    fn walk(&self, path: &str, follow_last: bool) -> Result<Option<String>> {
        let mut todo: Vec<String> = parts(path);
        let mut at = String::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                at.truncate(at.rfind('/').unwrap_or(0));
                continue;
            }
            let next = if at.is_empty() { part } else { format!("{at}/{part}") };
            match self.nodes.get(&next) {
                Some(Node::Link(target)) if follow_last || !todo.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        bail!("the symbolic links on the way to /{path} lead round in a circle");
                    }
                    if target.starts_with('/') {
                        at.clear();
                    }
                    todo.extend(parts(target));
                }
                Some(Node::File { .. } | Node::Special) if !todo.is_empty() => return Ok(None),
                _ => at = next,
            }
        }
        Ok(Some(at))
    }

    /// Whether a placed path is a directory that is there.
    #[must_use]
    pub fn is_dir(&self, placed: &str) -> bool {
        placed.is_empty() || matches!(self.nodes.get(placed), Some(Node::Dir(_)))
    }
}

/// The parts of a path, last first, without empty ones and `.`.
fn parts(path: &str) -> Vec<String> {
    path.split('/').rev().filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(nodes: &[(&str, Node)]) -> Tree {
        let mut tree = Tree::default();
        for (path, node) in nodes {
            tree.insert(path, node.clone());
        }
        tree
    }

    fn usr_merged() -> Tree {
        tree(&[
            ("usr", Node::Dir(0o755)),
            ("usr/sbin", Node::Dir(0o755)),
            ("sbin", Node::Link("usr/sbin".into())),
            ("lib", Node::Dir(0o755)),
            ("lib/firmware", Node::Link("../usr/local/lib/firmware".into())),
            ("abs", Node::Link("/usr".into())),
            ("loop", Node::Link("loop".into())),
            ("file", Node::File { links: 1, permissions: 0o644 }),
        ])
    }

    #[test]
    fn paths_are_written_through_links_of_folders() {
        let tree = usr_merged();
        let place = |path: &str| tree.place(path).unwrap();
        assert_eq!(place("/sbin/mk-agent").as_deref(), Some("usr/sbin/mk-agent"));
        assert_eq!(place("abs/sbin/x").as_deref(), Some("usr/sbin/x"));
        assert_eq!(place("lib/firmware/bnx2/a.fw").as_deref(), Some("usr/local/lib/firmware/bnx2/a.fw"));
        assert_eq!(place("sbin").as_deref(), Some("sbin"));
        assert_eq!(tree.follow("sbin").unwrap().as_deref(), Some("usr/sbin"));
        assert_eq!(place("file/x"), None);
        assert_eq!(place(".").as_deref(), Some(""));
    }

    #[test]
    fn a_circle_of_links_is_an_error() {
        assert!(usr_merged().place("loop/x").is_err());
    }

    #[test]
    fn a_file_without_its_folder_is_dropped_as_the_kernel_does() {
        let member = |name| {
            let (mode, device) = (0o100_644, (0, 0));
            Member { name, ino: 1, mode, uid: 0, gid: 0, nlink: 1, mtime: 0, device, data: b"" }
        };
        let mut tree = usr_merged();
        tree.apply(&member(b"missing/file"));
        tree.apply(&member(b"./sbin/there"));
        assert_eq!(tree.get("missing/file"), None);
        assert_eq!(tree.get("usr/sbin/there"), Some(&Node::File { links: 1, permissions: 0o644 }));
    }

    proptest! {
        #[test]
        fn no_path_and_no_link_lead_out_of_the_root_or_hang(
            links in proptest::collection::vec(("[ab]{1}(/[ab]){0,2}", "(\\.\\./|/)?[ab.]{1,2}(/[ab]){0,2}"), 0..8),
            path in "(\\.\\./){0,3}[ab](/[ab.]{1,2}){0,5}",
        ) {
            let mut tree = Tree::default();
            for (name, target) in links {
                tree.insert(&name, Node::Link(target));
            }
            if let Ok(Some(placed)) = tree.place(&path) {
                prop_assert!(!placed.starts_with('/') && placed.split('/').all(|part| part != ".."), "{}", placed);
            }
        }
    }
}
