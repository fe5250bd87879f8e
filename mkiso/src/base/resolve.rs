//! Takes the newest packages that `image.toml` asks for.

use std::time::SystemTime;

use anyhow::{Context as _, Result};
use tce_mirror::apt::Apt;

use super::config::Config;
use super::lock;

/// Takes the newest packages that the description asks for.
///
/// # Errors
/// As for the steps of [`Apt`].
pub fn newest(apt: &Apt, config: &Config) -> Result<lock::Debian> {
    apt.update()?;
    let kernel = apt.kernel(&config.debian.kernel)?;
    let wanted: Vec<&str> = config.extensions.values().flat_map(|e| &e.packages).map(String::as_str).collect();
    let mut names = if wanted.is_empty() { Vec::new() } else { apt.closure(&wanted)? };
    names.push(kernel.clone());
    names.extend(config.debian.alone().cloned());
    names.sort();
    names.dedup();
    let packages = apt.locate(&names)?;
    let taken = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is wrong")?;
    Ok(lock::Debian {
        suite: config.debian.suite.clone(),
        asked: lock::asked(config)?,
        taken: u32::try_from(taken.as_secs()).context("the clock is wrong")?,
        kernel,
        packages,
    })
}
