//! Looks at the head of an extension: is it a squashfs, and is all of it there? A root file system in RAM that overflows
//! while the kernel unpacks it cuts files without a word, and a cut squashfs mounts but answers reads with errors.

use anyhow::{bail, ensure};

/// Size of a squashfs superblock in bytes.
pub(crate) const SUPERBLOCK: usize = 96;
/// First bytes of a squashfs.
const MAGIC: &[u8] = b"hsqs";
/// Where the major version stands, two bytes.
const MAJOR: usize = 28;
/// Where the number of bytes used stands, eight bytes.
const BYTES_USED: usize = 40;

/// Checks a file by its first bytes and its length.
///
/// # Errors
/// What is wrong with it, without its name.
pub(crate) fn check(head: &[u8], length: u64) -> anyhow::Result<()> {
    ensure!(head.len() >= SUPERBLOCK, "it has {length} bytes, less than a squashfs has");
    ensure!(head.starts_with(MAGIC), "it is no squashfs");
    let version = number(head, MAJOR, 2);
    ensure!(version == 4, "it is a squashfs of version {version}; kernels mount version 4 only");
    let used = number(head, BYTES_USED, 8);
    if used > length {
        bail!("it is cut: {length} of {used} bytes are there. The machine may have too little memory for this image");
    }
    Ok(())
}

fn number(head: &[u8], at: usize, size: usize) -> u64 {
    head.iter().skip(at).take(size).rev().fold(0, |n, &byte| n << 8 | u64::from(byte))
}

/// For the fuzzer: the head of a file.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if check(bytes, bytes.len() as u64).is_ok() {
        assert!(number(bytes, BYTES_USED, 8) <= bytes.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn superblock(version: u8, used: u64) -> Vec<u8> {
        let mut head = vec![0; SUPERBLOCK];
        head[..4].copy_from_slice(MAGIC);
        head[MAJOR] = version;
        head[BYTES_USED..BYTES_USED + 8].copy_from_slice(&used.to_le_bytes());
        head
    }

    #[test]
    fn what_is_whole_passes() {
        check(&superblock(4, 4096), 4096).unwrap();
        check(&superblock(4, 4000), 4096).unwrap();
    }

    #[test]
    fn what_is_wrong_is_said() {
        let says = |head: &[u8], length, text| assert!(check(head, length).unwrap_err().to_string().contains(text));
        says(&superblock(4, 4097), 4096, "4096 of 4097 bytes");
        says(&superblock(3, 10), 4096, "version 3");
        says(&[0; SUPERBLOCK], 4096, "no squashfs");
        says(b"hsqs", 4, "4 bytes");
    }

    proptest! {
        #[test]
        fn never_panics(head in prop::collection::vec(any::<u8>(), 0..120), length: u64) {
            let _ = check(&head, length);
        }
    }
}
