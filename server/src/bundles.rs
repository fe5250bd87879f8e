//! The files of bundles: logs and state that nodes sent, each whole, in a folder of the data folder. Which there are is in
//! the database ([`crate::store::bundles`]); a file that it does not name is left over and goes.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{Mutex, MutexGuard};

/// Folder within the data folder.
const FOLDER: &str = "bundles";
/// What follows the number of the command in a file's name.
const SUFFIX: &str = ".tar.gz";

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
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The file of this command's bundle.
    #[must_use]
    pub fn file(&self, command: i64) -> PathBuf {
        self.folder.join(format!("{command}{SUFFIX}"))
    }

    /// Writes a bundle: beside its place, synced, then renamed into it.
    ///
    /// # Errors
    /// Names the file; nothing of it stays then.
    pub fn save(&self, command: i64, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.file(command);
        let put = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        put().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes all but the bundles of these commands: what was pruned, and what a killed server began.
    ///
    /// # Errors
    /// Names the folder or file.
    pub fn keep_only(&self, commands: &[i64]) -> anyhow::Result<()> {
        let listed = fs::read_dir(&self.folder).with_context(|| format!("cannot list {}", self.folder.display()))?;
        for entry in listed {
            let path = entry.with_context(|| format!("cannot list {}", self.folder.display()))?.path();
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let command = name.strip_suffix(SUFFIX).and_then(|number| number.parse::<i64>().ok());
            if !command.is_some_and(|command| commands.contains(&command)) {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
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
        let mut left: Vec<_> = fs::read_dir(dir.path().join(FOLDER)).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["2.tar.gz", "3.tar.gz"]);
        assert_eq!(fs::read(bundles.file(2)).unwrap(), b"second");
    }
}
