//! The bill of materials of an image, as SPDX: `<name>.spdx.json`. Pure but for [`contents`] and [`parts`], which read: what is
//! named is what the build itself put together, with its origin. The same inputs make the same bytes.

pub mod contents;
pub mod parts;
pub mod spdx;

use std::collections::BTreeMap;

use anyhow::Result;

use self::contents::Contents;
use self::parts::Part;
use self::spdx::{Document, Package};
use crate::base::lock::Gem;
use crate::base::manifest::Manifest as Description;
use crate::build::manifest::{Base, Part as Input};

/// What an image consists of.
pub struct Image<'a> {
    /// Name of the image's files without their endings.
    pub name: &'a str,
    /// Version of the image.
    pub version: &'a str,
    /// Date of its source in seconds since 1970.
    pub epoch: u32,
    /// Name and SHA-256 of the ISO.
    pub iso: (&'a str, &'a str),
    /// The base.
    pub base: &'a Base,
    /// Release of its kernel.
    pub kernel: &'a str,
    /// The agent.
    pub agent: &'a Input,
    /// What the agent was compiled from, where that was handed in.
    pub parts: Option<&'a [Part]>,
    /// The base's initrd and the extensions.
    pub contents: &'a [Contents],
    /// Gems of the internal mirror.
    pub gems: &'a [Gem],
}

/// The bill of materials.
///
/// # Errors
/// The date is none, or the base's description is none.
pub fn text(image: &Image<'_>) -> Result<Vec<u8>> {
    let mut bill = Bill { document: Document::new(image.name, image.epoch)?, image: String::new() };
    let (iso, digest) = image.iso;
    let mut whole = Package::new("razor-mk", image.version, "OPERATING_SYSTEM").sha256(digest);
    whole.package_file_name = Some(iso.to_owned());
    env!("CARGO_PKG_LICENSE").clone_into(&mut whole.license_declared);
    "As built, before a site's settings are put into it. The licence is that of its own programs."
        .clone_into(&mut whole.comment);
    bill.image = bill.document.describe(whole);
    let description: Option<Description> = image.base.description.clone().map(serde_json::from_value).transpose()?;
    let debian = bill.base(image.base, description.as_ref());
    let no_firmware = BTreeMap::new();
    let firmware = description.as_ref().map_or(&no_firmware, |description| &description.firmware);
    let kernel = description.as_ref().and_then(|description| {
        debian.iter().find(|(name, _)| name.starts_with("linux-image-") && name.ends_with(&description.kernel))
    });
    for contents in image.contents {
        bill.contents(image, contents, &debian, firmware, kernel.map(|(_, id)| id.as_str()));
    }
    bill.agent(image);
    for gem in image.gems {
        let package = Package::new(&gem.name, &gem.version, "LIBRARY").sha256(&gem.sha256);
        bill.contained("Gem", package.purl(format!("pkg:gem/{}@{}", gem.name, gem.version)));
    }
    bill.document.finish()
}

/// A document that is being made, and the identifier of the image in it.
struct Bill {
    document: Document,
    image: String,
}

impl Bill {
    /// Adds a package that the image has in it.
    fn contained(&mut self, kind: &str, package: Package) -> String {
        let id = self.document.package(kind, package);
        self.document.relate(&self.image, "CONTAINS", &id);
        id
    }

    /// The base, and the packages that it was made of: their identifiers by name.
    fn base(&mut self, base: &Base, description: Option<&Description>) -> BTreeMap<String, String> {
        let version = description.map_or("", |description| &description.suite);
        let package = Package::new(&base.name, version, "OPERATING_SYSTEM").sha256(&base.sha256);
        let id = self.document.package("Base", package);
        self.document.relate(&self.image, "GENERATED_FROM", &id);
        let mut ids = BTreeMap::new();
        for package in description.iter().flat_map(|description| &description.packages) {
            let (name, version) = (&package.name, &package.version);
            let purl = format!("pkg:deb/debian/{}@{}", escaped(name), escaped(version));
            let mut debian = Package::new(name, version, "INSTALL").sha256(&package.sha256).purl(purl);
            debian.download_location.clone_from(&package.uri);
            "Of the base as a whole: an image may lack the extension that it is for.".clone_into(&mut debian.comment);
            let one = self.document.package("Debian", debian);
            self.document.relate(&id, "GENERATED_FROM", &one);
            ids.insert(name.clone(), one);
        }
        ids
    }

    /// The initrd or an extension, with its firmware and its kernel modules.
    fn contents(
        &mut self,
        image: &Image<'_>,
        contents: &Contents,
        debian: &BTreeMap<String, String>,
        firmware: &BTreeMap<String, String>,
        kernel: Option<&str>,
    ) {
        let mut package = Package::new(&contents.name, "", "ARCHIVE").sha256(&contents.sha256);
        package.source_info.clone_from(&image.base.name);
        if !contents.loaded {
            package.comment = "In the internal mirror; not loaded at boot.".to_owned();
        }
        let id = self.contained("Extension", package);
        if contents.modules > 0 {
            let mut modules = Package::new("kernel-modules", image.kernel, "OPERATING_SYSTEM");
            modules.comment = format!("{} modules in {}", contents.modules, contents.name);
            let modules = self.document.package("Modules", modules);
            self.document.relate(&modules, "EXPANDED_FROM_ARCHIVE", &id);
            if let Some(kernel) = kernel {
                self.document.relate(&modules, "GENERATED_FROM", kernel);
            }
        }
        for file in &contents.firmware {
            let one = self.document.file("Firmware", &file.path, &file.sha1, &file.sha256);
            self.document.relate(&one, "EXPANDED_FROM_ARCHIVE", &id);
            if let Some(package) = firmware.get(file.name()).and_then(|name| debian.get(name)) {
                self.document.relate(&one, "GENERATED_FROM", package);
            }
        }
    }

    /// The agent, and what it was compiled from.
    fn agent(&mut self, image: &Image<'_>) {
        let mut package = Package::new("mk-agent", image.version, "APPLICATION").sha256(&image.agent.sha256);
        env!("CARGO_PKG_LICENSE").clone_into(&mut package.license_declared);
        if image.parts.is_none() {
            package.comment =
                "What it was compiled from was not handed in (mkiso build --agent-parts), and is not listed."
                    .to_owned();
        }
        let agent = self.contained("Agent", package);
        for part in image.parts.unwrap_or_default() {
            let mut package = Package::new(&part.name, &part.version, "LIBRARY");
            if let Some(digest) = &part.sha256 {
                package = package.sha256(digest);
            }
            if let Some(purl) = &part.purl {
                package = package.purl(purl.clone());
            }
            if let Some(license) = &part.license {
                package.license_declared.clone_from(license);
            }
            if let Some(download) = &part.download {
                package.download_location.clone_from(download);
            }
            let id = self.document.package("Crate", package);
            self.document.relate(&agent, "STATIC_LINK", &id);
        }
    }
}

/// A name or version as it stands in a package URL.
fn escaped(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-~".contains(c);
    text.chars().map(|c| if plain(c) { c.to_string() } else { format!("%{:02X}", u32::from(c)) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_escaped_as_package_urls_want_it() {
        assert_eq!(escaped("libstdc++6"), "libstdc%2B%2B6");
        assert_eq!(escaped("1:1.35.0-4+deb12u1~x"), "1%3A1.35.0-4%2Bdeb12u1~x");
    }
}
