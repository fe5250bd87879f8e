//! Member of a Linux software RAID: the superblock of metadata version 0.90 of a mirror with one member, complete and clean,
//! which a kernel that may starts by itself in a partition of type 0xfd, and `mdadm --assemble --scan` in any. Layout by the
//! kernel's `include/uapi/linux/raid/md_p.h`, in words of four bytes; numbers are little-endian here.

use super::put;

/// Bytes of the superblock.
pub(super) const BYTES: usize = 4096;
/// It lies in the last whole piece of this many bytes.
const PIECE: usize = 64 * 1024;
/// First word of a superblock.
const MAGIC: u32 = 0xa92b_4efc;
/// The member's role: it has one, and is in step.
const ACTIVE_AND_IN_STEP: u32 = 0b110;
/// Where the checksum is.
const SUM: usize = 38;
/// Where the array's members begin, and this one's own entry.
const MEMBERS: [usize; 2] = [128, 992];

/// Where the superblock lies in a member of so many bytes.
pub(super) fn at(bytes: usize) -> usize {
    bytes / PIECE * PIECE - PIECE
}

/// The superblock of a member of so many bytes.
pub(super) fn superblock(bytes: usize) -> [u8; BYTES] {
    let mut block = [0; BYTES];
    let mut word = |index: usize, value: u32| put(&mut block, 4 * index, &value.to_le_bytes());
    word(0, MAGIC);
    word(2, 90); // version 0.90
    for (index, id) in [(5, 0x6c75_7265), (13, 1), (14, 2), (15, 3)] {
        word(index, id); // of the array
    }
    word(6, 1); // made
    word(7, 1); // level: mirror
    word(8, u32::try_from(at(bytes) / 1024).unwrap()); // used of each member, in KiB
    for count in [9, 10, 34, 35] {
        word(count, 1); // members: listed, wanted, active, working
    }
    word(32, 1); // changed
    word(33, 1); // clean
    word(39, 1); // changes so far
    word(43, u32::MAX); // nothing is left to be synchronised
    for member in MEMBERS {
        word(member + 4, ACTIVE_AND_IN_STEP);
    }
    let sum = checksum(&block);
    put(&mut block, 4 * SUM, &sum.to_le_bytes());
    block
}

/// Sum of all words, with what overflowed added again.
fn checksum(block: &[u8]) -> u32 {
    let word = |bytes: &[u8]| u64::from(u32::from_le_bytes(bytes.try_into().unwrap()));
    let sum: u64 = block.chunks_exact(4).map(word).sum();
    u32::try_from((sum & 0xffff_ffff) + (sum >> 32)).unwrap()
}
