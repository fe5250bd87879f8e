//! Bodies of answers on their way to a file: `.NAME.part` beside the place of `NAME`, appended to, hashed, renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use md5::{Digest as _, Md5};
use reqwest::StatusCode;
use reqwest::blocking::Response;
use sha2::Sha256;

use super::{Fault, OtherBytes, Verified};
use crate::checksum::Md5Sum;
use crate::limits::{CHUNK, FILE};

/// What a file's bytes are.
pub(super) struct Digests {
    pub(super) size: u64,
    pub(super) md5: Md5Sum,
    pub(super) sha256: [u8; 32],
}

/// A file that is not whole yet.
pub(super) struct Part {
    path: PathBuf,
}

impl Part {
    pub(super) fn beside(to: &Path) -> Self {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        Self { path: to.with_file_name(format!(".{name}.part")) }
    }

    /// Bytes that are there.
    pub(super) fn size(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |m| m.len())
    }

    /// Writes an answer's body behind the `have` bytes that are there, or anew where the mirror sends the whole file.
    pub(super) fn append(&self, mut response: Response, have: u64, most: u64) -> Result<(), Fault> {
        let goes_on = response.status() == StatusCode::PARTIAL_CONTENT;
        let refused = |e: io::Error| Fault::Final(anyhow!(e).context(format!("cannot write {}", self.path.display())));
        let mut file = OpenOptions::new()
            .create(true)
            .append(goes_on)
            .write(true)
            .truncate(!goes_on)
            .open(&self.path)
            .map_err(refused)?;
        let mut size = if goes_on { have } else { 0 };
        let (begun, mut buffer) = (Instant::now(), vec![0; CHUNK]);
        loop {
            let count = response.read(&mut buffer).map_err(|e| Fault::Passing(cause(e)))?;
            if count == 0 {
                return Ok(());
            }
            size += count as u64;
            within(size, most, begun)?;
            file.write_all(&buffer[..count]).map_err(refused)?;
        }
    }

    pub(super) fn fill(&self, bytes: &[u8]) -> Result<()> {
        fs::write(&self.path, bytes).with_context(|| format!("cannot write {}", self.path.display()))
    }

    pub(super) fn digests(&self) -> Result<Digests> {
        digests(&self.path).with_context(|| format!("cannot read {}", self.path.display()))
    }

    /// Puts the part at its place, synced.
    pub(super) fn publish(&self, to: &Path) -> Result<()> {
        let done = File::open(&self.path).and_then(|file| file.sync_all()).and_then(|()| fs::rename(&self.path, to));
        done.with_context(|| format!("cannot put {} in its place", to.display()))
    }

    pub(super) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A file that is at its place already, if it has this digest.
pub(super) fn there(path: &Path, md5: &Md5Sum) -> Result<Option<Verified>> {
    match digests(path) {
        Ok(found) if found.md5 == *md5 => {
            Ok(Some(Verified { size: found.size, md5: found.md5, sha256: found.sha256, fetched: false }))
        }
        Ok(_) => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// A body of at most `most` bytes. `each` hears of every piece's size and may end it.
pub(super) fn small(
    mut response: Response,
    most: u64,
    mut each: impl FnMut(u64) -> Result<()>,
) -> Result<Vec<u8>, Fault> {
    let (begun, mut bytes, mut buffer) = (Instant::now(), Vec::new(), vec![0; CHUNK]);
    loop {
        let count = response.read(&mut buffer).map_err(|e| Fault::Passing(cause(e)))?;
        if count == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&buffer[..count]);
        each(count as u64).map_err(Fault::Final)?;
        within(bytes.len() as u64, most, begun)?;
    }
}

/// Refuses what is too long, or drips.
pub(super) fn within(size: u64, most: u64, begun: Instant) -> Result<(), Fault> {
    if size > most {
        return Err(Fault::Final(OtherBytes(format!("is longer than {most} bytes")).into()));
    }
    if begun.elapsed() > FILE {
        return Err(Fault::Final(anyhow!("took longer than {} minutes", FILE.as_secs() / 60)));
    }
    Ok(())
}

/// An error with all that caused it, on one line: the cause alone says what to do.
pub(super) fn cause(error: impl Into<anyhow::Error>) -> anyhow::Error {
    anyhow!("{:#}", error.into())
}

fn digests(path: &Path) -> io::Result<Digests> {
    hash(File::open(path)?, |e| e, |_| Ok(()))
}

/// Hashes all that there is to read. `each` hears of every piece's size and may end it.
pub(super) fn hash<E>(
    mut from: impl Read,
    broken: impl Fn(io::Error) -> E,
    mut each: impl FnMut(u64) -> Result<(), E>,
) -> Result<Digests, E> {
    let (mut md5, mut sha256, mut size, mut buffer) = (Md5::new(), Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        let count = from.read(&mut buffer).map_err(&broken)?;
        if count == 0 {
            return Ok(Digests { size, md5: md5.finalize().into(), sha256: sha256.finalize().into() });
        }
        size += count as u64;
        each(count as u64)?;
        md5.update(&buffer[..count]);
        sha256.update(&buffer[..count]);
    }
}
