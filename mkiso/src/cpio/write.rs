//! Writes a cpio archive in newc form: members in the order given, one time for all, inodes numbered from 1. The same
//! calls make the same bytes.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};

use super::{ALIGN, MAGIC, TRAILER, TYPE_DIR, TYPE_FILE, TYPE_LINK, pad};

/// Length of the trailer's name with the zero behind it.
const TRAILER_NAME_LEN: u32 = 11;
const _: () = assert!(TRAILER.len() + 1 == TRAILER_NAME_LEN as usize);

/// What a member is beside its path and its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Number of names that the file has in the archive.
    pub names: u32,
}

impl Attributes {
    /// Of something that belongs to root and has one name.
    #[must_use]
    pub fn of_root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0, device: (0, 0), names: 1 }
    }
}

/// An archive being written.
#[derive(Debug)]
pub struct Archive {
    bytes: Vec<u8>,
    mtime: u32,
    last_ino: u32,
    names: BTreeSet<String>,
}

impl Archive {
    /// An empty archive whose members all carry `mtime`, seconds since 1970.
    #[must_use]
    pub fn new(mtime: u32) -> Self {
        Self { bytes: Vec::new(), mtime, last_ino: 0, names: BTreeSet::new() }
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// A path that is not relative and plain, or that the archive has already.
    pub fn dir(&mut self, path: &str, permissions: u32) -> Result<()> {
        self.node(path, &Attributes { names: 2, ..Attributes::of_root(TYPE_DIR | permissions) }, &[]).map(drop)
    }

    /// Adds a regular file.
    ///
    /// # Errors
    /// As [`Archive::dir`], and a file of 4 GiB or more.
    pub fn file(&mut self, path: &str, permissions: u32, data: &[u8]) -> Result<()> {
        self.node(path, &Attributes::of_root(TYPE_FILE | permissions), data).map(drop)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// As [`Archive::dir`].
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.node(path, &Attributes::of_root(TYPE_LINK | 0o777), target.as_bytes()).map(drop)
    }

    /// Adds anything; gives the number by which more names of it are added.
    ///
    /// # Errors
    /// As [`Archive::file`].
    pub fn node(&mut self, path: &str, attributes: &Attributes, data: &[u8]) -> Result<u32> {
        self.last_ino += 1;
        self.member(path, self.last_ino, attributes, data)?;
        Ok(self.last_ino)
    }

    /// Adds one more name of the file that was added under the number `ino` with the same attributes.
    ///
    /// # Errors
    /// As [`Archive::dir`].
    pub fn name(&mut self, path: &str, ino: u32, attributes: &Attributes) -> Result<()> {
        self.member(path, ino, attributes, &[])
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was added yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Ends the archive and gives its bytes, a multiple of 4.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.header(&[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, TRAILER_NAME_LEN, 0]);
        self.bytes.extend_from_slice(TRAILER);
        self.bytes.push(0);
        pad(&mut self.bytes);
        self.bytes
    }

    fn member(&mut self, path: &str, ino: u32, attributes: &Attributes, data: &[u8]) -> Result<()> {
        check_path(path)?;
        ensure!(self.names.insert(path.to_owned()), "{path} is in the archive already");
        let size = u32::try_from(data.len()).with_context(|| format!("{path} is too large for a cpio archive"))?;
        let name_len = u32::try_from(path.len() + 1).with_context(|| format!("the path {path} is too long"))?;
        let &Attributes { mode, uid, gid, device: (major, minor), names } = attributes;
        self.header(&[ino, mode, uid, gid, names, self.mtime, size, 0, 0, major, minor, name_len, 0]);
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        pad(&mut self.bytes);
        self.bytes.extend_from_slice(data);
        pad(&mut self.bytes);
        Ok(())
    }

    fn header(&mut self, fields: &[u32; 13]) {
        debug_assert_eq!(self.bytes.len() % ALIGN, 0, "members start on a boundary");
        self.bytes.extend_from_slice(MAGIC);
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
    }
}

/// Refuses a path that is absolute, empty, or leaves its folder.
fn check_path(path: &str) -> Result<()> {
    let plain = !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !plain {
        bail!("{path:?} is no plain relative path");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::super::newc::members;
    use super::*;

    #[test]
    fn the_same_calls_make_the_same_bytes_with_numbered_inodes() {
        let make = || {
            let mut archive = Archive::new(1);
            archive.dir("a", 0o755).unwrap();
            archive.file("a/b", 0o600, b"x").unwrap();
            archive.finish()
        };
        let bytes = make();
        assert_eq!(bytes, make());
        let inodes: Vec<_> = members(&bytes).map(|m| m.unwrap().ino).collect();
        assert_eq!(inodes, [1, 2]);
    }

    #[test]
    fn paths_that_leave_the_root_and_doubles_are_refused() {
        let mut archive = Archive::new(0);
        for path in ["", "/etc", "../x", "a//b", "a/./b", "a/", "a\0b"] {
            assert!(archive.file(path, 0o644, b"").is_err(), "{path:?}");
        }
        archive.dir("a", 0o755).unwrap();
        assert!(archive.dir("a", 0o755).is_err());
    }

    #[test]
    fn gnu_cpio_lists_and_unpacks_it() {
        let mut archive = Archive::new(1_700_000_000);
        archive.dir("d", 0o750).unwrap();
        archive.file("d/f", 0o4755, b"some content").unwrap();
        archive.link("d/l", "f").unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.cpio"), archive.finish()).unwrap();
        let run = Command::new("cpio").args(["-i", "-F", "a.cpio"]).current_dir(folder.path()).output();
        let Ok(run) = run else {
            return mk_tests::skip("there is no cpio");
        };
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(std::fs::read(folder.path().join("d/l")).unwrap(), b"some content");
        let list = Command::new("cpio").args(["-itv", "-F", "a.cpio"]).current_dir(folder.path()).output().unwrap();
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        assert!(list.contains("-rwsr-xr-x") && list.contains("drwxr-x---") && list.contains("d/l -> f"), "{list}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            files in proptest::collection::btree_map("[a-z]{1,12}(/[a-z]{1,5}){0,3}", proptest::collection::vec(any::<u8>(), 0..200), 0..20),
            mtime in any::<u32>(),
        ) {
            let mut archive = Archive::new(mtime);
            for (path, data) in &files {
                archive.file(path, 0o644, data).unwrap();
            }
            let bytes = archive.finish();
            prop_assert_eq!(bytes.len() % ALIGN, 0);
            let read: Vec<_> = members(&bytes).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read.len(), files.len());
            for (member, (path, data)) in read.iter().zip(&files) {
                prop_assert_eq!(member.name, path.as_bytes());
                prop_assert_eq!(member.data, &data[..]);
                prop_assert_eq!(member.mtime, mtime);
            }
        }
    }
}
