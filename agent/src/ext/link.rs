//! How an extension becomes part of `/`: its folders are created, each of its files becomes a symbolic link to the
//! mounted one, and what is there already wins, as in Tiny Core. [`plan`] decides, [`apply`] acts.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::limits::EXTENSION_ENTRIES;

/// One entry of an extension, with its path relative to the extension's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Folder.
    Dir,
    /// File.
    File,
    /// Link whose target is in the extension too.
    Inside,
    /// Link to something that another extension or the base has to bring; it must be resolved from `/`.
    Outside(PathBuf),
}

/// What is at a path of the running system, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Present {
    Nothing,
    Dir,
    Other,
}

/// One thing to do; paths are relative to `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Create a folder with the mode of the extension's.
    Mkdir(PathBuf),
    /// Create a link `at` that holds `to`.
    Link { at: PathBuf, to: PathBuf },
}

/// What is to be done for an extension.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In this order.
    pub(crate) actions: Vec<Action>,
    /// Files that are there already and stay.
    pub(crate) kept: usize,
    /// Folders of the extension where the system has a file, and files where it has a folder.
    pub(crate) conflicts: Vec<PathBuf>,
}

/// Decides for an extension mounted at `mount`. `entries` names each folder before what is in it.
pub(crate) fn plan(mount: &Path, entries: &[Entry], present: impl Fn(&Path) -> Present) -> Plan {
    let mut plan = Plan::default();
    // Below a new folder nothing can be there yet, so nobody needs to look.
    let mut fresh: BTreeSet<&Path> = BTreeSet::new();
    let mut blocked: BTreeSet<&Path> = BTreeSet::new();
    for Entry { path, kind } in entries {
        let parent = path.parent().unwrap_or(Path::new(""));
        if blocked.contains(parent) {
            blocked.insert(path);
            continue;
        }
        let there = if fresh.contains(parent) { Present::Nothing } else { present(path) };
        match (kind, there) {
            (Kind::Dir, Present::Nothing) => {
                fresh.insert(path);
                plan.actions.push(Action::Mkdir(path.clone()));
            }
            (Kind::Dir, Present::Dir) => {}
            (Kind::Dir, Present::Other) => {
                blocked.insert(path);
                plan.conflicts.push(path.clone());
            }
            (Kind::File | Kind::Inside, Present::Nothing) => {
                plan.actions.push(Action::Link { at: path.clone(), to: mount.join(path) });
            }
            (Kind::Outside(target), Present::Nothing) => {
                plan.actions.push(Action::Link { at: path.clone(), to: target.clone() });
            }
            (Kind::File, Present::Dir) => plan.conflicts.push(path.clone()),
            // A link may lead to a folder: that the system has it as a folder is no conflict.
            (Kind::File | Kind::Inside | Kind::Outside(_), _) => plan.kept += 1,
        }
    }
    plan
}

/// Carries a plan out below `root`. Done twice, it changes nothing more.
///
/// # Errors
/// Names the path that could not be created.
pub(crate) fn apply(plan: &Plan, mount: &Path, root: &Path) -> anyhow::Result<()> {
    for action in &plan.actions {
        match action {
            Action::Mkdir(path) => {
                let (at, from) = (root.join(path), mount.join(path));
                there_is_fine(fs::create_dir(&at)).with_context(|| format!("cannot create folder {}", at.display()))?;
                if let Ok(meta) = fs::metadata(from) {
                    fs::set_permissions(&at, meta.permissions())
                        .with_context(|| format!("cannot set the mode of {}", at.display()))?;
                }
            }
            Action::Link { at, to } => {
                let at = root.join(at);
                there_is_fine(symlink(to, &at)).with_context(|| format!("cannot create link {}", at.display()))?;
            }
        }
    }
    Ok(())
}

fn there_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// What is at `path` below `root`.
pub(crate) fn present(root: &Path, path: &Path) -> Present {
    let path = root.join(path);
    match fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => Present::Dir,
        Ok(_) => Present::Other,
        // A link that leads nowhere is there all the same.
        Err(_) if fs::symlink_metadata(&path).is_ok() => Present::Other,
        Err(_) => Present::Nothing,
    }
}

/// All entries of the extension mounted at `mount`, each folder before what is in it.
///
/// # Errors
/// Names the folder that cannot be read; a damaged squashfs shows itself here.
pub(crate) fn entries(mount: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let at = mount.join(&folder);
        let failed = || format!("cannot read folder {}", at.display());
        for entry in fs::read_dir(&at).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().with_context(failed)?;
            let kind = if kind.is_dir() {
                folders.push(path.clone());
                Kind::Dir
            } else if kind.is_symlink() {
                link_kind(mount, &path)?
            } else {
                Kind::File
            };
            found.push(Entry { path, kind });
            ensure!(found.len() <= EXTENSION_ENTRIES, "it has more than {EXTENSION_ENTRIES} files");
        }
    }
    Ok(found)
}

fn link_kind(mount: &Path, path: &Path) -> anyhow::Result<Kind> {
    let at = mount.join(path);
    let target = fs::read_link(&at).with_context(|| format!("cannot read link {}", at.display()))?;
    let inside = target.is_relative() && fs::canonicalize(&at).is_ok_and(|full| full.starts_with(mount));
    Ok(if inside { Kind::Inside } else { Kind::Outside(target) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry { path: path.into(), kind }
    }

    fn link(at: &str, to: &str) -> Action {
        Action::Link { at: at.into(), to: to.into() }
    }

    #[test]
    fn what_is_there_wins_and_new_folders_are_not_looked_into() {
        let entries = [
            entry("usr", Kind::Dir),
            entry("usr/bin", Kind::Dir),
            entry("usr/bin/bash", Kind::File),
            entry("usr/bin/sh", Kind::File),
            entry("usr/share", Kind::Dir),
            entry("usr/share/x", Kind::Inside),
            entry("usr/lib.so", Kind::Outside("/lib/other.so".into())),
            entry("etc", Kind::Dir),
            entry("etc/x", Kind::Dir),
            entry("etc/x/y", Kind::File),
        ];
        let present = |path: &Path| match path.to_str().unwrap() {
            "usr" | "usr/bin" => Present::Dir,
            "usr/bin/sh" | "etc" => Present::Other,
            "usr/share" | "usr/bin/bash" | "usr/lib.so" => Present::Nothing,
            other => panic!("nobody needs to look at {other}"),
        };
        let plan = plan(Path::new("/m"), &entries, present);
        let expected = [
            link("usr/bin/bash", "/m/usr/bin/bash"),
            Action::Mkdir("usr/share".into()),
            link("usr/share/x", "/m/usr/share/x"),
            link("usr/lib.so", "/lib/other.so"),
        ];
        assert_eq!(plan.actions, expected);
        assert_eq!((plan.kept, plan.conflicts), (1, vec![PathBuf::from("etc")]));
    }

    /// A real tree over a usr-merged root: links of the root are followed, links of the extension stay usable.
    #[test]
    fn a_real_tree() {
        let dir = tempfile::tempdir().unwrap();
        let (root, ext) = (dir.path().join("root"), dir.path().join("ext"));
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        fs::write(root.join("usr/lib/kept"), "base").unwrap();
        fs::create_dir_all(ext.join("lib/firmware/bnx2")).unwrap();
        fs::write(ext.join("lib/kept"), "extension").unwrap();
        fs::write(ext.join("lib/firmware/bnx2/x.fw"), "firmware").unwrap();
        symlink("x.fw", ext.join("lib/firmware/bnx2/y.fw")).unwrap();
        symlink("../absent", ext.join("lib/dangling")).unwrap();
        for round in 0..2 {
            let plan = plan(&ext, &entries(&ext).unwrap(), |p| present(&root, p));
            assert!(plan.conflicts.is_empty());
            assert_eq!(plan.actions.is_empty(), round == 1, "the second time there is nothing to do");
            apply(&plan, &ext, &root).unwrap();
        }
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
        assert_eq!((read("lib/kept"), read("usr/lib/firmware/bnx2/y.fw")), ("base".into(), "firmware".into()));
        assert_eq!(fs::read_link(root.join("lib/dangling")).unwrap(), Path::new("../absent"));
        assert!(fs::symlink_metadata(root.join("lib")).unwrap().is_symlink());
    }
}
