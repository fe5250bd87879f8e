//! Builds our programs: those of this machine with the dev profile, in one call so that no dependency is compiled with
//! two sets of features; the agent as a static binary, in a target folder of its own since its flags differ.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use xshell::{Cmd, Shell, cmd};

use crate::{parts, place};

/// The one target of the image.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// No interpreter, no relocation work at each of its many starts, and randomness by system call: the C library's
/// symbol cannot be looked up in a static binary.
const FLAGS: [&str; 4] =
    ["-Ctarget-feature=+crt-static", "-Crelocation-model=static", "--cfg", r#"getrandom_backend="linux_getrandom""#];

/// The variable that cargo reads flags from before any other.
pub(crate) const FLAGS_VARIABLE: &str = "CARGO_ENCODED_RUSTFLAGS";

/// How cargo is told to build the agent; the target folder comes last.
pub(crate) const BUILD_AGENT: [&str; 8] =
    ["build", "--profile", "agent", "-p", "mk-agent", "--target", TARGET, "--target-dir"];

/// Where the agent is in its target folder.
pub(crate) const AGENT: &str = "x86_64-unknown-linux-gnu/agent/mk-agent";

/// Between flags in the variable that cargo reads them from.
pub(crate) const BETWEEN: &str = "\u{1f}";

/// A call of cargo as a person in the work tree types it. What `cargo run` tells us of ourselves stays here: some build
/// scripts (ring's) ask for it, so cargo would build their packages anew, with all that stands on them, whenever a person's
/// call comes after one of ours.
pub(crate) fn cargo(sh: &Shell) -> Cmd<'_> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    as_typed(cmd!(sh, "{cargo}"))
}

/// A command without what `cargo run` tells us of ourselves.
pub(crate) fn as_typed(command: Cmd<'_>) -> Cmd<'_> {
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_str().is_some_and(is_about_us));
    ours.fold(command.quiet(), Cmd::env_remove)
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
    sh.set_var(FLAGS_VARIABLE, flags(&place::root(), &cargo_home()?, &dir)?);
    cargo(&sh).args(BUILD_AGENT).arg(&dir).args(quiet).run().context("the agent does not build")?;
    let agent = dir.join(AGENT);
    parts::write(&agent)?;
    Ok(agent)
}

/// The compiler's flags for the agent of the sources at `root`. Messages of a panic name source files: by the same names
/// wherever the sources, cargo's own folder `home` and the target folder `dir` are, so that the same sources are the same
/// program. The last name that fits counts, so folders within the work tree come after it.
pub(crate) fn flags(root: &Path, home: &Path, dir: &Path) -> anyhow::Result<String> {
    let named = [(root, "/razor-mk"), (home, "/cargo"), (dir, "/target")];
    let mut flags = FLAGS.map(str::to_owned).to_vec();
    for (folder, name) in named {
        let folder = folder.to_str().with_context(|| format!("{} is no path in UTF-8", folder.display()))?;
        flags.push(format!("--remap-path-prefix={folder}={name}"));
    }
    Ok(flags.join(BETWEEN))
}

/// Cargo's own folder, which has the sources of what we depend on.
pub(crate) fn cargo_home() -> anyhow::Result<PathBuf> {
    let home = || std::env::home_dir().map(|home| home.join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home).context("cannot tell the user's folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_with_blanks_are_one_flag() {
        let flags = flags(Path::new("/a b"), Path::new("/c"), Path::new("/a b/target")).unwrap();
        let flags: Vec<&str> = flags.split(BETWEEN).collect();
        assert_eq!(flags.len(), FLAGS.len() + 3);
        assert_eq!(flags.last(), Some(&"--remap-path-prefix=/a b/target=/target"));
    }

    #[test]
    fn folders_within_the_work_tree_keep_their_own_names() {
        let flags = flags(Path::new("/tree"), Path::new("/tree/.cargo"), Path::new("/tree/target")).unwrap();
        let named = |path: &str| {
            let pairs =
                flags.split(BETWEEN).filter_map(|flag| flag.strip_prefix("--remap-path-prefix=")?.split_once('='));
            pairs.filter(|(folder, _)| path.starts_with(folder)).last().map(|(_, name)| name)
        };
        assert_eq!(named("/tree/agent/src/main.rs"), Some("/razor-mk"));
        assert_eq!(named("/tree/.cargo/registry/src/x.rs"), Some("/cargo"));
        assert_eq!(named("/tree/target/agent/build/out.rs"), Some("/target"));
    }

    #[test]
    fn cargo_is_not_told_who_we_are() {
        let about_us = ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH"];
        assert!(about_us.iter().all(|name| is_about_us(name)));
        let settings = ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_PROFILE_AGENT_LTO", "PATH"];
        assert!(!settings.iter().any(|name| is_about_us(name)));
    }
}
