//! A base from a root file system of Tiny Core and a Debian kernel: what differs from the base of Debian packages.
//!
//! The root file system stays as it is but for its kernel's modules: it gets those of the new kernel that the image has
//! and that its own core had too (compressed one by one, as Tiny Core has them), so that its own init finds the same
//! hardware. All others are in the drivers' extension, for which [`relocate`] knows the places.

pub mod rootfs;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use tce_mirror::tree::{Kind, Node, Tree};

use crate::cpio;
use crate::limits::MAX_INITRD_UNPACKED;

use super::config::Modules;
use super::depmod::GZ;
use super::modules::{Selection, name_of};
use super::{depmod, firmware, initrd};

pub use rootfs::Rootfs;

/// isolinux' configuration: Tiny Core's own kernel line, and no wait for compressed swap, which this kernel has not
/// built in.
pub const ISOLINUX: &str = include_str!("isolinux.cfg");
/// Name of the extension with the C library that Debian's programs need: another one than Tiny Core's.
pub const LIBC: &str = "libc6";
/// Where kernel modules are.
const MODULES: &str = "lib/modules";
/// Where Debian's packages have them.
const DEBIAN_MODULES: &str = "usr/lib/modules";
/// Where programs of a 64-bit Debian look for their loader, and where it is; Tiny Core's own is in another place.
const LOADER: (&str, &str) = ("lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
/// What every release's root file system has.
const SIGNS: [&str; 3] = ["init", "etc/init.d/tc-config", "bin/busybox"];
/// Where releases say which they are: newer ones, older ones.
pub const RELEASES: [&str; 2] = ["etc/os-release", "usr/share/doc/tc/release.txt"];

/// Checks that it is Tiny Core's, and says which release, such as `17.0`; nothing where it does not say so itself.
///
/// # Errors
/// Names what is missing.
pub fn release(root: &Rootfs) -> Result<String> {
    for sign in SIGNS {
        ensure!(root.has(sign), "it is no root file system of Tiny Core: it has no /{sign}");
    }
    let text = |path: &str| root.content(path).map(String::from_utf8_lossy).unwrap_or_default();
    let [newer, older] = RELEASES.map(text);
    Ok(version_of([&newer, &older]))
}

/// The version that the files [`RELEASES`] name, such as `17.0`; nothing if neither does.
#[must_use]
pub fn version_of(texts: [&str; 2]) -> String {
    let named = texts[0].lines().find_map(|line| line.strip_prefix("VERSION_ID="));
    named.unwrap_or(texts[1]).trim().trim_matches('"').to_owned()
}

/// The names of the modules that its own kernel had, built in or not.
#[must_use]
pub fn own_modules(root: &Rootfs) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in root.paths().filter(|path| path.starts_with(MODULES)) {
        if ["/modules.dep", "/modules.builtin"].iter().any(|index| path.ends_with(index)) {
            let text = root.content(path).map(String::from_utf8_lossy).unwrap_or_default();
            let files = text.lines().map(|line| line.split(':').next().unwrap_or(line));
            names.extend(files.map(|file| name_of(file.split_once(".ko").map_or(file, |(path, _)| path))));
        }
    }
    names
}

/// The description of a selection that has `chosen` drivers in the initrd where they are among `own`.
#[must_use]
pub fn with_own(config: &Modules, chosen: &Selection, own: &BTreeSet<String>) -> Modules {
    let mut modules = config.clone();
    modules.early.extend(chosen.drivers.iter().filter(|path| own.contains(&name_of(path))).cloned());
    modules
}

/// The initrd's archive: the root file system with the modules `early` and the `index` of all in place of its own. All
/// that is compressed comes last, from the second number on.
///
/// # Errors
/// A path that no archive can have.
pub fn core(mut root: Rootfs, early: &Tree, index: &Tree, time: u32) -> Result<(Vec<u8>, usize)> {
    root.remove(MODULES);
    for (path, node) in early.iter() {
        if let Kind::File(bytes) = &node.kind {
            root.file(&format!("{}{GZ}", placed(path, "")), u32::from(node.mode), initrd::gzip(bytes)?)?;
        }
    }
    let packed = early.iter().filter_map(|(path, _)| Some(path.split_once("/kernel/")?.1));
    let packed: BTreeSet<String> = packed.map(|path| format!("kernel/{path}")).collect();
    for (path, node) in index.iter() {
        let Kind::File(bytes) = &node.kind else { continue };
        let bytes = if path.ends_with("/modules.dep") { depmod::name_packed(bytes, &packed) } else { bytes.clone() };
        root.file(&placed(path, ""), u32::from(node.mode), bytes)?;
    }
    root.archive(time, GZ)
}

/// Where drivers of this root file system find their firmware.
///
/// # Errors
/// The archive is none that [`core`] made.
pub fn firmware_folder(archive: &[u8]) -> Result<String> {
    const ASKED: &str = "lib/firmware";
    let mut tree = cpio::tree::Tree::default();
    cpio::initrd::for_each(archive, MAX_INITRD_UNPACKED, |member| tree.apply(&member))
        .context("the initrd cannot be read back")?;
    Ok(tree.follow(ASKED)?.unwrap_or_else(|| ASKED.to_owned()))
}

/// An extension with modules or firmware, moved from the places of Debian's packages to Tiny Core's.
///
/// # Errors
/// Two files would lie at one path.
pub fn relocate(tree: &Tree, firmware: &str) -> Result<Tree> {
    let mut moved = Tree::default();
    for (path, node) in tree.iter().filter(|(_, node)| !matches!(node.kind, Kind::Dir)) {
        moved.insert(&placed(path, firmware), node.clone())?;
    }
    Ok(moved)
}

fn placed(path: &str, firmware: &str) -> String {
    [(DEBIAN_MODULES, MODULES), (firmware::FOLDER, firmware)]
        .iter()
        .find_map(|(from, to)| {
            path.strip_prefix(from).filter(|rest| rest.starts_with('/')).map(|rest| format!("{to}{rest}"))
        })
        .unwrap_or_else(|| path.to_owned())
}

/// Takes the C library out of an extension and into `shared`, where all of them find it.
///
/// # Errors
/// A path that no tree can have.
pub fn share_libc(tree: &mut Tree, libc: &[&Tree], shared: &mut Tree) -> Result<()> {
    let has = |path: &str| libc.iter().any(|package| package.resolve(path).is_some());
    let common: Vec<String> = tree.iter().map(|(path, _)| path).filter(|path| has(path)).map(str::to_owned).collect();
    for path in common {
        if let Some(node) = tree.take(&path) {
            shared.insert(&path, node)?;
        }
    }
    let (link, loader) = LOADER;
    shared.insert(link, Node { kind: Kind::Link(format!("/{loader}")), mode: 0o777 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Rootfs {
        let mut root = Rootfs::default();
        for (path, text) in [
            ("init", "#!/bin/sh\n"),
            ("etc/init.d/tc-config", ""),
            ("bin/busybox", ""),
            ("etc/os-release", "NAME=TinyCore\nVERSION_ID=17.0\n"),
            ("lib/modules/6.18.2-tinycore64/modules.dep", "kernel/drivers/net/e-x.ko.gz: kernel/lib/y.ko.gz\n"),
            ("lib/modules/6.18.2-tinycore64/modules.builtin", "kernel/drivers/ata/ahci.ko\n"),
        ] {
            root.file(path, 0o755, text.as_bytes().to_vec()).unwrap();
        }
        root
    }

    #[test]
    fn the_release_is_told_and_what_is_none_refused() {
        assert_eq!(release(&root()).unwrap(), "17.0");
        let mut root = root();
        root.remove("etc/os-release");
        assert_eq!(release(&root).unwrap(), "");
        root.file("usr/share/doc/tc/release.txt", 0o644, b"6.0\n".to_vec()).unwrap();
        assert_eq!(release(&root).unwrap(), "6.0");
        root.remove("etc/init.d");
        let error = release(&root).unwrap_err().to_string();
        assert!(error.contains("/etc/init.d/tc-config"), "{error}");
    }

    #[test]
    fn what_its_own_kernel_had_stays_in_the_initrd() {
        let own = own_modules(&root());
        assert_eq!(own.iter().map(String::as_str).collect::<Vec<_>>(), ["ahci", "e_x"]);
        let drivers = ["drivers/net/e-x", "drivers/net/other"].map(str::to_owned).into();
        let chosen = Selection { drivers, ..Selection::default() };
        let modules = with_own(&Modules { early: vec!["fs/squashfs".into()], ..Modules::default() }, &chosen, &own);
        assert_eq!(modules.early, ["fs/squashfs", "drivers/net/e-x"]);
    }

    #[test]
    fn extensions_lie_where_tiny_core_looks() {
        let mut tree = Tree::default();
        tree.file("usr/lib/modules/6.1.0/kernel/x.ko", 0o644, "x").unwrap();
        tree.file("usr/lib/firmware/bnx2/y.fw", 0o644, "y").unwrap();
        let moved = relocate(&tree, "usr/local/lib/firmware").unwrap();
        assert!(moved.content("lib/modules/6.1.0/kernel/x.ko").is_some());
        assert!(moved.content("usr/local/lib/firmware/bnx2/y.fw").is_some());
        assert!(moved.get("usr/lib").is_none(), "no folder of the other layout stays");
    }

    #[test]
    fn the_c_library_is_shared_with_its_loader() {
        let path = "usr/lib/x86_64-linux-gnu/libc.so.6";
        let (mut libc, mut tree, mut shared) = (Tree::default(), Tree::default(), Tree::default());
        libc.file(path, 0o755, "libc").unwrap();
        tree.file(path, 0o755, "libc").unwrap();
        tree.file("usr/bin/x", 0o755, "x").unwrap();
        share_libc(&mut tree, &[&libc], &mut shared).unwrap();
        assert!(tree.content(path).is_none() && tree.content("usr/bin/x").is_some());
        assert!(shared.content(path).is_some() && shared.get(LOADER.0).is_some());
    }
}
