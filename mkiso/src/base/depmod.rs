//! The modules' index (`modules.dep`, `modules.alias` and so on) as depmod makes it over the modules of the initrd and
//! of the drivers' extension together, so that both can be loaded by one index.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tce_mirror::tree::{Kind, Tree};

use tce_mirror::tool::DEPMOD;

/// Ending of compressed modules, behind the kernel's own.
pub const GZ: &str = ".gz";
/// Lists of the kernel's package that depmod reads and that go into the image as they are. Old kernels lack the last.
const GIVEN: [&str; 3] = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];
/// What depmod makes and the image keeps. Its binary forms are left out: busybox and the agent read text.
pub const MADE: [&str; 4] = ["modules.dep", "modules.alias", "modules.softdep", "modules.symbols"];

/// The index files for the modules in `trees`, each below `folder` (`usr/lib/modules/RELEASE`).
///
/// # Errors
/// depmod is missing or fails.
pub fn index(kernel: &Tree, trees: &[&Tree], folder: &str, release: &str) -> Result<Tree> {
    let stage = crate::output::temp_folder_in(&std::env::temp_dir())?;
    let root = stage.path().join("lib/modules").join(release);
    for tree in trees {
        for (path, node) in tree.iter() {
            if let (Some(below), Kind::File(bytes)) = (path.strip_prefix(folder), &node.kind) {
                put(&root.join(below.trim_start_matches('/')), bytes)?;
            }
        }
    }
    let mut index = Tree::default();
    for name in GIVEN {
        let path = format!("{folder}/{name}");
        let Some(bytes) = kernel.content(&path) else { continue };
        put(&root.join(name), bytes)?;
        index.file(&path, 0o644, bytes)?;
    }
    let said = DEPMOD.output(&[OsStr::new("-b"), stage.path().as_os_str(), OsStr::new(release)], &[])?;
    let words = tce_mirror::tool::tail(&said.stderr);
    ensure!(said.status.success() && !words.contains("ERROR"), "depmod failed ({}): {words}", said.status);
    for name in MADE {
        let path = root.join(name);
        let bytes = fs::read(&path).with_context(|| format!("depmod made no {name}"))?;
        index.file(&format!("{folder}/{name}"), 0o644, bytes)?;
    }
    Ok(index)
}

/// `modules.dep` with [`GZ`] behind the names of the modules that are compressed where they lie.
#[must_use]
pub fn name_packed(dep: &[u8], packed: &BTreeSet<String>) -> Vec<u8> {
    let mut text = String::new();
    for line in String::from_utf8_lossy(dep).lines() {
        for (index, word) in line.split(' ').enumerate() {
            let (file, colon) = word.strip_suffix(':').map_or((word, ""), |file| (file, ":"));
            let (blank, ending) = (if index == 0 { "" } else { " " }, if packed.contains(file) { GZ } else { "" });
            text.push_str(&format!("{blank}{file}{ending}{colon}"));
        }
        text.push('\n');
    }
    text.into_bytes()
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(path, bytes).map_err(|e| crate::output::full_or(e, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_names_modules_as_they_lie_in_the_initrd() {
        let packed = ["kernel/a/x.ko".to_owned()].into();
        let dep = b"kernel/a/x.ko:\nkernel/a/y.ko: kernel/a/x.ko kernel/z.ko\n";
        let want = "kernel/a/x.ko.gz:\nkernel/a/y.ko: kernel/a/x.ko.gz kernel/z.ko\n";
        assert_eq!(String::from_utf8(name_packed(dep, &packed)).unwrap(), want);
    }
}
