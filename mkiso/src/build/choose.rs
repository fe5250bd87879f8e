//! Which base an image is built on, and why. One that was chosen for the operator is written to
//! `image.lock` once it was had and proved, and kept.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tce_mirror::fetch::NoAnswer;

use super::config::Config;
use super::{Args, beside_each_other};
use crate::base::lock::Lock;
use crate::cache;
use crate::mirrors::{Mirrors, Unfit, Version};

/// The word that leaves the choice to the lock, or to what can be had.
const AUTO: &str = "auto";
/// The word for the base that is assembled from Debian packages.
const DEBIAN: &str = "debian";
/// The word for Tiny Core's own ISO, and what stands between it and a version.
const TINY_CORE: (&str, char) = ("tinycore", '=');

/// Who said which base it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// `--base`.
    Operator,
    /// `image.lock`.
    Lock,
    /// Nobody: what can be had.
    Chance,
}

/// What `prove` makes of the base that is built on, and the SHA-256 of the base. Says in one line which it is and why.
/// A Tiny Core that nobody named is passed over for Debian where its mirrors do not give it, or it does not pass; what
/// was chosen is written to `image.lock` once it has passed.
///
/// # Errors
/// It cannot be had: why, and what to do. What is wrong on this machine or in the description leads to no other base.
pub fn base<T>(args: &Args, config: &Config, prove: impl Fn(&Path) -> Result<T>) -> Result<(T, String)> {
    let lock = args.lock_path(config);
    let (mut name, reason, by) = choice(args, config, &lock)?;
    eprintln!("base: {name} ({reason})");
    let take = |name: &str| {
        let (path, known) = iso(name, args, config, &lock)?;
        let (digest, proved) = beside_each_other(|| known.map_or_else(|| cache::digest(&path), Ok), || prove(&path))?;
        Ok((proved?, digest?))
    };
    let mut had = take(&name);
    if let (Err(error), By::Chance) = (&had, by)
        && name != DEBIAN
        && is_unfit(error)
    {
        eprintln!("base: {DEBIAN} ({name} cannot be used: {})", in_one_line(error));
        DEBIAN.clone_into(&mut name);
        had = take(&name);
    }
    match by {
        By::Operator => had,
        By::Lock => had.with_context(|| {
            format!(
                "the line `base = {name:?}` of {} asks for this base; delete it to have another one chosen, or name one \
                 with --base",
                lock.display()
            )
        }),
        By::Chance => {
            let had = had?;
            Lock::change(&lock, |kept| {
                ensure!(
                    kept.base.as_ref().is_none_or(|other| *other == name),
                    "another build has chosen another base meanwhile, which is kept in {}; build again",
                    lock.display()
                );
                kept.base = Some(name);
                Ok(had)
            })
        }
    }
}

/// The ISO of a base by its name, with its SHA-256 where it is known already.
fn iso(name: &str, args: &Args, config: &Config, lock: &Path) -> Result<(PathBuf, Option<String>)> {
    if name == DEBIAN {
        let iso = crate::base::debian(&args.config, lock, false, args.cache.as_deref())?;
        return Ok((iso.path, Some(iso.sha256)));
    }
    if let Some(version) = tiny_core(name)? {
        let cache = cache::folder(args.cache.as_deref())?;
        let _held = cache::hold(&cache)?;
        let iso = mirrors(args, config, &cache, lock)?.iso(version.as_ref())?;
        return Ok((iso.path, Some(iso.sha256)));
    }
    let path = PathBuf::from(name);
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

/// A release or series as `--base` names it.
#[must_use]
pub fn named(version: &Version) -> String {
    format!("{}{}{version}", TINY_CORE.0, TINY_CORE.1)
}

/// The base's name, why it is this one, and who said so.
fn choice(args: &Args, config: &Config, path: &Path) -> Result<(String, String, By)> {
    if args.base != AUTO {
        return Ok((args.base.clone(), "--base says so".to_owned(), By::Operator));
    }
    if let Some(name) = Lock::read(path)?.base {
        return Ok((name, format!("{} says so", path.display()), By::Lock));
    }
    let (name, reason) = if config.tinycore().is_ok() {
        let cache = cache::folder(args.cache.as_deref())?;
        match mirrors(args, config, &cache, path)?.at_hand() {
            Ok((version, reason)) => (named(&version), reason),
            Err(error) if is_unfit(&error) => {
                let reason = format!("no Tiny Core is in the cache, nor to be had: {}", in_one_line(&error));
                (DEBIAN.to_owned(), reason)
            }
            Err(error) => return Err(error),
        }
    } else {
        (DEBIAN.to_owned(), "image.toml names no mirror of Tiny Core".to_owned())
    };
    Ok((name, format!("{reason}; to be kept in {}", path.display()), By::Chance))
}

/// Whether mirrors or the base are at fault.
fn is_unfit(error: &anyhow::Error) -> bool {
    error.is::<NoAnswer>() || error.is::<Unfit>()
}

fn in_one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', "; ")
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
