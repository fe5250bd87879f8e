//! What `image.toml` says of the image itself. The base's sections are read by [`crate::base`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tce_mirror::signed;
use wire::limits::DEFAULT_SITE_SLOT;

use super::variant::Variant;
use crate::limits::MAX_SITE_SLOT;
use crate::mirrors;

/// In an extension's name: the release of the base's kernel.
const KERNEL: &str = "KERNEL";

/// The sections of `image.toml` that `mkiso build` needs.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    image: Image,
    #[serde(default)]
    modules: Modules,
    tinycore: Option<mirrors::Config>,
    #[serde(default)]
    gems: Gems,
    /// Where the file lies; other inputs are found beside it.
    #[serde(skip)]
    folder: PathBuf,
}

/// Section `[image]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    early: Vec<String>,
    extensions: Vec<String>,
    remote: Vec<String>,
    #[serde(default)]
    mirror: Vec<String>,
    required_modules: Vec<String>,
    #[serde(default = "default_slot")]
    site_slot: u64,
    #[serde(default)]
    mirror_keys: Vec<String>,
    #[serde(default)]
    mirror_floor: u64,
}

/// Of the section `[modules]`, what concerns the running image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Modules {
    deny: BTreeMap<String, String>,
}

/// Section `[gems]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Gems {
    source: Option<String>,
}

fn default_slot() -> u64 {
    DEFAULT_SITE_SLOT
}

impl Config {
    /// Reads `image.toml`.
    ///
    /// # Errors
    /// The file cannot be read or is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read {}; name the configuration with --config", path.display()))?;
        let mut config = Self::parse(&text).with_context(|| format!("{} is wrong", path.display()))?;
        config.folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut config: Self = toml::from_str(text)?;
        for key in &mut config.image.mirror_keys {
            *key = signed::public_key(key).map_err(anyhow::Error::msg).context("image.mirror_keys")?;
        }
        let slot = config.image.site_slot;
        ensure!(
            slot > 0 && slot <= MAX_SITE_SLOT && slot.is_multiple_of(4),
            "image.site_slot is {slot}; it must be a multiple of 4 from 4 to {MAX_SITE_SLOT} bytes"
        );
        Ok(config)
    }

    /// Section `[tinycore]`.
    ///
    /// # Errors
    /// There is none.
    pub fn tinycore(&self) -> Result<&mirrors::Config> {
        self.tinycore
            .as_ref()
            .context("image.toml has no section [tinycore], which names mirrors and extensions of Tiny Core")
    }

    /// The same image on Tiny Core's own kernel: with the extensions of its mirrors, without what it does not have.
    ///
    /// # Errors
    /// There is no section `[tinycore]`.
    pub fn on_tiny_core(&self) -> Result<Self> {
        let tinycore = self.tinycore()?.clone();
        let mut config = self.clone();
        config.image.required_modules.retain(|name| !tinycore.without.contains_key(name));
        (config.image.early, config.image.extensions) = (tinycore.early, tinycore.extensions);
        (config.image.remote, config.image.mirror) = (tinycore.remote, tinycore.mirror);
        Ok(config)
    }

    /// Something that lies beside `image.toml`.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder that `image.toml` lies in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        if self.folder.as_os_str().is_empty() { Path::new(".") } else { &self.folder }
    }

    /// Extensions that are mounted before any driver is loaded, in order.
    #[must_use]
    pub fn early(&self, release: &str) -> Vec<String> {
        self.image.early.iter().map(|name| name.replace(KERNEL, release)).collect()
    }

    /// The other extensions of the variant, in order.
    #[must_use]
    pub fn extensions(&self, variant: Variant, release: &str) -> Vec<String> {
        let remote = self.image.remote.iter().filter(|_| variant.has_ssh());
        self.image.extensions.iter().chain(remote).map(|name| name.replace(KERNEL, release)).collect()
    }

    /// All extensions that an image of the variant has, without those that they need.
    #[must_use]
    pub fn all(&self, variant: Variant, release: &str) -> Vec<String> {
        [self.early(release), self.extensions(variant, release), self.mirror(release)].concat()
    }

    /// Extensions that the image's internal mirror has and that are not loaded at boot.
    #[must_use]
    pub fn mirror(&self, release: &str) -> Vec<String> {
        self.image.mirror.iter().map(|name| name.replace(KERNEL, release)).collect()
    }

    /// Extensions that only an image with remote log-in may have.
    #[must_use]
    pub fn remote(&self, release: &str) -> Vec<String> {
        self.image.remote.iter().map(|name| name.replace(KERNEL, release)).collect()
    }

    /// Modules without which the image is not built.
    #[must_use]
    pub fn required_modules(&self) -> &[String] {
        &self.image.required_modules
    }

    /// Modules that are never loaded, with the reason.
    #[must_use]
    pub fn deny_modules(&self) -> &BTreeMap<String, String> {
        &self.modules.deny
    }

    /// Gem server or folder that gems come from.
    #[must_use]
    pub fn gem_source(&self) -> Option<&str> {
        self.gems.source.as_deref()
    }

    /// Public keys by which the image believes a mirror's signed index.
    #[must_use]
    pub fn mirror_keys(&self) -> &[String] {
        &self.image.mirror_keys
    }

    /// The lowest number of such an index that it takes.
    #[must_use]
    pub fn mirror_floor(&self) -> u64 {
        self.image.mirror_floor
    }

    /// Size of the slot for a site's settings, in bytes.
    #[must_use]
    pub fn site_slot(&self) -> u64 {
        self.image.site_slot
    }
}

/// For the fuzzer.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(text: &str) {
    let _ = Config::parse(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[image]\nearly = [\"drivers-KERNEL.tcz\"]\nextensions = [\"bash.tcz\"]\n\
                        remote = [\"openssh.tcz\"]\nrequired_modules = [\"e1000e\"]\n[modules.deny]\nmei = \"why\"\n";

    #[test]
    fn the_kernel_release_is_put_into_names_and_only_variants_with_ssh_have_it() {
        let config = Config::parse(TEXT).unwrap();
        assert_eq!(config.early("6.1"), ["drivers-6.1.tcz"]);
        assert_eq!(config.extensions(Variant::Production, "6.1"), ["bash.tcz"]);
        assert_eq!(config.extensions(Variant::Debug, "6.1"), ["bash.tcz", "openssh.tcz"]);
        assert_eq!(config.deny_modules()["mei"], "why");
        assert_eq!(config.site_slot(), DEFAULT_SITE_SLOT);
    }

    #[test]
    fn on_tiny_core_it_has_the_extensions_of_its_mirrors() {
        assert!(Config::parse(TEXT).unwrap().on_tiny_core().unwrap_err().to_string().contains("[tinycore]"));
        let text = TEXT.replace("\"e1000e\"", "\"e1000e\", \"hv_netvsc\"");
        let section = "[tinycore]\nversion = \"17.x\"\nmirrors = [\"http://m\"]\nearly = [\"scsi-KERNEL.tcz\"]\n\
                       extensions = [\"lshw.tcz\"]\nremote = [\"dropbear.tcz\"]\nmirror = [\"fuse-KERNEL.tcz\"]\n\
                       without = {hv_netvsc = \"why\"}\n";
        let config = Config::parse(&format!("{text}{section}")).unwrap().on_tiny_core().unwrap();
        assert_eq!(config.mirror("6.18"), ["fuse-6.18.tcz"]);
        assert_eq!(config.early("6.18"), ["scsi-6.18.tcz"]);
        assert_eq!(config.extensions(Variant::Debug, "6.18"), ["lshw.tcz", "dropbear.tcz"]);
        assert_eq!(config.required_modules(), ["e1000e"]);
        assert!(Config::parse(&format!("{text}{}", section.replace("17.x", "17"))).is_err());
    }

    #[test]
    fn the_shipped_description_is_read() {
        let config = Config::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../image.toml")).unwrap();
        let tinycore = config.tinycore().unwrap();
        assert!(tinycore.mirrors.len() > 1 && tinycore.without.values().all(|reason| !reason.is_empty()));
        for name in tinycore.without.keys() {
            assert!(config.required_modules().contains(name), "{name} is not required anyway");
        }
    }

    #[test]
    fn keys_of_mirrors_are_looked_at() {
        let with = |key: &str| Config::parse(&TEXT.replace("remote", &format!("mirror_keys = [\"{key}\"]\nremote")));
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let two_lines = format!("untrusted comment: x\\n{key}\\n");
        for text in [key, &two_lines] {
            assert_eq!(with(text).unwrap().mirror_keys(), [key]);
        }
        assert!(format!("{:#}", with("RWQ").unwrap_err()).contains("mirror_keys"));
    }

    #[test]
    fn unknown_keys_and_impossible_slots_are_refused() {
        assert!(Config::parse(&TEXT.replace("remote", "remotes")).is_err());
        for slot in ["0", "7", "99999999999"] {
            assert!(Config::parse(&TEXT.replace("remote", &format!("site_slot = {slot}\nremote"))).is_err(), "{slot}");
        }
    }
}
