//! `tce-mirror`: copies Tiny Core extensions from mirrors. Parses the command line and calls the library.
//! Exit code 0 on success, 1 on failure with the reason on stderr, 2 on a wrong command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use tce_mirror::fetch::Mirror;
use tce_mirror::plan;
use tce_mirror::sync::{self, Missing, Repository};

/// Works with Tiny Core extensions and their mirrors.
#[derive(Parser)]
#[command(name = "tce-mirror", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Copy extensions with all that they depend on into a folder that can be served as a mirror.
    Sync(Sync),
}

#[derive(clap::Args)]
struct Sync {
    /// Mirror; give it again for others that are asked when one fails.
    #[arg(long = "from", value_name = "URL", required = true)]
    from: Vec<String>,
    /// Tiny Core's release.
    #[arg(long, default_value = "17.x")]
    release: String,
    /// Architecture.
    #[arg(long, default_value = "x86_64")]
    arch: String,
    /// Release of the kernel, for names with `KERNEL`.
    #[arg(long, value_name = "RELEASE")]
    kernel: String,
    /// Folder for the copy.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Extensions, with or without `.tcz`.
    #[arg(required = true)]
    names: Vec<String>,
}

fn main() -> ExitCode {
    let Command::Sync(args) = Cli::parse().command;
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tce-mirror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Sync) -> Result<()> {
    let mirrors = args.from.iter().map(|url| Mirror::new(url)).collect::<Result<Vec<_>>>()?;
    let repository = Repository { release: args.release.clone(), arch: args.arch.clone(), kernel: args.kernel.clone() };
    let mut wanted = Vec::new();
    for text in &args.names {
        let name = plan::name(text, &args.kernel);
        wanted.push(name.ok_or_else(|| anyhow::anyhow!("`{text}` cannot be the name of an extension"))?);
    }
    let copy = sync::run(&mirrors, &repository, &wanted, &args.out, |line| eprintln!("{line}"))?;
    let missing: Vec<String> = copy
        .missing
        .iter()
        .map(|(name, Missing { needed_by, .. })| match needed_by {
            Some(by) => format!("{name} (needed by {by})"),
            None => name.clone(),
        })
        .collect();
    let unsure: String = copy.missing.values().flat_map(|m| &m.unsure).map(|why| format!("\n{why}")).collect();
    ensure!(
        unsure.is_empty(),
        "no mirror that gives a right answer has {}; the other extensions are in {}. Mirrors that gave none:{unsure}",
        missing.join(", "),
        args.out.display()
    );
    ensure!(
        missing.is_empty(),
        "no mirror has {}. See whether release, architecture and kernel are right; the others are in {}",
        missing.join(", "),
        args.out.display()
    );
    println!("{} extensions in {}", copy.order.len(), args.out.join(repository.folder()).display());
    Ok(())
}
