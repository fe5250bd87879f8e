//! A base that an image can be built on: opened, with the extensions that the image has, and with every kernel module
//! that it requires.

use std::path::Path;

use anyhow::{Context as _, Result};
use tce_mirror::fetch::is_of_this_machine;

use super::config::Config;
use super::core::Core;
use super::extensions::Extensions;
use super::modules::Place;
use super::place::Item;
use super::{Args, Variant, choose, index};
use crate::cache;
use crate::mirrors::{Unfit, Version};

/// Modules that must be there before any extension can be mounted.
const FIRST_MODULES: [&str; 2] = ["loop", "squashfs"];

/// The base with what goes into the image because of it.
pub struct Proved {
    /// The base.
    pub core: Core,
    /// The description, as it is on this base.
    pub config: Config,
    /// The extensions.
    pub extensions: Extensions,
    /// Files of the modules' index, where the base's own does not do.
    pub index: Vec<Item>,
}

impl Proved {
    /// Opens the base at `path` and takes the extensions for the image.
    ///
    /// # Errors
    /// The base, an extension, or a module that the image requires cannot be had, by name.
    pub fn take(args: &Args, config: &Config, path: &Path) -> Result<Self> {
        let mut core = Core::open(path).map_err(unfit)?;
        let own = core.tiny_core.clone().map(|version| on_tiny_core(args, config, &mut core, &version)).transpose()?;
        let is_own = own.is_some();
        Self::prove(core, own.unwrap_or_else(|| config.clone()), is_own, args.variant).map_err(unfit)
    }

    fn prove(mut core: Core, config: Config, is_own: bool, variant: Variant) -> Result<Self> {
        let extensions = Extensions::take(&mut core, &config, variant)?;
        let index = is_own.then(|| index::make(&mut core, &extensions)).transpose()?;
        let (index, early) = match index {
            Some(index) => (index.items, index.files),
            None => (Vec::new(), extensions.early_modules(&core.release)?),
        };
        let required = config.required_modules().iter().map(|name| (name.as_str(), Place::Early));
        let first = FIRST_MODULES.map(|name| (name, Place::Initrd));
        core.prove(first.into_iter().chain(required), &early)?;
        Ok(Self { core, config, extensions, index })
    }
}

/// What is wrong with a base, unless this machine is at fault.
fn unfit(error: anyhow::Error) -> anyhow::Error {
    if is_of_this_machine(&error) { error } else { Unfit(error).into() }
}

/// The description for Tiny Core's own ISO, whose extensions come from its mirrors unless it has them itself.
fn on_tiny_core(args: &Args, config: &Config, core: &mut Core, version: &str) -> Result<Config> {
    let config = config.on_tiny_core()?;
    let wanted = from_mirrors(core, &config, args.variant).map_err(unfit)?;
    if !wanted.is_empty() {
        let version: Version = version
            .parse()
            .with_context(|| format!("the base {} does not say its release", core.name))
            .map_err(unfit)?;
        let (cache, lock) = (cache::folder(args.cache.as_deref())?, args.lock_path(&config));
        let _held = cache::hold(&cache)?;
        let mirrors = choose::mirrors(args, &config, &cache, &lock)?;
        core.look_beside(mirrors.extensions(&version, &core.release, &wanted)?);
    }
    Ok(config)
}

/// The variant's extensions, for Tiny Core's own ISO; none where it has all of them itself.
///
/// # Errors
/// The ISO is damaged.
pub fn from_mirrors(core: &mut Core, config: &Config, variant: Variant) -> Result<Vec<String>> {
    let (wanted, own) = (config.all(variant, &core.release), core.extensions()?);
    Ok(if wanted.iter().all(|name| own.contains(name)) { Vec::new() } else { wanted })
}
