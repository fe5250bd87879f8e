//! The files of bundles: logs and state that nodes sent, each whole, in a folder of the data folder. Which there are is in
//! the database ([`crate::store::bundles`]); a bundle that it does not name is left over and goes. What else is in the folder is
//! somebody's, and stays.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Folder within the data folder.
const FOLDER: &str = "bundles";
/// What follows the number of the command and the digest in a file's name.
const SUFFIX: &str = ".tar.gz";
/// Digits of the digest in a file's name: a bundle that its node sends once more, with other bytes, is another file, so that
/// none ever stands under the digest of the other.
const DIGITS: usize = 16;
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

    /// The file of this command's bundle with this SHA-256 (hex).
    #[must_use]
    pub fn file(&self, command: i64, sha256: &str) -> PathBuf {
        self.folder.join(name(command, sha256))
    }

    /// Writes a bundle: beside its place, synced, then renamed into it, and that synced too.
    ///
    /// # Errors
    /// Names the file; nothing of it stays then.
    pub fn save(&self, command: i64, sha256: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.file(command, sha256);
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

    /// Removes all other bundles than these, each by its command and SHA-256 (hex), and what a killed server began.
    ///
    /// # Errors
    /// Names the folder or file.
    pub fn keep_only(&self, known: &[(i64, String)]) -> anyhow::Result<()> {
        let known: BTreeSet<String> = known.iter().map(|(command, sha256)| name(*command, sha256)).collect();
        let listed = || format!("cannot list {}", self.folder.display());
        for entry in fs::read_dir(&self.folder).with_context(listed)? {
            let entry = entry.with_context(listed)?;
            let is_over = entry.file_name().to_str().is_some_and(|name| is_ours(name) && !known.contains(name));
            if is_over && entry.file_type().with_context(listed)?.is_file() {
                let path = entry.path();
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

fn name(command: i64, sha256: &str) -> String {
    format!("{command}-{}{SUFFIX}", sha256.get(..DIGITS).unwrap_or(sha256))
}

/// Whether a file of this name is a bundle, or was to become one. Other ways to write a number are not ours.
fn is_ours(file: &str) -> bool {
    let written = file.strip_suffix(SUFFIX).and_then(|stem| stem.split_once('-'));
    written.is_some_and(|(number, digest)| {
        let digits = digest.len() == DIGITS && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        digits && number.parse().is_ok_and(|command: i64| name(command, digest) == file)
    }) || file.starts_with(BEGUN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: [&str; 2] = ["0123456789abcdef0123", "fedcba98765432100123"];

    fn left(data: &Path) -> Vec<String> {
        let entries = fs::read_dir(data.join(FOLDER)).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn bundles_are_whole_and_what_is_left_over_goes() {
        let dir = tempfile::tempdir().unwrap();
        let bundles = Bundles::open(dir.path()).unwrap();
        for command in [1, 2, 3] {
            bundles.save(command, SHA[0], b"first").unwrap();
        }
        bundles.save(2, SHA[1], b"second").unwrap();
        fs::write(dir.path().join(FOLDER).join(".tmpAb12"), "half").unwrap();
        assert_eq!(fs::read(bundles.file(2, SHA[0])).unwrap(), b"first", "until it is known which one counts");
        bundles.keep_only(&[(2, SHA[1].to_owned()), (3, SHA[0].to_owned())]).unwrap();
        assert_eq!(left(dir.path()), ["2-fedcba9876543210.tar.gz", "3-0123456789abcdef.tar.gz"]);
        assert_eq!(fs::read(bundles.file(2, SHA[1])).unwrap(), b"second");
    }

    #[test]
    fn what_is_not_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let bundles = Bundles::open(dir.path()).unwrap();
        let folder = dir.path().join(FOLDER);
        let digest = &SHA[0][..DIGITS];
        for name in [format!("5-{digest}.tar.gz"), ".tmp5".to_owned()] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        let strangers = [
            format!("+7-{digest}.tar.gz"),
            format!("007-{digest}.tar.gz"),
            format!("7-{digest}.tar"),
            format!("7-{digest}.tar.gz.asc"),
            format!("7-{digest}0.tar.gz"),
            "7-0123456789ABCDEF.tar.gz".to_owned(),
            "7.tar.gz".to_owned(),
            "node1-7.tar.gz".to_owned(),
            "notes".to_owned(),
        ];
        for name in &strangers {
            fs::write(folder.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("notes", folder.join(format!("8-{digest}.tar.gz"))).unwrap();
        bundles.save(6, SHA[0], b"over").unwrap();
        bundles.keep_only(&[]).unwrap();
        let mut want = strangers.to_vec();
        want.extend([format!("5-{digest}.tar.gz"), ".tmp5".to_owned(), format!("8-{digest}.tar.gz")]);
        want.sort();
        assert_eq!(left(dir.path()), want);
    }
}
