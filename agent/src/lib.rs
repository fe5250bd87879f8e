//! `mk-agent`, the one program in the image, as a library of one function: so can what fuzzes its parsers be built with it.

mod checkin;
mod cli;
mod cmdline;
mod console;
mod control;
mod devices;
mod exec;
mod ext;
mod facts;
mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gems;
mod ifreq;
mod init;
mod light;
mod limits;
mod log;
mod loopback;
mod mirror;
mod net;
mod nic;
mod random;
mod settings;
mod state;
mod text;
mod tls;
mod tree;
mod units;

use std::process::ExitCode;

/// Is the program: PID 1, one of the supervised units, or a command of a running node.
#[must_use]
pub fn run() -> ExitCode {
    // The kernel hands PID 1 whatever it did not understand of its own line: those words are not for us.
    if std::process::id() == 1 {
        init::as_pid_1();
    }
    cli::run(std::env::args_os().skip(1))
}
