//! Digests of a mirror's files, taken while they are received: nothing is kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::{DAMAGED, Fault, Mirror, Verified, body, other_digest};
use crate::limits::MAX_EXTENSION;

/// What hashing may take, all files together.
#[derive(Debug)]
pub struct Allowance<'a> {
    bytes: u64,
    left: u64,
    time: Duration,
    begun: Instant,
    stop: &'a AtomicBool,
}

impl<'a> Allowance<'a> {
    /// So many bytes, so much time from now; nothing more once `stop` is set.
    #[must_use]
    pub fn new(bytes: u64, time: Duration, stop: &'a AtomicBool) -> Self {
        Self { bytes, left: bytes, time, begun: Instant::now(), stop }
    }

    /// Takes bytes off.
    ///
    /// # Errors
    /// There is nothing left, or nobody waits for it any more.
    pub(crate) fn spend(&mut self, bytes: u64) -> Result<()> {
        ensure!(!self.stop.load(Ordering::Relaxed), "nobody waits for it any more");
        let Some(left) = self.left.checked_sub(bytes) else {
            bail!("the extensions have more than {} MiB together", self.bytes / 1024 / 1024)
        };
        ensure!(self.begun.elapsed() <= self.time, "it took longer than {} minutes", self.time.as_secs() / 60);
        self.left = left;
        Ok(())
    }
}

impl Mirror {
    /// A small text, as [`Mirror::text`] gives it, whose bytes and time are taken off the allowance.
    ///
    /// # Errors
    /// As for [`Mirror::text`]; the allowance is spent.
    pub fn text_within(&self, path: &str, allowance: &mut Allowance<'_>) -> Result<Option<String>> {
        self.small(path, |count| allowance.spend(count))
    }

    /// Digests of the file at `path`, verified by `path.md5.txt` of the same mirror; `None` if the mirror has no such file.
    ///
    /// # Errors
    /// As for [`Mirror::file`]; the allowance is spent.
    pub fn hash(&self, path: &str, allowance: &mut Allowance<'_>) -> Result<Option<Verified>> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let url = self.url(path);
        let mut wrong = String::new();
        // The second time for a mirror that changed between checksum and file.
        for _ in 0..2 {
            let Some(md5) = self.digest(path, name, |count| allowance.spend(count))? else { return Ok(None) };
            let received = self.tries(&url, || {
                let Some(response) = self.get(&url, 0)? else { return Ok(None) };
                let (begun, mut size) = (Instant::now(), 0);
                let each = |count| {
                    size += count;
                    body::within(size, MAX_EXTENSION, begun)?;
                    allowance.spend(count).map_err(Fault::Final)
                };
                body::hash(response, |e| Fault::Passing(body::cause(e)), each).map(Some)
            })?;
            let Some(found) = received else { bail!("{url}: the mirror has the checksum, but not the file") };
            if found.md5 == md5 {
                return Ok(Some(Verified { size: found.size, md5, sha256: found.sha256, fetched: true }));
            }
            wrong = other_digest(&url, &found, &md5);
        }
        bail!("{wrong}. {DAMAGED}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_time_are_bounded_and_a_stop_is_heeded() {
        let stop = AtomicBool::new(false);
        let mut allowance = Allowance::new(10, Duration::from_secs(3600), &stop);
        allowance.spend(4).unwrap();
        allowance.spend(6).unwrap();
        assert!(allowance.spend(1).unwrap_err().to_string().contains("together"));
        let begun = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let mut late = Allowance { begun, ..Allowance::new(10, Duration::ZERO, &stop) };
        assert!(late.spend(1).unwrap_err().to_string().contains("longer than 0 minutes"));
        let mut stopped = Allowance::new(10, Duration::from_secs(3600), &stop);
        stop.store(true, Ordering::Relaxed);
        assert!(stopped.spend(1).unwrap_err().to_string().contains("nobody waits"));
    }
}
