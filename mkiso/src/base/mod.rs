//! `mkiso base`: a Core-layout ISO from a distribution's packages.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// Arguments of `mkiso base`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where to write the ISO.
    #[arg(long)]
    pub out: PathBuf,
}

/// Runs `mkiso base`.
///
/// # Errors
/// What failed, on what, and what to do.
pub fn run(args: &Args) -> Result<()> {
    bail!("cannot write {}: the base is not assembled yet", args.out.display())
}
