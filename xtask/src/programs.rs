//! Builds our programs: those of this machine with the dev profile, in one call so that no dependency is compiled with
//! two sets of features; the agent as a static binary, in a target folder of its own since its flags differ.

use std::path::PathBuf;

use anyhow::Context as _;
use xshell::{Cmd, Shell, cmd};

use crate::place;

/// The one target of the image.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// No interpreter, no relocation work at each of its many starts, and randomness by system call: the C library's
/// symbol cannot be looked up in a static binary.
const FLAGS: &str =
    r#"-C target-feature=+crt-static -C relocation-model=static --cfg getrandom_backend="linux_getrandom""#;

/// A call of cargo as a person in the work tree types it. What `cargo run` tells us of ourselves stays here: some build
/// scripts (ring's) ask for it, so cargo would build their packages anew, with all that stands on them, whenever a person's
/// call comes after one of ours.
pub(crate) fn cargo(sh: &Shell) -> Cmd<'_> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_str().is_some_and(is_about_us));
    ours.fold(cmd!(sh, "{cargo}").quiet(), Cmd::env_remove)
}

fn is_about_us(variable: &str) -> bool {
    variable.strip_prefix("CARGO_").is_some_and(|rest| rest.starts_with("PKG_") || rest.starts_with("MANIFEST_"))
}

/// A shell in the work tree.
pub(crate) fn shell() -> anyhow::Result<Shell> {
    let sh = Shell::new()?;
    sh.change_dir(place::root());
    Ok(sh)
}

/// `mkiso`, `mk-server` and `mk-vm`.
pub(crate) fn host() -> anyhow::Result<()> {
    cargo(&shell()?).args(["build", "--workspace", "--bins"]).run().context("the programs do not build")
}

/// `mk-agent`; gives the binary.
pub(crate) fn agent() -> anyhow::Result<PathBuf> {
    build_agent(None)
}

/// The same beside other work, whose output it leaves alone.
pub(crate) fn agent_quietly() -> anyhow::Result<PathBuf> {
    build_agent(Some("--quiet"))
}

fn build_agent(quiet: Option<&str>) -> anyhow::Result<PathBuf> {
    let (sh, dir) = (shell()?, place::target().join("agent"));
    sh.set_var("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", FLAGS);
    let build = cargo(&sh).args(["build", "--profile", "agent", "-p", "mk-agent", "--target", TARGET, "--target-dir"]);
    build.arg(&dir).args(quiet).run().context("the agent does not build")?;
    Ok(dir.join(TARGET).join("agent/mk-agent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_not_told_who_we_are() {
        let about_us = ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH"];
        assert!(about_us.iter().all(|name| is_about_us(name)));
        let settings = ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_PROFILE_AGENT_LTO", "PATH"];
        assert!(!settings.iter().any(|name| is_about_us(name)));
    }
}
