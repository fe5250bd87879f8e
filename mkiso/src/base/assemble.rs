//! Puts a base together: unpacks the packages, chooses modules and firmware, makes the initrd and the extensions, and
//! lays them out as Tiny Core's ISO is.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use tce_mirror::tcz::{self, Compression, Info};
use tce_mirror::tree::{Kind, Tree, usr_merged};

use crate::cache::Key;
use crate::limits::MAX_DEB_UNPACKED;
use crate::output;
use crate::progress::{Step, Unit};

use super::config::Config;
use super::extension::{self, Packages};
use super::fetch::Store;
use super::libraries::Libraries;
use super::modules::{self, Selection};
use super::{depmod, firmware, initrd, lock, manifest, rootfs};

/// Extensions are compressed by xz with the filter for x86 code: of all that the kernel reads the smallest, and the image
/// has to fit. The kernel inflates a whole block for each module that it loads: blocks of 1 MiB are 3 % smaller than
/// these, but a machine takes 1.5 s longer from init to its address.
const SMALL: Compression = Compression::Xz { block: 128 * 1024, x86: true };
/// Name of the firmware's extension.
const FIRMWARE: &str = "firmware-server";
/// Folder of the extensions in the ISO.
const OPTIONAL: &str = "cde/optional";

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
    let mut extensions = vec![
        (drivers, info(&format!("drivers-{release}"), "Server drivers", inputs.lock)),
        (firmware.tree, info(FIRMWARE, "Firmware that the drivers ask for", inputs.lock)),
    ];
    for (name, extension) in &config.extensions {
        extensions.push(extension::build(name, extension, &packages, &root)?);
    }
    root.merge(early)?;
    root.merge(index)?;
    finish(inputs, &packages, root, extensions, firmware.absent)
}

/// Writes initrd and extensions and lays everything out.
fn finish(
    inputs: &Inputs<'_>,
    packages: &Packages<'_>,
    root: Tree,
    extensions: Vec<(Tree, Info)>,
    absent: Vec<String>,
) -> Result<Tree> {
    let step = Step::open("writing the initrd");
    let core = initrd::write(&root, inputs.lock.taken)?;
    step.done(&format!("{} bytes", core.len()));
    let release = release(&inputs.lock.kernel)?;
    let mut iso = Tree::default();
    let kernel = packages.tree(&inputs.lock.kernel).and_then(|t| t.content(&format!("boot/vmlinuz-{release}")));
    iso.file("boot/vmlinuz64", 0o644, kernel.context("the kernel's package has no boot/vmlinuz")?)?;
    iso.file("boot/corepure64.gz", 0o644, core)?;
    for (path, from) in BOOT {
        let node = packages.all().iter().find_map(|tree| tree.resolve(from).map(|(_, node)| node.clone()));
        iso.insert(path, node.ok_or_else(|| anyhow!("no package of the base has {from}"))?)?;
    }
    iso.file("boot/isolinux/isolinux.cfg", 0o644, include_str!("rootfs/isolinux.cfg"))?;
    let mut onboot = String::new();
    for (image, info) in compress(inputs, &extensions)? {
        let name = &info.name;
        onboot.push_str(&format!("{name}.tcz\n"));
        let at = format!("{OPTIONAL}/{name}.tcz");
        iso.file(&format!("{at}.md5.txt"), 0o644, tcz::md5_txt(name, &image))?;
        iso.file(&format!("{at}.info"), 0o644, info.text(image.len()))?;
        if !info.depends.is_empty() {
            iso.file(&format!("{at}.dep"), 0o644, info.dep())?;
        }
        iso.file(&at, 0o644, image)?;
    }
    iso.file("cde/onboot.lst", 0o644, onboot)?;
    iso.file(manifest::PATH, 0o644, manifest::text(inputs.lock, release, absent)?)?;
    Ok(iso)
}

/// Boot loaders: their place in the ISO and in their packages.
const BOOT: [(&str, &str); 5] = [
    ("boot/isolinux/isolinux.bin", "usr/lib/ISOLINUX/isolinux.bin"),
    ("boot/isolinux/isohdpfx.bin", "usr/lib/ISOLINUX/isohdpfx.bin"),
    ("boot/isolinux/ldlinux.c32", "usr/lib/syslinux/modules/bios/ldlinux.c32"),
    ("boot/efi/BOOTX64.EFI", "usr/lib/shim/shimx64.efi.signed"),
    ("boot/efi/grubx64.efi", "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed"),
];

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
    (!LEFT_OUT.iter().any(|prefix| path.starts_with(prefix))).then(|| usr_merged(path))
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

/// Compresses all extensions, several at once, each from the cache where its content is unchanged.
fn compress<'i>(inputs: &Inputs<'_>, extensions: &'i [(Tree, Info)]) -> Result<Vec<(Vec<u8>, &'i Info)>> {
    let step = Step::open("compressing extensions");
    let images = std::thread::scope(|scope| {
        let threads: Vec<_> = extensions
            .iter()
            .map(|(tree, _)| scope.spawn(move || compressed(inputs.cache, tree, inputs.lock.taken)))
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().map_err(|_| anyhow!("compressing an extension failed"))?)
            .collect::<Result<Vec<_>>>()
    })?;
    step.done(
        &images
            .iter()
            .zip(extensions)
            .map(|(image, (_, info))| format!("{} {} bytes", info.name, image.len()))
            .collect::<Vec<_>>()
            .join(", "),
    );
    Ok(images.into_iter().zip(extensions.iter().map(|(_, info)| info)).collect())
}

fn compressed(cache: &Path, tree: &Tree, time: u32) -> Result<Vec<u8>> {
    let mut key = Key::default().with(env!("CARGO_PKG_VERSION")).with(format!("{SMALL:?} {time}"));
    for (path, node) in tree.iter() {
        key = key.with(path).with(node.mode.to_le_bytes());
        key = match &node.kind {
            Kind::Dir => key.with("dir"),
            Kind::File(bytes) => key.with("file").with(bytes),
            Kind::Link(target) => key.with("link").with(target),
        };
    }
    let path = cache.join("tcz").join(format!("{}.tcz", key.finish()));
    if let Ok(image) = std::fs::read(&path) {
        return Ok(image);
    }
    let image = tcz::write(tree, SMALL, time)?;
    output::write(&path, &image)?;
    Ok(image)
}
