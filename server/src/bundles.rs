//! The files of bundles: logs and state that nodes sent, each whole, in a folder of the data folder. Which there are is in
//! the database ([`crate::store::bundles`]); a bundle that it does not name is left over and goes. What else is in the folder is
//! somebody's, and stays.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Folder within the data folder.
const FOLDER: &str = "bundles";
/// What follows the number of the command in a file's name.
const SUFFIX: &str = ".tar.gz";
/// What the name of a file begins with that is being written.
const BEGUN: &str = ".tmp";

/// The folder.
#[derive(Debug, Clone)]
pub struct Bundles {
    folder: Arc<Path>,
    /// Held from a file's writing to its row's, so that nobody takes it for one that is left over.
    turn: Arc<Mutex<()>>,
}

impl Bundles {
    /// Opens the folder in `data`, and makes it where there is none.
    ///
    /// # Errors
    /// Names the folder.
    pub fn open(data: &Path) -> anyhow::Result<Self> {
        let folder = data.join(FOLDER);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
        Ok(Self { folder: folder.into(), turn: Arc::default() })
    }

    /// Waits until nobody else changes which files there are.
    pub async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// The file of this command's bundle.
    #[must_use]
    pub fn file(&self, command: i64) -> PathBuf {
        self.folder.join(format!("{command}{SUFFIX}"))
    }

    /// Writes a bundle: beside its place, synced, then renamed into it, and that synced too.
    ///
    /// # Errors
    /// Names the file; nothing of it stays then.
    pub fn save(&self, command: i64, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.file(command);
        let put = || -> io::Result<()> {
            let mut file = tempfile::Builder::new().prefix(BEGUN).tempfile_in(&self.folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            // Or its name may be lost where the power is.
            File::open(&self.folder)?.sync_all()
        };
        put().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes the bundles of all other commands than these, and what a killed server began.
    ///
    /// # Errors
    /// Names the folder or file.
    pub fn keep_only(&self, commands: &[i64]) -> anyhow::Result<()> {
        let listed = || format!("cannot list {}", self.folder.display());
        for entry in fs::read_dir(&self.folder).with_context(listed)? {
            let entry = entry.with_context(listed)?;
            let path = entry.path();
            if self.is_over(&path, commands) && entry.file_type().with_context(listed)?.is_file() {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Whether a file with this name is one of ours, and of none of these commands.
    fn is_over(&self, path: &Path, commands: &[i64]) -> bool {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
        match name.strip_suffix(SUFFIX).and_then(|number| number.parse().ok()) {
            // Other ways to write a number are not ours.
            Some(command) => self.file(command) == path && !commands.contains(&command),
            None => name.starts_with(BEGUN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_whole_and_what_is_left_over_goes() {
        let dir = tempfile::tempdir().unwrap();
        let bundles = Bundles::open(dir.path()).unwrap();
        for command in [1, 2, 3] {
            bundles.save(command, b"first").unwrap();
        }
        bundles.save(2, b"second").unwrap();
        fs::write(dir.path().join(FOLDER).join(".tmpAb12"), "half").unwrap();
        bundles.keep_only(&[2, 3]).unwrap();
        assert_eq!(left(dir.path()), ["2.tar.gz", "3.tar.gz"]);
        assert_eq!(fs::read(bundles.file(2)).unwrap(), b"second");
    }
    fn left(data: &Path) -> Vec<String> {
        let entries = fs::read_dir(data.join(FOLDER)).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_not_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let bundles = Bundles::open(dir.path()).unwrap();
        let folder = dir.path().join(FOLDER);
        for name in ["5.tar.gz", ".tmp5"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        let files = ["+7.tar.gz", "007.tar.gz", "7.tar", "7.tar.gz.asc", "node1-7.tar.gz", "notes"];
        for name in files {
            fs::write(folder.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("notes", folder.join("8.tar.gz")).unwrap();
        bundles.save(6, b"over").unwrap();
        bundles.keep_only(&[]).unwrap();
        assert_eq!(
            left(dir.path()),
            [&files[..1], &[".tmp5"], &files[1..2], &["5.tar.gz"], &files[2..4], &["8.tar.gz"], &files[4..]].concat()
        );
    }
}
