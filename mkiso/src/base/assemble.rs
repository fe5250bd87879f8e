//! Puts a base together: unpacks the packages, chooses modules and firmware, makes the initrd and the extensions, and
//! lays them out as Tiny Core's ISO is.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use tce_mirror::libraries::{self, Libraries};
use tce_mirror::recipe::{self, Packages, Present};
use tce_mirror::tcz::Info;
use tce_mirror::tree::{Kind, Tree};

use crate::limits::MAX_DEB_UNPACKED;
use crate::progress::{Step, Unit};

use super::compress::Extension;
use super::config::Config;
use super::fetch::Store;
use super::modules::{self, Selection};
use super::tinycore::{self, Rootfs};
use super::{compress, depmod, firmware, initrd, layout, lock, manifest, rootfs};

/// Name of the firmware's extension.
const FIRMWARE: &str = "firmware-server";

/// Everything that a base is made from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The description.
    pub config: &'a Config,
    /// The packages.
    pub lock: &'a lock::Debian,
    /// Where their bytes are.
    pub store: &'a Store,
    /// The cache folder.
    pub cache: &'a Path,
    /// What was handed in for the initrd in place of packages.
    pub given: Option<&'a Given>,
}

/// A root file system of Tiny Core, with the kernel for it where that is not the lock's.
#[derive(Debug)]
pub struct Given {
    /// The root file system.
    pub root: Rootfs,
    /// Bytes of the kernel's package, which the lock names.
    pub kernel: Option<Vec<u8>>,
    /// What is said of it in the base.
    pub source: manifest::Source,
}

/// The files of the base ISO.
///
/// # Errors
/// What is missing or damaged, by name.
pub fn assemble(inputs: &Inputs<'_>) -> Result<Tree> {
    let packages = unpack(inputs)?;
    let config = inputs.config;
    let kernel = packages.tree(&inputs.lock.kernel).context("the kernel's package is missing from image.lock")?;
    let release = release(kernel)?;
    let folder = format!("usr/lib/modules/{release}");

    let step = Step::open("choosing modules and firmware");
    let infos = modules::read(kernel, &format!("{folder}/kernel/"))?;
    let mut chosen = modules::select(&infos, &config.modules)?;
    if let Some(given) = inputs.given {
        let own = tinycore::own_modules(&given.root);
        chosen = modules::select(&infos, &tinycore::with_own(&config.modules, &chosen, &own))?;
    }
    let (early, drivers) = split(kernel, &folder, &chosen)?;
    let firmware_packages: Vec<(&str, &Tree)> =
        config.debian.firmware.iter().filter_map(|name| Some((name.as_str(), packages.tree(name)?))).collect();
    let all = chosen.early.union(&chosen.drivers).cloned().collect();
    let mut firmware = firmware::collect(&infos, &all, &firmware_packages)?;
    let index = depmod::index(kernel, &[&early, &drivers], &folder, release)?;
    step.done(&format!(
        "{} modules, {} firmware files",
        all.len(),
        firmware.tree.iter().filter(|(_, n)| matches!(n.kind, Kind::File(_))).count()
    ));

    let parts =
        Parts { packages: &packages, config, early, drivers, firmware: std::mem::take(&mut firmware.tree), index };
    let step = Step::open("writing the initrd");
    let (core, extensions, libraries) = match inputs.given {
        None => parts.over_packages(inputs.lock, release)?,
        Some(given) => parts.over_tinycore(given, inputs.lock, release)?,
    };
    step.done(&format!("{} bytes", core.len()));
    let images = compress::all(inputs.cache, &extensions, inputs.lock.taken)?;
    layout::iso(layout::Parts {
        packages: &packages,
        lock: inputs.lock,
        release,
        core,
        extensions: extensions.iter().map(|e| &e.info).zip(images).collect(),
        isolinux: inputs.given.map_or(rootfs::ISOLINUX, |_| tinycore::ISOLINUX),
        manifest: manifest::text(manifest::Said {
            lock: inputs.lock,
            kernel: release,
            firmware,
            libraries,
            rootfs: inputs.given.map(|given| &given.source),
        })?,
    })
}

/// The initrd, the extensions, and which of Debian's shared libraries the initrd has.
type Root = (Vec<u8>, Vec<Extension>, Vec<String>);

/// What a base is put together from.
struct Parts<'a> {
    packages: &'a Packages<'a>,
    config: &'a Config,
    early: Tree,
    drivers: Tree,
    firmware: Tree,
    index: Tree,
}

impl Parts<'_> {
    /// The initrd and the extensions of a base of packages alone.
    fn over_packages(self, lock: &lock::Debian, release: &str) -> Result<Root> {
        let mut root = base_root(self.packages, self.config)?;
        let present = Present { libraries: libraries::of(&root), ..Present::default() };
        let mut extensions = for_hardware(self.drivers, self.firmware, lock, release);
        extensions.extend(from_packages(self.packages, self.config, &present)?);
        root.merge(self.early)?;
        root.merge(self.index)?;
        Ok((initrd::gzip(&initrd::archive(&root, lock.taken)?)?, extensions, present.libraries.into_iter().collect()))
    }

    /// The same over Tiny Core's root file system. Its C library is another one than that of Debian's programs, which
    /// therefore comes along with its loader, in one extension that the others need.
    fn over_tinycore(self, given: &Given, lock: &lock::Debian, release: &str) -> Result<Root> {
        let (archive, packed) = tinycore::core(given.root.clone(), &self.early, &self.index, lock.taken)?;
        let at = tinycore::firmware_folder(&archive)?;
        let (drivers, firmware) = (tinycore::relocate(&self.drivers, &at)?, tinycore::relocate(&self.firmware, &at)?);
        let libraries = &self.config.debian.libraries;
        let libc: Vec<&Tree> = libraries.iter().filter_map(|name| self.packages.tree(name)).collect();
        let mut shared = Tree::default();
        let mut programs = from_packages(self.packages, self.config, &Present::default())?;
        for program in &mut programs {
            tinycore::share_libc(&mut program.tree, &libc, &mut shared)?;
            program.info.depends.push(tinycore::LIBC.to_owned());
        }
        let names: Vec<_> = libraries.iter().filter_map(|name| self.packages.locked(name)).collect();
        let about = Info {
            name: tinycore::LIBC.to_owned(),
            description: "C library of Debian's programs".to_owned(),
            version: names.first().map_or_else(String::new, |package| package.version.clone()),
            site: names.first().map_or_else(String::new, |package| package.uri.clone()),
            made_of: names.iter().map(|package| format!("{} {}", package.name, package.version)).collect(),
            ..Info::default()
        };
        let mut extensions = for_hardware(drivers, firmware, lock, release);
        extensions.push(Extension { tree: shared, info: about, packing: compress::ORDINARY });
        extensions.extend(programs);
        // Its own are of no use to Debian's programs.
        Ok((initrd::gzip_stored(&archive, packed)?, extensions, Vec::new()))
    }
}

/// The extensions that are mounted before drivers are loaded.
fn for_hardware(drivers: Tree, firmware: Tree, lock: &lock::Debian, release: &str) -> Vec<Extension> {
    let drivers_info = info(&format!("drivers-{release}"), "Server drivers", lock);
    let firmware_info = info(FIRMWARE, "Firmware that the drivers ask for", lock);
    vec![
        Extension { tree: drivers, info: drivers_info, packing: compress::DRIVERS },
        Extension { tree: firmware, info: firmware_info, packing: compress::ORDINARY },
    ]
}

/// The extensions that are made of packages, without the libraries that are there already.
fn from_packages(packages: &Packages<'_>, config: &Config, present: &Present) -> Result<Vec<Extension>> {
    let mut extensions = Vec::new();
    for (name, recipe) in &config.extensions {
        let (tree, info) = recipe::build(name, recipe, packages, present)?;
        let packing = if config.image.only_in_mirror(name) { compress::SELDOM } else { compress::ORDINARY };
        extensions.push(Extension { tree, info, packing });
    }
    Ok(extensions)
}

/// The release of a package's kernel, as it is in the kernel's name.
fn release(kernel: &Tree) -> Result<&str> {
    let found = kernel.iter().find_map(|(path, _)| path.strip_prefix("boot/vmlinuz-"));
    found.ok_or_else(|| anyhow!("it is no kernel package: it has no boot/vmlinuz-…"))
}

/// Reads all packages, leaving out what no image needs.
fn unpack<'a>(inputs: &Inputs<'a>) -> Result<Packages<'a>> {
    let step = Step::counted("unpacking packages", inputs.lock.packages.len() as u64, Unit::Items);
    let mut packages = Packages::default();
    for (done, package) in inputs.lock.packages.iter().enumerate() {
        step.at(done as u64);
        let given = inputs.given.and_then(|given| given.kernel.clone()).filter(|_| package.name == inputs.lock.kernel);
        let bytes = given.map_or_else(|| inputs.store.read(package), Ok)?;
        let deb = tce_mirror::deb::read(bytes.as_slice(), MAX_DEB_UNPACKED, recipe::place)
            .with_context(|| format!("{} {} cannot be read", package.name, package.version))?;
        packages.0.push((package, deb.tree));
    }
    step.done(&format!("{} packages", packages.0.len()));
    Ok(packages)
}

/// The chosen modules' files, those of the initrd and those of the extension.
fn split(kernel: &Tree, folder: &str, chosen: &Selection) -> Result<(Tree, Tree)> {
    let pick = |paths: &std::collections::BTreeSet<String>| -> Result<Tree> {
        let mut tree = Tree::default();
        for path in paths {
            let file = format!("{folder}/kernel/{path}.ko");
            let bytes = kernel.content(&file).ok_or_else(|| anyhow!("the kernel's package has no {file}"))?;
            tree.file(&file, 0o644, bytes)?;
        }
        Ok(tree)
    };
    Ok((pick(&chosen.early)?, pick(&chosen.drivers)?))
}

/// The initrd's tree without modules.
fn base_root(packages: &Packages<'_>, config: &Config) -> Result<Tree> {
    let of = |names: &[String]| names.iter().filter_map(|n| packages.tree(n)).collect::<Vec<_>>();
    let mut programs = Tree::default();
    for tree in of(&config.debian.root) {
        programs.merge(tree.clone())?;
    }
    let libraries = Libraries::new(of(&config.debian.libraries));
    rootfs::build(&programs, &libraries)
}

fn info(name: &str, description: &str, lock: &lock::Debian) -> Info {
    let kernel = lock.package(&lock.kernel);
    Info {
        name: name.to_owned(),
        description: description.to_owned(),
        version: kernel.map_or_else(String::new, |p| p.version.clone()),
        site: kernel.map_or_else(String::new, |p| p.uri.clone()),
        made_of: lock
            .packages
            .iter()
            .filter(|p| p.name == lock.kernel || p.name.starts_with("firmware-"))
            .map(|p| format!("{} {}", p.name, p.version))
            .collect(),
        ..Info::default()
    }
}
