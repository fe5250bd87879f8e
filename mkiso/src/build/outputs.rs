//! The files of one build: written beside their places, synced, and put in place together.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::cache::hex;
use crate::limits::HASH_BUFFER;
use crate::output::full_or;

/// Files that are being made.
#[derive(Debug)]
pub struct Outputs {
    folder: PathBuf,
    stem: String,
    temp: TempDir,
    suffixes: Vec<String>,
    digests: BTreeMap<String, String>,
}

impl Outputs {
    /// Begins files in `folder` whose names are `stem` and a suffix.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn new(folder: &Path, stem: &str) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
        let temp = tempfile::Builder::new().prefix(".mkiso-").tempdir_in(folder);
        let temp = temp.with_context(|| format!("cannot create a folder in {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            stem: stem.to_owned(),
            temp,
            suffixes: Vec::new(),
            digests: BTreeMap::new(),
        })
    }

    /// A folder for what is needed on the way, gone afterwards.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn scratch(&self) -> Result<PathBuf> {
        let path = self.temp.path().join("scratch");
        fs::create_dir_all(&path).map_err(|error| full_or(error, &path))?;
        Ok(path)
    }

    /// The name of a file, as it will be.
    #[must_use]
    pub fn name(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.stem)
    }

    /// Where the file will be.
    #[must_use]
    pub fn place(&self, suffix: &str) -> PathBuf {
        self.folder.join(self.name(suffix))
    }

    /// Announces a file that somebody else writes, and says where it is to be written until then.
    pub fn reserve(&mut self, suffix: &str) -> PathBuf {
        self.suffixes.push(suffix.to_owned());
        self.temp.path().join(self.name(suffix))
    }

    /// Writes a file from several pieces.
    ///
    /// # Errors
    /// It cannot be written; the message says what to do where the disk is full.
    pub fn write(&mut self, suffix: &str, pieces: &[&[u8]]) -> Result<()> {
        let path = self.reserve(suffix);
        let place = self.place(suffix);
        let mut file = File::create(&path).map_err(|error| full_or(error, &place))?;
        let mut hasher = Sha256::new();
        for piece in pieces {
            file.write_all(piece).map_err(|error| full_or(error, &place))?;
            hasher.update(piece);
        }
        self.digests.insert(self.name(suffix), hex(&hasher.finalize()));
        Ok(())
    }

    /// Digests of all files so far, by name. Those that somebody else wrote are read now and must be complete.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn digests(&mut self) -> Result<&BTreeMap<String, String>> {
        for suffix in &self.suffixes {
            let name = self.name(suffix);
            if !self.digests.contains_key(&name) {
                let digest = digest(&self.temp.path().join(&name))?;
                self.digests.insert(name, digest);
            }
        }
        Ok(&self.digests)
    }

    /// Adds the file of checksums over all files so far, in the form of `sha256sum`.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn checksums(&mut self) -> Result<()> {
        let text: String = self.digests()?.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
        self.write("sha256", &[text.as_bytes()])
    }

    /// Syncs all files and puts them in place, those of an earlier build being replaced; if one cannot be, those that
    /// are new are taken away again.
    ///
    /// # Errors
    /// A file cannot be synced or put in place.
    pub fn publish(self) -> Result<()> {
        for suffix in &self.suffixes {
            let place = self.place(suffix);
            let file = File::open(self.temp.path().join(self.name(suffix)));
            file.and_then(|file| file.sync_all()).map_err(|error| full_or(error, &place))?;
        }
        let mut new = Vec::new();
        for suffix in &self.suffixes {
            let place = self.place(suffix);
            let existed = place.exists();
            if let Err(error) = fs::rename(self.temp.path().join(self.name(suffix)), &place) {
                new.iter().for_each(|path| drop(fs::remove_file(path)));
                return Err(full_or(error, &place));
            }
            if !existed {
                new.push(place);
            }
        }
        let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
        folder.with_context(|| format!("cannot sync the folder {}", self.folder.display()))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_in_place_before_all_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut outputs = Outputs::new(&folder.path().join("dist"), "x").unwrap();
        outputs.write("iso", &[b"one", b"two"]).unwrap();
        outputs.checksums().unwrap();
        assert!(!outputs.place("iso").exists());
        outputs.publish().unwrap();
        assert_eq!(names(&folder.path().join("dist")), ["x.iso", "x.sha256"]);
        assert_eq!(fs::read(folder.path().join("dist/x.iso")).unwrap(), b"onetwo");
    }

    #[test]
    fn what_is_abandoned_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut outputs = Outputs::new(folder.path(), "x").unwrap();
        outputs.write("iso", &[b"one"]).unwrap();
        drop(outputs);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_place_that_is_taken_by_a_folder_takes_the_others_back() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("x.b/full")).unwrap();
        let mut outputs = Outputs::new(folder.path(), "x").unwrap();
        outputs.write("a", &[b"one"]).unwrap();
        outputs.write("b", &[b"two"]).unwrap();
        assert!(outputs.publish().is_err());
        assert_eq!(names(folder.path()), ["x.b"]);
    }
}
