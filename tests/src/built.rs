//! The images that `cargo xtask test` has built for the tests.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

/// The ISO of a variant in the folder that `MK_DIST` names.
///
/// # Errors
/// When there is no such folder, or not one such image in it.
pub fn image(variant: &str) -> anyhow::Result<PathBuf> {
    let dir: PathBuf = std::env::var_os("MK_DIST").context("MK_DIST is not set; run: cargo xtask test")?.into();
    let end = format!("-{variant}.iso");
    let entries = dir.read_dir().with_context(|| format!("cannot read {}", dir.display()))?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.to_string_lossy().ends_with(&end));
    match found.as_slice() {
        [image] => Ok(image.clone()),
        _ => bail!("{} images *{end} in {}, where one is wanted", found.len(), dir.display()),
    }
}
