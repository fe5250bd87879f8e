//! `cargo xtask build-iso | boot | test | fuzz | bench`: builds the programs and runs them. It knows which program to call
//! with what, and what a machine needs for that; everything else is the programs' own business.

mod bench;
mod boot;
mod elsewhere;
mod fuzz;
mod images;
mod limits;
mod packages;
mod parts;
mod place;
mod process;
mod programs;
mod report;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, boots, tests and measures Razor Microkernel.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    /// Install nothing: name what is missing and the command that installs it.
    #[arg(long, global = true)]
    no_install: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the image for real machines: ISO, and kernel and initrd for PXE.
    BuildIso(images::Args),
    /// Build everything, start a server, boot the ISO in QEMU and show the node that appears.
    Boot(boot::Args),
    /// Run every test.
    Test(test::Args),
    /// Look for inputs that a parser does not stand.
    Fuzz(fuzz::Args),
    /// Measure, each figure against its goal and its peer.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let Err(error) = run(Cli::parse()) else { return ExitCode::SUCCESS };
    eprintln!("\nerror: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  caused by: {cause}");
    }
    ExitCode::FAILURE
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let install = !cli.no_install;
    match cli.command {
        Command::BuildIso(args) => images::run(&args, install),
        Command::Boot(args) => boot::run(&args, install),
        Command::Test(args) => test::run(&args, install),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Bench(args) => bench::run(&args, install),
    }
}
