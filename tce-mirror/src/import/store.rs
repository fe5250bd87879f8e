//! The packages of an import: read from files, or taken from Debian's archives by a private APT state.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::apt::{Apt, Sources};
use crate::checksum::hex;
use crate::deb::{self, Deb};
use crate::limits::{MAX_DEB, MAX_DEB_UNPACKED};
use crate::package::Package;
use crate::tree::usr_merged;

/// Folders of packages that no extension needs. Licences are kept.
const LEFT_OUT: [&str; 8] = [
    "usr/share/doc/",
    "usr/share/doc-base/",
    "usr/share/info/",
    "usr/share/locale/",
    "usr/share/lintian/",
    "usr/share/bug/",
    "usr/share/man/",
    "usr/share/gtk-doc/",
];

/// A package that was read, with what is known of it.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) package: Package,
    pub(super) deb: Deb,
}

impl Read {
    pub(super) fn name(&self) -> &str {
        &self.package.name
    }
}

/// Reads a package from a file.
///
/// # Errors
/// Names the file and what is wrong with it.
pub(super) fn file(path: &Path) -> Result<Read> {
    let shown = || path.display().to_string();
    let length = fs::metadata(path).with_context(|| format!("cannot read {}", shown()))?.len();
    ensure!(length <= MAX_DEB, "{} has {length} bytes; {MAX_DEB} are accepted", shown());
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", shown()))?;
    let deb = unpack(&bytes).with_context(shown)?;
    let package = Package {
        name: deb.field("Package").to_owned(),
        version: deb.field("Version").to_owned(),
        size: length,
        sha256: hex(&Sha256::digest(&bytes)),
        uri: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    Ok(Read { package, deb })
}

/// Takes the newest of the named packages and of all that they need, without those that `sources` leave out.
///
/// # Errors
/// The archives cannot be reached, a package does not exist, or what arrives is not what they announced.
pub(super) fn archive(names: &[&str], sources: &Sources) -> Result<Vec<Read>> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let apt = Apt::new(folder.path(), sources)?;
    apt.update()?;
    let packages = apt.locate(&apt.closure(names)?)?;
    let places: Vec<_> = packages.iter().map(|package| folder.path().join(format!("{}.deb", package.name))).collect();
    let wanted = packages.iter().zip(&places);
    let files: Vec<_> = wanted.map(|(p, place)| (p.uri.as_str(), p.sha256.as_str(), place.as_path())).collect();
    let said = apt.download(&files)?;
    let mut read = Vec::new();
    for (package, place) in packages.into_iter().zip(places) {
        let bytes = fs::read(&place).with_context(|| format!("cannot get {}: {said}", package.uri))?;
        package.verify(&bytes)?;
        let deb = unpack(&bytes).with_context(|| format!("{} {}", package.name, package.version))?;
        read.push(Read { package, deb });
    }
    Ok(read)
}

fn unpack(bytes: &[u8]) -> Result<Deb> {
    let deb = deb::read(bytes, MAX_DEB_UNPACKED, place)?;
    let name = deb.field("Package");
    ensure!(super::control::is_name(name), "its control file gives no name of a package, but {name:.60?}");
    ensure!(!deb.field("Version").is_empty(), "its control file gives no version");
    Ok(deb)
}

fn place(path: &str) -> Option<String> {
    let licence = path.starts_with("usr/share/doc/") && path.ends_with("/copyright");
    let left_out = LEFT_OUT.iter().any(|folder| format!("{path}/").starts_with(folder));
    (licence || !left_out).then(|| usr_merged(path))
}
