//! Reads a whole initrd file as the kernel does: archives one after the other, each plain or one gzip member, zeros
//! between them.

use std::io::Read;

use flate2::bufread::GzDecoder;

use super::newc::{self, Member, members};
use super::{ALIGN, MAGIC};

/// First bytes of a gzip member.
const GZIP: &[u8] = &[0x1f, 0x8b];
/// First bytes of what else the kernel may take but this program does not read, and its name.
const OTHERS: [(&[u8], &str); 5] = [
    (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
    (b"BZh", "bzip2"),
    (&[0x02, 0x21, 0x4c, 0x18], "lz4"),
    (&[0x5d, 0x00, 0x00], "lzma"),
];

/// Why bytes are no initrd that can be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A plain archive is damaged.
    #[error("cpio archive at offset {start}: {source}")]
    Archive {
        /// Where the archive starts in the file.
        start: usize,
        /// What is wrong with it.
        source: newc::Error,
    },
    /// A compressed archive does not inflate.
    #[error("gzip member at offset {start}: {source}")]
    Gzip {
        /// Where the member starts in the file.
        start: usize,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// The compressed archives are larger than the reader was told to accept.
    #[error("up to the gzip member at offset {start}, more than {limit} bytes come out")]
    TooLarge {
        /// Where the member starts with which they are.
        start: usize,
        /// The limit in bytes.
        limit: u64,
    },
    /// Another compression, or no initrd at all.
    #[error("offset {start}: {what}, where a cpio archive or a gzip member should start")]
    Unknown {
        /// Where in the file.
        start: usize,
        /// Name of the compression or what was found.
        what: String,
    },
}

/// Calls `each` with every member of every archive in `initrd`, in the kernel's order. All gzip members together may
/// inflate to `limit` bytes.
///
/// # Errors
/// Damaged, cut or unknown data, with its offset.
pub fn for_each(initrd: &[u8], limit: u64, mut each: impl FnMut(Member<'_>)) -> Result<(), Error> {
    let (mut at, mut left) = (0, limit);
    while let Some(rest) = initrd.get(at..).filter(|rest| !rest.is_empty()) {
        if rest[0] == 0 {
            at += rest.iter().take_while(|byte| **byte == 0).count();
        } else if rest.starts_with(MAGIC) && at % ALIGN == 0 {
            at += plain(rest, at, &mut each)?;
        } else if rest.starts_with(GZIP) {
            let inflated = inflate(rest, left).map_err(|source| Error::Gzip { start: at, source })?;
            let (inflated, length) = inflated.ok_or(Error::TooLarge { start: at, limit })?;
            left -= inflated.len() as u64;
            packed(&inflated, at, &mut each)?;
            at += length;
        } else {
            let what = OTHERS.iter().find(|(magic, _)| rest.starts_with(magic)).map_or_else(
                || format!("bytes {:02x?}", &rest[..rest.len().min(6)]),
                |(_, name)| format!("{name} data, which this program does not read"),
            );
            return Err(Error::Unknown { start: at, what });
        }
    }
    Ok(())
}

/// Reads a plain archive and says how long it is.
fn plain(bytes: &[u8], start: usize, each: &mut impl FnMut(Member<'_>)) -> Result<usize, Error> {
    let mut iter = members(bytes);
    for member in iter.by_ref() {
        each(member.map_err(|source| Error::Archive { start, source })?);
    }
    Ok(iter.offset().max(1))
}

/// Inflates one gzip member, and says how long it is; nothing where it becomes more than `left` bytes.
fn inflate(bytes: &[u8], left: u64) -> std::io::Result<Option<(Vec<u8>, usize)>> {
    let mut decoder = GzDecoder::new(bytes);
    let mut inflated = Vec::new();
    decoder.by_ref().take(left.saturating_add(1)).read_to_end(&mut inflated)?;
    let fits = inflated.len() as u64 <= left;
    Ok(fits.then(|| (inflated, bytes.len() - decoder.into_inner().len())))
}

/// Reads what a gzip member at `start` holds, whole archives.
fn packed(inflated: &[u8], start: usize, each: &mut impl FnMut(Member<'_>)) -> Result<(), Error> {
    let mut at = 0;
    while let Some(rest) = inflated.get(at..).filter(|rest| !rest.is_empty()) {
        at += match rest.iter().take_while(|byte| **byte == 0).count() {
            0 => plain(rest, start, each)?,
            zeros => zeros,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::super::{pad, write::Archive};
    use super::*;

    fn archive(name: &str) -> Vec<u8> {
        let mut archive = Archive::new(0);
        archive.file(name, 0o644, name.as_bytes()).unwrap();
        archive.finish()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn names(initrd: &[u8]) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for_each(initrd, 1 << 20, |member| names.push(String::from_utf8_lossy(member.name).into_owned()))?;
        Ok(names)
    }

    #[test]
    fn gzip_and_plain_archives_with_zeros_between_are_read_in_order() {
        let mut initrd = gz(&archive("one"));
        pad(&mut initrd);
        initrd.extend(archive("two"));
        initrd.extend([0; 512]);
        initrd.extend(gz(&[archive("three"), vec![0; 100], archive("four")].concat()));
        initrd.extend([0; 4096]);
        assert_eq!(names(&initrd).unwrap(), ["one", "two", "three", "four"]);
    }

    #[test]
    fn an_empty_slot_is_an_initrd_without_members() {
        assert_eq!(names(&[0; 1024]).unwrap(), Vec::<String>::new());
        assert_eq!(names(&[]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn other_compressions_are_named() {
        let error = names(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0]).unwrap_err().to_string();
        assert!(error.contains("zstd"), "{error}");
    }

    #[test]
    fn cut_and_bloated_members_are_refused() {
        let whole = gz(&archive("one"));
        assert!(matches!(names(&whole[..whole.len() / 2]), Err(Error::Gzip { .. })));
        let bomb = gz(&vec![0; 2 << 20]);
        assert!(matches!(names(&bomb), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn many_members_together_inflate_to_no_more_than_one_may() {
        let half = gz(&[archive("half"), vec![0; 600 << 10]].concat());
        assert_eq!(names(&half).unwrap(), ["half"]);
        assert!(matches!(names(&half.repeat(2)), Err(Error::TooLarge { start, .. }) if start == half.len()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = names(&bytes);
        }

        #[test]
        fn a_damaged_initrd_is_read_without_panic(at in 0usize..1000, with in any::<u8>()) {
            let mut bytes = gz(&archive("one"));
            pad(&mut bytes);
            bytes.extend(archive("two"));
            let at = at % bytes.len();
            bytes[at] = with;
            let _ = names(&bytes);
        }
    }
}
