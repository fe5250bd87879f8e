//! Does what a configuration says of extensions: reads the mirror's lists, loads what they name, and makes the mirror
//! the one of Tiny Core's own programs. First everything is fetched and proven; if one extension is refused, none of
//! them is loaded.

use std::cell::Cell;
use std::path::Path;

use anyhow::{Context as _, ensure};
use tce_mirror::fetch::Mirror;
use tce_mirror::plan;
use tce_mirror::signed::Expected;
use wire::checkin::Extension;
use wire::config::Config;
use wire::error::Problem;
use wire::extensions::{Source, list};

use super::gather::{DOWNLOADS, Gathered, Origins, Proven};
use super::load;
use super::signed::{self, Signed};
use crate::settings::Settings;
use crate::state::{Checkin, Extensions, Published as _};
use crate::{devices, file};

/// Where Tiny Core's programs read which mirror to use.
const TCEMIRROR: &str = "/opt/tcemirror";
/// Free memory is shared: what is fetched may take this part of it.
const SHARE: u64 = 2;
/// Reasons that one report names; further ones are in the unit's log.
const NAMED: usize = 5;

/// A machine, and what it was told of extensions.
pub(super) struct Loader<'a> {
    settings: &'a Settings,
    config: &'a Config,
    source: Source,
}

impl<'a> Loader<'a> {
    /// For this configuration, which came from the server that the machine checks in to.
    pub(super) fn new(settings: &'a Settings, config: &'a Config) -> Self {
        let server = Checkin::read().and_then(|c| c.server).unwrap_or_default();
        Self { settings, config, source: Source::of(config, &server) }
    }

    /// Applies the whole configuration; gives what is wrong without being in the way.
    ///
    /// # Errors
    /// Why it does not take: each extension by name. The mirror is the one before then; an extension that was loaded before
    /// another one failed to stays.
    pub(super) fn apply(&self, state: &mut Extensions) -> Result<Vec<Problem>, Problem> {
        // What an earlier list had refused is no trouble of this one.
        let built_in = &self.settings.image.extensions;
        state.extensions.retain(|e| e.error.is_none() || built_in.contains_key(&e.name));
        // Both lists before anything is loaded: a mirror that fails in between changes nothing.
        let wanted = self.list(self.source.install_list.as_deref(), true).map_err(|error| self.away(&error))?;
        let modules = self.list(self.source.kmod_list.as_deref(), false).map_err(|error| self.away(&error))?;
        self.load(&wanted, state)?;
        self.point().map_err(|error| self.away(&error))?;
        let failed = devices::load_modules(&modules, &self.settings.image.deny_modules);
        Ok(failed.into_iter().map(|why| modules_problem(&why)).collect())
    }

    /// Loads extensions with all that they need. One whose loading failed or broke off before is tried again, although
    /// it may be linked and marked.
    ///
    /// # Errors
    /// The extensions that were refused or did not load, by name.
    pub(super) fn load(&self, wanted: &[String], state: &mut Extensions) -> Result<(), Problem> {
        let kernel = &self.settings.image.kernel;
        let mut named = Vec::new();
        for text in wanted {
            let name = plan::name(text, kernel);
            named.push(name.ok_or_else(|| refused(vec![format!("{text:.80?} is no extension's name")]))?);
        }
        let mirror = match self.source.is_internal() {
            true => None,
            false => Some(self.mirror(&self.source.mirror).map_err(|error| self.away(&error))?),
        };
        let keys = signed::keys(self.settings);
        let now = signed::now(self.settings);
        let (repository, floor) = (self.source.repository.as_str(), self.settings.image.mirror_floor);
        let expected = Expected { repository, kernel: Some(kernel), floor, now };
        let origins = Origins {
            builtin: Path::new(load::BUILTIN),
            manifest: &self.settings.image.extensions,
            mirror: mirror.as_ref().map(|mirror| (mirror, self.source.folder())),
            pushed: &self.config.mk_tce_sha256,
            signed: Signed::by(&keys, expected).knowing(&signed::known(state)),
            downloads: Path::new(DOWNLOADS),
            kernel,
            left: Cell::new(available_memory() / SHARE),
        };
        std::fs::create_dir_all(DOWNLOADS)
            .map_err(|error| refused(vec![format!("cannot make {DOWNLOADS}: {error}")]))?;
        let Gathered { proven, refused: why, fault } = origins.gather(&named, |name| is_loaded(state, name));
        origins.signed.remember(state);
        if !why.is_empty() {
            origins.discard(&proven, &why);
            for (name, why) in &why {
                note(state, name, "", Some(why));
            }
            let problem = refused(why.into_iter().map(|(_, why)| why).collect());
            return Err(match fault {
                Some(fault) => Problem::new(fault.code(), problem.error, fault.remedy()),
                None => problem,
            });
        }
        load_all(&proven, &origins, state)
    }

    /// The names in a list; none where there is no list. One that `must` be there is missed.
    fn list(&self, url: Option<&str>, must: bool) -> anyhow::Result<Vec<String>> {
        let Some(url) = url else { return Ok(Vec::new()) };
        let (folder, name) = url.rsplit_once('/').context("the list's URL has no path")?;
        match self.mirror(folder)?.text(name)? {
            Some(text) => Ok(list(&text)),
            None => {
                ensure!(!must, "{url} is not there");
                Ok(Vec::new())
            }
        }
    }

    fn mirror(&self, base: &str) -> anyhow::Result<Mirror> {
        Mirror::trusting(base, self.settings.ca()?.map(|ca| ca.pem))
    }

    /// Has Tiny Core's own programs use this mirror.
    pub(super) fn point(&self) -> anyhow::Result<()> {
        file::replace(Path::new(TCEMIRROR), format!("{}\n", self.source.mirror).as_bytes(), 0o644)
    }

    fn away(&self, error: &anyhow::Error) -> Problem {
        let text = format!("the mirror {} cannot be used: {error:#}", self.source.mirror);
        Problem::new("bad_mirror", text, "Mend the mirror or the way to it, then give `mk-server config set` again.")
    }
}

/// Tells whether an extension is loaded with all steps.
pub(super) fn is_loaded(state: &Extensions, name: &str) -> bool {
    load::is_loaded(name) && !state.unfinished.contains_key(name)
}

fn load_all(proven: &[Proven], origins: &Origins<'_>, state: &mut Extensions) -> Result<(), Problem> {
    let mut failed = Vec::new();
    for one in proven {
        let Err(error) = load_one(one, state) else { continue };
        if !load::is_mounted(&one.name) {
            origins.discard(std::slice::from_ref(one), &[]);
        }
        failed.push(format!("{error:#}"));
    }
    if failed.is_empty() { Ok(()) } else { Err(refused(failed)) }
}

/// Loads one and publishes what became of it. Until all its steps have ended well it counts as unfinished, which is
/// published first: this process may die of them.
///
/// # Errors
/// Names the extension and the step that failed.
pub(super) fn load_one(one: &Proven, state: &mut Extensions) -> anyhow::Result<()> {
    let result = finish(one, state);
    if result.is_ok() {
        state.unfinished.remove(&one.name);
    }
    let error = result.as_ref().err().map(|error| format!("{error:#}"));
    note(state, &one.name, &one.sha256, error.as_deref());
    result
}

fn finish(Proven { name, sha256, folder }: &Proven, state: &mut Extensions) -> anyhow::Result<()> {
    if state.unfinished.get(name).is_some_and(|former| former != sha256) {
        load::unmount(name)?;
    }
    state.unfinished.insert(name.clone(), sha256.clone());
    if let Some(attempt) = &mut state.attempt {
        attempt.loading = Some(name.clone());
    }
    publish(state);
    load::load(folder, name)
}

/// Publishes what became of an extension.
pub(super) fn note(state: &mut Extensions, name: &str, sha256: &str, error: Option<&str>) {
    match error {
        None => tracing::info!("loaded {name}"),
        Some(error) => tracing::error!("{error}"),
    }
    let entry = Extension { name: name.to_owned(), sha256: sha256.to_owned(), error: error.map(str::to_owned) };
    match state.extensions.iter_mut().find(|e| e.name == name) {
        Some(there) => *there = entry,
        None => state.extensions.push(entry),
    }
    publish(state);
}

fn publish(state: &Extensions) {
    if let Err(error) = state.publish() {
        tracing::warn!("{error:#}");
    }
}

fn refused(mut why: Vec<String>) -> Problem {
    let more = why.len().saturating_sub(NAMED);
    why.truncate(NAMED);
    let more = if more > 0 { format!("; and {more} more, see `mk-agent logs ext`") } else { String::new() };
    let remedy = "Mend the mirror, or take the extension out of its list; then give `mk-server config set` again.";
    Problem::new("extensions", format!("{}{more}", why.join("; ")), remedy)
}

fn modules_problem(why: &str) -> Problem {
    let remedy = "Take the module out of the list of kernel modules, or load an extension that has it.";
    Problem::new("kernel_module", format!("a kernel module of the mirror's list does not load: {why}"), remedy)
}

/// Bytes that programs may still take.
fn available_memory() -> u64 {
    let table = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = table.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() * 1024
}
