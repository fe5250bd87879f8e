//! `image.lock`: what was taken for the image. Written by the builder, committed, enforced afterwards: a package whose
//! bytes differ from it does not come in.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
pub use tce_mirror::package::Package;

use crate::cache::Key;
use crate::output::{self, full_or};

use super::config::Config;

const HEADER: &str = "# What was taken for the image, and is enforced. Written by `mkiso` (build, base, gems); of its lines only\n\
                      # `base` may be deleted by hand, to have a base chosen anew. Newer packages are taken by\n\
                      # `mkiso base --update-lock`, newer gems by `mkiso gems --update-lock`.\n\n";
/// Behind the file's name: what whoever changes the file holds meanwhile.
const HELD: &str = ".held";

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Version of this format, 1.
    pub format: u32,
    /// The base that was chosen, as `--base` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The Debian base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debian: Option<Debian>,
    /// Tiny Core's own ISO and extensions, sorted by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tinycore: Vec<Taken>,
    /// Ruby gems, sorted by name.
    #[serde(default, rename = "gem", skip_serializing_if = "Vec::is_empty")]
    pub gems: Vec<Gem>,
}

/// A Ruby gem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gem {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// A file of Tiny Core's mirrors.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// Its path on a mirror.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl Taken {
    /// The SHA-256.
    ///
    /// # Errors
    /// It is none.
    pub fn digest(&self) -> Result<[u8; 32]> {
        let byte = |index: usize| u8::from_str_radix(self.sha256.get(2 * index..2 * index + 2)?, 16).ok();
        let mut digest = [0; 32];
        for (index, to) in digest.iter_mut().enumerate() {
            *to = byte(index).with_context(|| format!("SHA-256 of {} is {:?}", self.path, self.sha256))?;
        }
        Ok(digest)
    }
}

/// What the Debian base is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    /// Release.
    pub suite: String,
    /// Digest of what `image.toml` asked for when the packages were taken.
    pub asked: String,
    /// When they were taken, in seconds since 1970: the time of every file of the base.
    pub taken: u32,
    /// Name of the kernel's package.
    pub kernel: String,
    /// Packages, sorted by name.
    #[serde(rename = "package")]
    pub packages: Vec<Package>,
}

impl Default for Lock {
    fn default() -> Self {
        Self { format: Self::FORMAT, base: None, debian: None, tinycore: Vec::new(), gems: Vec::new() }
    }
}

impl Lock {
    /// The format that this program writes and reads.
    pub const FORMAT: u32 = 1;

    /// Reads the file; without one, an empty lock.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Self::parse(&text).with_context(|| {
            format!(
                "{} is damaged; restore it from version control, or delete it to take packages anew",
                path.display()
            )
        })
    }

    /// Parses the text of the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self> {
        let lock: Self = toml::from_str(text)?;
        ensure!(
            lock.format == Self::FORMAT,
            "format {} is not {}, which this program reads",
            lock.format,
            Self::FORMAT
        );
        let packages = lock.debian.iter().flat_map(|d| &d.packages).map(|package| (&package.name, &package.sha256));
        let gems = lock.gems.iter().map(|gem| (&gem.name, &gem.sha256));
        for (name, digest) in packages.chain(lock.tinycore.iter().map(|taken| (&taken.path, &taken.sha256))).chain(gems)
        {
            if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
                bail!("SHA-256 of {name} is {digest:?}");
            }
        }
        Ok(lock)
    }

    /// What was taken from a path of Tiny Core's mirrors.
    #[must_use]
    pub fn taken(&self, path: &str) -> Option<&Taken> {
        self.tinycore.iter().find(|taken| taken.path == path)
    }

    /// Changes the file as it is now: no other change comes in between, of whatever program. What stays as it was is not
    /// written. Gives what `change` gives.
    ///
    /// # Errors
    /// That of `change`, and the file stays as it is; the file cannot be read, or written.
    pub fn change<T>(path: &Path, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let _held = Held::beside(path)?;
        let before = Self::read(path)?;
        let mut lock = before.clone();
        let changed = change(&mut lock)?;
        if lock != before {
            lock.write(path)?;
        }
        Ok(changed)
    }

    /// Writes the file, whole or not at all.
    fn write(&self, path: &Path) -> Result<()> {
        output::write(path, format!("{HEADER}{}", toml::to_string(self)?).as_bytes())
    }
}

/// A file that only one at a time holds. It is there as long as it is held; one that was left behind is taken over.
struct Held {
    path: PathBuf,
    _file: File,
}

impl Held {
    fn beside(path: &Path) -> Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(HELD);
        let path = PathBuf::from(name);
        fs::create_dir_all(output::folder_of(&path)).map_err(|error| full_or(error, &path))?;
        loop {
            let file = File::create(&path).map_err(|error| full_or(error, &path))?;
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            let held = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?;
            // Whoever held it before has removed it, and another one may be there now.
            if fs::metadata(&path).is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Debian {
    /// The package of this name.
    #[must_use]
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|p| p.name == name)
    }
}

/// Digest of everything in `image.toml` that decides which packages are taken.
///
/// # Errors
/// The description cannot be written as text.
pub fn asked(config: &Config) -> Result<String> {
    let mut key = Key::default().with(serde_json::to_vec(&config.debian)?);
    for (name, extension) in &config.extensions {
        key = key.with(name).with(serde_json::to_vec(&extension.packages)?);
    }
    Ok(key.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let package = Package {
            name: "busybox".to_owned(),
            version: "1:1.35.0-4".to_owned(),
            size: 452_120,
            sha256: "4b".repeat(32),
            uri: "http://archive.example/busybox.deb".to_owned(),
        };
        let debian = Debian {
            suite: "bookworm".to_owned(),
            asked: "x".to_owned(),
            taken: 1,
            kernel: "linux-image-6.1.0-56-amd64".to_owned(),
            packages: vec![package],
        };
        let taken = Taken { path: "17.x/x86_64/tcz/a.tcz".to_owned(), size: 3, sha256: "5c".repeat(32) };
        let gem = Gem { name: "json_pure".to_owned(), version: "2.8.1".to_owned(), sha256: "6d".repeat(32) };
        let base = Some("debian".to_owned());
        Lock { base, debian: Some(debian), tinycore: vec![taken], gems: vec![gem], ..Lock::default() }
    }

    #[test]
    fn written_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.lock");
        assert_eq!(Lock::read(&path).unwrap(), Lock::default());
        lock().write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap(), lock());
    }

    #[test]
    fn changes_at_once_all_come_in_and_nothing_stays_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.lock");
        let taken = |name: String| Taken { path: name, size: 3, sha256: "5c".repeat(32) };
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for turn in 0..5 {
                        let add = |lock: &mut Lock| {
                            lock.tinycore.push(taken(format!("{thread} {turn}")));
                            Ok(())
                        };
                        Lock::change(path, add).unwrap();
                    }
                });
            }
        });
        assert_eq!(Lock::read(&path).unwrap().tinycore.len(), 40);
        let before = fs::metadata(&path).unwrap().ino();
        Lock::change(&path, |_| Ok(())).unwrap();
        let refused: Result<()> = Lock::change(&path, |lock| {
            lock.tinycore.clear();
            bail!("no")
        });
        assert!(refused.is_err());
        assert_eq!(fs::metadata(&path).unwrap().ino(), before, "as it was");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_digest_and_an_unknown_format_are_named() {
        let text = toml::to_string(&lock()).unwrap();
        let error = Lock::parse(&text.replace("4b4b", "4b")).unwrap_err();
        assert!(error.to_string().contains("busybox"), "{error}");
        let error = Lock::parse(&text.replace("5c5c", "5C5C")).unwrap_err();
        assert!(error.to_string().contains("a.tcz"), "{error}");
        let error = Lock::parse(&text.replace("6d6d", "6d")).unwrap_err();
        assert!(error.to_string().contains("json_pure"), "{error}");
        assert_eq!(lock().taken("17.x/x86_64/tcz/a.tcz").unwrap().digest().unwrap(), [0x5c; 32]);
        let error = Lock::parse(&text.replace("format = 1", "format = 7")).unwrap_err();
        assert!(error.to_string().contains("format 7"), "{error}");
    }
}
