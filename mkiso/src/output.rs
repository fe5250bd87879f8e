//! Output that is there whole or not at all: written beside its place, synced, then renamed into it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::{NamedTempFile, TempDir};

use crate::interrupt;

/// How the names of unfinished files and folders begin.
const TEMPORARY: &str = ".mkiso-";

/// Writes `bytes` to `path`; the folder is created where it is missing.
///
/// # Errors
/// Names the path and the remedy where the file system is full; nothing is left behind then.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temp = temp_beside(path)?;
    temp.write_all(bytes).map_err(|e| full_or(e, path))?;
    publish(temp, path)
}

/// A temporary file in the folder of `path`, so that a rename can put it in place. Removed when dropped.
///
/// # Errors
/// The folder cannot be created or written to.
pub fn temp_beside(path: &Path) -> Result<NamedTempFile> {
    let folder = folder_of(path);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    interrupt::begin(|| tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&folder))
        .with_context(|| format!("cannot create a temporary file in {}", folder.display()))
}

/// A temporary folder in `folder`. Removed when dropped.
///
/// # Errors
/// It cannot be made.
pub fn temp_folder_in(folder: &Path) -> Result<TempDir> {
    interrupt::begin(|| tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(folder))
        .with_context(|| format!("cannot create a temporary folder in {}", folder.display()))
}

/// Syncs a finished temporary file and renames it to `path`, readable by all.
///
/// # Errors
/// Syncing or renaming failed; the temporary file is removed then.
pub fn publish(temp: NamedTempFile, path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let file = temp.as_file();
    file.set_permissions(fs::Permissions::from_mode(0o644)).map_err(|e| full_or(e, path))?;
    file.sync_all().map_err(|e| full_or(e, path))?;
    temp.persist(path).map_err(|e| full_or(e.error, path))?;
    sync_folder(&folder_of(path))
}

/// Copies a finished file to `path`, whole or not at all, sharing blocks where the file system can.
///
/// # Errors
/// As for [`write`].
pub fn copy(from: &Path, path: &Path) -> Result<()> {
    let temp = temp_beside(path)?;
    fs::copy(from, temp.path()).map_err(|e| full_or(e, path))?;
    publish(temp, path)
}

/// An I/O error on `path` in words, with the remedy where the disk is full.
#[must_use]
pub fn full_or(error: std::io::Error, path: &Path) -> anyhow::Error {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let full = matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge);
    let error = anyhow::Error::new(error);
    if full {
        let folder = folder_of(path);
        error.context(format!(
            "no room for {} in {}; free some space or name another folder. Nothing was left behind",
            path.display(),
            folder.display()
        ))
    } else {
        error.context(format!("cannot write {}", path.display()))
    }
}

/// The folder that a file is in.
#[must_use]
pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Makes a rename in `folder` durable.
fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|f| f.sync_all())
        .with_context(|| format!("cannot sync the folder {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_no_temporary_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/file");
        write(&path, b"old and longer").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn an_unpublished_file_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, b"old").unwrap();
        let mut temp = temp_beside(&path).unwrap();
        temp.write_all(b"half").unwrap();
        drop(temp);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_full_disk_is_said_with_the_remedy() {
        let error = full_or(std::io::Error::from(std::io::ErrorKind::StorageFull), Path::new("out/x.iso"));
        let text = format!("{error:#}");
        assert!(text.contains("no room for out/x.iso") && text.contains("free some space"), "{text}");
    }
}
