//! Where things are in the work tree.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

/// Top of the work tree.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map_or_else(|| here.clone(), Path::to_path_buf)
}

/// Cargo's folder for what it builds. Cargo, which we run in the work tree, takes a relative one from there.
pub(crate) fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// A host program.
pub(crate) fn program(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// Makes a folder empty, whether it was there or not.
///
/// # Errors
/// Names the folder.
pub(crate) fn clear(dir: &Path) -> anyhow::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot clear {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))
}

/// Holds a command's folder in `target` for this run alone, until this is dropped.
///
/// # Errors
/// Another run has it.
pub(crate) fn alone(command: &str) -> anyhow::Result<fs::File> {
    // Beside the folder, which may be cleared as a whole.
    let (target, lock) = (target(), target().join(format!("{command}.lock")));
    fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
    hold(&lock, command)
}

fn hold(lock: &Path, command: &str) -> anyhow::Result<fs::File> {
    let file = fs::File::create(lock).with_context(|| format!("cannot write {}", lock.display()))?;
    if file.try_lock().is_err() {
        bail!("another `cargo xtask {command}` is running in this work tree; end it with Ctrl-C first");
    }
    Ok(file)
}

/// The absolute path of a file that somebody named.
///
/// # Errors
/// There is no such file; `option` says where it was named.
pub(crate) fn named(option: &str, file: &Path) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(file)?;
    ensure!(path.is_file(), "{option} names {}, and there is no such file", file.display());
    Ok(path)
}

/// `path` as a person in the work tree would write it.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_refused_as_long_as_the_first_one_lasts() {
        let lock = std::env::temp_dir().join(format!("xtask-place-{}.lock", std::process::id()));
        let first = hold(&lock, "bench").unwrap();
        let why = hold(&lock, "bench").unwrap_err().to_string();
        assert!(why.starts_with("another `cargo xtask bench` is running"), "{why}");
        drop(first);
        hold(&lock, "bench").unwrap();
        fs::remove_file(lock).unwrap();
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_who_named_it() {
        let why = named("--agent", Path::new("no/such-agent")).unwrap_err().to_string();
        assert_eq!(why, "--agent names no/such-agent, and there is no such file");
        assert!(named("--agent", Path::new("Cargo.toml")).unwrap().is_absolute());
    }
}
