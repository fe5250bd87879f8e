//! Kernel modules that extensions bring at run time: found by the same tables as the image's own, which depmod writes anew.
//!
//! depmods differ in which compressed modules they can read. One that loses a module which was known before has its tables
//! put back: a driver that is in the image must stay loadable.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use crate::exec;
use crate::file;
use crate::limits::DEPMOD;

/// Where the tables are, in a folder for each kernel.
const MODULES: &str = "/lib/modules";
/// The tables in text form, which the agent reads.
const TABLES: [&str; 4] = ["modules.dep", "modules.alias", "modules.softdep", "modules.symbols"];
/// What `/bin` and `/sbin` may be of depmod.
const PROGRAMS: [&str; 3] = ["/sbin/depmod", "/usr/sbin/depmod", "/usr/local/sbin/depmod"];

/// Tells whether an extension's file is a kernel module.
pub(super) fn is_module(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let name = text.rsplit('/').next().unwrap_or_default();
    text.contains("lib/modules/") && [".ko", ".ko.gz", ".ko.xz", ".ko.zst"].iter().any(|end| name.ends_with(end))
}

/// Writes the running kernel's tables anew over all modules that are linked now.
///
/// # Errors
/// There is no depmod, or it failed or lost modules, which it names; the tables are as before then.
pub(super) fn index() -> anyhow::Result<()> {
    let system = nix::sys::utsname::uname().context("the kernel does not tell its release")?;
    let release = system.release().to_string_lossy().into_owned();
    let folder = Path::new(MODULES).join(&release);
    let program = PROGRAMS.iter().find(|path| Path::new(path).exists()).context("this image has no depmod")?;
    let before: Vec<(PathBuf, Vec<u8>)> = TABLES
        .iter()
        .map(|name| folder.join(name))
        .filter_map(|path| Some((path.clone(), fs::read(path).ok()?)))
        .collect();
    let known = names(&folder);
    let done = exec::run(&[program, "-a", &release], DEPMOD).and_then(|output| {
        ensure!(output.success, "{program} ended with {}: {}", output.status, output.text.trim());
        let lost: Vec<String> = known.difference(&names(&folder)).take(3).cloned().collect();
        if !lost.is_empty() {
            bail!("{program} cannot read modules of this image ({}, …)", lost.join(", "));
        }
        Ok(())
    });
    if done.is_err() {
        for (path, bytes) in before {
            file::replace(&path, &bytes, 0o644)?;
        }
    }
    done
}

/// Names of the modules in the table of dependencies, without folders and compression.
fn names(folder: &Path) -> BTreeSet<String> {
    let table = fs::read_to_string(folder.join(TABLES[0])).unwrap_or_default();
    let name = |line: &str| {
        let path = line.split(':').next()?;
        Some(path.rsplit('/').next()?.split(".ko").next()?.to_owned())
    };
    table.lines().filter_map(name).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_wherever_an_extension_has_them() {
        for path in [
            "lib/modules/6.1.0/kernel/x.ko",
            "usr/local/lib/modules/6.18.2-tinycore64/kernel/drivers/x.ko.gz",
            "usr/lib/modules/6.1.0/x.ko.zst",
        ] {
            assert!(is_module(Path::new(path)), "{path}");
        }
        for path in ["usr/lib/x.ko", "lib/modules/6.1.0/modules.dep", "lib/modules/6.1.0/x.ko.txt"] {
            assert!(!is_module(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_table_names_modules_however_they_are_packed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("modules.dep"), "kernel/a/x.ko.xz: kernel/y.ko.gz\nkernel/y.ko:\n\n").unwrap();
        assert_eq!(names(dir.path()).into_iter().collect::<Vec<_>>(), ["x", "y"]);
    }
}
