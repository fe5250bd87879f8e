//! Member of a Linux software RAID: the superblock of metadata version 1.2 of a mirror with one member, complete and clean,
//! which `mdadm --assemble --scan` starts. Layout by the kernel's `include/uapi/linux/raid/md_p.h`; numbers are little-endian.

use super::put;

/// Where the superblock lies in the member, in bytes.
pub(super) const AT: usize = 8 * 512;
/// First words of a superblock.
const MAGIC: u32 = 0xa92b_4efc;
/// Where the member's content begins, in sectors.
const DATA_AT: u64 = 2048;
/// Bytes that the checksum covers: the superblock and the roles of its members, of which there is one.
const COVERED: usize = 256 + 4;

/// The superblock of a member of so many sectors.
pub(super) fn superblock(sectors: u64) -> [u8; 512] {
    let mut block = [0; 512];
    put(&mut block, 0, &MAGIC.to_le_bytes());
    put(&mut block, 4, &1_u32.to_le_bytes()); // version
    put(&mut block, 16, b"razor-lure-array"); // id of the array
    put(&mut block, 32, b"lure:0"); // its name
    put(&mut block, 64, &1_u64.to_le_bytes()); // made
    put(&mut block, 72, &1_u32.to_le_bytes()); // level: mirror
    put(&mut block, 80, &(sectors - DATA_AT).to_le_bytes()); // used of each member
    put(&mut block, 92, &1_u32.to_le_bytes()); // members
    put(&mut block, 128, &DATA_AT.to_le_bytes());
    put(&mut block, 136, &(sectors - DATA_AT).to_le_bytes());
    put(&mut block, 144, &(AT as u64 / 512).to_le_bytes());
    put(&mut block, 168, b"razor-lure-disk0"); // id of the member
    put(&mut block, 192, &1_u64.to_le_bytes()); // changed
    put(&mut block, 200, &1_u64.to_le_bytes()); // changes so far
    put(&mut block, 208, &u64::MAX.to_le_bytes()); // nothing is left to be synchronised
    put(&mut block, 220, &2_u32.to_le_bytes()); // roles listed: of this member, and of one that is no member
    put(&mut block, 258, &u16::MAX.to_le_bytes());
    let sum = checksum(&block);
    put(&mut block, 216, &sum.to_le_bytes());
    block
}

/// Sum of all words, with what overflowed added again.
fn checksum(block: &[u8]) -> u32 {
    let word = |bytes: &[u8]| u64::from(u32::from_le_bytes(bytes.try_into().unwrap()));
    let sum: u64 = block[..COVERED].chunks_exact(4).map(word).sum();
    u32::try_from((sum & 0xffff_ffff) + (sum >> 32)).unwrap()
}
