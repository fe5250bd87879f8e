//! Writes a tree as the kernel takes it: one cpio archive, and bytes in one gzip member.

use anyhow::{Context as _, Result, anyhow};
use libdeflater::{CompressionLvl, Compressor};
use tce_mirror::tree::{Kind, Tree};

use crate::cpio::write::Archive;

/// Highest level of libdeflate: the smallest gzip there is, and unpacked as fast as any.
const LEVEL: i32 = 12;

/// The archive; every time in it is `time`, seconds since 1970.
///
/// # Errors
/// A path that no archive can have.
pub fn archive(tree: &Tree, time: u32) -> Result<Vec<u8>> {
    let mut archive = Archive::new(time);
    for (path, node) in tree.iter() {
        let mode = u32::from(node.mode);
        match &node.kind {
            Kind::Dir => archive.dir(path, mode),
            Kind::File(bytes) => archive.file(path, mode, bytes),
            Kind::Link(target) => archive.link(path, target),
        }
        .with_context(|| format!("cannot add {path} to the initrd"))?;
    }
    Ok(archive.finish())
}

/// Bytes in one gzip member.
///
/// # Errors
/// The compressor fails, which it has no reason to.
pub fn gzip(plain: &[u8]) -> Result<Vec<u8>> {
    let level = CompressionLvl::new(LEVEL).map_err(|e| anyhow!("libdeflate has no level {LEVEL}: {e:?}"))?;
    let mut compressor = Compressor::new(level);
    let mut packed = vec![0; compressor.gzip_compress_bound(plain.len())];
    let length = compressor.gzip_compress(plain, &mut packed).context("libdeflate cannot compress the initrd")?;
    packed.truncate(length);
    Ok(packed)
}
