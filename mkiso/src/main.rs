//! `mkiso`: builds the microkernel's images. Parses the command line and calls the library.
//! Exit code 0 on success, 1 on failure with the reason on stderr, 2 on a wrong command line, 130 after Ctrl-C.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds Razor Microkernel images.
#[derive(Parser)]
#[command(name = "mkiso", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Assemble a Core-layout base ISO from a distribution's packages.
    Base(mkiso::base::Args),
    /// Build an image from a base and the agent.
    Build(mkiso::build::Args),
    /// Take the Ruby gems of gem-list/gem.list, and pin them.
    Gems(mkiso::gems::pins::Args),
    /// Fit an image to a site.
    Customize(mkiso::customize::Args),
    /// Show what an image is, and what a site has put into it.
    Inspect(mkiso::inspect::Args),
    /// Compare an image with its manifest, and with its base.
    Verify(mkiso::verify::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = mkiso::interrupt::catch().and_then(|()| match cli.command {
        Command::Base(args) => mkiso::base::run(&args),
        Command::Build(args) => mkiso::build::run(&args),
        Command::Gems(args) => mkiso::gems::pins::run(&args),
        Command::Customize(args) => mkiso::customize::run(&args),
        Command::Inspect(args) => mkiso::inspect::run(&args),
        Command::Verify(args) => mkiso::verify::run(&args),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mkiso: {error:#}");
            ExitCode::FAILURE
        }
    }
}
