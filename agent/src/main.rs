//! `mk-agent`: the one program in the image. As PID 1 it brings the machine up and supervises; as `mk-agent run UNIT`
//! it is one of the supervised units; otherwise it is the command line of a running node.
//! Exit codes: 0 done, 1 failed, 2 not understood, 3 `status` or `doctor` found something wrong.

use std::process::ExitCode;

fn main() -> ExitCode {
    mk_agent::run()
}
