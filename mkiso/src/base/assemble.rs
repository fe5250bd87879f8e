//! Puts a base together: unpacks the packages, chooses modules and firmware, makes the initrd and the extensions, and
//! lays them out as Tiny Core's ISO is.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use tce_mirror::tcz::Info;
use tce_mirror::tree::{Kind, Tree, usr_merged};

use crate::limits::MAX_DEB_UNPACKED;
use crate::progress::{Step, Unit};

use super::compress::Extension;
use super::config::Config;
use super::extension::{self, Packages};
use super::fetch::Store;
use super::libraries::Libraries;
use super::modules::{self, Selection};
use super::{compress, depmod, firmware, initrd, layout, lock, rootfs};

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
}

/// The files of the base ISO.
///
/// # Errors
/// What is missing or damaged, by name.
pub fn assemble(inputs: &Inputs<'_>) -> Result<Tree> {
    let packages = unpack(inputs)?;
    let config = inputs.config;
    let kernel = packages.tree(&inputs.lock.kernel).context("the kernel's package is missing from image.lock")?;
    let release = release(&inputs.lock.kernel)?;
    let folder = format!("usr/lib/modules/{release}");

    let step = Step::open("choosing modules and firmware");
    let infos = modules::read(kernel, &format!("{folder}/kernel/"))?;
    let chosen = modules::select(&infos, &config.modules)?;
    let (early, drivers) = split(kernel, &folder, &chosen)?;
    let firmware_packages: Vec<Tree> =
        config.debian.firmware.iter().filter_map(|n| packages.tree(n).cloned()).collect();
    let firmware = firmware::collect(&infos, &chosen.drivers, &firmware_packages)?;
    let index = depmod::index(kernel, &[&early, &drivers], &folder, release)?;
    step.done(&format!(
        "{} modules, {} firmware files",
        chosen.early.len() + chosen.drivers.len(),
        firmware.tree.iter().filter(|(_, n)| matches!(n.kind, Kind::File(_))).count()
    ));

    let mut root = base_root(&packages, config)?;
    let about = |name: &str, description: &str| info(name, description, inputs.lock);
    let mut extensions = vec![
        Extension {
            tree: drivers,
            info: about(&format!("drivers-{release}"), "Server drivers"),
            block: compress::DRIVERS_BLOCK,
        },
        Extension {
            tree: firmware.tree,
            info: about(FIRMWARE, "Firmware that the drivers ask for"),
            block: compress::BLOCK,
        },
    ];
    for (name, extension) in &config.extensions {
        let (tree, info) = extension::build(name, extension, &packages, &root)?;
        extensions.push(Extension { tree, info, block: compress::BLOCK });
    }
    root.merge(early)?;
    root.merge(index)?;
    let step = Step::open("writing the initrd");
    let core = initrd::write(&root, inputs.lock.taken)?;
    step.done(&format!("{} bytes", core.len()));
    let images = compress::all(inputs.cache, &extensions, inputs.lock.taken)?;
    layout::iso(layout::Parts {
        packages: &packages,
        lock: inputs.lock,
        release,
        core,
        extensions: extensions.iter().map(|e| &e.info).zip(images).collect(),
        absent_firmware: firmware.absent,
    })
}

/// The kernel's release in the name of its package.
fn release(package: &str) -> Result<&str> {
    package.strip_prefix("linux-image-").ok_or_else(|| anyhow!("{package} is no kernel package"))
}

/// Reads all packages, leaving out what no image needs.
fn unpack<'a>(inputs: &Inputs<'a>) -> Result<Packages<'a>> {
    let step = Step::counted("unpacking packages", inputs.lock.packages.len() as u64, Unit::Items);
    let mut packages = Packages::default();
    for (done, package) in inputs.lock.packages.iter().enumerate() {
        step.at(done as u64);
        let bytes = inputs.store.read(package)?;
        let deb = tce_mirror::deb::read(bytes.as_slice(), MAX_DEB_UNPACKED, place)
            .with_context(|| format!("{} {} cannot be read", package.name, package.version))?;
        packages.0.push((package, deb.tree));
    }
    step.done(&format!("{} packages", packages.0.len()));
    Ok(packages)
}

/// Where a packaged file lies in the image; nowhere, if no image needs it.
fn place(path: &str) -> Option<String> {
    const LEFT_OUT: [&str; 3] = ["usr/share/", "boot/System.map", "boot/config"];
    let licence = path.starts_with("usr/share/doc/") && path.ends_with("/copyright");
    (licence || !LEFT_OUT.iter().any(|prefix| path.starts_with(prefix))).then(|| usr_merged(path))
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
        depends: Vec::new(),
    }
}
