//! Which base an image is built on, and why. One that was chosen for the operator is written to `image.lock` and kept.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::Args;
use super::config::Config;
use crate::base::lock::Lock;
use crate::cache;
use crate::mirrors::{Mirrors, Version};

/// The word that leaves the choice to the lock, or to what can be had.
const AUTO: &str = "auto";
/// The word for the base that is assembled from Debian packages.
const DEBIAN: &str = "debian";
/// The word for Tiny Core's own ISO, and what stands between it and a version.
const TINY_CORE: (&str, char) = ("tinycore", '=');

/// The base's ISO, with its SHA-256 where it is known already. Says in one line which it is and why.
///
/// # Errors
/// It cannot be had: why, and what to do.
pub fn base(args: &Args, config: &Config) -> Result<(PathBuf, Option<String>)> {
    let lock = args.lock_path(config);
    let name = if args.base == AUTO {
        let (name, reason) = automatic(args, config, &lock)?;
        eprintln!("base: {name} ({reason})");
        name
    } else {
        eprintln!("base: {} (--base says so)", args.base);
        args.base.clone()
    };
    if name == DEBIAN {
        let iso = crate::base::debian(&args.config, &lock, false, args.cache.as_deref())?;
        return Ok((iso.path, Some(iso.sha256)));
    }
    if let Some(version) = tiny_core(&name)? {
        let cache = cache::folder(args.cache.as_deref())?;
        let _held = cache::hold(&cache)?;
        let iso = mirrors(args, config, &cache, &lock)?.iso(version.as_ref())?;
        return Ok((iso.path, Some(iso.sha256)));
    }
    let path = PathBuf::from(&name);
    ensure!(
        path.exists(),
        "there is no base {name}: name {AUTO}, {DEBIAN}, {}[=VERSION], or the file of a Core ISO",
        TINY_CORE.0
    );
    Ok((path, None))
}

/// Tiny Core's mirrors as the build knows them.
///
/// # Errors
/// `image.toml` names none, or one wrongly.
pub fn mirrors<'a>(args: &Args, config: &'a Config, cache: &Path, lock: &'a Path) -> Result<Mirrors<'a>> {
    Mirrors::new(config.tinycore()?, cache, lock, crate::base::update_command(&args.config, lock))
}

/// The version in `tinycore=VERSION`; none in `tinycore`, nothing for other words.
///
/// # Errors
/// The version is none.
pub fn tiny_core(name: &str) -> Result<Option<Option<Version>>> {
    let Some(rest) = name.strip_prefix(TINY_CORE.0) else { return Ok(None) };
    match (rest.is_empty(), rest.strip_prefix(TINY_CORE.1)) {
        (true, _) => Ok(Some(None)),
        (false, Some(version)) => Ok(Some(Some(version.parse().with_context(|| format!("--base {name}"))?))),
        (false, None) => Ok(None),
    }
}

/// What `auto` means, and why.
fn automatic(args: &Args, config: &Config, path: &Path) -> Result<(String, String)> {
    let mut lock = Lock::read(path)?;
    if let Some(name) = lock.base {
        return Ok((name, format!("{} says so", path.display())));
    }
    let (name, reason) = if config.tinycore().is_ok() {
        let cache = cache::folder(args.cache.as_deref())?;
        match mirrors(args, config, &cache, path)?.at_hand() {
            Ok((version, reason)) => (format!("{}{}{version}", TINY_CORE.0, TINY_CORE.1), reason),
            Err(error) => {
                let reason = format!("{error:#}").replace('\n', "; ");
                (DEBIAN.to_owned(), format!("no Tiny Core is in the cache, nor to be had: {reason}"))
            }
        }
    } else {
        (DEBIAN.to_owned(), "image.toml names no mirror of Tiny Core".to_owned())
    };
    lock.base = Some(name.clone());
    lock.write(path)?;
    Ok((name, format!("{reason}; kept in {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_core_may_have_a_version() {
        let version = |text: &str| Some(Some(text.parse().unwrap()));
        assert_eq!(tiny_core("tinycore").unwrap(), Some(None));
        assert_eq!(tiny_core("tinycore=17.0").unwrap(), version("17.0"));
        assert_eq!(tiny_core("tinycore=16.x").unwrap(), version("16.x"));
        for other in ["debian", "tinycore.iso", "./tinycore", "core.iso", ""] {
            assert_eq!(tiny_core(other).unwrap(), None, "{other}");
        }
        let error = format!("{:#}", tiny_core("tinycore=17").unwrap_err());
        assert!(error.contains("--base tinycore=17") && error.contains("17.x"), "{error}");
    }
}
