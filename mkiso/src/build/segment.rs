//! `mk.gz`: one gzip member with what shrinks, then a plain archive with what is compressed already.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use libdeflater::{CompressionLvl, Compressor};

use crate::cache::{Key, sha256};
use crate::cpio::pad;
use crate::output;

/// Within a thousandth of the smallest gzip of all compressors tried (level 12) in half of its time.
const LEVEL: i32 = 10;
/// Length in bytes of a digest in hexadecimal digits.
const DIGEST_LEN: usize = 64;

/// Joins the two archives; `shrinking` is compressed, or its compressed form taken from the cache.
///
/// # Errors
/// The cache cannot be written.
pub fn join(shrinking: &[u8], plain: &[u8], cache: &Path) -> Result<Vec<u8>> {
    let mut segment = compressed(shrinking, cache)?;
    pad(&mut segment);
    segment.extend_from_slice(plain);
    pad(&mut segment);
    Ok(segment)
}

/// One gzip member. Cached by what it was made from, with its own digest so that a damaged cache is not used.
fn compressed(bytes: &[u8], cache: &Path) -> Result<Vec<u8>> {
    let path = cached(bytes, cache);
    if let Some(member) = fs::read(&path).ok().and_then(|cached| verified(&cached)) {
        return Ok(member);
    }
    let level = CompressionLvl::new(LEVEL).map_err(|error| anyhow!("compression level {LEVEL}: {error:?}"))?;
    let mut compressor = Compressor::new(level);
    let mut member = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let len = compressor.gzip_compress(bytes, &mut member).map_err(|error| anyhow!("cannot compress: {error:?}"))?;
    member.truncate(len);
    let mut entry = sha256(&member).into_bytes();
    entry.extend_from_slice(&member);
    output::write(&path, &entry).context("cannot keep the compressed segment in the cache")?;
    Ok(member)
}

fn cached(bytes: &[u8], cache: &Path) -> PathBuf {
    let key = Key::default().with("gzip").with(LEVEL.to_le_bytes()).with(bytes).finish();
    cache.join("segments").join(format!("{key}.gz"))
}

/// The member in a cache entry, if it is whole.
fn verified(entry: &[u8]) -> Option<Vec<u8>> {
    let (digest, member) = entry.split_at_checked(DIGEST_LEN)?;
    (sha256(member).as_bytes() == digest).then(|| member.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpio::initrd;
    use crate::cpio::write::Archive;

    fn archive(name: &str, len: usize) -> Vec<u8> {
        let mut archive = Archive::new(0);
        archive.file(name, 0o644, &vec![b'x'; len]).unwrap();
        archive.finish()
    }

    fn names(segment: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        initrd::for_each(segment, 1 << 20, |m| names.push(String::from_utf8_lossy(m.name).into_owned())).unwrap();
        names
    }

    #[test]
    fn both_archives_are_read_back_and_the_second_starts_on_a_boundary() {
        let cache = tempfile::tempdir().unwrap();
        for len in 1..9 {
            let plain = archive("b", 10);
            let segment = join(&archive("a", len * 1000), &plain, cache.path()).unwrap();
            assert_eq!(names(&segment), ["a", "b"]);
            assert_eq!((segment.len() - plain.len()) % 4, 0);
        }
    }

    #[test]
    fn a_damaged_cache_entry_is_made_again() {
        let cache = tempfile::tempdir().unwrap();
        let bytes = archive("a", 1000);
        let first = join(&bytes, &[], cache.path()).unwrap();
        let path = cached(&bytes, cache.path());
        for damage in [b"".to_vec(), vec![0; 500]] {
            fs::write(&path, damage).unwrap();
            assert_eq!(join(&bytes, &[], cache.path()).unwrap(), first);
            assert!(verified(&fs::read(&path).unwrap()).is_some());
        }
    }
}
