//! `mk-server completions` and `mk-server man`: made of the command line's own definition, so that they are never behind it.

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::cli::args::{Args, Shell};
use crate::cli::print;

/// This program, as it is called.
const PROGRAM: &str = "mk-server";

/// Prints what a shell reads to complete this program's arguments.
///
/// # Errors
/// When standard output cannot be written.
pub fn completions(shell: Shell) -> anyhow::Result<()> {
    let written = |shell: clap_complete::Shell, name: &str| {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Args::command(), name, &mut script);
        String::from_utf8(script)
    };
    print(&match shell {
        // clap_complete's script for bash knows no command of a program with a hyphen in its name (clap's issue 6421): it is
        // written for another name, which stands at the end of the lines that say for which program it is.
        Shell::Bash => {
            written(clap_complete::Shell::Bash, "mk_server")?.replace(" mk_server\n", &format!(" {PROGRAM}\n"))
        }
        Shell::Zsh => written(clap_complete::Shell::Zsh, PROGRAM)?,
        Shell::Fish => written(clap_complete::Shell::Fish, PROGRAM)?,
    })
}

/// Writes a page for each command into a folder, which is made where there is none.
///
/// # Errors
/// When they cannot be written.
pub fn pages(folder: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot write manual pages to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(failed)?;
    clap_mangen::generate_to(Args::command(), folder).with_context(failed)
}
