//! Shared libraries: which ones programs need, all the way down, and which package's file each one is.

use std::collections::BTreeSet;

use crate::elf;
use crate::tree::{Kind, Tree};
use anyhow::{Context as _, Result, bail};

/// Folders that the loader searches, in Debian's layout.
const FOLDERS: [&str; 3] = ["usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib"];

/// Libraries that can be had.
#[derive(Debug)]
pub struct Libraries<'a> {
    packages: Vec<&'a Tree>,
    /// Names of libraries that are there already.
    present: BTreeSet<String>,
}

impl<'a> Libraries<'a> {
    /// Libraries of these packages, first hit first.
    #[must_use]
    pub fn new(packages: Vec<&'a Tree>) -> Self {
        Self { packages, present: BTreeSet::new() }
    }

    /// The same, where the libraries at the paths `present` are there already.
    pub fn beside<'p>(packages: Vec<&'a Tree>, present: impl IntoIterator<Item = &'p str>) -> Self {
        let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        Self { packages, present: present.into_iter().map(name).collect() }
    }

    /// All libraries that `programs` (path and bytes) need and that are not there, under the names by which they are
    /// asked for.
    ///
    /// # Errors
    /// A library that no package has; it is named with the program that needs it.
    pub fn closure<'p>(&self, programs: impl IntoIterator<Item = (&'p str, &'p [u8])>) -> Result<Tree> {
        let mut found = BTreeSet::new();
        let mut tree = Tree::default();
        let mut todo: Vec<(String, Vec<u8>)> =
            programs.into_iter().map(|(path, bytes)| (path.to_owned(), bytes.to_vec())).collect();
        while let Some((program, bytes)) = todo.pop() {
            if !elf::is_elf(&bytes) {
                continue;
            }
            for name in elf::needed(&bytes).with_context(|| format!("{program} is damaged"))? {
                if self.present.contains(&name) || !found.insert(name.clone()) {
                    continue;
                }
                let Some((path, content)) = self.find(&name) else {
                    bail!(
                        "{program} needs {name}, which no package has and the base is not said to have; add its package to the description"
                    );
                };
                tree.file(&path, 0o755, content.to_vec())?;
                todo.push((name, content.to_vec()));
            }
        }
        Ok(tree)
    }

    /// A library by the name that programs ask for: its place and its content.
    fn find(&self, name: &str) -> Option<(String, &'a [u8])> {
        FOLDERS.iter().find_map(|folder| {
            let path = format!("{folder}/{name}");
            self.packages.iter().find_map(|tree| match &tree.resolve(&path)?.1.kind {
                Kind::File(content) => Some((path.clone(), content.as_slice())),
                Kind::Dir | Kind::Link(_) => None,
            })
        })
    }
}

/// The shared libraries of a tree, by path.
#[must_use]
pub fn of(tree: &Tree) -> BTreeSet<String> {
    let is_library = |path: &str| {
        let within = FOLDERS.iter().find_map(|folder| path.strip_prefix(folder)?.strip_prefix('/'));
        within.is_some_and(|name| !name.contains('/') && name.contains(".so"))
    };
    tree.iter().map(|(path, _)| path).filter(|path| is_library(path)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_libc() -> (String, Vec<u8>) {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let path = maps.split_whitespace().find(|w| w.contains("/libc.so") || w.contains("/libc-")).unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    }

    #[test]
    fn libraries_are_found_all_the_way_down_and_missing_ones_named() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let programs = [("test", own.as_slice())];
        let error = Libraries::new(Vec::new()).closure(programs).unwrap_err().to_string();
        assert!(error.contains("test needs lib"), "{error}");

        let mut package = Tree::default();
        for name in elf::needed(&own).unwrap() {
            package.file(&format!("usr/lib/x86_64-linux-gnu/{name}"), 0o644, host_libc().1).unwrap();
        }
        for name in elf::needed(&host_libc().1).unwrap() {
            package.file(&format!("usr/lib64/{name}"), 0o644, "not elf").unwrap();
        }
        let tree = Libraries::new(vec![&package]).closure(programs).unwrap();
        let named = |tree: &Tree, name: &str| tree.iter().any(|(path, _)| path.ends_with(name));
        let loaders = elf::needed(&host_libc().1).unwrap();
        assert!(loaders.iter().all(|name| named(&tree, name)), "the loader comes along");
        let present = of(&tree);
        let beside = Libraries::beside(Vec::new(), present.iter().map(String::as_str));
        assert!(beside.closure(programs).unwrap().is_empty());
    }
}
