//! Times and sizes, each with its reason.

#[cfg(feature = "fetch")]
pub(crate) use fetch::*;

/// Largest Debian package that is read, in bytes. A kernel is about 70 MB, the largest firmware package about 130 MB.
#[cfg(feature = "build")]
pub const MAX_DEB: u64 = 512 * 1024 * 1024;
/// Largest sum of unpacked bytes of one Debian package. A kernel's modules are about 400 MB.
#[cfg(feature = "build")]
pub const MAX_DEB_UNPACKED: u64 = 2 * 1024 * 1024 * 1024;
/// Largest `provides.db.gz`. That of Tiny Core 17 has some 3 MB.
#[cfg(feature = "import")]
pub(crate) const MAX_PROVIDES_PACKED: u64 = 64 * 1024 * 1024;
/// Largest `provides.db`.
#[cfg(feature = "import")]
pub(crate) const MAX_PROVIDES: u64 = 512 * 1024 * 1024;
/// Largest signed index in bytes: some 25 000 extensions; a node keeps it in memory.
#[cfg(feature = "signed")]
pub const MAX_INDEX: u64 = 4 * 1024 * 1024;
/// Largest signature beside it in bytes: four lines.
#[cfg(feature = "signed")]
pub const MAX_SIGNATURE: u64 = 4096;
/// Seconds without a byte after which a download of packages counts as dead.
#[cfg(feature = "build")]
pub(crate) const DOWNLOAD_TIMEOUT_S: u32 = 30;
/// Last bytes of a failed tool's error output that are shown.
#[cfg(feature = "build")]
pub(crate) const STDERR_TAIL: usize = 2000;
/// How often a file that is exchanged while it is read is read anew for one request.
#[cfg(feature = "serve")]
pub(crate) const EXCHANGES: u32 = 3;

/// Downloads from mirrors.
#[cfg(feature = "fetch")]
mod fetch {
    use std::time::Duration;

    /// Until a mirror must have taken a connection.
    pub(crate) const CONNECT: Duration = Duration::from_secs(10);
    /// Longest silence within an answer. Mirrors are run by volunteers, and some are slow.
    pub(crate) const SILENCE: Duration = Duration::from_secs(30);
    /// Longest time for one file, so that a mirror that drips cannot hold a build for ever.
    pub(crate) const FILE: Duration = Duration::from_mins(20);
    /// Bytes that are read at once.
    pub(crate) const CHUNK: usize = 64 * 1024;
    /// Tries for one file at one mirror.
    pub(crate) const TRIES: u32 = 3;
    /// Wait before another try; doubled for each further one.
    pub(crate) const PAUSE: Duration = Duration::from_millis(500);
    /// Redirections that are followed.
    pub(crate) const REDIRECTS: usize = 5;
    /// Largest `.dep`, `.info`, `.list` or `.md5.txt`. The longest file list of Tiny Core 17 has 1.1 MB.
    pub(crate) const MAX_TEXT: u64 = 4 * 1024 * 1024;
    /// Largest extension. The largest of Tiny Core 17 has some 300 MB.
    pub(crate) const MAX_EXTENSION: u64 = 1024 * 1024 * 1024;
    /// Most extensions of one closure.
    pub(crate) const MAX_CLOSURE: usize = 10_000;
    /// Characters of a wrong answer that are shown.
    pub(crate) const SHOWN: usize = 60;
}
