//! The files of one build: written beside their places, synced, and put in place together.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::beside_each_other;
use crate::cache::{digest, hex};
use crate::interrupt;
use crate::output::{full_or, temp_folder_in};

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
        let temp = temp_folder_in(folder)?;
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
        file.sync_all().map_err(|error| full_or(error, &place))?;
        self.digests.insert(self.name(suffix), hex(&hasher.finalize()));
        Ok(())
    }

    /// Digests of all files so far, by name. Those that somebody else wrote are read and synced now and must be
    /// complete.
    ///
    /// # Errors
    /// A file cannot be read or synced.
    pub fn digests(&mut self) -> Result<&BTreeMap<String, String>> {
        for suffix in &self.suffixes {
            let name = self.name(suffix);
            if !self.digests.contains_key(&name) {
                let path = self.temp.path().join(&name);
                let sync = || File::open(&path).and_then(|file| file.sync_all());
                let (synced, digest) = beside_each_other(sync, || digest(&path))?;
                synced.map_err(|error| full_or(error, &self.place(suffix)))?;
                self.digests.insert(name, digest?);
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

    /// Puts all files in place; if one cannot be, those of an earlier build are put back, so that no set is mixed.
    ///
    /// # Errors
    /// A file has no digest, which is when it was synced, or cannot be put in place.
    pub fn publish(self) -> Result<()> {
        interrupt::whole(|| self.replace_all())?;
        let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
        folder.with_context(|| format!("cannot sync the folder {}", self.folder.display()))
    }

    fn replace_all(&self) -> Result<()> {
        // All of them before the first is replaced: a refusal in between would leave a mixed set.
        for suffix in &self.suffixes {
            ensure!(self.digests.contains_key(&self.name(suffix)), "{} was not finished", self.name(suffix));
        }
        let mut done = Vec::new();
        for suffix in &self.suffixes {
            if let Err(error) = self.replace(suffix) {
                done.into_iter().for_each(|suffix: &String| self.put_back(suffix));
                return Err(error);
            }
            done.push(suffix);
        }
        Ok(())
    }

    /// Puts a file in place and keeps the one that was there until the set is complete.
    fn replace(&self, suffix: &str) -> Result<()> {
        let (place, former) = (self.place(suffix), self.former(suffix));
        ensure!(!place.is_dir(), "{} is a folder; remove it, or name another output folder", place.display());
        if place.exists() {
            // A link, so that the name is never without a file; where there are no links, a copy.
            let kept = fs::hard_link(&place, &former).or_else(|_| fs::copy(&place, &former).map(drop));
            kept.map_err(|error| full_or(error, &place))?;
        }
        fs::rename(self.temp.path().join(self.name(suffix)), &place).map_err(|error| full_or(error, &place))
    }

    /// Undoes [`Self::replace`]. What fails here cannot be mended; the error that led here is the one to be told.
    fn put_back(&self, suffix: &str) {
        let (place, former) = (self.place(suffix), self.former(suffix));
        let _ = if former.exists() { fs::rename(former, place) } else { fs::remove_file(place) };
    }

    /// Where the file of an earlier build is kept.
    fn former(&self, suffix: &str) -> PathBuf {
        self.temp.path().join(format!("former.{suffix}"))
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
        let error = outputs.publish().unwrap_err().to_string();
        assert!(error.contains("x.b is a folder"), "{error}");
        assert_eq!(names(folder.path()), ["x.b"]);
    }

    #[test]
    fn a_set_that_cannot_be_completed_leaves_the_former_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x.a"), "former").unwrap();
        fs::create_dir_all(folder.path().join("x.c/full")).unwrap();
        let mut outputs = Outputs::new(folder.path(), "x").unwrap();
        for suffix in ["a", "b", "c"] {
            outputs.write(suffix, &[b"new"]).unwrap();
        }
        assert!(outputs.publish().is_err());
        assert_eq!(names(folder.path()), ["x.a", "x.c"]);
        assert_eq!(fs::read(folder.path().join("x.a")).unwrap(), b"former");
    }
}
