//! `mk-agent`: the one program in the image. As PID 1 it brings the machine up and supervises; as `mk-agent run UNIT`
//! it is one of the supervised units; otherwise it is the command line of a running node.
//! Exit codes: 0 done, 1 failed, 2 not understood, 3 `status` or `doctor` found something wrong.

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

fn main() -> ExitCode {
    // The kernel hands PID 1 whatever it did not understand of its own line: those words are not for us.
    if std::process::id() == 1 {
        init::as_pid_1();
    }
    cli::run(std::env::args_os().skip(1))
}
