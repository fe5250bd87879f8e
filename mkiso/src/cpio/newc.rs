//! Reads one cpio archive in newc form: a pure parser over bytes that nobody vouches for.

use super::{ALIGN, HEADER_LEN, MAGIC, TRAILER};

/// One member of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// Path as the archive has it.
    pub name: &'a [u8],
    /// Number that hard links of one file share.
    pub ino: u32,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of hard links.
    pub nlink: u32,
    /// Time of change in seconds since 1970.
    pub mtime: u32,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Content; a symbolic link's target.
    pub data: &'a [u8],
}

/// Why bytes are no newc archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset}: {what}")]
pub struct Error {
    /// Where, counted from the start of the archive.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Reads members until the trailer.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    archive: &'a [u8],
    offset: usize,
    done: bool,
}

/// The members of the archive at the start of `archive`, in order, without the trailer. Iteration ends after an error.
#[must_use]
pub fn members(archive: &[u8]) -> Members<'_> {
    Members { archive, offset: 0, done: false }
}

impl<'a> Members<'a> {
    /// Bytes read so far; after the last member, where the archive ends.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    fn fail(&self, what: &'static str) -> Error {
        Error { offset: self.offset, what }
    }

    /// Bytes of the archive from `start`, `len` of them.
    fn bytes(&self, start: usize, len: usize, what: &'static str) -> Result<&'a [u8], Error> {
        start.checked_add(len).and_then(|end| self.archive.get(start..end)).ok_or_else(|| self.fail(what))
    }

    fn read(&mut self) -> Result<Option<Member<'a>>, Error> {
        let header = self.bytes(self.offset, HEADER_LEN, "the archive ends within a header, or has no trailer")?;
        if !header.starts_with(MAGIC) {
            return Err(self.fail("no newc header (magic 070701)"));
        }
        let field = |index: usize| -> Result<u32, Error> {
            let digits = header.get(6 + index * 8..14 + index * 8).unwrap_or_default();
            hex(digits).ok_or_else(|| self.fail("a header field is not hexadecimal"))
        };
        let (size, name_len) = (field(6)? as usize, field(11)? as usize);
        let name_start = self.offset + HEADER_LEN;
        let raw_name = self.bytes(name_start, name_len, "the archive ends within a name")?;
        let Some((0, name)) = raw_name.split_last() else {
            return Err(self.fail("a name does not end with a zero byte"));
        };
        let data_start = (name_start + name_len).next_multiple_of(ALIGN);
        if name == TRAILER {
            self.offset = data_start.min(self.archive.len());
            return Ok(None);
        }
        let data = self.bytes(data_start, size, "the archive ends within a file")?;
        let member = Member {
            name,
            ino: field(0)?,
            mode: field(1)?,
            uid: field(2)?,
            gid: field(3)?,
            nlink: field(4)?,
            mtime: field(5)?,
            device: (field(9)?, field(10)?),
            data,
        };
        self.offset = (data_start + size).next_multiple_of(ALIGN);
        Ok(Some(member))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.read().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

/// Eight hexadecimal digits. `u32::from_str_radix` alone would take a sign.
fn hex(digits: &[u8]) -> Option<u32> {
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::write::Archive;
    use super::*;

    fn sample() -> Vec<u8> {
        let mut archive = Archive::new(7);
        archive.dir("etc", 0o755).unwrap();
        archive.file("etc/motd", 0o644, b"hello").unwrap();
        archive.link("etc/link", "motd").unwrap();
        archive.finish()
    }

    #[test]
    fn reads_what_was_written() {
        let bytes = sample();
        let read: Vec<_> = members(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(read.iter().map(|m| m.name).collect::<Vec<_>>(), [&b"etc"[..], b"etc/motd", b"etc/link"]);
        assert_eq!(read[1].data, b"hello");
        assert_eq!(read[1].mode, 0o100_644);
        assert_eq!(read[2].data, b"motd");
        assert_eq!(read[0].mtime, 7);
    }

    #[test]
    fn the_offset_after_the_trailer_is_the_archives_length() {
        let mut bytes = sample();
        let len = bytes.len();
        bytes.extend_from_slice(b"something else");
        let mut iter = members(&bytes);
        assert_eq!(iter.by_ref().count(), 3);
        assert_eq!(iter.offset(), len);
    }

    #[test]
    fn a_cut_archive_is_an_error_and_not_a_short_list() {
        let bytes = sample();
        for len in 0..bytes.len() - ALIGN {
            assert!(members(&bytes[..len]).any(|m| m.is_err()), "cut at {len}");
        }
    }

    #[test]
    fn a_signed_number_is_no_header_field() {
        let mut bytes = sample();
        bytes[6] = b'+';
        assert!(members(&bytes).next().unwrap().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            members(&bytes).for_each(drop);
        }

        #[test]
        fn a_damaged_archive_is_read_without_panic(at in 0usize..500, with in any::<u8>()) {
            let mut bytes = sample();
            let at = at % bytes.len();
            bytes[at] = with;
            members(&bytes).for_each(drop);
        }
    }
}
