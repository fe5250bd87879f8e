//! The files of a data folder, held by second names, so that what the server removes or replaces meanwhile can still be read
//! as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::WORK;
use crate::serve::LOCK_FILE;
use crate::store::FILE;

/// What stands under a name in the data folder.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where it is read.
    pub(super) path: PathBuf,
    /// What it is.
    pub(super) kind: Kind,
}

/// Kinds of entries.
#[derive(Debug)]
pub(super) enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, with what it names.
    Link(PathBuf),
}

/// Entries by their names from the data folder on; a folder comes before what is in it.
pub(super) type Entries = BTreeMap<String, Entry>;

/// Finds everything in `data` but the database, which is copied otherwise, and what a running server works with. Each file gets
/// a second name in the folder `held`, unless an earlier call gave it one.
///
/// # Errors
/// Names what cannot be read, or has a name that a list of digests cannot hold.
pub(super) fn hold(data: &Path, held: &Path) -> anyhow::Result<Entries> {
    let mut entries = Entries::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        let unread = || format!("cannot read {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(unread)? {
            let path = entry.with_context(unread)?.path();
            let below = path.strip_prefix(data)?;
            let name = below.to_str().filter(|name| !name.contains(['\n', '\\']));
            let name =
                name.with_context(|| format!("{path:?} has a name that no backup can hold; rename it"))?.to_owned();
            if is_passing(&name) {
                continue;
            }
            // The server may have removed it since.
            let Ok(about) = fs::symlink_metadata(&path) else { continue };
            let kind = match about.file_type() {
                kind if kind.is_dir() => Kind::Folder,
                kind if kind.is_file() => Kind::File,
                kind if kind.is_symlink() => Kind::Link(fs::read_link(&path).with_context(unread)?),
                _ => {
                    tracing::warn!("{} is neither file, folder nor link: it is left out", path.display());
                    continue;
                }
            };
            let place = if matches!(kind, Kind::File) { held_at(&path, &held.join(below))? } else { path.clone() };
            if matches!(kind, Kind::Folder) {
                folders.push(path);
            }
            entries.insert(name, Entry { path: place, kind });
        }
    }
    Ok(entries)
}

/// Whether it is no part of what the server keeps: the database's own files, its lock, and what is only being written.
fn is_passing(name: &str) -> bool {
    let is_database = name.strip_prefix(FILE).is_some_and(|rest| ["", "-wal", "-shm", "-journal"].contains(&rest));
    let is_begun =
        name.rsplit('/').next().is_some_and(|last| last.starts_with(".tmp") || last.starts_with(".incoming-"));
    is_database || is_begun || [LOCK_FILE, WORK, super::SUMS].contains(&name)
}

/// Gives a file its second name. One on another file system, or on one without such names, is read where it is.
fn held_at(path: &Path, place: &Path) -> anyhow::Result<PathBuf> {
    let folder = place.parent().unwrap_or(place);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let linked = fs::hard_link(path, place);
    let is_held = linked.is_ok() || place.exists();
    ensure!(is_held || path.exists(), "{} went away while it was read; try again", path.display());
    Ok(if is_held { place.to_owned() } else { path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_left_out() {
        for name in
            ["mk-server.sqlite", "mk-server.sqlite-wal", "lock", "backup.tmp", "bundles/.tmpX1", "images/.incoming-a"]
        {
            assert!(is_passing(name), "{name}");
        }
        for name in
            ["config.toml", "tls/ca.key", "images/current", "mk-server.sqlite.old", "tce/lock", "bundles/1-a.tar.gz"]
        {
            assert!(!is_passing(name), "{name}");
        }
    }

    #[test]
    fn what_is_removed_or_replaced_later_is_read_as_it_was() {
        let data = tempfile::tempdir().unwrap();
        let (data, held) = (data.path(), data.path().join(WORK).join("held"));
        fs::create_dir(data.join("bundles")).unwrap();
        fs::write(data.join("bundles/1"), "one").unwrap();
        fs::write(data.join("current"), "a").unwrap();
        let mut entries = hold(data, &held).unwrap();
        fs::remove_file(data.join("bundles/1")).unwrap();
        fs::write(data.join("bundles/2"), "two").unwrap();
        fs::write(data.join("new"), "b").unwrap();
        fs::rename(data.join("new"), data.join("current")).unwrap();
        entries.append(&mut hold(data, &held).unwrap());
        let read = |name: &str| fs::read_to_string(&entries[name].path).unwrap();
        assert_eq!(["bundles/1", "bundles/2", "current"].map(read), ["one", "two", "a"]);
        assert_eq!(entries.keys().collect::<Vec<_>>(), ["bundles", "bundles/1", "bundles/2", "current"]);
    }
}
