//! What the supervisor hears and what it does about it: two closed enums, and nothing else passes between the deciding
//! and the acting part.

use std::fmt;

use nix::sys::signal::Signal;
use wire::unit::size_for_people;

use super::client::{Reply, Request};
use crate::log::Level;
use crate::units::Definitions;

/// Which supervisor this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// PID 1: all processes are ours, and so is the machine.
    Init,
    /// Under another init, which owns both.
    Daemon,
}

/// What is to become of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Restart it.
    Reboot,
    /// Switch it off.
    Poweroff,
    /// Nothing: only this supervisor ends.
    Leave,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reboot => "reboot",
            Self::Poweroff => "power-off",
            Self::Leave => "end of the supervisor",
        })
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// With this status.
    Status(i32),
    /// By this signal, which may be one without a name.
    Signal(i32),
    /// Killed by the kernel: it had used up its limit in bytes, or without one the machine's memory.
    OutOfMemory(Option<u64>),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
            Self::OutOfMemory(Some(limit)) => write!(f, "out of memory: limit {}", size_for_people(*limit)),
            Self::OutOfMemory(None) => f.write_str("out of memory: the machine has none left"),
        }
    }
}

/// What the supervisor hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// Time has passed.
    Tick,
    /// Answer to [`Action::Spawn`]: process id, or why there is none.
    Started {
        /// Number of the unit.
        unit: usize,
        /// The command that it was.
        step: usize,
        /// Process id or error.
        pid: Result<i32, String>,
    },
    /// A child has ended.
    Exited {
        /// Its process id.
        pid: i32,
        /// How.
        exit: Exit,
    },
    /// A unit's process has made the file by which it is ready.
    Ready {
        /// Its process id.
        pid: i32,
    },
    /// There is no child left.
    Childless,
    /// Somebody asks for something.
    Asked {
        /// Goes into the reply.
        ticket: u64,
        /// Process id of the asker.
        sender: i32,
        /// What is asked for.
        request: Request,
    },
    /// Answer to [`Action::ReadUnits`].
    UnitsRead {
        /// Goes into the reply.
        ticket: u64,
        /// What the units are to be from now on.
        found: Definitions,
    },
    /// A signal asks for this.
    Shutdown(Goal),
    /// Answer to [`Action::Sync`].
    Synced,
    /// The kernel did not do it, and why.
    ShutdownFailed(String),
}

/// What the supervisor does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Start a command of a unit; [`Event::Started`] answers.
    Spawn {
        /// Number of the unit.
        unit: usize,
        /// Index of its preparatory command, or their number for the unit's own command.
        step: usize,
    },
    /// Signal a process group.
    Signal {
        /// Process id of its leader.
        pid: i32,
        /// The signal.
        signal: Signal,
    },
    /// Kill a process, its group, and where its unit's kill mode says so all of its control group.
    Kill {
        /// Its process id.
        pid: i32,
    },
    /// Signal every process but this one.
    SignalAll(Signal),
    /// Write dirty pages in the background; [`Event::Synced`] answers.
    Sync,
    /// Do it, in the background; [`Event::ShutdownFailed`] answers if the kernel refuses.
    Finish(Goal),
    /// Answer a request.
    Reply {
        /// From [`Event::Asked`].
        ticket: u64,
        /// The answer.
        reply: Reply,
    },
    /// Answer with the last lines of a unit.
    ReplyLines {
        /// From [`Event::Asked`].
        ticket: u64,
        /// Name of the unit.
        unit: String,
    },
    /// Read the unit files; [`Event::UnitsRead`] answers.
    ReadUnits {
        /// From [`Event::Asked`].
        ticket: u64,
    },
    /// Write a line of the supervisor's own.
    Log(Level, String),
}
