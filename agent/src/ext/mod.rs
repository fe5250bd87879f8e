//! Extensions. The unit `ext` (one-shot) loads the image's built-in ones in the order of `onboot.lst`, each behind what it
//! depends on, and then what a pushed configuration names; it is started again when there is another. A broken one is
//! reported by name and stops nothing. Drivers and firmware are the unit `devices`' affair; they are reported here with the
//! rest, and hashed last.

mod apply;
mod attempt;
mod gather;
mod link;
pub(crate) mod load;
mod modules;
mod mount;
pub(crate) mod signed;
pub(crate) mod squashfs;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use wire::checkin::Extension;
use wire::error::Problem;
use wire::site::{IMAGE_PATH, Image};

use self::apply::{Loader, is_loaded, load_one, note};
use self::gather::Proven;
use crate::checkin::{Candidate, Pushed, Stage};
use crate::init::client;
use crate::settings::Settings;
use crate::state::{Applied, Devices, Extensions, Published as _, RUN_DIR};

/// The built-in extensions in their order, as in Tiny Core.
const ONBOOT: &str = "/tmp/builtin/onboot.lst";
/// Nice value of this unit: what it does delays neither the network nor the check-in.
const NICE: i32 = 10;
/// Where Tiny Core's programs look for the folder of extensions, which is [`TCE`] on machines that keep none on a disk.
const TCEDIR: &str = "/etc/sysconfig/tcedir";
const TCE: &str = "/tmp/tce";
/// One process at a time loads.
const LOCK: &str = "ext.lock";

/// Runs the unit to its end.
///
/// # Errors
/// When its state cannot be published.
pub(crate) fn run() -> anyhow::Result<()> {
    // SAFETY: the call has no memory effects; 0 means this process.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    let _lock = lock()?;
    let settings = Settings::load();
    let mut state = built_in(&settings)?;
    client::ready();
    if !Path::new(IMAGE_PATH).exists() {
        // Under a supervisor that is tried out on somebody's machine: its folders are not ours.
        return Ok(());
    }
    prepare();
    apply_all(&settings, &mut state)?;
    if !state.early_hashed {
        prove_early(&settings.image, &mut state);
        state.early_hashed = true;
        state.publish()?;
    }
    Ok(())
}

/// Applies candidates until there is none.
fn apply_all(settings: &Settings, state: &mut Extensions) -> anyhow::Result<()> {
    loop {
        let Pushed { config, candidate, .. } = Pushed::read().unwrap_or_default();
        let applied = state.applied.as_ref();
        let candidate = match candidate {
            Some(candidate)
                if candidate.stage == Stage::Extensions && applied.is_none_or(|a| a.number != candidate.number) =>
            {
                candidate
            }
            done => {
                // In step again, should this unit have died before. The unit `checkin` may not have settled it yet.
                let is_applied = |c: &Candidate| applied.is_some_and(|a| a.number == c.number && a.refused.is_none());
                let took = done.filter(is_applied);
                let config = took.map_or(config, |candidate| candidate.config);
                if let Err(error) = Loader::new(settings, &config).point() {
                    tracing::warn!("{error:#}");
                }
                return Ok(());
            }
        };
        let result = attempt(settings, &candidate, state)?;
        let (refused, warnings) = match result {
            Ok(warnings) => (None, warnings),
            Err(problem) => (Some(problem), Vec::new()),
        };
        let Candidate { version, number, .. } = candidate;
        state.applied = Some(Applied { version, number, refused, warnings });
        state.attempt = None;
        state.publish()?;
    }
}

/// Applies a candidate, unless that has ended this unit before.
fn attempt(
    settings: &Settings,
    candidate: &Candidate,
    state: &mut Extensions,
) -> anyhow::Result<Result<Vec<Problem>, Problem>> {
    if let Err(problem) = attempt::begin(state, candidate) {
        tracing::error!("{problem}");
        return Ok(Err(problem));
    }
    // Written down before anything is done that may end this process.
    state.publish()?;
    tracing::info!("applying configuration {}", candidate.version);
    Ok(Loader::new(settings, &candidate.config).apply(state))
}

/// Loads an extension with all that it needs, for `mk-agent tce load`.
///
/// # Errors
/// Names what was refused or did not load.
pub(crate) fn load_by_hand(name: &str) -> anyhow::Result<String> {
    let _lock = lock()?;
    let settings = Settings::load();
    let release = &settings.image.kernel;
    let full = tce_mirror::plan::name(name, release).with_context(|| format!("{name:?} is no extension's name"))?;
    let mut state = Extensions::read().unwrap_or_default();
    if is_loaded(&state, &full) {
        return Ok(format!("{full} is loaded already"));
    }
    prepare();
    let config = Pushed::read().unwrap_or_default().config;
    match Loader::new(&settings, &config).load(std::slice::from_ref(&full), &mut state) {
        Ok(()) => Ok(format!("loaded {full}")),
        Err(problem) => bail!("{problem}"),
    }
}

/// Loads the built-in extensions. What a former run of this unit loaded stays: a script may not like to be run twice.
fn built_in(settings: &Settings) -> anyhow::Result<Extensions> {
    let image = &settings.image;
    let before = Extensions::read().unwrap_or_default();
    let extensions = early(&before.extensions);
    let Extensions { unfinished, applied, attempt, mirror_index, early_hashed, .. } = before;
    let mut state = Extensions { extensions, done: false, unfinished, applied, attempt, mirror_index, early_hashed };
    let early: Vec<String> = state.extensions.iter().map(|e| e.name.clone()).collect();
    let names: Vec<String> =
        order(&image.kernel).into_iter().filter(|n| !early.contains(n) && !image.early.contains(n)).collect();
    let (again, later): (Vec<_>, Vec<_>) =
        before.extensions.into_iter().filter(|e| !early.contains(&e.name)).partition(|e| names.contains(&e.name));
    for name in names {
        match again.iter().find(|e| e.name == name && e.error.is_none()) {
            Some(loaded) => state.extensions.push(loaded.clone()),
            None => {
                let sha256 = image.extensions.get(&name).map_or("", String::as_str);
                match proven(&name, sha256) {
                    // What does not load is published by name, and stops no other.
                    Ok(one) => drop(load_one(&one, &mut state)),
                    Err(error) => note(&mut state, &name, sha256, Some(&format!("{name} is refused: {error:#}"))),
                }
            }
        }
    }
    state.extensions.extend(later);
    state.done = true;
    state.publish()?;
    Ok(state)
}

/// The early extensions as the unit `devices` says, but for those that were found to be others than it takes them for.
fn early(before: &[Extension]) -> Vec<Extension> {
    let mut early = Devices::read().unwrap_or_default().extensions;
    for one in &mut early {
        let is_other = |e: &&Extension| e.name == one.name && e.error.is_some() && e.sha256 != one.sha256;
        if let Some(found) = before.iter().find(is_other) {
            *one = found.clone();
        }
    }
    early
}

/// Hashes the early extensions, which were mounted unproven: that would hold up all drivers, for files that come in one archive with
/// the manifest. One that is not what it says was damaged on its way into memory, which is reported; a driver that is loaded
/// cannot be taken back.
fn prove_early(image: &Image, state: &mut Extensions) {
    let begun = Instant::now();
    for name in &image.early {
        let Some(expected) = image.extensions.get(name) else { continue };
        let is_loaded = state.extensions.iter().any(|e| e.name == *name && e.error.is_none());
        match load::sha256(&Path::new(load::BUILTIN).join(name)) {
            Ok(found) if is_loaded && !found.eq_ignore_ascii_case(expected) => {
                let why = format!("{name} is loaded, and its SHA-256 is {found}, the image's manifest says {expected}");
                note(state, name, &found, Some(&why));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("{error:#}"),
        }
    }
    tracing::debug!("hashed {} early extensions in {} ms", image.early.len(), begun.elapsed().as_millis());
}

/// A built-in extension that is what the manifest says, or that the base's own init has loaded.
fn proven(name: &str, sha256: &str) -> anyhow::Result<Proven> {
    ensure!(!sha256.is_empty(), "the image's manifest does not name it");
    let folder = Path::new(load::BUILTIN);
    if !load::is_loaded(name) {
        load::verify(folder, name, sha256, "the image's manifest")?;
    }
    Ok(Proven { name: name.to_owned(), sha256: sha256.to_owned(), folder: folder.to_owned() })
}

/// The built-in extensions to load, in order.
fn order(release: &str) -> Vec<String> {
    let list = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let dependencies = |name: &str| {
        let file = Path::new(load::BUILTIN).join(format!("{name}.dep"));
        tce_mirror::plan::names(&list(&file), release)
    };
    tce_mirror::plan::order(&tce_mirror::plan::names(&list(Path::new(ONBOOT)), release), dependencies)
}

/// Makes the folder of extensions that Tiny Core's programs look for, where the base's init has made none.
fn prepare() {
    let made = || -> std::io::Result<()> {
        fs::create_dir_all(gather::DOWNLOADS)?;
        if fs::symlink_metadata(TCEDIR).is_ok() {
            return Ok(());
        }
        fs::create_dir_all(Path::new(TCEDIR).parent().unwrap_or(Path::new("/")))?;
        symlink(TCE, TCEDIR)
    };
    if let Err(error) = made() {
        tracing::warn!("{TCEDIR} does not lead to {TCE}, so that tce-load does not work: {error}");
    }
}

/// Waits until no other process loads.
fn lock() -> anyhow::Result<Flock<File>> {
    let path = Path::new(RUN_DIR).join(LOCK);
    fs::create_dir_all(RUN_DIR).with_context(|| format!("cannot make {RUN_DIR}"))?;
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error).context("cannot lock the extensions")
}
