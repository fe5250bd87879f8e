//! The sections of `image.toml` that describe the base: packages, extensions made of them, kernel modules. Sections of
//! other parts are left alone; within these an unknown key is refused, so that a typing error is not overlooked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tce_mirror::apt::{Archive, Sources};
use tce_mirror::plan::SUFFIX;
use tce_mirror::recipe::Recipe;

/// What `image.toml` says of the base.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// The Debian base.
    pub debian: Debian,
    /// Extensions made of packages, by name without `.tcz`.
    #[serde(default, rename = "extension")]
    pub extensions: BTreeMap<String, Recipe>,
    /// Kernel modules.
    pub modules: Modules,
    /// The image.
    #[serde(default)]
    pub image: Image,
}

/// Of `[image]`, what decides on the base.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Image {
    /// Extensions that only the internal mirror has.
    #[serde(default)]
    mirror: Vec<String>,
}

impl Image {
    /// Whether an extension, by its name without `.tcz`, is in the internal mirror and not loaded at boot.
    #[must_use]
    pub fn only_in_mirror(&self, name: &str) -> bool {
        self.mirror.iter().any(|listed| listed.strip_suffix(SUFFIX).unwrap_or(listed) == name)
    }
}

/// `[debian]`: where packages come from and which ones are taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    /// Name of the release.
    pub suite: String,
    /// Debian's name of the machine architecture.
    pub architecture: String,
    /// File with the archives' public keys.
    pub keyring: PathBuf,
    /// Archives, in order.
    pub archives: Vec<Archive>,
    /// Parts of the archives.
    pub components: Vec<String>,
    /// Kernel package, or one that depends on it.
    pub kernel: String,
    /// Packages of the initrd.
    pub root: Vec<String>,
    /// Packages that shared libraries are taken from for the initrd.
    pub libraries: Vec<String>,
    /// Packages with boot loaders.
    pub boot: Vec<String>,
    /// Packages with firmware, in order.
    pub firmware: Vec<String>,
    /// Packages that are left out although others depend on them, with the reason.
    #[serde(default)]
    pub without: BTreeMap<String, String>,
}

/// `[modules]`: which kernel modules the image has.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modules {
    /// In the initrd.
    pub early: Vec<String>,
    /// In the drivers' extension.
    pub include: Vec<String>,
    /// Left out of `include`, with the reason.
    #[serde(default)]
    pub exclude: BTreeMap<String, String>,
    /// Never loaded, by module name, with the reason.
    #[serde(default)]
    pub deny: BTreeMap<String, String>,
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// The file cannot be read, or the line in it that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("cannot read the image's description {}; name it with --config", path.display())
        })?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// Parses the text of the file.
    ///
    /// # Errors
    /// The line that is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }
}

impl Debian {
    /// Where packages come from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        Sources {
            architecture: self.architecture.clone(),
            keyring: self.keyring.clone(),
            archives: self.archives.clone(),
            components: self.components.clone(),
            without: self.without.clone(),
        }
    }

    /// Packages that are taken by name, without what they depend on.
    pub fn alone(&self) -> impl Iterator<Item = &String> {
        self.root.iter().chain(&self.libraries).chain(&self.boot).chain(&self.firmware)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_description_is_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../image.toml");
        let config = Config::read(&path).unwrap();
        assert!(config.debian.firmware.iter().any(|p| p == "firmware-bnx2"));
        assert!(config.modules.early.iter().any(|m| m.ends_with("squashfs")));
        assert!(config.modules.deny.values().all(|reason| !reason.is_empty()));
        assert!(config.image.only_in_mirror("open-vm-tools") && !config.image.only_in_mirror("bash"));
    }

    #[test]
    fn a_typing_error_is_named() {
        let error = Config::parse("[debian]\nsweet = 1").unwrap_err();
        assert!(error.to_string().contains("sweet"), "{error}");
    }
}
