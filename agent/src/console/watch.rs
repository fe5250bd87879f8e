//! Waits until a unit publishes something, or until it is time to look anyway.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// A watch over the folder of the state files.
pub(super) struct Watch {
    inotify: Inotify,
}

impl Watch {
    /// Starts watching; the folder is created if it is not there yet.
    ///
    /// # Errors
    /// Names the folder.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let failed = || format!("cannot watch {}", folder.display());
        std::fs::create_dir_all(folder).with_context(failed)?;
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).with_context(failed)?;
        // State files are replaced by rename.
        inotify.add_watch(folder, AddWatchFlags::IN_MOVED_TO).with_context(failed)?;
        Ok(Self { inotify })
    }

    /// Returns when something was published, or after `longest`.
    pub(super) fn wait(&self, longest: Duration) {
        let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        // An interrupted wait only means that we look once more.
        _ = poll(&mut fds, PollTimeout::try_from(longest).unwrap_or(PollTimeout::NONE));
        // Several changes are shown at once.
        while self.inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_renamed_file_ends_the_wait() {
        let dir = tempfile::tempdir().unwrap();
        let watch = Watch::open(dir.path()).unwrap();
        std::fs::write(dir.path().join(".new"), "x").unwrap();
        std::fs::rename(dir.path().join(".new"), dir.path().join("net.json")).unwrap();
        let begin = Instant::now();
        watch.wait(Duration::from_secs(60));
        assert!(begin.elapsed() < Duration::from_secs(30));
        let begin = Instant::now();
        watch.wait(Duration::from_millis(20));
        assert!(begin.elapsed() >= Duration::from_millis(20), "all events were taken");
    }
}
