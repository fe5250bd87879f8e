//! The built-in extensions: which ones, in which order, and what is in those that carry modules.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use backhand::{FilesystemReader, InnerNode};
use md5::{Digest as _, Md5};
use tce_mirror::plan;

use super::beside_each_other;
use super::config::Config;
use super::core::Core;
use super::manifest::Part;
use super::place::Item;
use super::variant::Variant;
use crate::cache::{hex, sha256};
use crate::input;
use crate::limits::MAX_INITRD_UNPACKED;

/// Where the agent, and a Tiny Core init, find the built-in extensions.
const FOLDER: &str = "tmp/builtin/optional";
/// List of the built-in extensions, in order of loading.
const LIST: &str = "tmp/builtin/onboot.lst";
/// What may lie beside an extension, and goes along with it.
const COMPANIONS: [&str; 3] = [DEPENDENCIES, ".md5.txt", ".info"];
/// Behind an extension's name: the file that names what it depends on.
const DEPENDENCIES: &str = ".dep";
/// Where the agent finds which extension has which firmware.
const FIRMWARE_LIST: &str = "etc/razor-mk/firmware.lst";
/// Folder of firmware, wherever an extension has it.
pub(crate) const FIRMWARE: &str = "lib/firmware/";
/// Folder above a kernel's modules, wherever an extension has it.
const MODULES: &str = "lib/modules/";

/// One extension of the image.
#[derive(Debug)]
pub struct Extension {
    /// File name, such as `bash.tcz`.
    pub name: String,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
    bytes: Vec<u8>,
    companions: Vec<(String, Vec<u8>)>,
}

impl Extension {
    /// The extension as an input from a base.
    #[must_use]
    pub fn part(&self, base: &str) -> Part {
        Part {
            name: self.name.clone(),
            origin: base.to_owned(),
            sha256: self.sha256.clone(),
            bytes: self.bytes.len() as u64,
        }
    }

    pub(crate) fn open(&self) -> Result<FilesystemReader<'_>> {
        FilesystemReader::from_reader(Cursor::new(&self.bytes))
            .map_err(|error| anyhow!("{} is no squashfs image: {error}", self.name))
    }
}

/// The extensions of an image, in order of loading.
#[derive(Debug)]
pub struct Extensions {
    list: Vec<Extension>,
    /// How many of them, from the first on, are mounted before drivers are loaded.
    early: usize,
    /// How many, from the first on, are loaded at boot; the internal mirror has the others too.
    loaded: usize,
}

impl Extensions {
    /// Takes the variant's extensions and what they depend on out of the base.
    ///
    /// # Errors
    /// One is missing or damaged, or a production image would get a server for remote log-in.
    pub fn take(core: &mut Core, config: &Config, variant: Variant) -> Result<Self> {
        let release = core.release.clone();
        let (early, others) = (config.early(&release), config.extensions(variant, &release));
        let at_boot: Vec<String> = early.iter().chain(&others).cloned().collect();
        let wanted: Vec<String> = at_boot.iter().cloned().chain(config.mirror(&release)).collect();
        let mut found = Found::default();
        let order = plan::order(&wanted, |name| found.needs(core, name, &release));
        if let Some(error) = found.error {
            return Err(error);
        }
        let count =
            |names: &[String]| plan::order(names, |name| found.needs.get(name).cloned().unwrap_or_default()).len();
        let (early, loaded) = (count(&early), count(&at_boot));
        let list: Vec<Extension> = order.iter().filter_map(|name| found.extensions.remove(name)).collect();
        if !variant.has_ssh() {
            for name in config.remote(&release) {
                ensure!(
                    list.iter().all(|extension| extension.name != name),
                    "{name} is for remote log-in and cannot be in a {} image; image.toml or an extension asks for it",
                    variant.name()
                );
            }
        }
        Ok(Self { list, early, loaded })
    }

    /// All of them, in order of loading.
    #[must_use]
    pub fn all(&self) -> &[Extension] {
        &self.list
    }

    /// Those that are mounted before drivers are loaded.
    #[must_use]
    pub fn early(&self) -> &[Extension] {
        &self.list[..self.early]
    }

    /// Those that are loaded at boot; the internal mirror has the others too.
    #[must_use]
    pub fn loaded(&self) -> &[Extension] {
        &self.list[..self.loaded]
    }

    /// Digests by file name.
    #[must_use]
    pub fn digests(&self) -> BTreeMap<String, String> {
        self.list.iter().map(|extension| (extension.name.clone(), extension.sha256.clone())).collect()
    }

    /// Files of the early extensions below the folder of the kernel's modules.
    ///
    /// # Errors
    /// An extension is no squashfs image.
    pub fn early_modules(&self, release: &str) -> Result<BTreeSet<String>> {
        let folder = format!("{MODULES}{release}/");
        let mut files = BTreeSet::new();
        for extension in self.early() {
            for node in extension.open()?.files() {
                let path = node.fullpath.to_string_lossy();
                files.extend(path.split_once(&folder).map(|(_, file)| file.to_owned()));
            }
        }
        Ok(files)
    }

    /// The list by which the agent tells which extension has a firmware file: its name, a blank, the extension.
    ///
    /// # Errors
    /// An extension is no squashfs image.
    pub fn firmware(&self) -> Result<Item> {
        let mut list = BTreeSet::new();
        for extension in self.early() {
            for node in extension.open()?.files().filter(|node| matches!(node.inner, InnerNode::File(_))) {
                let path = node.fullpath.to_string_lossy();
                list.extend(path.split_once(FIRMWARE).map(|(_, file)| format!("{file} {}\n", extension.name)));
            }
        }
        Ok(Item::file(FIRMWARE_LIST, 0o644, list.into_iter().collect::<String>().into_bytes()))
    }

    /// Calls `each` with path and bytes of every file of the early extensions.
    ///
    /// # Errors
    /// An extension is no squashfs image or is damaged, or what `each` gives.
    pub fn each_early_file(&self, mut each: impl FnMut(&str, &[u8]) -> Result<()>) -> Result<()> {
        for extension in self.early() {
            let reader = extension.open()?;
            for node in reader.files() {
                let InnerNode::File(file) = &node.inner else { continue };
                let path = node.fullpath.to_string_lossy();
                let bytes = input::all_of(reader.file(file).reader(), MAX_INITRD_UNPACKED)
                    .with_context(|| format!("{path} in {} cannot be read", extension.name))?;
                each(&path, &bytes)?;
            }
        }
        Ok(())
    }

    /// What goes into the compressed archive: all that shrinks.
    #[must_use]
    pub fn texts(&self) -> Vec<Item> {
        let companions = self.list.iter().flat_map(|extension| &extension.companions);
        companions.map(|(name, bytes)| Item::file(&format!("{FOLDER}/{name}"), 0o644, bytes.clone())).collect()
    }

    /// What goes into the plain archive: the extensions, which are compressed, and the order of those that are loaded at
    /// boot. Takes their bytes.
    #[must_use]
    pub fn into_images(self) -> Vec<Item> {
        let list: String =
            self.list.iter().take(self.loaded).map(|extension| format!("{}\n", extension.name)).collect();
        let images = self.list.into_iter().map(|one| Item::file(&format!("{FOLDER}/{}", one.name), 0o644, one.bytes));
        images.chain([Item::file(LIST, 0o644, list.into_bytes())]).collect()
    }
}

/// Extensions that were found so far, and what each of them needs.
#[derive(Default)]
struct Found {
    extensions: BTreeMap<String, Extension>,
    needs: BTreeMap<String, Vec<String>>,
    /// Who asked for an extension first.
    wanted_by: BTreeMap<String, String>,
    error: Option<anyhow::Error>,
}

impl Found {
    /// What `name` depends on. The first failure is kept, and nothing is looked for after it.
    fn needs(&mut self, core: &mut Core, name: &str, release: &str) -> Vec<String> {
        if self.error.is_some() {
            return Vec::new();
        }
        let needs = self.find(core, name, release).unwrap_or_else(|error| {
            self.error = Some(error);
            Vec::new()
        });
        for need in &needs {
            self.wanted_by.entry(need.clone()).or_insert_with(|| format!("{name}.dep"));
        }
        self.needs.insert(name.to_owned(), needs.clone());
        needs
    }

    fn find(&mut self, core: &mut Core, name: &str, release: &str) -> Result<Vec<String>> {
        let Some(bytes) = core.extension_file(name)? else {
            let wanted_by = self.wanted_by.get(name).map_or("image.toml", String::as_str);
            let have = Some(core.extensions()?.join(", ")).filter(|have| !have.is_empty());
            bail!(
                "{wanted_by} asks for {name}, which the base {} does not have in cde/optional (it has {})",
                core.name,
                have.as_deref().unwrap_or("none")
            );
        };
        let mut companions = Vec::new();
        for suffix in COMPANIONS {
            let companion = format!("{name}{suffix}");
            if let Some(bytes) = core.extension_file(&companion)? {
                companions.push((companion, bytes));
            }
        }
        let (sha256, sound) = beside_each_other(|| sha256(&bytes), || check_md5(name, &bytes, &companions))?;
        sound?;
        let dep = companions.iter().find(|(file, _)| file.ends_with(DEPENDENCIES));
        let dep = dep.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
        let extension = Extension { name: name.to_owned(), sha256, bytes, companions };
        self.extensions.insert(name.to_owned(), extension);
        Ok(plan::names(&dep, release))
    }
}

/// Compares an extension with its `.md5.txt`, where it has one.
fn check_md5(name: &str, bytes: &[u8], companions: &[(String, Vec<u8>)]) -> Result<()> {
    let Some((file, text)) = companions.iter().find(|(file, _)| file.ends_with(".md5.txt")) else { return Ok(()) };
    let text = String::from_utf8_lossy(text);
    let want = text.split_whitespace().next().with_context(|| format!("{file} in the base is empty"))?;
    let have = hex(&Md5::digest(bytes));
    ensure!(
        want.eq_ignore_ascii_case(&have),
        "{name} in the base is damaged: its MD5 sum is {have}, {file} says {want}; make or download the base again"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_sum_is_named() {
        let companion = |text: &str| vec![("a.tcz.md5.txt".to_owned(), text.as_bytes().to_vec())];
        check_md5("a.tcz", b"abc", &companion("900150983cd24fb0d6963f7d28e17f72  a.tcz\n")).unwrap();
        check_md5("a.tcz", b"abc", &[]).unwrap();
        let error = check_md5("a.tcz", b"abcd", &companion("900150983cd24fb0d6963f7d28e17f72")).unwrap_err();
        assert!(error.to_string().contains("a.tcz in the base is damaged"));
    }
}
