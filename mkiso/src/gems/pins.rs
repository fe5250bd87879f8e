//! The gems that were taken, as `image.lock` has them: the same ones are taken again, to the byte, until `mkiso gems
//! --update-lock` takes newer ones. New gems of the list are pinned when they are first taken.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use super::source::Candidate;
use super::version::{Requirement, Version};
use super::{Gems, LIST, mirror};
use crate::base::lock::{Gem, Lock};
use crate::base::quoted;
use crate::build::config::Config;

/// Arguments of `mkiso gems`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What goes into the image; `gem-list/gem.list` is found beside it.
    #[arg(long, default_value = "image.toml")]
    pub config: PathBuf,
    /// What was taken for the image.
    #[arg(long, default_value = "image.lock")]
    pub lock: PathBuf,
    /// Gem server (URL) or folder that the gems come from [default: `source` of [gems] in the configuration].
    #[arg(long, value_name = "URL|DIR")]
    pub gem_source: Option<String>,
    /// Take the newest gems that the list admits and write them to the lock.
    #[arg(long)]
    pub update_lock: bool,
}

/// Runs `mkiso gems`. Prints the gems that images get.
///
/// # Errors
/// What failed, on what, and what to do. The lock stays as it is then.
pub fn run(args: &Args) -> Result<()> {
    let config = Config::read(&args.config)?;
    let gems = take(&config, &args.config, &args.lock, args.gem_source.as_deref(), args.update_lock)?;
    for gem in gems.taken {
        println!("{} {} {}", gem.name, gem.version, gem.sha256);
    }
    Ok(())
}

/// The gem mirror of the list beside the configuration. All that is taken is pinned in the lock, in one write, and nothing
/// else is; with `anew` nothing is held to what was.
///
/// # Errors
/// As for [`mirror`]; the lock cannot be read or written.
pub fn take(config: &Config, config_path: &Path, lock: &Path, source: Option<&str>, anew: bool) -> Result<Gems> {
    let before = Lock::read(lock)?.gems;
    let pins = Pins {
        gems: if anew { Vec::new() } else { before.clone() },
        update: update_command(config_path, lock, source),
    };
    let gems = mirror(&config.beside(LIST), source.or(config.gem_source()), &pins)?;
    if before != gems.taken {
        Lock::change(lock, |now| {
            ensure!(
                now.gems == before || now.gems == gems.taken,
                "another build has pinned other gems in {} meanwhile; try again",
                lock.display()
            );
            now.gems.clone_from(&gems.taken);
            Ok(())
        })?;
    }
    Ok(gems)
}

/// The command that takes newer gems, as it can be pasted.
fn update_command(config: &Path, lock: &Path, source: Option<&str>) -> String {
    let source = source.map(|source| format!(" --gem-source {}", quoted(source))).unwrap_or_default();
    format!("{}{source}", crate::base::command("gems --update-lock", config, lock))
}

/// Gems that must be the same again.
#[derive(Debug, Clone, Default)]
pub struct Pins {
    /// The gems.
    pub gems: Vec<Gem>,
    /// The command that takes newer ones.
    pub update: String,
}

impl Pins {
    /// The gem of a name, where the version that was taken meets what is required now.
    #[must_use]
    pub fn of(&self, name: &str, requirement: &Requirement) -> Option<&Gem> {
        let meets = |gem: &Gem| Version::parse(&gem.version).is_ok_and(|version| requirement.takes(&version));
        self.gems.iter().find(|gem| gem.name == name && meets(gem))
    }

    /// A pinned gem among those that the source has; `has` are their versions, for people.
    ///
    /// # Errors
    /// It is gone, or is another one by its SHA-256.
    pub fn candidate<'a>(&self, pin: &Gem, all: &'a [Candidate], has: &str) -> Result<&'a Candidate> {
        let Gem { name, version, sha256 } = pin;
        let anew = || format!("take it anew with `{}`", self.update);
        let Some(found) = all.iter().find(|candidate| candidate.version.text() == version) else {
            bail!("the gem {name} {version} is pinned in image.lock, and the source has {has}; {}", anew());
        };
        ensure!(
            found.sha256 == *sha256,
            "the gem {name} {version} is another one than was taken before: the source gives its SHA-256 as {}, \
             image.lock says {sha256}. A version that was published does not change by itself: see what happened to the \
             source. Where the new one is meant, {}",
            found.sha256,
            anew()
        );
        Ok(found)
    }
}
