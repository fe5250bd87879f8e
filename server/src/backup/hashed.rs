//! A file of known length that is hashed while it is read.

use std::io::{self, Read};

use crate::image::metadata::{Algorithm, Hasher};

/// Reads so many bytes of a file, and no more.
pub(super) struct Hashed<R> {
    source: R,
    left: u64,
    hasher: Hasher,
}

impl<R: Read> Hashed<R> {
    /// Of the length in bytes that the file should have.
    pub(super) fn new(source: R, length: u64) -> Self {
        Self { source, left: length, hasher: Algorithm::Sha256.hasher() }
    }

    /// SHA-256 (hex) of what was read; none where the file was shorter. One that grows, as a log does, is read up to its length.
    pub(super) fn digest(self) -> Option<String> {
        (self.left == 0).then(|| self.hasher.finish())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.source.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.hasher.update(buffer.get(..n).unwrap_or_default());
        self.left -= n as u64;
        Ok(n)
    }
}
