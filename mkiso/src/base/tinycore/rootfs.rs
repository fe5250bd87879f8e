//! A root file system of Tiny Core as it is handed in: a tree in `tar.xz` or `tar.gz`, or the release's own `core.gz` (cpio,
//! one gzip member or plain). Read as a stream; owners, modes, links, names of one file and devices are kept, times are not.
//! Unpacked it may have [`MAX_INITRD_UNPACKED`] bytes.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use flate2::read::GzDecoder;
use liblzma::read::XzDecoder;
use tce_mirror::tree::clean;

use crate::cpio::newc::Member;
use crate::cpio::write::{Archive, Attributes};
use crate::cpio::{
    TYPE_BLOCK, TYPE_CHARACTER, TYPE_DIR, TYPE_FIFO, TYPE_FILE, TYPE_LINK, TYPE_MASK, initrd as initrd_file,
};
use crate::limits::MAX_INITRD_UNPACKED;

/// First bytes of xz data.
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z'];
/// Where a tar archive has its sign, and the sign.
const TAR: (usize, &[u8]) = (257, b"ustar");
/// Permissions of folders that nobody listed.
const DIR_MODE: u32 = 0o755;
/// Bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o7777;

/// One path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    content: Content,
    /// Type and permissions.
    mode: u32,
    uid: u32,
    gid: u32,
    device: (u32, u32),
}

/// What a path holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    /// A file's bytes, a link's target, nothing for all else.
    Bytes(Vec<u8>),
    /// The same file as this other path.
    SameAs(String),
}

/// All paths, without leading slash, sorted, so that folders come before what is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rootfs {
    entries: BTreeMap<String, Entry>,
}

impl Rootfs {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// They are neither; or damaged, cut or too large, with path and offset.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.starts_with(XZ) {
            from_tar(XzDecoder::new(Cursor::new(bytes)), MAX_INITRD_UNPACKED)
        } else if is_tar_gz(bytes) {
            from_tar(GzDecoder::new(Cursor::new(bytes)), MAX_INITRD_UNPACKED)
        } else {
            from_initrd(bytes)
        }
    }

    /// The content of the regular file at a path.
    #[must_use]
    pub fn content(&self, path: &str) -> Option<&[u8]> {
        let entry = self.entries.get(path).filter(|entry| entry.mode & TYPE_MASK == TYPE_FILE)?;
        match &entry.content {
            Content::Bytes(bytes) => Some(bytes),
            Content::SameAs(other) => self.content(other),
        }
    }

    /// Whether there is something at a path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Leaves out a folder with all that is in it.
    pub fn remove(&mut self, folder: &str) {
        self.entries
            .retain(|path, _| !path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    }

    /// Adds or replaces a file that belongs to root.
    ///
    /// # Errors
    /// The path leads through something that is no folder.
    pub fn file(&mut self, path: &str, permissions: u32, bytes: Vec<u8>) -> Result<()> {
        self.insert(path, Entry::of_root(TYPE_FILE | permissions, bytes))
    }

    /// The initrd: one cpio archive, every time in it `time`, seconds since 1970. Files whose names end in `last` come last;
    /// the second number is where they begin.
    ///
    /// # Errors
    /// A path that no archive can have.
    pub fn archive(&self, time: u32, last: &str) -> Result<(Vec<u8>, usize)> {
        let mut groups: BTreeMap<&str, u32> = BTreeMap::new();
        for entry in self.entries.values() {
            if let Content::SameAs(first) = &entry.content {
                *groups.entry(first).or_insert(1) += 1;
            }
        }
        let mut archive = Archive::new(time);
        let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
        let is_last = |path: &str, entry: &Entry| path.ends_with(last) && entry.mode & TYPE_MASK == TYPE_FILE;
        let (behind, before): (Vec<_>, Vec<_>) = self.entries.iter().partition(|(path, entry)| is_last(path, entry));
        let (count, behind_any, mut begin) = (before.len(), !behind.is_empty(), 0);
        for (index, (path, entry)) in before.into_iter().chain(behind).enumerate() {
            if index == count {
                begin = archive.len();
            }
            let first = match &entry.content {
                Content::Bytes(_) => path.as_str(),
                Content::SameAs(first) => first.as_str(),
            };
            let of = self
                .entries
                .get(first)
                .with_context(|| format!("{path} is another name of {first}, which is not there"))?;
            let (mode, uid, gid, device) = (of.mode, of.uid, of.gid, of.device);
            let alone = if mode & TYPE_MASK == TYPE_DIR { 2 } else { 1 };
            let names = groups.get(first).copied().unwrap_or(alone);
            let attributes = Attributes { mode, uid, gid, device, names };
            let bytes = match &of.content {
                Content::Bytes(bytes) => bytes.as_slice(),
                Content::SameAs(_) => bail!("{path} is another name of {first}, which is one itself"),
            };
            let added = match numbers.get(first) {
                Some(number) => archive.name(path, *number, &attributes),
                None => archive.node(path, &attributes, bytes).map(|number| {
                    numbers.insert(first, number);
                }),
            };
            added.with_context(|| format!("cannot add {path} to the initrd"))?;
        }
        let begin = if behind_any { begin } else { archive.len() };
        Ok((archive.finish(), begin))
    }

    fn insert(&mut self, path: &str, entry: Entry) -> Result<()> {
        for (slash, _) in path.match_indices('/') {
            let folder = &path[..slash];
            match self.entries.get(folder).map(|entry| entry.mode & TYPE_MASK) {
                Some(TYPE_DIR) => {}
                // The kernel would drop it without a word, or follow a link that leads to what comes later.
                Some(_) => bail!("{path} lies in {folder}, which is no folder"),
                None => {
                    self.entries.insert(folder.to_owned(), Entry::of_root(TYPE_DIR | DIR_MODE, Vec::new()));
                }
            }
        }
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }
}

impl Entry {
    fn of_root(mode: u32, bytes: Vec<u8>) -> Self {
        Self { content: Content::Bytes(bytes), mode, uid: 0, gid: 0, device: (0, 0) }
    }
}

/// Whether bytes are a tar archive in gzip, as which the releases' own initrd looks from outside.
fn is_tar_gz(bytes: &[u8]) -> bool {
    let (at, sign) = TAR;
    let mut head = vec![0; at + sign.len()];
    GzDecoder::new(bytes).read_exact(&mut head).is_ok() && head.ends_with(sign)
}

/// Reads an unpacked tar archive of at most `limit` bytes.
fn from_tar(plain: impl Read, limit: u64) -> Result<Rootfs> {
    let mut root = Rootfs::default();
    let mut archive = tar::Archive::new(plain.take(limit));
    let mut end = 0;
    let damaged = |end: u64| {
        format!("the archive is damaged, cut short or larger than {limit} bytes (at byte {end} of its unpacked tar)")
    };
    for entry in archive.entries().with_context(|| damaged(0))? {
        let mut entry = entry.with_context(|| damaged(end))?;
        let at = entry.raw_header_position();
        end = entry.raw_file_position() + entry.size();
        let (path, found) =
            from_tar_entry(&mut entry).with_context(|| format!("the entry at byte {at} of the unpacked tar"))?;
        if path.is_empty() {
            continue;
        }
        if let Content::SameAs(first) = &found.content {
            ensure!(root.content(first).is_some(), "{path} is another name of {first}, which is no file before it");
        }
        root.insert(&path, found)?;
    }
    // A tar that is cut between two entries ends like a whole one, so the rest of the stream is read for its checksum.
    let mut rest = archive.into_inner();
    std::io::copy(&mut rest, &mut std::io::sink()).with_context(|| damaged(end))?;
    ensure!(rest.limit() > 0, "it unpacks to more than {limit} bytes; it is damaged or made to harm");
    Ok(root)
}

fn from_tar_entry(entry: &mut tar::Entry<'_, impl Read>) -> Result<(String, Entry)> {
    use tar::EntryType;
    let raw = entry.path()?.into_owned();
    let path = clean(raw.to_str().ok_or_else(|| anyhow!("{} is no UTF-8", raw.display()))?)?;
    let header = entry.header();
    let number = |n: u64| u32::try_from(n).with_context(|| format!("owner or group {n} of {path} is too large"));
    let (uid, gid) = (number(header.uid()?)?, number(header.gid()?)?);
    let permissions = header.mode()? & PERMISSIONS;
    let kind = header.entry_type();
    // GNU tar leaves the numbers empty where they mean nothing.
    let device = match kind {
        EntryType::Block | EntryType::Char => {
            (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0))
        }
        _ => (0, 0),
    };
    let target = || -> Result<String> {
        let target = entry.link_name()?.ok_or_else(|| anyhow!("{path} is a link without target"))?;
        Ok(target.to_str().ok_or_else(|| anyhow!("the target of {path} is no UTF-8"))?.to_owned())
    };
    let (kind, content) = match kind {
        EntryType::Directory => (TYPE_DIR, Content::Bytes(Vec::new())),
        EntryType::Symlink => (TYPE_LINK, Content::Bytes(target()?.into_bytes())),
        EntryType::Link => (TYPE_FILE, Content::SameAs(clean(&target()?)?)),
        EntryType::Block => (TYPE_BLOCK, Content::Bytes(Vec::new())),
        EntryType::Char => (TYPE_CHARACTER, Content::Bytes(Vec::new())),
        EntryType::Fifo => (TYPE_FIFO, Content::Bytes(Vec::new())),
        EntryType::Regular | EntryType::Continuous => {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).with_context(|| format!("{path} cannot be read"))?;
            (TYPE_FILE, Content::Bytes(bytes))
        }
        other => bail!("{path} is of type {other:?}, which no root file system should hold"),
    };
    Ok((path, Entry { content, mode: kind | permissions, uid, gid, device }))
}

/// Reads `core.gz`.
fn from_initrd(bytes: &[u8]) -> Result<Rootfs> {
    let mut root = Rootfs::default();
    // Files of several names whose names have not all come yet: path of the first, and how many are missing.
    let mut open: BTreeMap<u32, (String, u32)> = BTreeMap::new();
    let mut failure = None;
    initrd_file::for_each(bytes, MAX_INITRD_UNPACKED, |member| {
        if failure.is_none() {
            failure = add_member(&mut root, &mut open, &member).err();
        }
    })
    .context("it is neither a tar.xz or tar.gz nor an initrd such as core.gz")?;
    failure.map_or(Ok(root), Err)
}

fn add_member(root: &mut Rootfs, open: &mut BTreeMap<u32, (String, u32)>, member: &Member<'_>) -> Result<()> {
    let name = std::str::from_utf8(member.name)
        .with_context(|| format!("{} is no UTF-8", String::from_utf8_lossy(member.name)))?;
    let path = clean(name)?;
    if path.is_empty() {
        return Ok(());
    }
    let (mode, uid, gid, device) = (member.mode, member.uid, member.gid, member.device);
    let mut content = Content::Bytes(member.data.to_vec());
    if mode & TYPE_MASK == TYPE_FILE && member.nlink > 1 {
        match open.remove(&member.ino) {
            Some((first, missing)) => {
                // The bytes may come with any of the names; GNU cpio puts them to the last.
                if let Some(entry) = root.entries.get_mut(&first).filter(|_| !member.data.is_empty()) {
                    entry.content = content;
                }
                content = Content::SameAs(first.clone());
                if missing > 1 {
                    open.insert(member.ino, (first, missing - 1));
                }
            }
            None => drop(open.insert(member.ino, (path.clone(), member.nlink - 1))),
        }
    }
    root.insert(&path, Entry { content, mode, uid, gid, device })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// A made-up tree with all that a root file system may hold, as GNU's own tools see it.
    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let script = "mkdir -p t/etc t/bin t/tmp; cd t; echo hello > etc/motd; chmod 4750 etc/motd; chmod 1777 tmp; \
            ln -s ../etc/motd bin/link; echo tool > bin/one; ln bin/one bin/two; mkfifo bin/pipe";
        sh(folder.path(), script);
        folder
    }

    fn sh(folder: &std::path::Path, script: &str) -> String {
        let output = Command::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What cpio lists of what was read and written again.
    fn listed(folder: &std::path::Path, packed: &str) -> String {
        let root = Rootfs::read(&std::fs::read(folder.join(packed)).unwrap()).unwrap();
        std::fs::write(folder.join("again.cpio"), root.archive(1_700_000_000, ".ko.gz").unwrap().0).unwrap();
        sh(folder, "mkdir -p again; cd again; cpio --quiet -i --no-absolute-filenames < ../again.cpio");
        assert_eq!(sh(folder, "cat again/bin/link again/bin/one again/bin/two"), "hello\ntool\ntool\n");
        assert_eq!(sh(folder, "test again/bin/one -ef again/bin/two && echo same"), "same\n");
        sh(folder, "cpio --quiet -itvn < again.cpio | awk '{print $1, $2, $3, $4, $NF}'")
    }

    const WANT: [&str; 7] = [
        "drwxrwxrwt 2 7 8 tmp",
        "-rwsr-x--- 1 7 8 etc/motd",
        "lrwxrwxrwx 1 7 8 ../etc/motd",
        "-rw-r--r-- 2 7 8 bin/one",
        "-rw-r--r-- 2 7 8 bin/two",
        "prw-r--r-- 1 7 8 bin/pipe",
        "drwxr-xr-x 2 7 8 bin",
    ];

    #[test]
    fn a_tar_in_xz_or_gzip_keeps_modes_owners_links_and_devices() {
        if Command::new("cpio").arg("--version").output().is_err() {
            return mk_tests::skip("there is no cpio");
        }
        for (option, packed) in [("J", "a.tar.xz"), ("z", "a.tar.gz")] {
            let folder = tree();
            let owners = "--owner=:7 --group=:8 --numeric-owner";
            sh(folder.path(), &format!("umask 022; tar -C t {owners} -c{option}f {packed} ."));
            let list = listed(folder.path(), packed);
            for want in WANT {
                assert!(list.lines().any(|line| line == want), "{want} in\n{list}");
            }
        }
    }

    #[test]
    fn an_initrd_keeps_modes_owners_links_and_devices() {
        if Command::new("cpio").arg("--version").output().is_err() {
            return mk_tests::skip("there is no cpio");
        }
        let folder = tree();
        sh(folder.path(), "cd t; find . | cpio --quiet -o -H newc -R 7:8 | gzip > ../core.gz");
        let list = listed(folder.path(), "core.gz");
        for want in WANT {
            assert!(list.lines().any(|line| line == want), "{want} in\n{list}");
        }
    }

    fn tar_xz(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, kind, text) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_mode(0o600);
            header.set_uid(3);
            header.set_gid(4);
            header.set_device_major(5).unwrap();
            header.set_device_minor(1).unwrap();
            let is_link = matches!(kind, tar::EntryType::Link | tar::EntryType::Symlink);
            header.set_size(if is_link { 0 } else { text.len() as u64 });
            if is_link {
                tar.append_link(&mut header, path, text).unwrap();
            } else {
                tar.append_data(&mut header, path, text.as_bytes()).unwrap();
            }
        }
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&tar.into_inner().unwrap()).unwrap();
        xz.finish().unwrap()
    }

    #[test]
    fn a_device_has_its_numbers_in_the_initrd() {
        let root = Rootfs::read(&tar_xz(&[("dev/console", tar::EntryType::Char, "")])).unwrap();
        let again = Rootfs::read(&root.archive(0, ".ko.gz").unwrap().0).unwrap();
        let console = again.entries.get("dev/console").unwrap();
        assert_eq!((console.mode, console.uid, console.gid, console.device), (0o020_600, 3, 4, (5, 1)));
        assert_eq!(again, root, "what was written is read back");
    }

    #[test]
    fn what_cannot_be_kept_is_named() {
        use tar::EntryType::{Link, Regular, Symlink};
        for (entries, want) in [
            (&[("lib", Symlink, "usr/lib"), ("lib/x", Regular, "x")][..], "lib/x lies in lib, which is no folder"),
            (&[("two", Link, "one")], "two is another name of one"),
            (&[("odd", tar::EntryType::new(b'V'), "")], "odd is of type"),
        ] {
            let error = format!("{:#}", Rootfs::read(&tar_xz(entries)).unwrap_err());
            assert!(error.contains(want), "{error}");
        }
        let error = format!("{:#}", Rootfs::read(b"<html>not found</html>").unwrap_err());
        assert!(error.contains("neither a tar.xz or tar.gz nor an initrd") && error.contains("offset 0"), "{error}");
    }

    #[test]
    fn a_cut_file_is_refused_wherever_it_is_cut() {
        let xz = tar_xz(&[("init", tar::EntryType::Regular, "#!/bin/sh"), ("b", tar::EntryType::Regular, "x")]);
        let mut tar = Vec::new();
        XzDecoder::new(xz.as_slice()).read_to_end(&mut tar).unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&tar).unwrap();
        for whole in [xz, gz.finish().unwrap()] {
            assert!(Rootfs::read(&whole).is_ok());
            for cut in 1..whole.len() {
                assert!(Rootfs::read(&whole[..cut]).is_err(), "cut at {cut} of {}", whole.len());
            }
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(0o644);
        header.set_size(1 << 16);
        tar.append_data(&mut header, "big", std::io::repeat(0).take(1 << 16)).unwrap();
        let tar = tar.into_inner().unwrap();
        for limit in [1 << 12, tar.len() as u64] {
            let error = format!("{:#}", from_tar(tar.as_slice(), limit).unwrap_err());
            assert!(error.contains(&limit.to_string()), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = from_tar(bytes.as_slice(), 1 << 16);
            let _ = Rootfs::read(&bytes);
        }

        #[test]
        fn a_damaged_root_file_system_is_read_without_panic(at in 0usize..2000, with in any::<u8>()) {
            let root = Rootfs::read(&tar_xz(&[("a/b", tar::EntryType::Regular, "x"), ("c", tar::EntryType::Link, "a/b")]));
            let mut bytes = root.unwrap().archive(0, ".ko.gz").unwrap().0;
            let at = at % bytes.len();
            bytes[at] = with;
            if let Ok(root) = Rootfs::read(&bytes) {
                let _ = root.archive(0, "");
            }
        }
    }
}
