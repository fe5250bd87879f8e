//! Sizes and times of the builder, in one place.

use std::time::Duration;

pub use tce_mirror::limits::{MAX_DEB, MAX_DEB_UNPACKED};

/// Largest gem, in bytes. The largest ones carry compiled libraries of some 30 MB.
pub const MAX_GEM: u64 = 64 * 1024 * 1024;
/// Largest metadata of a gem, unpacked, in bytes. Real ones are some 10 KB.
pub const MAX_GEM_METADATA: u64 = 4 * 1024 * 1024;
/// Most gems of one image.
pub const MAX_GEMS: usize = 1000;
/// How often a download's size is read for the progress bar.
pub const PROGRESS_TICK: Duration = Duration::from_millis(100);
/// How often a download that came wrong is started again before the build gives up.
pub const DOWNLOAD_ATTEMPTS: u32 = 2;
/// Largest ISO of Tiny Core that is downloaded, in bytes. The largest of 17.0 has some 300 MB.
pub const MAX_BASE: u64 = 1024 * 1024 * 1024;
/// Largest file within an ISO that is read, in bytes.
pub const MAX_ISO_FILE: u64 = 512 * 1024 * 1024;
/// Largest size of a base's initrd when unpacked, in bytes. Tiny Core's is 40 MB.
pub const MAX_INITRD_UNPACKED: u64 = 1024 * 1024 * 1024;
/// Largest kernel module, unpacked, in bytes. The largest, without what debuggers need, have some 5 MB.
pub const MAX_MODULE: u64 = 64 * 1024 * 1024;
/// Largest root file system that is handed in, in bytes, as it is packed. Tiny Core's are 3 to 30 MB.
pub const MAX_ROOTFS: u64 = 256 * 1024 * 1024;
/// Largest slot for a site's settings, in bytes.
pub const MAX_SITE_SLOT: u64 = 64 * 1024 * 1024;
/// Longest span of a boot line that a site may fill, in bytes. Kernels take lines of 2048.
pub const MAX_BOOT_LINE: u64 = 4096;
/// Largest file of public keys or agent that is read, in bytes.
pub const MAX_INPUT: u64 = 64 * 1024 * 1024;
/// Bytes that are read at a time to make a file's digest.
pub const HASH_BUFFER: usize = 256 * 1024;
/// Attempts to remove a folder that other threads are still writing into when a signal ends the program.
pub const REMOVALS: usize = 100;
