//! The builder's cache folder: downloads and finished parts by the hash of what they were made from. It may be deleted
//! at any time.

use std::fs::{self, File, TryLockError};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::limits::HASH_BUFFER;
use crate::output;

/// The cache folder: the one given, else `$XDG_CACHE_HOME/razor-mk`, else `~/.cache/razor-mk`.
///
/// # Errors
/// None was given and neither variable is set.
pub fn folder(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        return std::path::absolute(given).with_context(|| format!("no such path: {}", given.display()));
    }
    let from = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    match (from("XDG_CACHE_HOME").filter(|p| p.is_absolute()), from("HOME")) {
        (Some(cache), _) => Ok(cache.join("razor-mk")),
        (None, Some(home)) => Ok(home.join(".cache/razor-mk")),
        (None, None) => bail!("neither XDG_CACHE_HOME nor HOME is set; name a cache folder with --cache"),
    }
}

/// Holds the cache for this program until the result is dropped; waits for another one that has it.
///
/// # Errors
/// The cache folder cannot be written to.
pub fn hold(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    fs::create_dir_all(folder).with_context(|| format!("cannot create the cache folder {}", folder.display()))?;
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        eprintln!("waiting for another build that uses {}", folder.display());
    }
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// A finished part in the cache, if it is there and as it was when it was [`seal`]ed.
#[must_use]
pub fn sealed(path: &Path) -> Option<Vec<u8>> {
    let seal = fs::read_to_string(seal_of(path)).ok()?;
    fs::read(path).ok().filter(|bytes| sha256(bytes) == seal.trim())
}

/// The digest of a finished part in the cache, if it is there and as it was when it was [`seal`]ed.
#[must_use]
pub fn sealed_digest(path: &Path) -> Option<String> {
    let seal = fs::read_to_string(seal_of(path)).ok()?;
    digest(path).ok().filter(|digest| digest == seal.trim())
}

/// Marks a part in the cache as finished, by its digest beside it; gives the digest.
///
/// # Errors
/// The digest cannot be written.
pub fn seal(path: &Path, bytes: &[u8]) -> Result<String> {
    let digest = sha256(bytes);
    output::write(&seal_of(path), format!("{digest}\n").as_bytes())?;
    Ok(digest)
}

fn seal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

/// SHA-256 of a file in hexadecimal digits.
///
/// # Errors
/// The file cannot be read.
pub fn digest(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER];
    loop {
        let len = file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))?;
        if len == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..len]);
    }
}

/// SHA-256 in lower-case hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal digits of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A cache key over several inputs, each bound to its length so that no two lists of inputs give the same key.
#[derive(Debug, Clone, Default)]
pub struct Key(Sha256);

impl Key {
    /// Adds one input.
    #[must_use]
    pub fn with(mut self, input: impl AsRef<[u8]>) -> Self {
        let input = input.as_ref();
        self.0.update((input.len() as u64).to_le_bytes());
        self.0.update(input);
        self
    }

    /// The key in hexadecimal digits.
    #[must_use]
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digest() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn keys_depend_on_where_inputs_end() {
        let key = |parts: &[&str]| parts.iter().fold(Key::default(), Key::with).finish();
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
    }

    #[test]
    fn a_given_folder_wins() {
        assert_eq!(folder(Some(Path::new("/x/y"))).unwrap(), Path::new("/x/y"));
    }

    #[test]
    fn a_part_that_changed_since_it_was_sealed_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        fs::write(&path, "whole").unwrap();
        assert_eq!(sealed(&path), None);
        seal(&path, b"whole").unwrap();
        assert_eq!(sealed(&path).unwrap(), b"whole");
        assert_eq!(sealed_digest(&path).unwrap(), sha256(b"whole"));
        for damage in ["", "whol", "Whole"] {
            fs::write(&path, damage).unwrap();
            assert_eq!((sealed(&path), sealed_digest(&path)), (None, None), "{damage:?}");
        }
    }
}
