//! Tiny Core's own ISO and extensions, from its mirrors: downloaded with their checksums, kept in the cache, and pinned in
//! `image.lock` by their SHA-256. What is pinned and in the cache needs no network. A mirror that has another file than the
//! one that was taken before is passed over, and refused where no other one helps.

pub mod renew;
pub mod version;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde::Deserialize;
use tce_mirror::fetch::{Asked, Mirror, Verified, first};
use tce_mirror::plan;
use tce_mirror::sync::{self, Missing, Repository};

use crate::base::Iso;
use crate::base::lock::{Lock, Taken};
use crate::cache;
use crate::limits::MAX_BASE;
use crate::progress::Step;

pub use version::Version;

/// Folder of downloads within the cache.
const FOLDER: &str = "tinycore";
/// Behind a file's name: its checksums.
const CHECKSUMS: &str = ".md5.txt";

/// Section `[tinycore]` of `image.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is taken where nothing is said and nothing is pinned.
    pub version: Version,
    /// Mirrors by their URLs, in the order in which they are asked.
    pub mirrors: Vec<String>,
    /// Extensions with modules and firmware, as in `[image]`.
    pub early: Vec<String>,
    /// The others, as in `[image]`.
    pub extensions: Vec<String>,
    /// Those of development and debug images, as in `[image]`.
    pub remote: Vec<String>,
    /// Those that only the image's internal mirror has, as in `[image]`.
    #[serde(default)]
    pub mirror: Vec<String>,
    /// Modules that the image requires elsewhere and that Tiny Core's kernel does not have, with the reason.
    #[serde(default)]
    pub without: BTreeMap<String, String>,
}

/// What speaks against a base: what mirrors have, or that it lacks what the image requires. Neither this machine nor the
/// description is at fault.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unfit(pub anyhow::Error);

/// The mirrors, with where things are kept.
#[derive(Debug)]
pub struct Mirrors<'a> {
    config: &'a Config,
    mirrors: Vec<Mirror>,
    folder: PathBuf,
    lock: &'a Path,
    /// The command that takes anew what has changed, but for its version.
    update: String,
}

impl<'a> Mirrors<'a> {
    /// The mirrors of a description, with the cache's folder and `image.lock`. `update` is the command that takes newer
    /// packages.
    ///
    /// # Errors
    /// A mirror's URL is none.
    pub fn new(config: &'a Config, cache: &Path, lock: &'a Path, update: String) -> Result<Self> {
        let mirrors = config.mirrors.iter().map(|url| Mirror::new(url)).collect::<Result<_>>();
        let mirrors = mirrors.context("image.toml, [tinycore] mirrors")?;
        Ok(Self { config, mirrors, folder: cache.join(FOLDER), lock, update })
    }

    /// The ISO of a version, or of what was pinned of it, or of what the description names.
    ///
    /// # Errors
    /// No mirror gives it rightly: each one's reason.
    pub fn iso(&self, wanted: Option<&Version>) -> Result<Iso> {
        let lock = Lock::read(self.lock)?;
        let pins = lock.tinycore.iter().filter_map(|taken| Some((Version::of_path(&taken.path)?, taken)));
        let pins = pins.filter(|(version, _)| wanted.is_none_or(|wanted| wanted.admits(version)));
        let (version, pin) = match pins.max_by_key(|(version, _)| *version) {
            Some((version, taken)) => (version, Some(taken)),
            None => (self.newest(wanted.unwrap_or(&self.config.version))?, None),
        };
        let place = self.folder.join(version.path());
        if let Some(pin) = pin.filter(|pin| cache::digest(&place).is_ok_and(|digest| digest == pin.sha256)) {
            return Ok(Iso { path: place, sha256: pin.sha256.clone() });
        }
        let taken = self.download(&version, pin).with_context(|| {
            let anew = pin.map(|_| format!(". {}", self.anew(&version))).unwrap_or_default();
            format!("Tiny Core {version} cannot be had{anew}")
        })?;
        let iso = Iso { path: place, sha256: taken.sha256.clone() };
        self.pin([taken])?;
        Ok(iso)
    }

    /// Downloads the ISO of a version into the folder; it must be the pinned one, where one is pinned.
    fn download(&self, version: &Version, pin: Option<&Taken>) -> Result<Taken> {
        let (path, place) = (version.path(), self.folder.join(version.path()));
        folder_of(&place)?;
        let step = Step::open(&format!("downloading {path}"));
        let digest = pin.map(Taken::digest).transpose()?;
        let asked = first(&self.mirrors, |mirror| mirror.file(&path, digest, MAX_BASE, &place));
        let Some(verified) = told(asked?) else {
            bail!(Unfit(anyhow!(
                "none of {} has {path}; name another version with --base tinycore=VERSION, or in image.toml, [tinycore]",
                self.config.mirrors.join(", ")
            )));
        };
        let taken = Taken { path, size: verified.size, sha256: cache::hex(&verified.sha256) };
        step.done(&format!("{} bytes, SHA-256 {}", taken.size, taken.sha256));
        Ok(taken)
    }

    /// Which release of the description's version can be had: in the cache, or on a mirror that answers now. Says where.
    ///
    /// # Errors
    /// None: why not.
    pub fn at_hand(&self) -> Result<(Version, String)> {
        let wanted = &self.config.version;
        let parent = self.folder.join(wanted.path());
        let names = fs::read_dir(parent.parent().unwrap_or(&parent)).into_iter().flatten().flatten();
        let paths = names.map(|entry| {
            format!("{}/{ARCH}/release/{}", wanted.series(), entry.file_name().display(), ARCH = version::ARCHITECTURE)
        });
        let cached = paths.filter_map(|path| Version::of_path(&path)).filter(|version| wanted.admits(version)).max();
        if let Some(version) = cached {
            return Ok((version, format!("it is in the cache, {}", self.folder.display())));
        }
        let path = format!("{}{CHECKSUMS}", wanted.path());
        let step = Step::open("asking the mirrors of Tiny Core");
        let asked = first(&self.mirrors, |mirror| Ok(mirror.text(&path)?.map(|text| (text, mirror.url("")))))?;
        let (text, url) = told(asked).ok_or_else(|| Unfit(anyhow!("none of its mirrors has {path}")))?;
        let version = wanted.newest(&text).unwrap_or(*wanted);
        step.done(&format!("{url} has {version}"));
        Ok((version, format!("{url} can be reached")))
    }

    /// The folder with `wanted` extensions of a series for a kernel, and all that they depend on.
    ///
    /// # Errors
    /// One is on no mirror, or is another one than before: by name, with the reasons.
    pub fn extensions(&self, series: &Version, kernel: &str, wanted: &[String]) -> Result<PathBuf> {
        let repository = repository(series, kernel);
        let (path, place) = (repository.folder(), self.folder.join(repository.folder()));
        let lock = Lock::read(self.lock)?;
        let pin = |name: &str| lock.taken(&format!("{path}/{name}"));
        let text = |name: &str| fs::read_to_string(place.join(format!("{name}.dep"))).unwrap_or_default();
        let here = plan::order(wanted, |name| plan::names(&text(name), kernel));
        let right = |name: &String| Some(cache::digest(&place.join(name)).ok()? == pin(name)?.sha256);
        if here.iter().all(|name| right(name).unwrap_or_default()) {
            return Ok(place);
        }
        let (mut new, mut other) = (Vec::new(), Vec::new());
        for taken in self.fetch(&repository, wanted)? {
            match lock.taken(&taken.path) {
                Some(pin) if pin.sha256 == taken.sha256 => {}
                Some(pin) => {
                    let name = taken.path.rsplit('/').next().unwrap_or(&taken.path);
                    other.push(format!("{name} has SHA-256 {}, image.lock says {}", taken.sha256, pin.sha256));
                }
                None => new.push(taken),
            }
        }
        ensure!(
            other.is_empty(),
            Unfit(anyhow!(
                "the mirror has other extensions than those that were taken before: {}. {}",
                other.join("; "),
                self.anew(series)
            ))
        );
        self.pin(new)?;
        Ok(place)
    }

    /// Fetches extensions with all that they depend on into the folder.
    fn fetch(&self, repository: &Repository, wanted: &[String]) -> Result<Vec<Taken>> {
        let step = Step::open("fetching extensions");
        let copy = sync::run(&self.mirrors, repository, wanted, &self.folder, |line| eprintln!("{line}"))?;
        let absent: Vec<String> = copy.missing.iter().map(|(name, missing)| absent(name, missing)).collect();
        if !absent.is_empty() {
            let error =
                anyhow!("{}; correct [tinycore] in image.toml, or name another mirror there", absent.join("; "));
            // What the description names and every mirror denies is a fault of the description.
            let denied = |missing: &Missing| missing.needed_by.is_none() && missing.unsure.is_empty();
            return Err(if copy.missing.values().any(denied) { error } else { Unfit(error).into() });
        }
        step.done(&format!("{} extensions", copy.order.len()));
        let path = repository.folder();
        let taken = |(name, verified): (&String, &Verified)| Taken {
            path: format!("{path}/{name}"),
            size: verified.size,
            sha256: cache::hex(&verified.sha256),
        };
        Ok(copy.files.iter().map(taken).collect())
    }

    /// The newest release of a series, as a mirror names it. A mirror that does not has it under a name of its own.
    fn newest(&self, wanted: &Version) -> Result<Version> {
        if wanted.is_release() {
            return Ok(*wanted);
        }
        let path = format!("{}{CHECKSUMS}", wanted.path());
        let asked =
            first(&self.mirrors, |mirror| mirror.text(&path)).context("the mirrors of Tiny Core do not answer")?;
        Ok(told(asked).and_then(|text| wanted.newest(&text)).unwrap_or(*wanted))
    }

    fn pin(&self, taken: impl IntoIterator<Item = Taken>) -> Result<()> {
        let mut taken = taken.into_iter().peekable();
        if taken.peek().is_none() {
            return Ok(());
        }
        Lock::change(self.lock, |lock| {
            for taken in taken {
                match lock.taken(&taken.path) {
                    Some(pin) => ensure!(
                        *pin == taken,
                        "another build has pinned another {} in {} meanwhile; build again",
                        taken.path,
                        self.lock.display()
                    ),
                    None => lock.tinycore.push(taken),
                }
            }
            lock.tinycore.sort();
            Ok(())
        })
    }

    /// How to take anew what is pinned.
    fn anew(&self, version: &Version) -> String {
        format!(
            "What was taken is pinned in {}; take it anew with `{} --base tinycore={version}`",
            self.lock.display(),
            self.update
        )
    }
}

fn repository(series: &Version, kernel: &str) -> Repository {
    let (release, arch) = (series.series(), version::ARCHITECTURE.to_owned());
    Repository { release, arch, kernel: kernel.to_owned() }
}

/// What was found, with a warning for each mirror that was passed over.
fn told<T>(asked: Asked<T>) -> Option<T> {
    for reason in &asked.passed_over {
        eprintln!("warning: {reason}");
    }
    asked.found
}

fn absent(name: &str, missing: &Missing) -> String {
    let by = missing.needed_by.as_ref().map(|by| format!(", which {by} needs")).unwrap_or_default();
    let unsure = if missing.unsure.is_empty() { String::new() } else { format!(" ({})", missing.unsure.join("; ")) };
    format!("no mirror of Tiny Core has {name}{by}{unsure}")
}

fn folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))
}
