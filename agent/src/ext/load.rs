//! Loads one extension: mount, links, mark, libraries, modules, script. Each step is harmless when it was done before,
//! so that a unit which died half-way starts again from the beginning. Whether an extension is the right one,
//! [`verify`] says first.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use ring::digest;

use super::{link, modules, mount};
use crate::exec;
use crate::limits::{EXTENSION_SCRIPT, LDCONFIG};

/// Folder of the built-in extensions, as in Tiny Core.
pub(crate) const BUILTIN: &str = "/tmp/builtin/optional";
/// Folder under which extensions are mounted, as in Tiny Core.
const MOUNTS: &str = "/tmp/tcloop";
/// Folder of the marks, as in Tiny Core: a file `NAME` says that `NAME.tcz` is loaded, and is its script if it has one.
const MARKS: &str = "/usr/local/tce.installed";
/// Makes shared libraries in unusual folders known.
const LDCONFIG_PROGRAM: &str = "/sbin/ldconfig";
/// Bytes that are read at once while hashing.
const CHUNK: usize = 64 * 1024;

/// Where an extension's content is to be seen after [`mount_and_link`].
fn mount_point(name: &str) -> PathBuf {
    Path::new(MOUNTS).join(stem(name))
}

fn stem(name: &str) -> &str {
    name.strip_suffix(tce_mirror::plan::SUFFIX).unwrap_or(name)
}

/// SHA-256 of a file in hex.
///
/// # Errors
/// Names the file when it cannot be read.
pub(crate) fn sha256(path: &Path) -> anyhow::Result<String> {
    let failed = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(failed)?;
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk).with_context(failed)? {
            0 => break,
            length => hash.update(&chunk[..length]),
        }
    }
    Ok(hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Takes back the mount of an extension, so that another one of its name can be loaded. Links to what it had stay until that
/// is linked.
///
/// # Errors
/// Something still uses it.
pub(super) fn unmount(name: &str) -> anyhow::Result<()> {
    mount::unmount(&mount_point(name)).with_context(|| {
        format!("{name} cannot be loaded anew, since an earlier one of that name is in use: restart this node")
    })?;
    // Its own script may have been its mark.
    if is_mark_of(&mark(name), &mount_point(name)) {
        fs::remove_file(mark(name)).with_context(|| format!("cannot take back the mark of {name}"))?;
    }
    Ok(())
}

fn is_mark_of(mark: &Path, mount: &Path) -> bool {
    fs::read_link(mark).is_ok_and(|target| target.starts_with(mount))
}

/// Tells whether an extension is mounted, by us or by Tiny Core's own programs.
pub(super) fn is_mounted(name: &str) -> bool {
    mount::is_mounted(&mount_point(name))
}

/// Proves that the extension in a folder is the expected one; `who` names it so, such as the image's manifest.
///
/// # Errors
/// Names both hashes if they differ.
pub(super) fn verify(folder: &Path, name: &str, expected: &str, who: &str) -> anyhow::Result<()> {
    let found = sha256(&folder.join(name))?;
    ensure!(found.eq_ignore_ascii_case(expected), "its SHA-256 is {found}, {who} says {expected}");
    Ok(())
}

/// Tells whether an extension is marked as loaded, by us or by the base's own init.
pub(super) fn is_loaded(name: &str) -> bool {
    mark(name).exists()
}

fn mark(name: &str) -> PathBuf {
    Path::new(MARKS).join(stem(name))
}

/// Mounts a built-in extension and links its files into `/`.
///
/// # Errors
/// As for [`load`].
pub(crate) fn mount_and_link(name: &str) -> anyhow::Result<()> {
    mount_from(Path::new(BUILTIN), name).map(drop)
}

/// Files that could not be linked because something else is in their place are logged, as they are in Tiny Core.
fn mount_from(folder: &Path, name: &str) -> anyhow::Result<Linked> {
    let at = mount_point(name);
    mount::squashfs(&folder.join(name), &at)?;
    link_into(&at, Path::new("/")).with_context(|| format!("extension {name} is mounted but not linked"))
}

/// What linking an extension did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Linked {
    /// It brings shared libraries.
    libraries: bool,
    /// It brings kernel modules.
    modules: bool,
}

fn link_into(mount: &Path, root: &Path) -> anyhow::Result<Linked> {
    let entries = link::entries(mount)?;
    let plan = link::plan(mount, &entries, |path| link::present(root, path));
    for path in &plan.conflicts {
        tracing::warn!("{}: /{} is there already as something else and stays", mount.display(), path.display());
    }
    link::apply(&plan, mount, root)?;
    let library = |e: &link::Entry| e.path.file_name().is_some_and(|n| n.to_string_lossy().contains(".so"));
    Ok(Linked {
        libraries: entries.iter().any(library),
        modules: entries.iter().any(|entry| modules::is_module(&entry.path)),
    })
}

/// Loads the extension in this folder wholly. One that the base's own init loaded is left alone.
///
/// # Errors
/// Names the extension and the step that failed.
pub(super) fn load(folder: &Path, name: &str) -> anyhow::Result<()> {
    if is_loaded(name) && !is_mounted(name) {
        return Ok(());
    }
    let linked = mount_from(folder, name)?;
    set_mark(&mark(name))?;
    if linked.libraries && Path::new(LDCONFIG_PROGRAM).exists() {
        complain(exec::run(&[LDCONFIG_PROGRAM], LDCONFIG), name)?;
    }
    if linked.modules {
        modules::index().with_context(|| format!("{name} is linked, but its kernel modules are not known"))?;
    }
    run_script(&mark(name), name)
}

/// Tiny Core's scripts carry the mark's own name, so the mark may be there as a link of the extension.
fn set_mark(mark: &Path) -> anyhow::Result<()> {
    if mark.exists() {
        return Ok(());
    }
    fs::create_dir_all(MARKS)
        .and_then(|()| File::create(mark).map(drop))
        .with_context(|| format!("cannot set the mark {}", mark.display()))
}

fn run_script(script: &Path, name: &str) -> anyhow::Result<()> {
    let is_script = fs::metadata(script).is_ok_and(|m| m.is_file() && m.len() > 0);
    if !is_script {
        return Ok(());
    }
    // Tiny Core starts them by shell, whether they are executable or not.
    let path = script.to_string_lossy();
    complain(exec::run(&["/bin/sh", &path], EXTENSION_SCRIPT), name)
}

fn complain(result: anyhow::Result<exec::Output>, name: &str) -> anyhow::Result<()> {
    let output = result.with_context(|| format!("{name} is linked, but what follows failed"))?;
    if !output.success {
        bail!("{name} is linked, but its script ended with {}: {}", output.status, output.text.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_usual_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&path).unwrap(), abc);
        assert!(sha256(&dir.path().join("absent")).unwrap_err().to_string().contains("absent"));
    }

    /// Needs root, loop devices and mksquashfs.
    #[test]
    fn a_real_extension_is_mounted_read_only_and_linked() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (tree, file, at, root) = (path("tree"), path("x.tcz"), path("at"), path("root"));
        fs::create_dir_all(tree.join("usr/lib")).unwrap();
        fs::create_dir(&root).unwrap();
        fs::write(tree.join("usr/lib/libx.so.1"), "library").unwrap();
        let words = ["mksquashfs", tree.to_str().unwrap(), file.to_str().unwrap(), "-quiet"];
        let made = exec::run(&words, LDCONFIG).is_ok_and(|output| output.success);
        if !made || !nix::unistd::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            return mk_tests::skip("mounting an extension needs root, loop devices and mksquashfs");
        }
        mount::squashfs(&file, &at).unwrap();
        mount::squashfs(&file, &at).unwrap();
        let linked = link_into(&at, &root);
        let content = fs::read_to_string(root.join("usr/lib/libx.so.1"));
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let line = mounts.lines().find(|l| l.contains(at.to_str().unwrap())).unwrap_or_default().to_owned();
        let device = line.split(' ').next().unwrap_or_default().trim_start_matches("/dev/").to_owned();
        let read_only = fs::read_to_string(format!("/sys/block/{device}/ro"));
        nix::mount::umount(&at).unwrap();
        assert_eq!(linked.unwrap(), Linked { libraries: true, modules: false });
        assert_eq!(content.unwrap(), "library");
        assert_eq!(read_only.unwrap().trim(), "1", "{line}");
        assert_eq!(mounts.matches(at.to_str().unwrap()).count(), 1, "mounted twice");
        let freed = fs::read_to_string(format!("/sys/block/{device}/loop/backing_file"));
        assert!(!freed.is_ok_and(|f| f.contains(file.to_str().unwrap())), "the loop device is still in use");
    }

    #[test]
    fn another_extension_of_that_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.tcz"), "abc").unwrap();
        let right = sha256(&dir.path().join("x.tcz")).unwrap();
        verify(dir.path(), "x.tcz", &right.to_uppercase(), "the test").unwrap();
        let error = verify(dir.path(), "x.tcz", &"0".repeat(64), "the test").unwrap_err().to_string();
        assert!(error.contains(&right) && error.contains("the test says"), "{error}");
        assert_eq!(mount_point("bash.tcz"), Path::new("/tmp/tcloop/bash"));
    }
}
