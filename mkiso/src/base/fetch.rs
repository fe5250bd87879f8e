//! Packages by hash: from the cache where they are there and whole, from the archive otherwise. Bytes that differ from
//! the lock never leave this module.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};
use tce_mirror::apt::Apt;
use tempfile::NamedTempFile;

use crate::limits::{DOWNLOAD_ATTEMPTS, MAX_DEB, PROGRESS_TICK};
use crate::output;
use crate::progress::{Step, Unit};

use super::lock::Package;

/// The cache of packages.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store below the cache folder.
    #[must_use]
    pub fn new(cache: &Path) -> Self {
        Self { folder: cache.join("deb") }
    }

    fn path(&self, package: &Package) -> PathBuf {
        self.folder.join(format!("{}.deb", package.sha256))
    }

    /// A package's bytes, verified.
    ///
    /// # Errors
    /// It is not there, or not what the lock says.
    pub fn read(&self, package: &Package) -> Result<Vec<u8>> {
        let path = self.path(package);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        package.verify(&bytes)?;
        Ok(bytes)
    }

    /// Gets every package that is not there; `update` is the command that takes newer ones.
    ///
    /// # Errors
    /// Each package that cannot be had, with the reason and the remedy.
    pub fn fetch(&self, apt: impl Fn() -> Result<Apt>, packages: &[Package], update: &str) -> Result<()> {
        let mut missing = packages.iter().filter(|p| !self.have(p)).collect::<Vec<_>>();
        if missing.is_empty() {
            return Ok(());
        }
        let apt = apt()?;
        let step = Step::counted("downloading packages", missing.iter().map(|p| p.size).sum(), Unit::Bytes);
        let count = missing.len();
        let mut said = String::new();
        for _ in 0..DOWNLOAD_ATTEMPTS {
            said = self.download(&apt, &missing, &step)?;
            missing.retain(|p| !self.have(p));
            if missing.is_empty() {
                step.done(&format!("{count} packages"));
                return Ok(());
            }
        }
        bail!("{}", explain(&missing, &said, update))
    }

    /// Whether the package is there and whole. A damaged one is said and removed, so that it is fetched again.
    fn have(&self, package: &Package) -> bool {
        let path = self.path(package);
        if !path.exists() {
            return false;
        }
        match self.read(package) {
            Ok(_) => true,
            Err(error) => {
                eprintln!("{error:#}; removed from the cache, to be fetched again");
                let _ = fs::remove_file(&path);
                false
            }
        }
    }

    fn download(&self, apt: &Apt, packages: &[&Package], step: &Step) -> Result<String> {
        let temps = packages.iter().map(|p| output::temp_beside(&self.path(p))).collect::<Result<Vec<_>>>()?;
        let files: Vec<(&str, &str, &Path)> =
            packages.iter().zip(&temps).map(|(p, temp)| (p.uri.as_str(), p.sha256.as_str(), temp.path())).collect();
        let ended = AtomicBool::new(false);
        let said = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    step.at(temps.iter().map(|t| t.path().metadata().map_or(0, |m| m.len())).sum());
                    std::thread::sleep(PROGRESS_TICK);
                }
            });
            let said = apt.download(&files);
            ended.store(true, Ordering::Relaxed);
            said
        })?;
        let mut said = said;
        for (package, temp) in packages.iter().zip(temps) {
            if let Err(error) = self.keep(package, temp) {
                said.push_str(&format!("\n{error:#}"));
            }
        }
        Ok(said)
    }

    /// Takes a downloaded file into the store, if it is the right one.
    fn keep(&self, package: &Package, temp: NamedTempFile) -> Result<()> {
        // The downloader sets a file with a wrong checksum aside under this name.
        let _ = fs::remove_file(append(temp.path(), ".FAILED"));
        let length = temp.path().metadata().map_or(0, |m| m.len());
        if length == 0 || length > MAX_DEB {
            return Ok(());
        }
        let bytes = fs::read(temp.path()).with_context(|| format!("cannot read {}", temp.path().display()))?;
        package.verify(&bytes)?;
        output::write(&self.path(package), &bytes)
    }
}

fn append(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Why packages are missing, and what to do.
fn explain(missing: &[&Package], said: &str, update: &str) -> String {
    let names: Vec<String> = missing.iter().map(|p| format!("{} {} ({})", p.name, p.version, p.uri)).collect();
    let remedy = if said.contains("404") {
        &format!("the archive has newer versions only; take them with `{update}`, and commit the lock")
    } else if said.contains("Hash Sum mismatch") || said.contains("wrong checksum") || said.contains("cut short") {
        "what arrived is not what image.lock says: a proxy or mirror alters or cuts files; use another archive \
         (image.toml, [debian] archives)"
    } else if said.contains("No space left") || said.contains("no room") {
        "the cache folder's disk is full; free some space or name another folder with --cache"
    } else {
        "check the network, its proxy, and the archives in image.toml"
    };
    format!("cannot get {}: {remedy}. It was said: {said}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use crate::cache::sha256;

    use super::*;

    fn package(bytes: &[u8]) -> Package {
        Package {
            name: "tool".to_owned(),
            version: "1.0".to_owned(),
            size: bytes.len() as u64,
            sha256: sha256(bytes),
            uri: "http://archive.example/tool.deb".to_owned(),
        }
    }

    #[test]
    fn a_damaged_file_in_the_cache_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let package = package(b"good");
        output::write(&store.path(&package), b"evil").unwrap();
        let error = store.read(&package).unwrap_err().to_string();
        assert!(error.contains("tool 1.0") && error.contains("wrong checksum"), "{error}");
        output::write(&store.path(&package), b"goo").unwrap();
        assert!(store.read(&package).unwrap_err().to_string().contains("3 of 4 bytes"));
        assert!(!store.have(&package));
    }

    #[test]
    fn each_failure_has_its_remedy() {
        let package = package(b"x");
        let explain = |said: &str| explain(&[&package], said, "mkiso base --update-lock");
        assert!(explain("E: 404  Not Found").contains("`mkiso base --update-lock`"));
        assert!(explain("Hash Sum mismatch").contains("another archive"));
        assert!(explain("Could not connect").contains("network"));
        assert!(explain("x").contains("http://archive.example/tool.deb"));
    }
}
