//! Entry point: reads the command line and hands over.

use std::process::ExitCode;

use clap::Parser as _;
use mk_server::cli::args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    match mk_server::cli::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if mk_server::cli::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mk-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}
