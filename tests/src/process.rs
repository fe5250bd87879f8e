//! Programs that must not outlive us.

use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// Makes a child inherit descriptors and die when the thread that starts it does.
pub fn die_with_parent(command: &mut Command, inherited: Vec<RawFd>) {
    let prepare = move || {
        for fd in &inherited {
            // SAFETY: the parent keeps the descriptor open until the child has started.
            let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        set_pdeathsig(Signal::SIGKILL)?;
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made, no allocation and no lock.
    unsafe { command.pre_exec(prepare) };
}
