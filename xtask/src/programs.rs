//! Builds our programs: those of this machine with the dev profile, in one call so that no dependency is compiled with
//! two sets of features; the agent as a static binary, in a target folder of its own since its flags differ.

use std::path::PathBuf;

use anyhow::Context as _;
use xshell::{Shell, cmd};

use crate::place;

/// The one target of the image.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// No interpreter, no relocation work at each of its many starts, and randomness by system call: the C library's
/// symbol cannot be looked up in a static binary.
const FLAGS: &str =
    r#"-C target-feature=+crt-static -C relocation-model=static --cfg getrandom_backend="linux_getrandom""#;

/// Cargo, as it started us.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

/// A shell in the work tree.
pub(crate) fn shell() -> anyhow::Result<Shell> {
    let sh = Shell::new()?;
    sh.change_dir(place::root());
    Ok(sh)
}

/// `mkiso`, `mk-server` and `mk-vm`.
pub(crate) fn host() -> anyhow::Result<()> {
    let (sh, cargo) = (shell()?, cargo());
    cmd!(sh, "{cargo} build --workspace --bins").quiet().run().context("the programs do not build")
}

/// `mk-agent`; gives the binary.
pub(crate) fn agent() -> anyhow::Result<PathBuf> {
    let (sh, cargo, dir) = (shell()?, cargo(), place::target().join("agent"));
    sh.set_var("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", FLAGS);
    cmd!(sh, "{cargo} build --profile agent -p mk-agent --target {TARGET} --target-dir {dir}")
        .quiet()
        .run()
        .context("the agent does not build")?;
    Ok(dir.join(TARGET).join("agent/mk-agent"))
}
