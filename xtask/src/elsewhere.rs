//! The agent once more, as somebody else would compile it: from a copy of the sources in another folder, with cargo's own
//! folder under another name, under another umask, at another time. It must be the same program, byte for byte. What it is
//! compiled with is the same: toolchain, C compiler and C library of this machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::Value;
use xshell::cmd;

use crate::{place, programs};

/// The mask of somebody who lets nobody else read anything.
const UNDER_UMASK: &str = "umask 077 && exec \"$@\"";

/// Compiles the agent elsewhere, with little output; gives the binary. What is there from an earlier run is used as cargo
/// uses it.
///
/// # Errors
/// The sources cannot be copied, or do not build there.
pub(crate) fn agent() -> anyhow::Result<PathBuf> {
    let folder = place::target().join("elsewhere");
    let (sources, home, dir) = (folder.join("sources"), folder.join("cargo"), folder.join("agent"));
    copy(&sources)?;
    place::clear(&home)?;
    link(&programs::cargo_home()?, &home)?;
    let sh = programs::shell()?;
    sh.change_dir(&sources);
    sh.set_var("CARGO_HOME", &home);
    sh.set_var(programs::FLAGS_VARIABLE, programs::flags(&sources, &home, &dir)?);
    let (cargo, build) = (std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), programs::BUILD_AGENT);
    let build = cmd!(sh, "sh -c {UNDER_UMASK} sh {cargo} {build...} {dir} --quiet --locked --offline");
    programs::as_typed(build).run().context("the agent does not build elsewhere")?;
    Ok(dir.join(programs::AGENT))
}

/// Copies what cargo needs of the work tree, with its times, so that what is unchanged is not compiled again.
fn copy(sources: &Path) -> anyhow::Result<()> {
    let sh = programs::shell()?;
    let metadata = ["metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"];
    let metadata = programs::cargo(&sh).args(metadata).read().context("cargo does not tell the crates")?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo tells no crates")?;
    let manifests = packages.iter().filter_map(|package| package["manifest_path"].as_str());
    let crates: Vec<&Path> = manifests.filter_map(|path| Path::new(path).parent()).collect();
    place::clear(sources)?;
    let sources = sources.as_os_str();
    cmd!(sh, "cp -a Cargo.toml Cargo.lock {crates...} {sources}").quiet().run().context("cannot copy the sources")
}

/// Makes what cargo has fetched, and how it is set up, appear under another path. Its locks stay apart.
fn link(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let name = entry?.file_name();
        if !name.to_string_lossy().starts_with('.') {
            symlink(from.join(&name), to.join(&name)).with_context(|| format!("cannot write to {}", to.display()))?;
        }
    }
    Ok(())
}

/// Compares both agents.
///
/// # Errors
/// They differ: where first.
pub(crate) fn same(one: &Path, other: &Path) -> anyhow::Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", place::shown(path)));
    let (first, second) = (read(one)?, read(other)?);
    if first == second {
        return Ok(());
    }
    let at = first.iter().zip(&second).position(|(a, b)| a != b).unwrap_or(first.len().min(second.len()));
    bail!(
        "the agent is another one when it is compiled elsewhere: {} ({} bytes) and {} ({} bytes) differ from byte {at} on",
        place::shown(one),
        first.len(),
        place::shown(other),
        second.len()
    )
}
