//! `mkiso base`: a Core-layout ISO from Debian packages, or from a root file system of Tiny Core and a Debian kernel
//! ([`tinycore`]).
//!
//! [`config`] says what is wanted, [`lock`] what was taken; [`resolve`] takes the newest, [`fetch`] gets packages by hash;
//! [`modules`] and [`firmware`] choose; [`rootfs`], [`initrd`], [`compress`] and [`iso`] make; [`assemble`] is the
//! order of it all. No root is needed.

pub mod assemble;
pub mod compress;
pub mod config;
pub mod depmod;
pub mod elf;
pub mod fetch;
pub mod firmware;
pub mod initrd;
pub mod iso;
pub mod layout;
pub mod lock;
pub mod manifest;
pub mod modules;
pub mod resolve;
pub mod rootfs;
pub mod tinycore;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tce_mirror::apt::Apt;

use crate::build::core::Core;
use crate::build::proved::from_mirrors;
use crate::build::{Variant, choose};
use crate::cache::{self, Key};
use crate::limits::{MAX_DEB, MAX_DEB_UNPACKED, MAX_ROOTFS};
use crate::mirrors::{Mirrors, Version};
use crate::{input, output};

use config::Config;
use lock::Lock;

/// Arguments of `mkiso base`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What the base is made of: `debian`, or `tinycore[=VERSION]` for Tiny Core's own ISO from its mirrors.
    #[arg(long, default_value = "debian", conflicts_with = "rootfs")]
    pub base: String,
    /// Root file system of Tiny Core (rootfs64.tar.xz, rootfs.tar.gz, core.gz) to take in place of Debian's busybox.
    #[arg(long, value_name = "FILE")]
    pub rootfs: Option<PathBuf>,
    /// Debian package of the kernel for --rootfs [default: the kernel that image.lock names].
    #[arg(long, value_name = "FILE.deb", requires = "rootfs")]
    pub kernel: Option<PathBuf>,
    /// The image's description.
    #[arg(long, default_value = "image.toml")]
    pub config: PathBuf,
    /// What was taken for the image.
    #[arg(long, default_value = "image.lock")]
    pub lock: PathBuf,
    /// Take the newest packages and write them to the lock.
    #[arg(long)]
    pub update_lock: bool,
    /// Folder for downloads and finished parts [default: $XDG_CACHE_HOME/razor-mk or ~/.cache/razor-mk].
    #[arg(long)]
    pub cache: Option<PathBuf>,
    /// Where to write the ISO.
    #[arg(long)]
    pub out: PathBuf,
}

/// Runs `mkiso base`.
///
/// # Errors
/// What failed, on what, and what to do.
pub fn run(args: &Args) -> Result<()> {
    if let Some(version) = choose::tiny_core(&args.base)? {
        output::copy(&mirrored(args, version.as_ref())?.path, &args.out)?;
        println!("{}", args.out.display());
        return Ok(());
    }
    if args.base != "debian" {
        bail!("cannot make a base of {:?}; name debian, or tinycore[=VERSION]", args.base);
    }
    if let Some(rootfs) = &args.rootfs {
        tinycore(args, rootfs)?;
        println!("{}", args.out.display());
        return Ok(());
    }
    let iso = debian(&args.config, &args.lock, args.update_lock, args.cache.as_deref())?;
    output::copy(&iso.path, &args.out)?;
    println!("{}", args.out.display());
    Ok(())
}

/// A base ISO that has been found whole.
#[derive(Debug, Clone)]
pub struct Iso {
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// The Debian base ISO in the cache, made now unless the same inputs made it before.
///
/// # Errors
/// What failed, on what, and what to do.
pub fn debian(config_path: &Path, lock_path: &Path, update: bool, cache: Option<&Path>) -> Result<Iso> {
    let cache = cache::folder(cache)?;
    let _held = cache::hold(&cache)?;
    let config = Config::read(config_path)?;
    let apt = || Apt::new(&cache.join("apt"), &config.debian.sources());
    let (store, update_command) = (fetch::Store::new(&cache), update_command(config_path, lock_path));
    let lock = locked(&config, lock_path, update, apt, &store, &update_command)?;
    let path = cache.join("base").join(format!("{}.iso", key(&config, &lock)?));
    if let Some(sha256) = cache::sealed_digest(&path) {
        return Ok(Iso { path, sha256 });
    }
    store.fetch(apt, &lock.packages, &update_command)?;
    let inputs = assemble::Inputs { config: &config, lock: &lock, store: &store, cache: &cache, given: None };
    let files = assemble::assemble(&inputs)?;
    iso::write(&files, &path, lock.taken)?;
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let sha256 = cache::seal(&path, &bytes)?;
    Ok(Iso { path, sha256 })
}

/// Tiny Core's own ISO in the cache.
fn mirrored(args: &Args, version: Option<&Version>) -> Result<Iso> {
    let cache = cache::folder(args.cache.as_deref())?;
    let _held = cache::hold(&cache)?;
    let config = crate::build::config::Config::read(&args.config)?;
    let update = update_command(&args.config, &args.lock);
    let mirrors = Mirrors::new(config.tinycore()?, &cache, &args.lock, update)?;
    if !args.update_lock {
        return mirrors.iso(version);
    }
    // Of all variants, since the lock is for all of them.
    mirrors.renew(version, |iso| {
        let mut core = Core::open(iso)?;
        let wanted = from_mirrors(&mut core, &config.on_tiny_core()?, Variant::Debug)?;
        Ok((core.release, wanted))
    })
}

/// Makes a base of Tiny Core's root file system in the file `rootfs`.
fn tinycore(args: &Args, rootfs: &Path) -> Result<()> {
    let cache = cache::folder(args.cache.as_deref())?;
    let _held = cache::hold(&cache)?;
    let config = Config::read(&args.config)?;
    let (source, root) = given_root(rootfs)?;
    let kernel = args.kernel.as_deref().map(given_kernel).transpose()?;
    let apt = || Apt::new(&cache.join("apt"), &config.debian.sources());
    let (store, update_command) = (fetch::Store::new(&cache), update_command(&args.config, &args.lock));
    let mut lock = locked(&config, &args.lock, args.update_lock, apt, &store, &update_command)?;
    if kernel.is_some() {
        lock.packages.retain(|other| other.name != lock.kernel);
    }
    store.fetch(apt, &lock.packages, &update_command)?;
    let mut bytes = None;
    if let Some((package, deb)) = kernel {
        lock.kernel.clone_from(&package.name);
        lock.packages.push(package);
        lock.packages.sort();
        bytes = Some(deb);
    }
    let given = assemble::Given { root, kernel: bytes, source };
    let inputs = assemble::Inputs { config: &config, lock: &lock, store: &store, cache: &cache, given: Some(&given) };
    iso::write(&assemble::assemble(&inputs)?, &args.out, lock.taken)
}

/// The root file system that an operator named.
fn given_root(path: &Path) -> Result<(manifest::Source, tinycore::Rootfs)> {
    let shown = || format!("the root file system {}", path.display());
    let bytes = input::read_up_to(path, "root file system", MAX_ROOTFS)?;
    let root = tinycore::Rootfs::read(&bytes).with_context(shown)?;
    let release = tinycore::release(&root).with_context(shown)?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((manifest::Source { file, release, size: bytes.len() as u64, sha256: cache::sha256(&bytes) }, root))
}

/// The kernel's package that an operator named, as the lock would name it.
fn given_kernel(path: &Path) -> Result<(lock::Package, Vec<u8>)> {
    let bytes = input::read_up_to(path, "kernel package", MAX_DEB)?;
    let deb = tce_mirror::deb::read(bytes.as_slice(), MAX_DEB_UNPACKED, |_| None)
        .with_context(|| format!("the kernel package {}", path.display()))?;
    let package = lock::Package {
        name: deb.field("Package").to_owned(),
        version: deb.field("Version").to_owned(),
        size: bytes.len() as u64,
        sha256: cache::sha256(&bytes),
        uri: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    Ok((package, bytes))
}

/// What the lock says of the Debian base; packages are taken where there is no lock or a new one is wanted, and pinned once
/// all of them are in the store.
fn locked(
    config: &Config,
    path: &Path,
    update: bool,
    apt: impl Fn() -> Result<Apt>,
    store: &fetch::Store,
    update_command: &str,
) -> Result<lock::Debian> {
    let asked = lock::asked(config)?;
    let pinned = |lock: &Lock| {
        let Some(debian) = lock.debian.as_ref().filter(|_| !update) else { return Ok(None) };
        if debian.asked != asked {
            bail!(
                "image.toml asks for other packages than {} was made for; take them with `{update_command}`",
                path.display()
            );
        }
        Ok(Some(debian.clone()))
    };
    if let Some(debian) = pinned(&Lock::read(path)?)? {
        return Ok(debian);
    }
    let debian = resolve::newest(&apt()?, config)?;
    store.fetch(apt, &debian.packages, update_command)?;
    Lock::change(path, |lock| {
        // Those that another build has taken meanwhile count.
        if let Some(debian) = pinned(lock)? {
            return Ok(debian);
        }
        eprintln!("{} packages taken, kernel {}; written to {}", debian.packages.len(), debian.kernel, path.display());
        lock.base.get_or_insert_with(|| "debian".to_owned());
        lock.debian = Some(debian.clone());
        Ok(debian)
    })
}

/// The command that takes newer packages, as it can be pasted: by the path of this very program, which need not be on
/// anybody's search path.
pub(crate) fn update_command(config: &Path, lock: &Path) -> String {
    format!("{} --out base.iso", command("base --update-lock", config, lock))
}

/// A command of this program with the description and the lock.
pub(crate) fn command(words: &str, config: &Path, lock: &Path) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "mkiso".into());
    let (config, lock) = (quoted(&config.to_string_lossy()), quoted(&lock.to_string_lossy()));
    format!("{} {words} --config {config} --lock {lock}", quoted(&program.to_string_lossy()))
}

/// A word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The key of a base in the cache: everything that decides on its bytes.
fn key(config: &Config, lock: &lock::Debian) -> Result<String> {
    let key = Key::default()
        .with(env!("CARGO_PKG_VERSION"))
        .with(env!("BASE_SOURCES"))
        .with(serde_json::to_vec(config).context("cannot write the description as JSON")?)
        .with(serde_json::to_vec(lock).context("cannot write the lock as JSON")?);
    Ok(key.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_for_newer_packages_can_be_pasted() {
        let command = update_command(Path::new("my site/image.toml"), Path::new("image.lock"));
        let wanted = " base --update-lock --config 'my site/image.toml' --lock image.lock --out base.iso";
        assert!(command.ends_with(wanted) && !command.starts_with(' '), "{command}");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
