//! Writes a tree as the kernel takes it: one cpio archive, and bytes in one gzip member.

use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow};
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use libdeflater::{CompressionLvl, Compressor};
use tce_mirror::tree::{Kind, Tree};

use crate::cpio::write::Archive;

/// Highest level of libdeflate: the smallest gzip there is, and unpacked as fast as any.
const LEVEL: i32 = 12;

/// Header of a gzip member: no name, no time, made on no particular system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff];
/// Most bytes of one deflate block that is stored.
const STORED_BLOCK: usize = 65_535;

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

/// Bytes in one gzip member: the first `shrinking` ones compressed, all behind them stored. What is compressed already
/// costs a kernel nearly as long to inflate as if it were not, and gains nothing: the start of a kernel with 13 MB of
/// compressed modules in its initrd is 0.7 s shorter so (2 ns an instruction).
///
/// # Errors
/// The compressor fails, which it has no reason to.
pub fn gzip_stored(plain: &[u8], shrinking: usize) -> Result<Vec<u8>> {
    let (shrinking, stored) = plain.split_at_checked(shrinking).context("more is to be compressed than is there")?;
    let mut packed = DeflateEncoder::new(GZIP_HEADER.to_vec(), Compression::best());
    packed.write_all(shrinking).context("cannot compress the initrd")?;
    // Ends the last block at a whole byte, without saying that it is the last.
    packed.flush().context("cannot compress the initrd")?;
    let mut member = packed.get_ref().clone();
    for block in stored.chunks(STORED_BLOCK) {
        stored_block(&mut member, block, false)?;
    }
    stored_block(&mut member, &[], true)?;
    let mut crc = Crc::new();
    crc.update(plain);
    member.extend(crc.sum().to_le_bytes());
    member.extend(crc.amount().to_le_bytes());
    Ok(member)
}

fn stored_block(member: &mut Vec<u8>, bytes: &[u8], last: bool) -> Result<()> {
    let length = u16::try_from(bytes.len()).context("a stored block is too long")?;
    member.push(u8::from(last));
    member.extend(length.to_le_bytes());
    member.extend((!length).to_le_bytes());
    member.extend(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_member_with_stored_blocks_is_inflated_whole(
            plain in proptest::collection::vec(any::<u8>(), 0..300),
            repeat in 1usize..600,
            at in any::<proptest::sample::Index>(),
        ) {
            let plain = plain.repeat(repeat);
            let member = gzip_stored(&plain, at.index(plain.len() + 1)).unwrap();
            let mut inflated = Vec::new();
            flate2::bufread::GzDecoder::new(member.as_slice()).read_to_end(&mut inflated).unwrap();
            prop_assert_eq!(inflated, plain);
        }
    }

    #[test]
    fn more_than_there_is_cannot_be_compressed() {
        assert!(gzip_stored(b"x", 2).is_err());
    }
}
