//! Where our files go over the base's: pure decisions that keep the rules which the kernel enforces without a word.
//! Folders come before what is in them; links of the base are written through; nothing of another type is replaced
//! unless its rule says so.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};

use super::manifest::Part;
use crate::cpio::tree::{Node, Tree};
use crate::cpio::write::Archive;

/// Permissions of folders that are made because something lies in them.
const FOLDER_MODE: u32 = 0o755;

/// Something that is to appear in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Path as it is meant, without a slash at its start.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Permissions; of no meaning for a link.
    pub mode: u32,
    /// Whether it may replace something of another type.
    pub replace: bool,
}

impl Item {
    /// A file with the given permissions.
    #[must_use]
    pub fn file(path: &str, mode: u32, bytes: Vec<u8>) -> Self {
        Self { path: path.trim_start_matches('/').to_owned(), kind: Kind::File(bytes), mode, replace: false }
    }

    /// A folder with the given permissions.
    #[must_use]
    pub fn dir(path: &str, mode: u32) -> Self {
        Self { path: path.trim_start_matches('/').to_owned(), kind: Kind::Dir, mode, replace: false }
    }
}

impl Item {
    /// A file as an input from `origin`; nothing for folders and links.
    #[must_use]
    pub fn part(&self, origin: &str) -> Option<Part> {
        let Kind::File(bytes) = &self.kind else { return None };
        Some(Part::new(&self.path, origin, bytes))
    }
}

/// What an item is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Folder.
    Dir,
    /// File with its content.
    File(Vec<u8>),
    /// Symbolic link with its target.
    Link(String),
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Kind::Dir => "directory",
            Kind::File(_) => "file",
            Kind::Link(_) => "symbolic link",
        }
    }
}

/// An archive over `tree` that makes the items appear at their paths; `tree` becomes what the kernel makes of it.
///
/// # Errors
/// An item cannot appear at its path, or only by replacing something of another type.
pub fn archive(tree: &mut Tree, items: Vec<Item>, mtime: u32) -> Result<Vec<u8>> {
    let mut members: BTreeMap<String, (Kind, u32)> = BTreeMap::new();
    let mut items = items;
    items.sort_by(|a, b| a.path.cmp(&b.path));
    for item in items {
        let path = item.path.clone();
        let placed = tree.place(&path)?.filter(|placed| !placed.is_empty());
        let placed = placed.with_context(|| format!("/{path} cannot be made: a folder on its way is no folder"))?;
        ensure!(!members.contains_key(&placed), "/{path} is made twice (it lies at /{placed})");
        if settled(tree, &placed, &item)? {
            continue;
        }
        for folder in folders(&placed) {
            if tree.get(folder).is_none() {
                tree.insert(folder, Node::Dir(FOLDER_MODE));
                members.insert(folder.to_owned(), (Kind::Dir, FOLDER_MODE));
            }
        }
        let node = match &item.kind {
            Kind::Dir => Node::Dir(item.mode),
            Kind::File(_) => Node::File { links: 1, permissions: item.mode },
            Kind::Link(target) => Node::Link(target.clone()),
        };
        tree.insert(&placed, node);
        members.insert(placed, (item.kind, item.mode));
    }
    let mut archive = Archive::new(mtime);
    for (path, (kind, mode)) in &members {
        match kind {
            Kind::Dir => archive.dir(path, *mode)?,
            Kind::File(bytes) => archive.file(path, *mode, bytes)?,
            Kind::Link(target) => archive.link(path, target)?,
        }
    }
    Ok(archive.finish())
}

/// Whether what the item wants is there already.
fn settled(tree: &Tree, placed: &str, item: &Item) -> Result<bool> {
    let Some(node) = tree.get(placed) else { return Ok(false) };
    match (node, &item.kind) {
        (Node::Dir(mode), Kind::Dir) => Ok(*mode == item.mode),
        (Node::Link(_), Kind::Dir) if tree.follow(placed)?.is_some_and(|target| tree.is_dir(&target)) => Ok(true),
        (Node::File { links, .. }, Kind::File(_)) => {
            ensure!(
                *links <= 1,
                "/{placed} has {links} names in the base: the kernel would write to all of them; choose another path"
            );
            Ok(false)
        }
        (Node::Link(_), Kind::Link(_)) => Ok(false),
        (Node::Dir(_), kind) => bail!("/{placed} is a directory in the base and cannot become a {}", kind.name()),
        (node, kind) if !item.replace => bail!(
            "/{placed} is a {} in the base and would become a {}; where that is meant, say `replace = true` for {} in \
             rootfs-overlay/MANIFEST.toml",
            node.kind(),
            kind.name(),
            item.path
        ),
        _ => Ok(false),
    }
}

/// The folders above a path, outermost first, without the root.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpio::newc::members;

    fn base() -> Tree {
        let mut tree = Tree::default();
        for (path, node) in [
            ("usr", Node::Dir(0o755)),
            ("usr/sbin", Node::Dir(0o755)),
            ("usr/bin", Node::Dir(0o755)),
            ("sbin", Node::Link("usr/sbin".into())),
            ("etc", Node::Dir(0o755)),
            ("etc/passwd", Node::File { links: 1, permissions: 0o644 }),
            ("usr/bin/busybox", Node::File { links: 300, permissions: 0o755 }),
            ("usr/bin/sh", Node::Link("busybox".into())),
        ] {
            tree.insert(path, node);
        }
        tree
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        members(bytes).map(|member| String::from_utf8_lossy(member.unwrap().name).into_owned()).collect()
    }

    fn file(path: &str) -> Item {
        Item::file(path, 0o644, b"x".to_vec())
    }

    #[test]
    fn links_of_the_base_are_written_through_and_never_replaced_by_folders() {
        let mut tree = base();
        let bytes = archive(&mut tree, vec![file("sbin/mk-agent"), Item::dir("sbin", 0o755)], 0).unwrap();
        assert_eq!(names(&bytes), ["usr/sbin/mk-agent"]);
    }

    #[test]
    fn missing_folders_come_first_and_existing_ones_are_left_alone() {
        let bytes = archive(&mut base(), vec![file("tmp/builtin/optional/a.tcz"), file("etc/b")], 0).unwrap();
        assert_eq!(
            names(&bytes),
            ["etc/b", "tmp", "tmp/builtin", "tmp/builtin/optional", "tmp/builtin/optional/a.tcz"]
        );
    }

    #[test]
    fn what_differs_in_type_is_refused_unless_it_may_replace() {
        let mut item = file("usr/bin/sh");
        let error = archive(&mut base(), vec![item.clone()], 0).unwrap_err().to_string();
        assert!(error.contains("symbolic link") && error.contains("replace = true"), "{error}");
        item.replace = true;
        assert_eq!(names(&archive(&mut base(), vec![item], 0).unwrap()), ["usr/bin/sh"]);
        assert!(archive(&mut base(), vec![Item { replace: true, ..file("etc") }], 0).is_err());
        assert!(archive(&mut base(), vec![file("etc/passwd/x")], 0).is_err());
    }

    #[test]
    fn a_file_of_many_names_is_never_written_to() {
        let error = archive(&mut base(), vec![file("usr/bin/busybox")], 0).unwrap_err().to_string();
        assert!(error.contains("300 names"), "{error}");
    }

    #[test]
    fn one_place_by_two_paths_is_refused() {
        assert!(archive(&mut base(), vec![file("sbin/x"), file("usr/sbin/x")], 0).is_err());
    }

    #[test]
    fn a_folder_gets_the_mode_that_is_asked_for() {
        let bytes = archive(&mut base(), vec![Item::dir("etc", 0o700)], 0).unwrap();
        assert_eq!(members(&bytes).next().unwrap().unwrap().mode, 0o040_700);
    }

    proptest! {
        #[test]
        fn the_kernel_finds_every_file_where_it_was_meant(
            paths in proptest::collection::btree_set("(sbin|etc|new|usr/bin)(/[a-c]){1,3}", 0..12),
        ) {
            let items: Vec<Item> = paths.iter().map(|path| file(path)).collect();
            if let Ok(bytes) = archive(&mut base(), items, 0) {
                let mut after = base();
                members(&bytes).for_each(|member| after.apply(&member.unwrap()));
                for path in &paths {
                    let placed = after.place(path).unwrap().unwrap();
                    prop_assert!(matches!(after.get(&placed), Some(Node::File { .. })), "{} at {}", path, placed);
                }
                prop_assert!(matches!(after.get("sbin"), Some(Node::Link(_))));
            }
        }
    }
}
