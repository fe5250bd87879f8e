//! Where things are in the work tree.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

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

/// `path` as a person in the work tree would write it.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
