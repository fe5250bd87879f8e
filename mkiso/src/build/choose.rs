//! Which base an image is built on, and why.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::Args;
use super::config::Config;
use crate::base::lock::Lock;

/// The word that leaves the choice to the lock.
const AUTO: &str = "auto";
/// The word for the base that is assembled from Debian packages.
const DEBIAN: &str = "debian";

/// The base's ISO, with its SHA-256 where it is known already. Says in one line which it is and why.
pub fn base(args: &Args, config: &Config) -> Result<(PathBuf, Option<String>)> {
    let lock_path = args.lock.clone().unwrap_or_else(|| config.beside("image.lock"));
    let (name, reason) = if args.base == AUTO {
        choose(Lock::read(&lock_path)?.base.as_deref(), &lock_path)
    } else {
        (args.base.clone(), "--base says so".to_owned())
    };
    eprintln!("base: {name} ({reason})");
    if name == DEBIAN {
        let iso = crate::base::debian(&args.config, &lock_path, false, args.cache.as_deref())?;
        Ok((iso.path, Some(iso.sha256)))
    } else {
        let path = PathBuf::from(&name);
        ensure!(path.exists(), "there is no base {name}: name {AUTO}, {DEBIAN}, or the file of a Core ISO");
        Ok((path, None))
    }
}

/// What `auto` means.
fn choose(locked: Option<&str>, lock: &Path) -> (String, String) {
    match locked {
        Some(name) => (name.to_owned(), format!("{} says so", lock.display())),
        None => (DEBIAN.to_owned(), format!("{} names none", lock.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_wins_and_debian_is_the_default() {
        let lock = Path::new("image.lock");
        assert_eq!(choose(Some("core.iso"), lock), ("core.iso".into(), "image.lock says so".into()));
        assert_eq!(choose(None, lock).0, DEBIAN);
    }
}
