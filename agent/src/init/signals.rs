//! Signals become messages: they are blocked in every thread, and one thread takes them off one by one.

use std::sync::mpsc::Sender;

use nix::sys::signal::{SigSet, Signal};

use super::Message;
use super::client::Request;
use super::event::{Event, Goal, Mode};
use crate::limits::SMALL_STACK;

const TAKEN: [Signal; 7] = [
    Signal::SIGCHLD,
    Signal::SIGHUP,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGPWR,
];

/// Takes signals in the background. Call it while there is one thread only, so that all later ones block them too.
///
/// # Errors
/// The kernel refuses the mask or the thread.
pub(super) fn listen(mode: Mode, inbox: Sender<Message>) -> anyhow::Result<()> {
    let signals = SigSet::from_iter(TAKEN);
    signals.thread_block()?;
    let take = move || {
        loop {
            let Ok(signal) = signals.wait() else { continue };
            if inbox.send(message(mode, signal)).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).stack_size(SMALL_STACK).spawn(take)?;
    Ok(())
}

/// PID 1 takes busybox's and the kernel's meanings: TERM and Ctrl-Alt-Del restart the machine, USR1, USR2 and a
/// failing power supply switch it off. HUP is every daemon's word for files that have changed.
fn message(mode: Mode, signal: Signal) -> Message {
    Message::Event(match (mode, signal) {
        (_, Signal::SIGCHLD) => return Message::ChildEnded,
        // Nobody waits for the reply.
        (_, Signal::SIGHUP) => Event::Asked { ticket: 0, sender: 0, request: Request::Reload },
        (Mode::Init, Signal::SIGTERM | Signal::SIGINT) => Event::Shutdown(Goal::Reboot),
        (Mode::Init, _) => Event::Shutdown(Goal::Poweroff),
        (Mode::Daemon, _) => Event::Shutdown(Goal::Leave),
    })
}
