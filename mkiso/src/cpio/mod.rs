//! The kernel's initramfs format: archives in cpio "newc" form, plain or gzip'd, one after the other.
//!
//! [`newc`] reads one archive, [`initrd`] a whole initrd file, [`tree`] what the kernel makes of it, [`write`] writes.
//! All of it works on byte slices in memory; sizes are bytes.

pub mod initrd;
pub mod newc;
pub mod tree;
pub mod write;

/// Bits of a mode that hold the file type.
pub const TYPE_MASK: u32 = 0o170_000;
/// File type of a directory.
pub const TYPE_DIR: u32 = 0o040_000;
/// File type of a regular file.
pub const TYPE_FILE: u32 = 0o100_000;
/// File type of a symbolic link.
pub const TYPE_LINK: u32 = 0o120_000;

/// File type of a block device.
pub const TYPE_BLOCK: u32 = 0o060_000;
/// File type of a character device.
pub const TYPE_CHARACTER: u32 = 0o020_000;
/// File type of a FIFO.
pub const TYPE_FIFO: u32 = 0o010_000;

/// Magic number at the start of each newc header.
const MAGIC: &[u8; 6] = b"070701";
/// Name of the member that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";
/// Length of a newc header.
const HEADER_LEN: usize = 110;
/// Headers, names and data start on multiples of this.
pub const ALIGN: usize = 4;

/// Appends zeros until `bytes` ends on a 4 byte boundary, as the kernel wants it between archives.
pub fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
}
