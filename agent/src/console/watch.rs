//! Waits until a unit publishes something, until somebody switches to another virtual terminal, or until it is time to look
//! anyway.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Names the virtual terminal in front, and wakes who waits for another one to be.
const IN_FRONT: &str = "/sys/class/tty/tty0/active";

/// A watch over the folder of the state files, and over the terminal in front.
pub(super) struct Watch {
    inotify: Inotify,
    /// Absent on a machine without virtual terminals.
    in_front: Option<File>,
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
        Ok(Self { inotify, in_front: File::open(IN_FRONT).inspect(attend).ok() })
    }

    /// Returns when something was published, when another terminal came to the front, or after `longest`; says whether
    /// it was the terminal.
    pub(super) fn wait(&self, longest: Duration) -> bool {
        let mut fds = vec![PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.in_front.iter().map(|file| PollFd::new(file.as_fd(), PollFlags::POLLPRI)));
        // An interrupted wait only means that we look once more.
        _ = poll(&mut fds, PollTimeout::try_from(longest).unwrap_or(PollTimeout::NONE));
        let switched = fds.get(1).is_some_and(|fd| fd.any().unwrap_or_default());
        // Several changes are shown at once.
        while self.inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        self.in_front.iter().filter(|_| switched).for_each(attend);
        switched
    }
}

/// Reads the file, without which the next change does not wake us.
fn attend(mut file: &File) {
    let mut name = String::new();
    // What it names does not matter, nor why it cannot be read: then the page is painted anew after a while.
    _ = file.rewind().and_then(|()| file.read_to_string(&mut name));
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
