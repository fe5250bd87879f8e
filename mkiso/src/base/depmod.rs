//! The modules' index (`modules.dep`, `modules.alias` and so on) as depmod makes it over the modules of the initrd and
//! of the drivers' extension together, so that both can be loaded by one index.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tce_mirror::tree::{Kind, Tree};

use crate::tool::DEPMOD;

/// Lists of the kernel's package that depmod reads and that go into the image as they are.
const GIVEN: [&str; 3] = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];
/// What depmod makes and the image keeps. Its binary forms are left out: busybox and the agent read text.
const MADE: [&str; 4] = ["modules.dep", "modules.alias", "modules.softdep", "modules.symbols"];

/// The index files for the modules in `trees`, each below `folder` (`usr/lib/modules/RELEASE`).
///
/// # Errors
/// depmod is missing or fails, or a list is missing from the kernel's package.
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
        let bytes = kernel.content(&path).with_context(|| format!("the kernel's package has no {path}"))?;
        put(&root.join(name), bytes)?;
        index.file(&path, 0o644, bytes)?;
    }
    let said = DEPMOD.output(&[OsStr::new("-b"), stage.path().as_os_str(), OsStr::new(release)], &[])?;
    let words = crate::tool::tail(&said.stderr);
    ensure!(said.status.success() && !words.contains("ERROR"), "depmod failed ({}): {words}", said.status);
    for name in MADE {
        let path = root.join(name);
        let bytes = fs::read(&path).with_context(|| format!("depmod made no {name}"))?;
        index.file(&format!("{folder}/{name}"), 0o644, bytes)?;
    }
    Ok(index)
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(path, bytes).map_err(|e| crate::output::full_or(e, path))
}
